import { MAX_DURATION, Session, SessionStatus } from '../cells.ts';
import { serialOf } from '../ids.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, duration, shortId } from '../wire.ts';

/** Opens a session with `peer`, on its shard, the actor being party a. Value: the session's id. */
export const open = defineOp({
  code: 0x0d,
  name: 'open',
  makes: true,
  fields: [
    shortId('peer', 'agent'),
    // Locked by the actor.
    amount('deposit'),
    // Between exit and finalize.
    duration('exitDelay'),
  ],
  where: (_machine, _actor, peer) => peer,
  home(machine, actor, peer, deposit, exitDelay) {
    if (peer === actor) return Status.self_dealing;
    if (deposit === 0) return Status.zero_amount;
    if (exitDelay === 0 || exitDelay > MAX_DURATION) return Status.bad_duration;
    return machine.balance(actor) < deposit ? Status.insufficient_balance : Status.ok;
  },
  value: (_machine, _actor, _peer, deposit) => deposit,
  run(machine, actor, peer, deposit, exitDelay) {
    const { cells } = machine;
    const id = machine.takeSessionId();
    if (id === 0) return Status.region_full;
    if (machine.agent(peer) === NONE) return Status.unknown_agent;
    if (!machine.hasSessionSlot(id)) return Status.region_full;
    machine.debit(actor, deposit);
    const cell = machine.clearSession(id);
    Session.a.set(cells, cell, actor);
    Session.b.set(cells, cell, peer);
    Session.depositA.set(cells, cell, deposit);
    Session.exitDelay.set(cells, cell, exitDelay);
    Session.serial.set(cells, cell, serialOf(id));
    Session.status.set(cells, cell, SessionStatus.open);
    // Both keys are pinned: no rotation can void what they sign from now on.
    const keyA = machine.edit(machine.sessionPart(id, 1));
    if (machine.actorKey === 0) machine.copy(keyA, machine.key(actor));
    else machine.put(keyA, machine.bytes(machine.actorKey, 64));
    machine.copy(machine.edit(machine.sessionPart(id, 2)), machine.key(peer));
    return machine.ok(id);
  },
});

import { MAX_DURATION } from '../cells.ts';
import { amount, duration, id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Opens a session with `peer`, the actor being party a. Value: the session's id. */
export const open = defineOp({
  code: 0x0d,
  name: 'open',
  fields: [
    id('peer'),
    // Locked by the actor.
    amount('deposit'),
    // Between exit and finalize.
    duration('exitDelay'),
  ],
  run(machine, actor, peer, deposit, exitDelay) {
    if (!machine.isLocal(peer)) return Status.wrong_shard;
    if (machine.agent(peer) === NONE) return Status.unknown_agent;
    if (peer === actor) return Status.self_dealing;
    if (deposit === 0) return Status.zero_amount;
    if (exitDelay === 0 || exitDelay > MAX_DURATION) return Status.bad_duration;
    if (machine.balance(actor) < deposit) return Status.insufficient_balance;
    if (!machine.hasSessionRoom()) return Status.region_full;
    machine.debit(actor, deposit);
    return machine.ok(machine.openSession(actor, peer, deposit, exitDelay));
  },
});

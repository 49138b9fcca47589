import { MAX_DURATION } from '../cells.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Opens a session with `peer`, the actor being party a. Value: the session's id. */
export interface Open {
  readonly peer: number;
  /** Base units locked by the actor. */
  readonly deposit: number;
  /** Seconds between exit and finalize. */
  readonly exitDelay: number;
}

export const open = defineOp<'open', Open>({
  code: 0x0d,
  name: 'open',
  encode: (w, f) => w.varint(f.peer).varint(f.deposit).varint(f.exitDelay),
  decode: (r) => ({ op: 'open', peer: r.varint(), deposit: r.varint(), exitDelay: r.varint() }),
  run(machine, actor, { peer, deposit, exitDelay }) {
    if (!machine.isLocal(peer)) return fail('wrong_shard');
    if (!machine.agentExists(peer)) return fail('unknown_agent');
    if (peer === actor) return fail('self_dealing');
    if (deposit === 0) return fail('zero_amount');
    if (exitDelay === 0 || exitDelay > MAX_DURATION) return fail('bad_duration');
    if (machine.balance(actor) < deposit) return fail('insufficient_balance');
    if (!machine.hasSessionRoom()) return fail('region_full');
    machine.debit(actor, deposit);
    return ok(machine.openSession(actor, peer, deposit, exitDelay));
  },
});

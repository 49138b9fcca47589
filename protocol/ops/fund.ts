import { Session, SessionStatus, get, set } from '../cells.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** A party adds to its deposit. */
export interface Fund {
  readonly session: number;
  readonly amount: number;
}

export const fund = defineOp<'fund', Fund>({
  code: 0x0e,
  name: 'fund',
  encode: (w, f) => w.varint(f.session).varint(f.amount),
  decode: (r) => ({ op: 'fund', session: r.varint(), amount: r.varint() }),
  run(machine, actor, f) {
    if (!machine.isLocal(f.session)) return fail('wrong_shard');
    if (!machine.sessionExists(f.session)) return fail('unknown_session');
    const session = machine.readSession(f.session);
    if (get(session, Session.status) !== SessionStatus.open) return fail('session_not_open');
    const party = machine.partyOf(session, actor);
    if (party === -1) return fail('not_party');
    if (f.amount === 0) return fail('zero_amount');
    if (machine.balance(actor) < f.amount) return fail('insufficient_balance');
    machine.debit(actor, f.amount);
    const deposit = party === 0 ? Session.depositA : Session.depositB;
    const cell = machine.editSession(f.session);
    set(cell, deposit, get(cell, deposit) + f.amount);
    return ok();
  },
});

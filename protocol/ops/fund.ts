import { Session, SessionStatus } from '../cells.ts';
import { amount, id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** A party adds to its deposit. */
export const fund = defineOp({
  code: 0x0e,
  name: 'fund',
  fields: [id('session', 'session'), amount('amount')],
  where: (_machine, _actor, session) => session,
  home(machine, actor, _session, amount) {
    if (amount === 0) return Status.zero_amount;
    return machine.balance(actor) < amount ? Status.insufficient_balance : Status.ok;
  },
  value: (_machine, _actor, _session, amount) => amount,
  run(machine, actor, id, amount) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) !== SessionStatus.open) return Status.session_not_open;
    const party = machine.party(session, actor);
    if (party === -1) return Status.not_party;
    machine.debit(actor, amount);
    const deposit = party === 0 ? Session.depositA : Session.depositB;
    const cell = machine.edit(session);
    deposit.set(cells, cell, deposit.get(cells, cell) + amount);
    return Status.ok;
  },
});

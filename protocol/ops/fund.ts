import { Session, SessionStatus } from '../cells.ts';
import { amount, id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** A party adds to its deposit. */
export const fund = defineOp({
  code: 0x0e,
  name: 'fund',
  fields: [id('session'), amount('amount')],
  run(machine, actor, id, amount) {
    const { cells } = machine;
    if (!machine.isLocal(id)) return Status.wrong_shard;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) !== SessionStatus.open) return Status.session_not_open;
    const party = machine.party(session, actor);
    if (party === -1) return Status.not_party;
    if (amount === 0) return Status.zero_amount;
    if (machine.balance(actor) < amount) return Status.insufficient_balance;
    machine.debit(actor, amount);
    const deposit = party === 0 ? Session.depositA : Session.depositB;
    const cell = machine.edit(session);
    deposit.set(cells, cell, deposit.get(cells, cell) + amount);
    return Status.ok;
  },
});

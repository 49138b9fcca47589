import { Escrow, EscrowStatus } from '../cells.ts';
import { NONE } from '../memory.ts';
import { canTell, refundFailed, release } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, id } from '../wire.ts';

/** The arbiter splits what was contested: `amount` for the payee, the rest for the payer. */
export const rule = defineOp({
  code: 0x0a,
  name: 'rule',
  fields: [id('escrow', 'escrow'), amount('amount')],
  where: (_machine, _actor, escrow) => escrow,
  run(machine, actor, id, amount) {
    const { cells } = machine;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    if (Escrow.arbiter.get(cells, escrow) !== actor) return Status.not_arbiter;
    if (Escrow.status.get(cells, escrow) !== EscrowStatus.contested) return Status.escrow_not_contested;
    if (machine.time > Escrow.deadline.get(cells, escrow)) return Status.deadline_passed;
    if (amount > Escrow.paid.get(cells, escrow)) return Status.over_price;
    if (!canTell(machine, escrow)) return Status.congested;
    if (amount > 0) release(machine, escrow, amount);
    else refundFailed(machine, escrow);
    return Status.ok;
  },
});

import { Escrow, EscrowStatus } from '../cells.ts';
import { NONE } from '../memory.ts';
import { isOrder } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { id } from '../wire.ts';

/** The payer does not accept an answer: the arbiter has as long again to rule. */
export const contest = defineOp({
  code: 0x09,
  name: 'contest',
  fields: [id('escrow', 'escrow')],
  where: (_machine, _actor, escrow) => escrow,
  run(machine, actor, id) {
    const { cells } = machine;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    if (Escrow.payer.get(cells, escrow) !== actor) return Status.not_payer;
    const isHeld = Escrow.status.get(cells, escrow) === EscrowStatus.held;
    if (!isHeld || Escrow.workflow.get(cells, escrow) !== 0 || isOrder(machine, escrow)) return Status.escrow_not_held;
    if (machine.time > Escrow.deadline.get(cells, escrow)) return Status.deadline_passed;
    const cell = machine.edit(escrow);
    Escrow.status.set(cells, cell, EscrowStatus.contested);
    Escrow.deadline.set(cells, cell, machine.time + Escrow.contestSeconds.get(cells, cell));
    return Status.ok;
  },
});

import { Escrow, EscrowStatus } from '../cells.ts';
import { id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Anyone, after the deadline: an open escrow refunds, a held one is released. */
export const expire = defineOp({
  code: 0x08,
  name: 'expire',
  fields: [id('escrow')],
  run(machine, _actor, id) {
    const { cells } = machine;
    if (!machine.isLocal(id)) return Status.wrong_shard;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    const status = Escrow.status.get(cells, escrow);
    if (status !== EscrowStatus.open && status !== EscrowStatus.held) return Status.escrow_not_open;
    if (machine.time <= Escrow.deadline.get(cells, escrow)) return Status.not_due;
    if (status === EscrowStatus.open) machine.refundEscrow(escrow, EscrowStatus.expired);
    else machine.releaseEscrow(escrow, Escrow.paid.get(cells, escrow));
    return Status.ok;
  },
});

import { Escrow, EscrowStatus } from '../cells.ts';
import { amount, choice, id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

const FAILED = 1;

/** The provider answers an escrow: fulfilled at `price`, at most the escrowed amount, or failed at nothing. */
export const respond = defineOp({
  code: 0x07,
  name: 'respond',
  fields: [id('escrow'), amount('price'), choice('result', 'fulfilled', 'failed')],
  run(machine, actor, id, price, result) {
    const { cells } = machine;
    if (!machine.isLocal(id)) return Status.wrong_shard;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    if (Escrow.payee.get(cells, escrow) !== actor) return Status.not_payee;
    if (Escrow.status.get(cells, escrow) !== EscrowStatus.open) return Status.escrow_not_open;
    if (machine.time > Escrow.deadline.get(cells, escrow)) return Status.deadline_passed;
    if (price > (result === FAILED ? 0 : Escrow.amount.get(cells, escrow))) return Status.over_price;
    if (result === FAILED) machine.refundEscrow(escrow, EscrowStatus.refunded);
    else if (Escrow.arbiter.get(cells, escrow) === 0) machine.releaseEscrow(escrow, price);
    else {
      const held = machine.edit(escrow);
      Escrow.paid.set(cells, held, price);
      Escrow.deadline.set(cells, held, machine.time + Escrow.contestSeconds.get(cells, held));
      Escrow.status.set(cells, held, EscrowStatus.held);
    }
    return Status.ok;
  },
});

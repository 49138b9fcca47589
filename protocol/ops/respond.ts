import { Escrow, EscrowStatus } from '../cells.ts';
import { shardOf } from '../ids.ts';
import { NONE } from '../memory.ts';
import { ANSWER_SLOTS } from '../messages.ts';
import { canTell, hold, refund, refundFailed, release } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, choice, id } from '../wire.ts';

const FULFILLED = 0;
const FAILED = 1;

/** The provider answers an escrow: fulfilled at `price`, at most the escrowed amount; or, at nothing, failed, or declined (it was never asked). */
export const respond = defineOp({
  code: 0x07,
  name: 'respond',
  fields: [id('escrow', 'escrow'), amount('price'), choice('result', 'fulfilled', 'failed', 'declined')],
  run(machine, actor, id, price, result) {
    const { cells } = machine;
    if (!machine.isLocal(id)) return Status.wrong_shard;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    if (Escrow.payee.get(cells, escrow) !== actor) return Status.not_payee;
    if (Escrow.status.get(cells, escrow) !== EscrowStatus.open) return Status.escrow_not_open;
    if (machine.time > Escrow.deadline.get(cells, escrow)) return Status.deadline_passed;
    if (price > (result === FULFILLED ? Escrow.amount.get(cells, escrow) : 0)) return Status.over_price;
    const workflow = Escrow.workflow.get(cells, escrow);
    const joins = result === FULFILLED && workflow !== 0;
    // Asking must not be able to crowd out answering. An act has more room yet.
    const slots = Math.max(machine.slots, ANSWER_SLOTS);
    if (!canTell(machine, escrow, slots)) return Status.congested;
    if (joins && !machine.reaches(shardOf(workflow), slots)) return Status.congested;
    if (result === FAILED) refundFailed(machine, escrow);
    else if (result !== FULFILLED) refund(machine, escrow);
    else if (joins || Escrow.arbiter.get(cells, escrow) !== 0) hold(machine, escrow, price);
    else release(machine, escrow, price);
    return Status.ok;
  },
});

import { Escrow, EscrowStatus, get, set } from '../cells.ts';
import { malformed } from '../errors.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** The provider answers an escrow: fulfilled at `price`, or failed at nothing. */
export interface Respond {
  readonly escrow: number;
  /** Base units, at most the escrowed amount. */
  readonly price: number;
  readonly result: 'fulfilled' | 'failed';
}

export const respond = defineOp<'respond', Respond>({
  code: 0x07,
  name: 'respond',
  encode: (w, f) =>
    w
      .varint(f.escrow)
      .varint(f.price)
      .u8(f.result === 'fulfilled' ? 0 : 1),
  decode: (r) => {
    const escrow = r.varint();
    const price = r.varint();
    const result = r.u8();
    if (result > 1) throw malformed('result is 0 or 1');
    return { op: 'respond', escrow, price, result: result === 0 ? 'fulfilled' : 'failed' };
  },
  run(machine, actor, f) {
    if (!machine.isLocal(f.escrow)) return fail('wrong_shard');
    if (!machine.escrowExists(f.escrow)) return fail('unknown_escrow');
    const escrow = machine.readEscrow(f.escrow);
    if (get(escrow, Escrow.payee) !== actor) return fail('not_payee');
    if (get(escrow, Escrow.status) !== EscrowStatus.open) return fail('escrow_not_open');
    if (machine.time > get(escrow, Escrow.deadline)) return fail('deadline_passed');
    if (f.price > (f.result === 'failed' ? 0 : get(escrow, Escrow.amount))) return fail('over_price');
    if (f.result === 'failed') {
      machine.refundEscrow(f.escrow, EscrowStatus.refunded);
      return ok();
    }
    if (get(escrow, Escrow.arbiter) === 0) machine.releaseEscrow(f.escrow, f.price);
    else {
      const held = machine.editEscrow(f.escrow);
      set(held, Escrow.paid, f.price);
      set(held, Escrow.deadline, machine.time + get(held, Escrow.contestSeconds));
      set(held, Escrow.status, EscrowStatus.held);
    }
    return ok();
  },
});

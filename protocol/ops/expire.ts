import { Escrow, EscrowStatus, get } from '../cells.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Anyone, after the deadline: an open escrow refunds, a held one is released. */
export interface Expire {
  readonly escrow: number;
}

export const expire = defineOp<'expire', Expire>({
  code: 0x08,
  name: 'expire',
  encode: (w, f) => w.varint(f.escrow),
  decode: (r) => ({ op: 'expire', escrow: r.varint() }),
  run(machine, _actor, f) {
    if (!machine.isLocal(f.escrow)) return fail('wrong_shard');
    if (!machine.escrowExists(f.escrow)) return fail('unknown_escrow');
    const escrow = machine.readEscrow(f.escrow);
    const status = get(escrow, Escrow.status);
    if (status !== EscrowStatus.open && status !== EscrowStatus.held) return fail('escrow_not_open');
    if (machine.time <= get(escrow, Escrow.deadline)) return fail('not_due');
    if (status === EscrowStatus.open) machine.refundEscrow(f.escrow, EscrowStatus.expired);
    else machine.releaseEscrow(f.escrow, get(escrow, Escrow.paid));
    return ok();
  },
});

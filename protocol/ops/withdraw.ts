import { OUTBOX_RESERVE } from '../cells.ts';
import { defineOp } from '../op.ts';

/** Burns balance into an outbox cell that L1 pays to the owner's address. Value: the outbox id. */
export interface Withdraw {
  readonly amount: number;
}

export const withdraw = defineOp<'withdraw', Withdraw>({
  code: 0x04,
  name: 'withdraw',
  encode: (w, f) => w.varint(f.amount),
  decode: (r) => ({ op: 'withdraw', amount: r.varint() }),
  run: (machine, actor, { amount }) => machine.withdraw(actor, amount, OUTBOX_RESERVE),
});

import { OUTBOX_RESERVE } from '../cells.ts';
import { amount } from '../wire.ts';
import { defineOp } from '../op.ts';

/** Burns balance into an outbox cell that L1 pays to the owner's address. Value: the outbox id. */
export const withdraw = defineOp({
  code: 0x04,
  name: 'withdraw',
  movesHead: true,
  fields: [amount('amount')],
  run: (machine, actor, amount) => machine.withdraw(actor, amount, OUTBOX_RESERVE),
});

import { amount, id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

export const transfer = defineOp({
  code: 0x03,
  name: 'transfer',
  fields: [id('to'), amount('amount')],
  run(machine, actor, to, amount) {
    if (!machine.isLocal(to)) return Status.wrong_shard;
    if (machine.agent(to) === NONE) return Status.unknown_agent;
    if (machine.balance(actor) < amount) return Status.insufficient_balance;
    machine.debit(actor, amount);
    machine.credit(to, amount);
    return Status.ok;
  },
});

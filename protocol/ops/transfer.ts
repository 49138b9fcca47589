import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, shortId } from '../wire.ts';

export const transfer = defineOp({
  code: 0x03,
  name: 'transfer',
  fields: [shortId('to', 'agent'), amount('amount')],
  where: (_machine, _actor, to) => to,
  home: (machine, actor, _to, amount) => (machine.balance(actor) < amount ? Status.insufficient_balance : Status.ok),
  value: (_machine, _actor, _to, amount) => amount,
  run(machine, actor, to, amount) {
    if (machine.agent(to) === NONE) return Status.unknown_agent;
    machine.debit(actor, amount);
    machine.credit(to, amount);
    return Status.ok;
  },
});

import { Agent } from '../cells.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount } from '../wire.ts';

/** Puts more of the balance at stake; ends a withdrawal of it that was under way. */
export const stake = defineOp({
  code: 0x17,
  name: 'stake',
  fields: [amount('amount')],
  run(machine, actor, amount) {
    const { cells } = machine;
    if (amount === 0) return Status.zero_amount;
    if (machine.balance(actor) < amount) return Status.insufficient_balance;
    machine.debit(actor, amount);
    const agent = machine.edit(machine.agent(actor));
    Agent.stake.set(cells, agent, Agent.stake.get(cells, agent) + amount);
    Agent.unstakeAt.set(cells, agent, 0);
    return Status.ok;
  },
});

import { Agent, EXISTS, Region } from '../cells.ts';
import { below, get } from './code.ts';
import type { PlainOp } from './index.ts';
import { existing } from './moves.ts';

/** To an agent of this shard. */
export const transfer: PlainOp = (plain) => {
  const [to, amount] = [plain.number(0), plain.number(1)];
  const payee = existing(plain, Region.agent, to, Agent.flags, EXISTS);
  plain.leaveIf(below(get(Agent.balance, plain.agent), amount));
  plain.lower(Agent.balance, plain.agent, amount);
  plain.raise(Agent.balance, plain.edit(payee), amount);
  return null;
};

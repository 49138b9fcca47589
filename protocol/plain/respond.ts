import { Agent, Escrow, EscrowStatus, Head, REGION_SLOTS, Region } from '../cells.ts';
import { above, add, and, get, is, isNot, serialOf, shardOf, sub } from './code.ts';
import type { PlainOp } from './index.ts';
import { small } from './moves.ts';

/** Fulfilled, for a payer of this shard, where nothing is left to be decided: neither arbiter, workflow nor capability. */
export const respond: PlainOp = (plain) => {
  const { actor } = plain;
  const [id, price, result] = [plain.number(0), plain.number(1), plain.number(2)];
  plain.leaveIf(isNot(result, 0));
  plain.leaveIf(isNot(shardOf(id), plain.shard));
  const serial = plain.keep(serialOf(id));
  plain.leaveIf(is(serial, 0));
  const record = plain.cell(Region.escrow, plain.keep(and(serial, REGION_SLOTS - 1)));
  plain.leaveIf(isNot(get(Escrow.serial, record), serial));
  plain.leaveIf(isNot(get(Escrow.payee, record), actor));
  plain.leaveIf(isNot(get(Escrow.status, record), EscrowStatus.open));
  plain.leaveIf(above(get(Head.time, plain.head), get(Escrow.deadline, record)));
  const amount = plain.keep(get(Escrow.amount, record));
  plain.leaveIf(above(price, amount));
  for (const decides of [Escrow.arbiter, Escrow.workflow, Escrow.capability])
    plain.leaveIf(isNot(get(decides, record), 0));
  const completed = plain.keep(add(get(Agent.completed, plain.agent), 1));
  plain.leaveIf(above(completed, 256 ** Agent.completed.width - 1));
  const volume = plain.keep(add(get(Agent.volume, plain.agent), price));
  plain.leaveIf(above(volume, 256 ** Agent.volume.width - 1));
  const payer = small(plain, Region.agent, plain.keep(get(Escrow.payer, record)));

  plain.raise(Agent.balance, plain.agent, price);
  plain.set(Agent.completed, plain.agent, completed);
  plain.set(Agent.volume, plain.agent, volume);
  const escrow = plain.edit(record);
  plain.set(Escrow.paid, escrow, price);
  plain.set(Escrow.status, escrow, EscrowStatus.fulfilled);
  plain.raise(Agent.balance, plain.edit(payer), sub(amount, price));
  return null;
};

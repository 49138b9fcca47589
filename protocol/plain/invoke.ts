import { ACTIVE, Agent, EXISTS, Escrow, EscrowStatus, Head, REGION_SLOTS, Region, Service } from '../cells.ts';
import { above, add, and, below, both, get, is, isNot, not } from './code.ts';
import type { PlainOp } from './index.ts';
import { existing, makeId, nextSerial } from './moves.ts';

/** Without options, of a service of this shard. */
export const invoke: PlainOp = (plain) => {
  const { actor, head } = plain;
  const [id, amount, options] = [plain.number(0), plain.number(1), plain.number(2)];
  plain.leaveIf(isNot(options, 0));
  const service = existing(plain, Region.service, id, Service.flags, EXISTS | ACTIVE);
  plain.leaveIf(above(amount, get(Service.ceiling, service)));
  const provider = plain.keep(get(Service.provider, service));
  plain.leaveIf(is(provider, actor));
  plain.leaveIf(below(get(Agent.balance, plain.agent), amount));
  const serial = nextSerial(plain, get(Head.escrows, head));
  const slot = plain.cell(Region.escrow, plain.keep(and(serial, REGION_SLOTS - 1)));
  const status = plain.keep(get(Escrow.status, slot));
  const isDone = not(
    above(plain.keep(add(status, -EscrowStatus.fulfilled)), EscrowStatus.expired - EscrowStatus.fulfilled),
  );
  plain.leaveIf(both(isNot(status, EscrowStatus.empty), not(isDone)));

  plain.set(Head.escrows, head, serial);
  plain.lower(Agent.balance, plain.agent, amount);
  const escrow = plain.edit(slot);
  plain.clear(escrow);
  plain.set(Escrow.serial, escrow, serial);
  plain.set(Escrow.payer, escrow, actor);
  plain.set(Escrow.payee, escrow, provider);
  plain.set(Escrow.service, escrow, id);
  plain.set(Escrow.amount, escrow, amount);
  plain.set(Escrow.deadline, escrow, add(get(Head.time, head), get(Service.deadlineSeconds, service)));
  plain.set(Escrow.status, escrow, EscrowStatus.open);
  plain.set(Escrow.arbiter, escrow, get(Service.arbiter, service));
  plain.set(Escrow.contestSeconds, escrow, get(Service.contestSeconds, service));
  return makeId(plain, serial);
};

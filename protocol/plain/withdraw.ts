import {
  Agent,
  Head,
  OUTBOX_RESERVE,
  OUTBOX_RETENTION,
  OUTBOX_WITHDRAWAL,
  Outbox,
  REGION_SLOTS,
  Region,
} from '../cells.ts';
import { add, and, atLeast, below, both, get, is, isNot } from './code.ts';
import type { PlainOp } from './index.ts';
import { makeId, nextSerial } from './moves.ts';

/** Of something that the actor has. */
export const withdraw: PlainOp = (plain) => {
  const { head } = plain;
  const amount = plain.number(0);
  plain.leaveIf(is(amount, 0));
  plain.leaveIf(below(get(Agent.balance, plain.agent), amount));
  const last = plain.keep(get(Head.outbox, head));
  const reserved = nextSerial(plain, add(last, OUTBOX_RESERVE));
  const old = plain.peek(Region.outbox, plain.keep(and(reserved, REGION_SLOTS - 1)));
  const time = plain.keep(get(Head.time, head));
  const isKept = atLeast(add(get(Outbox.time, old), OUTBOX_RETENTION), time);
  plain.leaveIf(both(isNot(get(Outbox.kind, old), 0), isKept));
  const serial = plain.keep(add(last, 1));
  const slot = plain.cell(Region.outbox, plain.keep(and(serial, REGION_SLOTS - 1)));

  plain.lower(Agent.balance, plain.agent, amount);
  plain.set(Head.outbox, head, serial);
  const record = plain.edit(slot);
  plain.clear(record);
  plain.set(Outbox.kind, record, OUTBOX_WITHDRAWAL);
  plain.set(Outbox.serial, record, serial);
  plain.set(Outbox.time, record, time);
  plain.set(Outbox.agent, record, plain.actor);
  plain.copy(Outbox.recipient, record, plain.agent, Agent.owner.at);
  plain.set(Outbox.amount, record, amount);
  return makeId(plain, serial);
};

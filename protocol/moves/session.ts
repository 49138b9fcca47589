/** Sessions end the same way however they end (docs/protocol.md §4, "Shared moves"). */
import { Session, SessionStatus } from '../cells.ts';
import { payOut as split } from '../half.ts';
import { shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import type { Cell } from '../memory.ts';
import { pay } from './agent.ts';

/**
 * Whether a can be told what it gets when the session ends so, there being something to tell: it is of this shard, or there
 * is room for messages to its own. Sessions stand on b's shard.
 */
export function canPayOut(machine: Machine, session: Cell, paidAB: number, paidBA: number, callsBA: number): boolean {
  const { cells } = machine;
  const [depositA, depositB] = [Session.depositA.get(cells, session), Session.depositB.get(cells, session)];
  const { outA } = split(depositA, depositB, paidAB, paidBA);
  return outA + callsBA === 0 || machine.reaches(shardOf(Session.a.get(cells, session)));
}

/** Splits the deposits by what was paid, counts reputation, closes; {@link canPayOut} must hold. */
export function payOut(machine: Machine, session: Cell): void {
  const { cells } = machine;
  const cell = machine.edit(session);
  const [depositA, depositB] = [Session.depositA.get(cells, cell), Session.depositB.get(cells, cell)];
  const { outA, outB } = split(depositA, depositB, Session.paidAB.get(cells, cell), Session.paidBA.get(cells, cell));
  Session.status.set(cells, cell, SessionStatus.closed);
  const gained = (out: number, deposit: number): number => Math.max(out - deposit, 0);
  pay(machine, Session.a.get(cells, cell), outA, Session.callsBA.get(cells, cell), gained(outA, depositA));
  pay(machine, Session.b.get(cells, cell), outB, Session.callsAB.get(cells, cell), gained(outB, depositB));
}

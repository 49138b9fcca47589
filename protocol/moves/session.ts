/** Sessions end the same way however they end (docs/protocol.md §4, "Shared moves"). */
import { Session, SessionStatus } from '../cells.ts';
import { payOut as split } from '../half.ts';
import { shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import type { Cell } from '../memory.ts';
import { pay } from './agent.ts';

/** Whether both parties' shards can be paid. */
export const canPayOut = (machine: Machine, session: Cell): boolean =>
  machine.reaches(shardOf(Session.a.get(machine.cells, session))) &&
  machine.reaches(shardOf(Session.b.get(machine.cells, session)));

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

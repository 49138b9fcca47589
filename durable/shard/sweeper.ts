/**
 * What nobody need sign for (docs/protocol.md §4b): starting calls whose dependency is decided, ending escrows whose time is
 * over, telling the legs of decided workflows. The shard does it by itself, by `advance` and `tell` frames.
 *
 * Calls that wait and workflows that are under way are few, and must move at once: they are kept in memory, rebuilt from the cells.
 * Deadlines are many and may be late by a little: a hand goes round the ring of escrows, so many slots a tick.
 */
import {
  Escrow,
  EscrowStatus,
  Head,
  Leg,
  META_HEAD,
  QUADS,
  REGION_SLOTS,
  Region,
  Workflow,
  WorkflowStatus,
  slotOf,
} from '../../protocol/cells.ts';
import { makeId, shardOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import { NONE } from '../../protocol/memory.ts';
import { advanceFrame, tellFrame } from '../../protocol/messages.ts';
import { Dependency, dependency } from '../../protocol/moves/dependency.ts';

/** Slots of the ring looked at in one go: a full ring is gone round in about a minute of ticks, in well under a millisecond each. */
const SLOTS_A_SWEEP = 2 ** 14;
/** Frames put into one chunk, so that bundles don't wait for them. */
const MAX_FRAMES = 256;

export class Sweeper {
  readonly #machine: Machine;
  /** By dependency: the escrows that wait for it. */
  readonly #waiting = new Map<number, Set<number>>();
  readonly #workflows = new Set<number>();
  /** Serial of the last escrow looked at for its deadline. */
  #hand = 0;
  /** The earliest deadline seen in this round, and found in the last. */
  #earliest = Infinity;
  #nextDue = Infinity;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Finds what is under way in the cells. */
  restore(): void {
    const { cells, trie } = this.#machine;
    const head = trie.cell(Region.meta, META_HEAD);
    const escrows = Head.escrows.get(cells, head);
    for (let serial = Math.max(1, escrows - REGION_SLOTS + 1); serial <= escrows; serial++) {
      const cell = trie.cell(Region.escrow, slotOf(Region.escrow, serial));
      if (Escrow.status.get(cells, cell) === EscrowStatus.waiting) this.noteEscrow(makeId(this.#machine.shard, serial));
    }
    const workflows = Head.workflows.get(cells, head);
    for (let serial = Math.max(1, workflows - QUADS + 1); serial <= workflows; serial++)
      this.noteWorkflow(makeId(this.#machine.shard, serial));
  }

  /** An escrow was made; it may be one that waits. */
  noteEscrow(id: number): void {
    const { cells } = this.#machine;
    const escrow = this.#machine.escrow(id);
    if (escrow === NONE) return;
    const status = Escrow.status.get(cells, escrow);
    if (status === EscrowStatus.open) this.#nextDue = Math.min(this.#nextDue, Escrow.deadline.get(cells, escrow));
    if (status !== EscrowStatus.waiting) return;
    const first = Escrow.link.get(cells, escrow);
    const others = this.#waiting.get(first);
    if (others) others.add(id);
    else this.#waiting.set(first, new Set([id]));
  }

  /** A workflow was planned. */
  noteWorkflow(id: number): void {
    if (this.#machine.workflow(id) !== NONE) this.#workflows.add(id);
  }

  /** When something will be overdue, Unix seconds: wake up then. Infinity for never. */
  get nextDue(): number {
    const { cells, time } = this.#machine;
    let due = Math.min(this.#nextDue, this.#earliest);
    for (const id of this.#workflows) {
      const workflow = this.#machine.workflow(id);
      if (workflow !== NONE) due = Math.min(due, Math.max(Workflow.deadline.get(cells, workflow), time));
    }
    return due === Infinity ? due : due + 1;
  }

  /** Frames that may run now, at most a chunk's share; `ticked`: time has moved, so deadlines are looked at too. */
  *frames(ticked: boolean): Generator<Uint8Array> {
    let left = MAX_FRAMES;
    for (const frame of this.#decided()) {
      if (left-- === 0) return;
      yield frame;
    }
    for (const frame of this.#untold()) {
      if (left-- === 0) return;
      yield frame;
    }
    if (!ticked) return;
    for (const frame of this.#overdue(left)) yield frame;
  }

  /** Calls whose dependency is decided. A frame that fails (`congested`) leaves its call waiting, to be tried again. */
  *#decided(): Generator<Uint8Array> {
    const { cells } = this.#machine;
    for (const [first, ids] of this.#waiting) {
      for (const id of ids) {
        const escrow = this.#machine.escrow(id);
        if (escrow === NONE || Escrow.status.get(cells, escrow) !== EscrowStatus.waiting) {
          ids.delete(id);
          continue;
        }
        const workflow = Escrow.workflow.get(cells, escrow);
        if (dependency(this.#machine, first, workflow) === Dependency.pending) {
          // In the same workflow an answer is enough; for all others of this dependency the answer is the same.
          if (workflow === 0) break;
          continue;
        }
        if (!this.#machine.reaches(shardOf(Escrow.service.get(cells, escrow)))) continue;
        yield advanceFrame(id);
      }
      if (ids.size === 0) this.#waiting.delete(first);
    }
  }

  /** Legs of decided workflows that don't know yet. */
  *#untold(): Generator<Uint8Array> {
    const { cells, time } = this.#machine;
    for (const id of this.#workflows) {
      const workflow = this.#machine.workflow(id);
      if (workflow === NONE) {
        this.#workflows.delete(id);
        continue;
      }
      const isOpen = Workflow.status.get(cells, workflow) === WorkflowStatus.open;
      if (isOpen && time <= Workflow.deadline.get(cells, workflow)) continue;
      const done = Workflow.done.get(cells, workflow);
      const untold = done & ~Workflow.told.get(cells, workflow);
      if (untold === 0) this.#workflows.delete(id);
      for (let leg = 0; untold >>> leg !== 0; leg++) {
        if ((untold & (1 << leg)) === 0) continue;
        if (this.#machine.reaches(shardOf(Leg.escrow.get(cells, this.#machine.leg(id, leg))))) yield tellFrame(id, leg);
      }
    }
  }

  /** Escrows past their deadline, from where the hand stands. */
  *#overdue(most: number): Generator<Uint8Array> {
    const { cells, trie, shard, time } = this.#machine;
    const newest = Head.escrows.get(cells, trie.cell(Region.meta, META_HEAD));
    const oldest = Math.max(1, newest - REGION_SLOTS + 1);
    const slots = Math.min(SLOTS_A_SWEEP, newest - oldest + 1);
    let left = most;
    for (let i = 0; i < slots && left > 0; i++) {
      const serial = this.#hand >= newest || this.#hand + 1 < oldest ? this.#startRound(oldest) : this.#hand + 1;
      this.#hand = serial;
      const cell = trie.cell(Region.escrow, slotOf(Region.escrow, serial));
      const status = Escrow.status.get(cells, cell);
      const canEnd =
        status === EscrowStatus.open ||
        status === EscrowStatus.contested ||
        (status === EscrowStatus.held && Escrow.workflow.get(cells, cell) === 0);
      if (!canEnd || Escrow.serial.get(cells, cell) !== serial) continue;
      const id = makeId(shard, serial);
      if (shardOf(Escrow.service.get(cells, cell)) !== shard) continue;
      const deadline = Escrow.deadline.get(cells, cell);
      if (deadline >= time) this.#earliest = Math.min(this.#earliest, deadline);
      else if (this.#machine.reaches(shardOf(Escrow.payer.get(cells, cell)))) {
        left -= 1;
        yield advanceFrame(id);
      }
    }
  }

  #startRound(oldest: number): number {
    this.#nextDue = this.#earliest;
    this.#earliest = Infinity;
    return oldest;
  }
}

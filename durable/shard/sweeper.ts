/**
 * What nobody need sign for (docs/protocol.md §4b): starting calls whose dependency is decided, ending escrows whose time is
 * over, telling the legs of decided workflows. The shard does it by itself, by `advance` and `tell` frames.
 *
 * It is told of every frame that ran and looks at the records which that touched, so what it costs does not grow with what
 * waits. All it knows is in the cells: a restart looks through them once.
 */
import { readUint } from '../../protocol/bytes.ts';
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
import { makeId, serialOf, shardOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import { type Cell, NONE } from '../../protocol/memory.ts';
import { BUNDLE_SLOTS, SystemFrame, advanceFrame, tellFrame } from '../../protocol/messages.ts';
import { Dependency, dependency } from '../../protocol/moves/dependency.ts';
import { isOrder } from '../../protocol/moves/escrow.ts';
import { Status } from '../../protocol/status.ts';
import { Deadlines } from './deadlines.ts';
import { Orders } from './orders.ts';
import { type Touch, touchedByBundle, touchedByItem, touchedByMessage } from './touched.ts';
import { Waiting } from './waiting.ts';
import type { Executed } from './core.ts';

/** Frames put into one chunk, so that bundles don't wait for them. */
const MAX_FRAMES = 256;
/** Calls that waited, looked at in one go once what they waited for has changed: each may be on a page that has to be fetched. */
const MAX_WOKEN = 256;
/** A leg of a workflow as one number: the quad of the workflow, then the leg. */
const LEGS = 16;
/** Records looked through before memory is tidied. */
const LOOKED_AT = 2 ** 14;

/** What may run as soon as there is room for messages to one shard. */
interface Tasks {
  /** Escrows to advance, by id. */
  readonly advance: Set<number>;
  /** Legs to tell. */
  readonly tell: Set<number>;
}

export class Sweeper {
  readonly #machine: Machine;
  readonly #waiting = new Waiting(REGION_SLOTS);
  readonly #escrowsDue: Deadlines;
  readonly #workflowsDue: Deadlines;
  /** By the shard that must be reached. */
  readonly #tasks = new Map<number, Tasks>();
  readonly orders: Orders;
  /** Called for an agent that may be new, or have another key: nothing to be done about, but the sweeper sees what every frame touches. */
  onAgent: (id: number) => void = () => {};
  /** Called for a session that somebody may be leaving. */
  onSession: (id: number) => void = () => {};
  readonly #touch: Touch;
  #touchedEscrows: number[] = [];
  #touchedWorkflows: number[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
    this.orders = new Orders(machine);
    const { cells, trie } = machine;
    this.#escrowsDue = new Deadlines(REGION_SLOTS, (slot, deadline) => {
      const escrow = trie.cell(Region.escrow, slot);
      return this.#endsByTime(escrow) && Escrow.deadline.get(cells, escrow) === deadline;
    });
    this.#workflowsDue = new Deadlines(QUADS, (quad, deadline) => {
      const workflow = trie.cell(Region.workflow, 4 * quad);
      return (
        Workflow.status.get(cells, workflow) === WorkflowStatus.open &&
        Workflow.deadline.get(cells, workflow) === deadline
      );
    });
    this.#touch = {
      agent: (id) => this.onAgent(id),
      session: (id) => this.onSession(id),
      escrow: (id) => this.#touchedEscrows.push(id),
      workflow: (id) => this.#touchedWorkflows.push(id),
      leg: (workflow, leg) => {
        this.#touchedWorkflows.push(workflow);
        if (machine.isLocal(workflow) && machine.workflow(workflow) !== NONE)
          this.#touchedEscrows.push(Leg.escrow.get(cells, machine.leg(workflow, leg)));
      },
    };
  }

  /** Finds what is under way in the cells. `rest` is called now and then: no cell is in use. */
  restore(rest: () => void): void {
    const { cells, trie, shard } = this.#machine;
    const head = trie.cell(Region.meta, META_HEAD);
    const [escrows, workflows] = [Head.escrows.get(cells, head), Head.workflows.get(cells, head)];
    for (let serial = Math.max(1, escrows - REGION_SLOTS + 1); serial <= escrows; serial++) {
      this.#lookAtEscrow(makeId(shard, serial));
      if (serial % LOOKED_AT === 0) rest();
    }
    for (let serial = Math.max(1, workflows - QUADS + 1); serial <= workflows; serial++) {
      this.#lookAtWorkflow(makeId(shard, serial));
      if (serial % LOOKED_AT === 0) rest();
    }
  }

  /** A frame ran, with these outcomes. */
  note({ frame, bundle }: Executed, statuses: Uint8Array, values: Float64Array): void {
    if (bundle) touchedByBundle(this.#touch, bundle, statuses, values);
    else if (statuses[0] !== Status.ok) return;
    else if (frame[0] === SystemFrame.inbox) touchedByItem(this.#touch, frame.subarray(1), values[0]);
    else if (frame[0] === SystemFrame.receive) touchedByMessage(this.#touch, frame, values[0]);
    else if (frame[0] === SystemFrame.advance) this.#touch.escrow(readUint(frame, 1, 7));
    else if (frame[0] === SystemFrame.tell) this.#touch.leg(readUint(frame, 1, 7), frame[8]);
  }

  /** When something will be overdue, Unix seconds. Infinity for never. */
  get nextDue(): number {
    this.#look();
    return Math.min(this.#escrowsDue.next, this.#workflowsDue.next) + 1;
  }

  /** Whether any frame may run now. */
  get isBusy(): boolean {
    this.#look();
    for (const shard of this.#tasks.keys()) if (this.#reaches(shard)) return true;
    return this.#waiting.isAwake;
  }

  /** Frames that may run now, at most a chunk's share: each is run before the next is asked for. */
  *frames(): Generator<Uint8Array> {
    this.#look();
    let left = MAX_FRAMES;
    for (const [shard, { advance, tell }] of this.#tasks) {
      for (const id of advance) {
        if (!this.#reaches(shard)) break;
        if (this.#isToAdvance(id)) {
          if (left-- === 0) return;
          yield advanceFrame(id);
          // What waited for this one comes next, in the same chunk: a chain is as long as its payers like.
          this.#look();
          // Refused: it is tried again, but not now.
          if (this.#isToAdvance(id)) continue;
        }
        advance.delete(id);
      }
      for (const key of tell) {
        if (!this.#reaches(shard)) break;
        const leg = key % LEGS;
        const id = this.#workflowIn((key - leg) / LEGS);
        if (this.#isToTell(id, leg)) {
          if (left-- === 0) return;
          yield tellFrame(id, leg);
          if (this.#isToTell(id, leg)) continue;
        }
        tell.delete(key);
      }
      if (advance.size + tell.size === 0) this.#tasks.delete(shard);
    }
  }

  /** As for what a shard does by itself, whatever ran before. */
  #reaches(shard: number): boolean {
    return this.#machine.reaches(shard, BUNDLE_SLOTS);
  }
  #tasksFor(shard: number): Tasks {
    let tasks = this.#tasks.get(shard);
    if (!tasks) this.#tasks.set(shard, (tasks = { advance: new Set(), tell: new Set() }));
    return tasks;
  }

  /** Looks at what was touched, and at what has become overdue. */
  #look(): void {
    // In order: a call is started before the one that follows it.
    for (const id of this.#touchedEscrows) this.#lookAtEscrow(id);
    for (const id of this.#touchedWorkflows) this.#lookAtWorkflow(id);
    this.#touchedEscrows = [];
    this.#touchedWorkflows = [];
    const { cells, trie, shard, time } = this.#machine;
    for (let i = 0; i < MAX_WOKEN && this.#waiting.isAwake; i++)
      this.#lookAtWaiting(trie.cell(Region.escrow, this.#waiting.take()));
    for (let slot = this.#escrowsDue.take(time); slot >= 0; slot = this.#escrowsDue.take(time)) {
      const escrow = trie.cell(Region.escrow, slot);
      const payer = shardOf(Escrow.payer.get(cells, escrow));
      this.#tasksFor(payer).advance.add(makeId(shard, Escrow.serial.get(cells, escrow)));
    }
    for (let quad = this.#workflowsDue.take(time); quad >= 0; quad = this.#workflowsDue.take(time))
      this.#lookAtWorkflow(this.#workflowIn(quad));
  }

  // --- escrows ---

  #lookAtEscrow(id: number): void {
    const machine = this.#machine;
    const { cells } = machine;
    const escrow = machine.isLocal(id) ? machine.escrow(id) : NONE;
    if (escrow === NONE) return;
    this.orders.look(escrow);
    this.#waiting.wake(slotOf(Region.escrow, serialOf(id)));
    if (Escrow.status.get(cells, escrow) === EscrowStatus.waiting) this.#lookAtWaiting(escrow);
    else if (this.#endsByTime(escrow))
      this.#escrowsDue.add(slotOf(Region.escrow, serialOf(id)), Escrow.deadline.get(cells, escrow));
    const workflow = Escrow.workflow.get(cells, escrow);
    if (workflow !== 0 && Escrow.status.get(cells, escrow) === EscrowStatus.held) this.#lookAtWorkflow(workflow);
  }

  /** A call that waits, or did: it goes on waiting, or may be advanced. */
  #lookAtWaiting(escrow: Cell): void {
    const { cells, shard } = this.#machine;
    if (Escrow.status.get(cells, escrow) !== EscrowStatus.waiting) return;
    const serial = Escrow.serial.get(cells, escrow);
    const id = makeId(shard, serial);
    if (this.#isToAdvance(id)) this.#tasksFor(shardOf(Escrow.service.get(cells, escrow))).advance.add(id);
    else {
      const first = serialOf(Escrow.link.get(cells, escrow));
      this.#waiting.add(slotOf(Region.escrow, first), slotOf(Region.escrow, serial));
    }
  }

  /** Whether time ends an escrow, if nobody does before. */
  #endsByTime(escrow: Cell): boolean {
    const { cells } = this.#machine;
    const status = Escrow.status.get(cells, escrow);
    const has =
      status === EscrowStatus.open ||
      status === EscrowStatus.contested ||
      (status === EscrowStatus.held && Escrow.workflow.get(cells, escrow) === 0);
    return has && !isOrder(this.#machine, escrow);
  }

  #isToAdvance(id: number): boolean {
    const machine = this.#machine;
    const { cells, time } = machine;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return false;
    if (Escrow.status.get(cells, escrow) !== EscrowStatus.waiting)
      return this.#endsByTime(escrow) && time > Escrow.deadline.get(cells, escrow);
    const state = dependency(machine, Escrow.link.get(cells, escrow), Escrow.workflow.get(cells, escrow));
    return state !== Dependency.pending;
  }

  // --- workflows ---

  #workflowIn(quad: number): number {
    const { cells, trie, shard } = this.#machine;
    return makeId(shard, Workflow.serial.get(cells, trie.cell(Region.workflow, 4 * quad)));
  }

  #lookAtWorkflow(id: number): void {
    const machine = this.#machine;
    const { cells, time } = machine;
    const workflow = machine.isLocal(id) ? machine.workflow(id) : NONE;
    if (workflow === NONE) return;
    const quad = serialOf(id) % QUADS;
    const deadline = Workflow.deadline.get(cells, workflow);
    if (Workflow.status.get(cells, workflow) === WorkflowStatus.open && time <= deadline)
      this.#workflowsDue.add(quad, deadline);
    else
      for (let leg = 0; leg < Workflow.legs.get(cells, workflow); leg++) {
        if (!this.#isToTell(id, leg)) continue;
        const planned = machine.leg(id, leg);
        const escrow = Leg.escrow.get(cells, planned);
        // A leg that is here tells its payer.
        const told = machine.isLocal(escrow) ? Leg.payer.get(cells, planned) : escrow;
        this.#tasksFor(shardOf(told)).tell.add(quad * LEGS + leg);
      }
  }

  #isToTell(id: number, leg: number): boolean {
    const { cells, time } = this.#machine;
    const workflow = this.#machine.workflow(id);
    if (workflow === NONE) return false;
    const isOpen = Workflow.status.get(cells, workflow) === WorkflowStatus.open;
    if (isOpen && time <= Workflow.deadline.get(cells, workflow)) return false;
    return (Workflow.done.get(cells, workflow) & ~Workflow.told.get(cells, workflow) & (1 << leg)) !== 0;
  }
}

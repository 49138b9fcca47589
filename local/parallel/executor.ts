/**
 * Executes one shard's frames on several threads, with the outcomes, cells and roots of the serial engine (docs/protocol.md
 * §4b, docs/decisions/0014). A root is asked for, and fetched later: what changed is copied, and while this thread goes on
 * the others hash the copies; this one helps only where it has to wait for the root.
 *
 * If so told, the others also execute where they have nothing to hash. The threads decode; then the first plans in the order of the trace
 * while the others already execute what is planned, and joins them. Frames are taken in order, each by one thread, and a
 * step waits only for the last step before it with which it has a cell in common: so the earliest that is unfinished never
 * waits, and nothing stops. What makes records under serials given on success, reaches another shard, or is no bundle, runs
 * alone in between, on the engine.
 */
import { Worker } from 'node:worker_threads';
import { Head, META_HEAD, Region } from '../../protocol/cells.ts';
import { MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { Engine, type EngineOptions, stepsOf } from '../../protocol/engine.ts';
import { withdraw } from '../../protocol/ops/withdraw.ts';
import { type Outcome, Status } from '../../protocol/status.ts';
import type { PageImage } from '../../protocol/trie.ts';
import { Lane } from './lane.ts';
import { Planner } from './plan.ts';
import {
  Kind,
  MAX_FRAMES,
  MAX_LANES,
  MAX_STEPS,
  NOWHERE,
  PHASES,
  Phase,
  SPINS,
  type Shared,
  Word,
  fail,
  makeShared,
  nap,
  numbersOf,
  throwIfFailed,
  wordOf,
} from './shared.ts';

export interface ExecutorOptions extends Omit<EngineOptions, 'trie'> {
  /** Threads, this one among them: 1 to 16. */
  readonly threads: number;
  /**
   * Runs frames side by side by their conflicts whenever the others have nothing to hash. With fewer threads than eight or
   * so the engine alone is faster: planning takes half as long as it takes to run what is plain.
   */
  readonly sideBySide?: boolean;
}

/** Shortest run of frames that is worth waking other threads for. */
const WORTHWHILE = 4;
/** Milliseconds after which a thread that says nothing is taken for dead. */
const SILENCE = 60_000;

/** What each frame came to: `statuses` and `values` hold its steps from `first` to `end` − 1, until the call returns. */
export type Visit = (frame: number, statuses: Uint8Array, values: Float64Array, first: number, end: number) => void;

export class ParallelExecutor {
  /** The engine for what runs alone; its state is all threads' state. */
  readonly engine: Engine;
  /** What the threads have in common. */
  readonly shared: Shared;
  readonly #lane: Lane;
  readonly #planner: Planner;
  readonly #workers: readonly Worker[];
  readonly #sideBySide: boolean;
  #phases = 0;
  #isRootDue = false;
  /** Whether there may be something left to be hashed. */
  #isHashing = false;

  /** Threads start at once and stay until {@link close}. */
  constructor(shard: number, signing: Signing, options: ExecutorOptions) {
    const { threads, shards = 1 } = options;
    if (!(threads >= 1 && threads <= MAX_LANES)) throw new RangeError(`1 to ${MAX_LANES} threads`);
    this.#sideBySide = options.sideBySide === true && threads > 1;
    this.shared = makeShared(threads, shard, shards);
    const { control } = this.shared;
    for (let lane = 0; lane < threads; lane++) control[wordOf(lane)] = NOWHERE;
    control[Word.done] = threads - 1;
    this.#lane = new Lane(this.shared, 0);
    this.engine = new Engine(shard, signing, { ...options, trie: this.#lane.trie });
    this.#planner = new Planner(this.shared, this.engine.machine, this.#lane.trie);
    this.#workers = Array.from({ length: threads - 1 }, (_, i) => {
      const worker = new Worker(new URL('./worker.ts', import.meta.url), {
        workerData: { shared: this.shared, lane: i + 1 },
      });
      worker.unref();
      return worker;
    });
  }

  /** Starts from a state of so many pages; only before any frame. */
  load(pages: Iterable<PageImage>): void {
    for (const page of pages) this.#lane.trie.load(page);
  }

  /** All pages, as views. */
  pages(): PageImage[] {
    return this.#lane.trie.takeChanged();
  }

  /** Stops the threads, whatever they are at. Rejects where one had failed. */
  async close(): Promise<void> {
    this.#begin(Phase.exit);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    throwIfFailed(this.shared);
    fail(this.shared, 'it was closed');
  }

  // --- phases: all other threads do the same, and this one does or not; another begins when all are done ---

  #begin(phase: number, first = 0): void {
    const { control } = this.shared;
    this.#phases = (this.#phases + 1) % 2 ** 24;
    Atomics.store(control, Word.claim, first);
    Atomics.store(control, Word.done, 0);
    Atomics.store(control, Word.phase, this.#phases * PHASES + phase);
    Atomics.notify(control, Word.phase);
  }

  /** Begins what is planned, from `first` on, while others already do it. */
  #beginPlanned(phase: number, first: number): void {
    const { control } = this.shared;
    Atomics.store(control, Word.planned, first);
    Atomics.store(control, Word.limit, NOWHERE);
    this.#begin(phase, first);
  }

  /** Whether the other threads are done. */
  #areDone(): boolean {
    return Atomics.load(this.shared.control, Word.done) === this.shared.lanes - 1;
  }

  #end(): void {
    const { control } = this.shared;
    throwIfFailed(this.shared);
    let since = 0;
    for (let spins = 0; !this.#areDone(); spins++) {
      if (spins <= SPINS) continue;
      since ||= performance.now();
      if (performance.now() - since > SILENCE) throw new Error('a thread does not answer');
      nap(this.shared, Word.done, Atomics.load(control, Word.done));
    }
  }

  // --- frames ---

  /**
   * Executes frames from the engine's place on; `visit` is told what each came to, in order, at the latest when all have
   * run. If it throws, the engine's place tells how many have.
   */
  run(frames: readonly Uint8Array[], visit?: Visit): void {
    for (let first = 0; first < frames.length;) {
      const isShared = this.#sideBySide && this.#areDone();
      first += isShared ? this.#runSome(frames, first, visit) : this.#runOne(frames, first, visit);
    }
  }

  #runOne(frames: readonly Uint8Array[], f: number, visit?: Visit): number {
    const { engine } = this;
    const steps = engine.run(engine.seq, frames[f]);
    visit?.(f, engine.statuses, engine.values, 0, steps);
    return 1;
  }

  /** As {@link run}, for the outcomes. */
  execute(frames: readonly Uint8Array[]): Outcome[][] {
    const outcomes: Outcome[][] = [];
    this.run(frames, (_frame, statuses, values, first, end) => {
      outcomes.push(
        Array.from({ length: end - first }, (_, i) => ({ status: statuses[first + i], value: values[first + i] })),
      );
    });
    return outcomes;
  }

  /** Executes as many frames as there is room for. Returns how many. */
  #runSome(all: readonly Uint8Array[], from: number, visit?: Visit): number {
    const { bytes, byteAt, stepAt, control, kinds, statuses, values } = this.shared;
    let count = 0;
    for (; count < MAX_FRAMES && from + count < all.length; count++) {
      const frame = all[from + count];
      const steps = stepsOf(frame);
      // One of more bytes than a frame may have is malformed, as no bytes are.
      const fits = frame.length <= MAX_FRAME_BYTES;
      if (stepAt[count] + steps > MAX_STEPS) break;
      if (fits) bytes.set(frame, byteAt[count]);
      byteAt[count + 1] = byteAt[count] + (fits ? frame.length : 0);
      stepAt[count + 1] = stepAt[count] + steps;
    }
    control[Word.limit] = count;
    // Who is done has left nothing to hash.
    this.#isHashing = false;
    this.#begin(Phase.decode);
    this.#lane.decode(count);
    this.#end();
    for (let f = 0; f < count;) {
      let end = f;
      while (end < count && kinds[end] === Kind.parallel) end += 1;
      if (end - f >= WORTHWHILE) f = this.#runParallel(f, end, all, from);
      if (f < end || end < count) {
        this.#runAlone(f, all[from + f]);
        f += 1;
      }
    }
    if (visit) for (let f = 0; f < count; f++) visit(from + f, statuses, values, stepAt[f], stepAt[f + 1]);
    return count;
  }

  #runAlone(f: number, frame: Uint8Array): void {
    const { stepAt, statuses, values } = this.shared;
    const { engine } = this;
    const steps = engine.run(engine.seq, frame);
    statuses.set(engine.statuses.subarray(0, steps), stepAt[f]);
    values.set(engine.values.subarray(0, steps), stepAt[f]);
  }

  /** Executes frames up to one that turns out to have to run alone. Returns which that is, `end` for none. */
  #runParallel(from: number, end: number, all: readonly Uint8Array[], offset: number): number {
    const { control } = this.shared;
    this.#beginPlanned(Phase.execute, from);
    const stop = this.#orFail(() => this.#planner.plan(from, end, all, offset));
    Atomics.store(control, Word.limit, stop);
    this.#orFail(() => this.#lane.execute());
    this.#end();
    this.#count(from, stop);
    return stop;
  }

  /** Does what the others wait for. */
  #orFail<T>(part: () => T): T {
    try {
      return part();
    } catch (error) {
      fail(this.shared, error);
      throw error;
    }
  }

  /** Counts what was left to be counted when all has run, in the order of the trace. */
  #count(from: number, end: number): void {
    const { actors, burned, codes, openings, stepAt, statuses, values } = this.shared;
    const { machine } = this.engine;
    const { cells } = machine;
    const head = this.#lane.trie.make(Region.meta, META_HEAD);
    Head.seq.set(cells, head, Head.seq.get(cells, head) + end - from);
    Head.escrows.set(cells, head, this.#planner.escrows);
    Head.workflows.set(cells, head, this.#planner.workflows);
    const total = burned.reduce((sum, amount) => sum + amount, 0);
    if (total > 0) machine.burn(total);
    for (let f = from; f < end; f++) {
      if (openings[f] !== Status.ok) continue;
      for (let step = stepAt[f] + 1; step < stepAt[f + 1]; step++) {
        if (codes[step] === withdraw.code && statuses[step] === Status.ok)
          values[step] = machine.sendToOwner(actors[f], numbersOf(this.shared, step)[0]);
      }
    }
  }

  // --- the root ---

  /** Asks for the shard root over everything written so far, one at a time; what runs from now on does not change it. */
  beginRoot(): void {
    if (this.#isRootDue) throw new Error('the last root was not fetched');
    this.#isRootDue = true;
    this.#end();
    const { trie } = this.#lane;
    for (;;) {
      this.#isHashing = true;
      this.#beginPlanned(Phase.hash, 0);
      this.#orFail(() => trie.freeze());
      if (trie.isFrozen) return;
      this.#hash();
    }
  }

  /** The root that was asked for. */
  endRoot(): Uint8Array {
    if (!this.#isRootDue) throw new Error('no root was asked for');
    this.#isRootDue = false;
    this.#hash();
    return this.#lane.trie.finishRoot();
  }

  /** Helps the others hash until all is. */
  #hash(): void {
    if (this.#isHashing) this.#lane.trie.hashUnits();
    this.#isHashing = false;
    this.#end();
  }

  /** Shard root over everything written. */
  root(): Uint8Array {
    this.beginRoot();
    return this.endRoot();
  }
}

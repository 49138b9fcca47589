/**
 * What a dispute is about (docs/protocol.md §10): the commitments between a batch's steps, the tree over those that the
 * sequencer reveals, and the one step that is left in the end. Computed when somebody asks, by executing the batch again.
 */
import type { Bundle } from './bundle.ts';
import { concat } from './bytes.ts';
import { type Context, commitment, stepsOf } from './engine.ts';
import { keccak } from './hash.ts';
import type { Shards } from './shards.ts';
import { bundleIn, runStep } from './step.ts';
import type { PlacedFrame } from './trace.ts';
import type { Verdicts } from './verdicts.ts';
import { type ProvenStep, type Recorder, proveStep } from './witness.ts';

/** Most segments that one move cuts another into. */
export const MAX_SEGMENTS = 128;

/** How many steps of a segment are done after each of the parts it is cut into; the last is its `length`. */
export function segmentEnds(length: number): number[] {
  const n = Math.min(MAX_SEGMENTS, length);
  // As L1 divides; doubles would round `length × i` above 2^53.
  return Array.from({ length: n }, (_, i) => Number((BigInt(length) * BigInt(i + 1)) / BigInt(n)));
}

/** The tree over the commitments at the ends of a segment's parts, the last of which is its `post`. */
export class RevealTree {
  /** From the 128 leaves up. */
  readonly #levels: readonly (readonly Uint8Array[])[];

  constructor(commitments: readonly Uint8Array[]) {
    const zero = new Uint8Array(32);
    const levels = [Array.from({ length: MAX_SEGMENTS }, (_, i) => commitments[i] ?? zero)];
    for (let below = levels[0]; below.length > 1; levels.push(below)) {
      const children = below;
      below = Array.from({ length: children.length / 2 }, (_, i) =>
        keccak(concat(children[2 * i], children[2 * i + 1])),
      );
    }
    this.#levels = levels;
  }

  get root(): Uint8Array {
    return this.#levels.at(-1)![0];
  }
  /** Seven siblings of a leaf, from the bottom up. */
  path(leaf: number): Uint8Array[] {
    return this.#levels.slice(0, -1).map((nodes, level) => nodes[(leaf >>> level) ^ 1]);
  }
}

/** Where a walk stands. */
export interface NextStep extends PlacedFrame {
  /** Which of the frame's steps comes next. */
  readonly index: number;
  readonly context: Context;
}

/** The steps of a batch one after the other, on the state of all shards, which stands at its start and goes along. */
export class Walk {
  readonly shards: Shards;
  readonly #frames: readonly PlacedFrame[];
  readonly #verdicts: Verdicts | undefined;
  #next = 0;
  #index = 0;
  #context: Context = 0;
  #bundle: Bundle | null = null;

  /** `verdicts`, if the shards verify by them, are fetched ahead. */
  constructor(shards: Shards, frames: readonly PlacedFrame[], verdicts?: Verdicts) {
    this.shards = shards;
    this.#frames = frames;
    this.#verdicts = verdicts;
  }

  /** How many steps the batch has. */
  get length(): number {
    const last = this.#frames.at(-1);
    return last ? last.firstStep + stepsOf(last.frame) : 0;
  }
  /** How many are done. */
  get done(): number {
    const frame = this.#frames[this.#next];
    return frame ? frame.firstStep + this.#index : this.length;
  }
  /** The step that comes next; null behind the last. */
  get next(): NextStep | null {
    const frame = this.#frames[this.#next];
    return frame ? { ...frame, index: this.#index, context: this.#context } : null;
  }
  /** The commitment between what is done and what comes next. */
  commitment(): Uint8Array {
    return commitment(this.shards.tree().root(), this.#context);
  }

  /** Executes until so many steps are done. Throws `RangeError` for a place behind it, or behind the batch. */
  async to(step: number): Promise<void> {
    if (step < this.done || step > this.length) throw new RangeError(`no way from step ${this.done} to ${step}`);
    while (this.done < step) {
      const { firstStep, shard, seq, frame } = this.#frames[this.#next];
      await this.#prepare();
      const engine = this.shards.engine(shard);
      if (this.#index === 0 && firstStep + stepsOf(frame) <= step) {
        engine.run(seq, frame, this.#bundle ?? undefined);
        this.#advance(stepsOf(frame), 0);
      } else {
        const { context } = runStep(engine, seq, frame, this.#index, this.#context, this.#bundle);
        this.#advance(1, context);
      }
      engine.takeSent();
    }
  }

  /** Executes the next step, and proves it. `recorder` must have made the shards' tries. Throws `RangeError` behind the last. */
  async prove(recorder: Recorder): Promise<ProvenStep> {
    const { next } = this;
    if (!next) throw new RangeError('behind the last step');
    await this.#prepare();
    const proven = proveStep(this.shards, recorder, next, next.index, next.context, this.#bundle);
    this.shards.engine(next.shard).takeSent();
    this.#advance(1, proven.context);
    return proven;
  }

  /** Before a frame's first step: decodes it, and fetches what its signatures come to. */
  async #prepare(): Promise<void> {
    if (this.#index > 0) return;
    const { shard, frame } = this.#frames[this.#next];
    this.#bundle = bundleIn(frame);
    if (this.#bundle && this.#verdicts) await this.#verdicts.prefetch(this.shards.engine(shard).machine, this.#bundle);
  }

  #advance(steps: number, context: Context): void {
    this.#index += steps;
    this.#context = context;
    if (this.#index < stepsOf(this.#frames[this.#next].frame)) return;
    this.#next += 1;
    this.#index = 0;
  }
}

/** The commitments after so many steps of a walk's batch, ascending. The walk ends at the last. */
export async function commitmentsAt(walk: Walk, steps: readonly number[]): Promise<Uint8Array[]> {
  const commitments: Uint8Array[] = [];
  for (const step of steps) {
    await walk.to(step);
    commitments.push(walk.commitment());
  }
  return commitments;
}

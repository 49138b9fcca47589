/** All shards of a deployment, executed step by step, every step proved: the TypeScript side of the fuzz. */
import { concat } from '../../protocol/bytes.ts';
import {
  CELL_BYTES,
  META_INBOX,
  META_PEERS,
  OUTBOX_RESERVE,
  Region,
  addressOf,
  placeOf,
} from '../../protocol/cells.ts';
import { type Context, stepsOf } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { Shards } from '../../protocol/shards.ts';
import { bundleIn } from '../../protocol/step.ts';
import type { Paging } from '../../protocol/trie.ts';
import { MAX_WITNESS_BYTES, MAX_WITNESS_GROUPS, type ProvenStep, Recorder, proveStep } from '../../protocol/witness.ts';
import { signing, verify } from '../reference/signatures.ts';

/** What L1's `step` is asked, and what it must answer. */
export interface FuzzStep extends ProvenStep {
  readonly shard: number;
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly index: number;
}

const EMPTY = new Uint8Array(CELL_BYTES);
const be4 = (at: number): Uint8Array => Uint8Array.of(at >>> 24, at >>> 16, at >>> 8, at);

export class Stepper {
  readonly recorder = new Recorder();
  readonly shards: Shards;
  /** Root of the state as it is, where it is known. */
  #root: Uint8Array | undefined;

  /** `noise` puts cells where no step can come, so that proofs have something beside their way. */
  constructor(shards: number, noise = false, paging: (shard: number) => Paging | null = () => null) {
    this.shards = new Shards({
      shards,
      signing,
      verify: (key, preimage, signature) => verify(key, preimage(), signature),
      trie: (shard) => this.recorder.trie(shard, paging(shard)),
    });
    if (noise) this.#makeNoise();
  }

  #makeNoise(): void {
    const cell = (at: number): Uint8Array => concat(keccak(be4(at)), keccak(be4(at ^ 1)));
    const put = (shard: number, region: number, slot: number): void => {
      const at = addressOf(shard, region, slot);
      // Other shards' peers are looked at, whether they ever sent anything or not; and the slots that L1 has for itself.
      const isPeer = region === Region.meta && slot >= META_PEERS && slot < META_PEERS + 256;
      const isReserve = region === Region.outbox && slot === OUTBOX_RESERVE;
      if (at % 5 > 0 && !isPeer && !isReserve) this.write(at, cell(at));
    };
    for (let shard = 0; shard < this.shards.count; shard++)
      for (let region = 0; region < 16; region++)
        // Beyond the serials that a trace reaches, and before those where a ring ends: beside every node of the way to them.
        for (let height = 4; height < 10; height++)
          for (let child = 1; child < 4; child++)
            if (region < 10 || height === 4) put(shard, region, child * 4 ** height);
    for (let shard = this.shards.count; shard < 256; shard = 1 + 2 * shard) put(shard, 1, 7);
  }

  read(at: number): Uint8Array {
    const { shard, region, slot } = placeOf(at);
    return this.shards.engine(shard).trie.read(region, slot);
  }
  write(at: number, cell: Uint8Array): void {
    const { shard, region, slot } = placeOf(at);
    this.shards.engine(shard).trie.edit(region, slot).set(cell);
    this.#root = undefined;
  }
  /** Empties these cells, so that another trace can begin. */
  clear(places: Iterable<number>): void {
    for (const at of places) this.write(at, EMPTY);
  }

  /** One step in any context, whether it could come to that or not. */
  step(
    shard: number,
    seq: number,
    frame: Uint8Array,
    index: number,
    context: Context,
    bundle = bundleIn(frame),
  ): FuzzStep {
    const place = { shard, seq, frame };
    const proven = proveStep(this.shards, this.recorder, place, index, context, bundle, this.#root);
    this.#root = proven.postRoot;
    this.shards.engine(shard).takeSent();
    return { ...place, index, ...proven };
  }

  /** All steps of a frame. */
  frame(shard: number, seq: number, frame: Uint8Array): FuzzStep[] {
    const bundle = bundleIn(frame);
    const steps: FuzzStep[] = [];
    let context: Context = 0;
    for (let index = 0; index < stepsOf(frame); index++) {
      const step = this.step(shard, seq, frame, index, context, bundle);
      context = step.context;
      steps.push(step);
    }
    return steps;
  }
}

/** Cells that are proved together: the four of a session or workflow, and the first four of a shard's meta cells. */
function groupOf(address: number): number {
  const { region, slot } = placeOf(address);
  const isOne =
    region === Region.session || region === Region.workflow || (region === Region.meta && slot < 4 * META_INBOX);
  return isOne ? address - (address % 4) : address;
}

/** What of the page's bounds a step breaks. */
export function boundsBroken({ cells, witness }: ProvenStep): string | undefined {
  const groups = new Set(cells.map(({ address }) => groupOf(address))).size;
  if (groups > MAX_WITNESS_GROUPS) return `looks at ${groups} cells`;
  if (witness.length > MAX_WITNESS_BYTES) return `has a witness of ${witness.length} bytes`;
  return undefined;
}

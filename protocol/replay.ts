/** All shards' frames, executed again by the state transition alone. What a shard says of another is looked up in that one's cells. */
import { decodeBundle } from './bundle.ts';
import { readUint } from './bytes.ts';
import { META_PEERS, Peer, Region, get } from './cells.ts';
import { Signing } from './eip712.ts';
import { Engine, FrameKind } from './engine.ts';
import { keccak } from './hash.ts';
import { linksOf } from './links.ts';
import type { VerifyP256 } from './machine.ts';
import type { Foreign } from './messages.ts';
import { type Link, NotConsistent, type Range, type Stretch, linearize } from './schedule.ts';
import { foreignOf } from './shards.ts';
import type { Outcome } from './status.ts';
import type { ChunkRecord } from './trace.ts';
import { StateTree } from './trie.ts';
import { Verdicts } from './verdicts.ts';

export interface Executed {
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly outcomes: readonly Outcome[];
}

/** One shard, as far as it has been executed. */
export interface Run {
  readonly engine: Engine;
  readonly executed: readonly Executed[];
  /** What tied its frames to other shards'. */
  readonly links: readonly Link[];
}

export interface Deployment {
  readonly shards: number;
  readonly chainId: number;
  readonly root: `0x${string}`;
  /** Answers for P-256 signatures; without, they are checked. */
  readonly verify?: VerifyP256;
}

export class Trace {
  readonly runs: readonly (Run & { readonly executed: Executed[]; readonly links: Link[] })[];
  readonly #verdicts: Verdicts | null;

  constructor({ shards, chainId, root, verify }: Deployment) {
    const signing = new Signing({ chainId, root });
    const verdicts = verify ? null : new Verdicts();
    this.#verdicts = verdicts;
    this.runs = Array.from({ length: shards }, (_, shard) => {
      const options = { verify: verify ?? verdicts!.verify, shards, foreign: this.#foreign(shard) };
      return { engine: new Engine(shard, signing, options), executed: [], links: [] };
    });
  }

  #foreign(shard: number): Foreign {
    return foreignOf(shard, (of) => this.runs[of].engine.trie);
  }

  /** Whether a shard's next frame, which is this one, has what it looks for on another shard. */
  isReady(shard: number, frame: Uint8Array): boolean {
    const { engine } = this.runs[shard];
    const [, peer] = frame;
    if (frame[0] !== FrameKind.receive && frame[0] !== FrameKind.ack) return true;
    // Refused, whatever the other says.
    if (!(peer < this.runs.length) || peer === shard) return true;
    const foreign = this.#foreign(shard);
    if (frame[0] === FrameKind.ack) return frame.length !== 8 || foreign.received(peer, readUint(frame, 2, 6));
    const received = get(engine.trie.read(Region.meta, META_PEERS + peer), Peer.received);
    return foreign.holds(peer, received + 1, keccak(frame.subarray(2)));
  }

  /** Executes a shard's next frame. */
  async execute(shard: number, frame: Uint8Array): Promise<Executed> {
    const { engine, executed, links } = this.runs[shard];
    const { machine, seq } = engine;
    if (frame[0] === FrameKind.bundle && this.#verdicts) {
      try {
        await this.#verdicts.prefetch(machine, decodeBundle(frame));
      } catch {
        // A frame that is no bundle gets its status from the engine.
      }
    }
    const done = { seq, frame, outcomes: engine.execute(seq, frame) };
    executed.push(done);
    links.push(...linksOf(machine, seq, frame, done.outcomes[0].status, engine.takeSent()));
    return done;
  }

  /** The place of each shard's next frame. */
  get places(): number[] {
    return this.runs.map(({ engine }) => engine.seq);
  }

  /** What has been sent and received so far. */
  get traffic(): (Link & { shard: number })[] {
    return this.runs.flatMap(({ engine: { machine, shard, seq } }) =>
      this.runs.flatMap(({ engine: { shard: peer } }) => {
        const of = (field: typeof Peer.sent): number => field.get(machine.cells, machine.peer(peer));
        return [
          { shard, seq, kind: 'sent' as const, peer, number: of(Peer.sent) },
          { shard, seq, kind: 'received' as const, peer, number: of(Peer.received) },
        ];
      }),
    );
  }

  /** What was executed since `places`. */
  since(places: readonly number[]): Stretch[] {
    return this.runs.map(({ engine, links }, shard) => {
      const firstSeq = places[shard];
      return { shard, firstSeq, frames: engine.seq - firstSeq, links: links.filter(({ seq }) => seq >= firstSeq) };
    });
  }

  get shardRoots(): Uint8Array[] {
    return this.runs.map(({ engine }) => engine.trie.root());
  }
  get stateRoot(): Uint8Array {
    return new StateTree(this.shardRoots.map((root, shard) => [shard, root])).root();
  }
}

/** Runs of frames as they were posted, those that follow each other in one shard as one. */
export function runsOf(records: readonly ChunkRecord[]): Range[] {
  const runs: Range[] = [];
  for (const { shard, firstSeq, frames } of records) {
    const last = runs.at(-1);
    if (last && last.shard === shard && last.firstSeq + last.frames === firstSeq)
      runs[runs.length - 1] = { ...last, frames: last.frames + frames.length };
    else runs.push({ shard, firstSeq, frames: frames.length });
  }
  return runs;
}

/** Whether runs of frames are those of the stretches, in the one order of the trace (docs/protocol.md §4b). `before` is what had been sent and received. */
export function isCanonical(
  runs: readonly Range[],
  stretches: readonly Stretch[],
  before: readonly (Link & { shard: number })[],
): boolean {
  try {
    const order = linearize(
      stretches.filter(({ frames }) => frames > 0),
      before,
    );
    const same = (a: Range, b: Range): boolean =>
      a.shard === b.shard && a.firstSeq === b.firstSeq && a.frames === b.frames;
    return order.length === runs.length && order.every((range, i) => same(range, runs[i]));
  } catch (error) {
    if (error instanceof NotConsistent) return false;
    throw error;
  }
}

/**
 * Executes a batch's records as they were posted, after what the trace has executed already. `isCanonical` says whether that is the order of
 * the trace, going by what the frames turned out to depend on.
 */
export async function replayBatch(
  trace: Trace,
  records: readonly ChunkRecord[],
): Promise<{ isCanonical: boolean; stateRoot: Uint8Array; stretches: Stretch[] }> {
  const [places, before] = [trace.places, trace.traffic];
  for (const { shard, firstSeq, frames } of records) {
    if (firstSeq !== trace.runs[shard]?.engine.seq) throw new RangeError(`frame ${shard}:${firstSeq} is out of order`);
    for (const frame of frames) await trace.execute(shard, frame);
  }
  const stretches = trace.since(places);
  return { isCanonical: isCanonical(runsOf(records), stretches, before), stateRoot: trace.stateRoot, stretches };
}

/** The whole trace, executed again from nothing by the state transition alone: what nobody has to be trusted for. */
import type { BatchJson } from '../durable/shard/json.ts';
import { decodeBundle } from '../protocol/bundle.ts';
import { equal, hex } from '../protocol/bytes.ts';
import { MessageCell, Peer, Region, get, getBytes, META_PEERS, messageSlot } from '../protocol/cells.ts';
import { Signing } from '../protocol/eip712.ts';
import { Engine, FrameKind } from '../protocol/engine.ts';
import { keccak } from '../protocol/hash.ts';
import type { Foreign } from '../protocol/messages.ts';
import type { Outcome } from '../protocol/status.ts';
import { StateTree } from '../protocol/trie.ts';
import { Verdicts } from '../protocol/verdicts.ts';
import type { Gateway } from './gateway.ts';

export interface Executed {
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly outcomes: readonly Outcome[];
}

/** One shard as its frames make it. */
export interface Replay {
  readonly engine: Engine;
  readonly executed: readonly Executed[];
  readonly stateRoot: Uint8Array;
}

type Domain = { chainId: number; root: `0x${string}` };

/** One shard being executed. */
class Run {
  readonly engine: Engine;
  readonly executed: Executed[] = [];
  readonly #verdicts = new Verdicts();

  constructor(shard: number, domain: Domain, shards: number, foreign?: Foreign) {
    this.engine = new Engine(shard, new Signing(domain), { verify: this.#verdicts.verify, shards, foreign });
  }

  async execute(frame: Uint8Array): Promise<Executed> {
    if (frame[0] === FrameKind.bundle) {
      try {
        await this.#verdicts.prefetch(this.engine.machine, decodeBundle(frame));
      } catch {
        // A frame that is no bundle gets its status from the engine.
      }
    }
    const { seq } = this.engine;
    const executed = { seq, frame, outcomes: this.engine.execute(seq, frame) };
    this.executed.push(executed);
    return executed;
  }
}

/** Executes frames of one shard in order, of a deployment in which it hears from no other. */
export async function replayFrames(shard: number, domain: Domain, frames: Iterable<Uint8Array>): Promise<Replay> {
  const run = new Run(shard, domain, 1);
  for (const frame of frames) await run.execute(frame);
  const { engine, executed } = run;
  return { engine, executed, stateRoot: new StateTree([[shard, engine.trie.root()]]).root() };
}

const framesOf = async (gateway: Gateway, shard: number): Promise<Uint8Array[]> =>
  (await gateway.frames(shard)).flatMap(({ frames }) => frames);

/** Fetches and executes all that shard 0 of such a deployment ever did. */
export async function replay(gateway: Gateway, domain: Domain): Promise<Replay> {
  return replayFrames(0, domain, await framesOf(gateway, 0));
}

export interface TraceReplay {
  readonly shards: readonly { readonly engine: Engine; readonly executed: readonly Executed[] }[];
  readonly stateRoot: Uint8Array;
  readonly batches: number;
  /** Those whose frames are in no order of the trace, or give another state than they say. */
  readonly wrong: readonly number[];
}

/** Told of each frame: before it runs, and what is returned after it has. */
export type OnFrame = (engine: Engine, frame: Uint8Array) => ((executed: Executed) => void) | void;

/**
 * Executes all shards: first what is in batches, in the order of their data, as whoever verifies the trace does; then what is in none yet, in an
 * order in which each message is received after it was sent. What a shard says of another is looked up in that one's cells.
 */
export async function replayTrace(gateway: Gateway, domain: Domain, onFrame: OnFrame = () => {}): Promise<TraceReplay> {
  const batches = await gateway.batches();
  const count = (await gateway.status()).shards.length;
  const logs = await Promise.all(Array.from({ length: count }, (_, shard) => framesOf(gateway, shard)));
  const runs: Run[] = [];
  for (let shard = 0; shard < count; shard++) runs.push(new Run(shard, domain, count, foreignOf(runs, shard)));
  const step = async (shard: number): Promise<void> => {
    const run = runs[shard];
    const frame = logs[shard][run.engine.seq];
    const after = onFrame(run.engine, frame);
    const executed = await run.execute(frame);
    after?.(executed);
  };
  const root = (): Uint8Array => new StateTree(runs.map(({ engine }) => [engine.shard, engine.trie.root()])).root();
  /** Executes frames up to those places, whatever shard can go on. False when none of them can. */
  const finish = async (ends: readonly number[]): Promise<boolean> => {
    for (;;) {
      const left = runs.filter(({ engine }) => engine.seq < ends[engine.shard]);
      if (left.length === 0) return true;
      const next = left.find(({ engine }) => isReady(runs, engine, logs[engine.shard][engine.seq]));
      if (next === undefined) return false;
      await step(next.engine.shard);
    }
  };
  const wrong: number[] = [];
  for (const { number, ranges, stateRoot } of batches) {
    const inOrder = await follow(runs, logs, ranges, step);
    const ends = runs.map(({ engine }) => engine.seq);
    for (const { shard, firstSeq, frames } of ranges) ends[shard] = Math.max(ends[shard], Number(firstSeq) + frames);
    const whole = inOrder || (await finish(ends));
    if (!inOrder || !whole || hex(root()) !== stateRoot) wrong.push(number);
  }
  // Logs that were fetched one after the other may end between a message and its receipt: what is behind waits for another look.
  await finish(logs.map((log) => log.length));
  return { shards: runs, stateRoot: root(), batches: batches.length, wrong };
}

/** Executes a batch's frames in the order of its data. False when a frame there comes before what it depends on. */
async function follow(
  runs: readonly Run[],
  logs: readonly (readonly Uint8Array[])[],
  ranges: BatchJson['ranges'],
  step: (shard: number) => Promise<void>,
): Promise<boolean> {
  for (const { shard, firstSeq, frames } of ranges) {
    const { engine } = runs[shard];
    if (engine.seq !== Number(firstSeq)) return false;
    for (let i = 0; i < frames; i++) {
      if (!isReady(runs, engine, logs[shard][engine.seq])) return false;
      await step(shard);
    }
  }
  return true;
}

/** What other shards' cells say to one of them. */
const foreignOf = (runs: readonly Run[], shard: number): Foreign => ({
  holds(from, number, hash) {
    const cell = runs[from].engine.trie.read(Region.message, messageSlot(shard, number));
    return get(cell, MessageCell.number) === number && equal(getBytes(cell, MessageCell.hash), hash);
  },
  received: (to, number) => get(runs[to].engine.trie.read(Region.meta, META_PEERS + shard), Peer.received) >= number,
});

/** Whether a frame has what it looks for on another shard. */
function isReady(runs: readonly Run[], engine: Engine, frame: Uint8Array): boolean {
  const { machine, shard } = engine;
  const peer = (of: number): Uint8Array => machine.trie.read(Region.meta, META_PEERS + of);
  const foreign = foreignOf(runs, shard);
  if (frame[0] === FrameKind.receive)
    return foreign.holds(frame[1], get(peer(frame[1]), Peer.received) + 1, keccak(frame.subarray(2)));
  if (frame[0] !== FrameKind.ack) return true;
  const number = frame.subarray(2).reduce((sum, byte) => sum * 256 + byte, 0);
  return foreign.received(frame[1], number);
}

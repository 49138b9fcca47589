/** The whole trace, fetched and executed again from nothing: what nobody has to be trusted for. */
import { hex } from '../protocol/bytes.ts';
import type { Engine } from '../protocol/engine.ts';
import { type Range, NotConsistent, linearize } from '../protocol/schedule.ts';
import { placeFrames, sealData } from '../protocol/trace.ts';
import { StateTree } from '../protocol/trie.ts';
import type { Gateway } from './gateway.ts';
import { executeParallel } from './parallel/replay.ts';
import { type Executed, type Run, Trace } from '../protocol/replay.ts';

export type { Executed } from '../protocol/replay.ts';

/** One shard as its frames make it. */
export interface Replay {
  readonly engine: Engine;
  readonly executed: readonly Executed[];
  readonly stateRoot: Uint8Array;
}

type Domain = { chainId: number; root: `0x${string}` };

/** Executes frames of shard 0, of a deployment in which it hears from no other; on several threads if so told. */
export async function replayFrames(domain: Domain, frames: Iterable<Uint8Array>, threads = 1): Promise<Replay> {
  if (threads > 1) {
    const { engine, executed, root } = await executeParallel(domain, [...frames], threads);
    return { engine, executed, stateRoot: new StateTree([[0, root]]).root() };
  }
  const trace = new Trace({ ...domain, shards: 1 });
  for (const frame of frames) await trace.execute(0, frame);
  const [{ engine, executed }] = trace.runs;
  return { engine, executed, stateRoot: trace.stateRoot };
}

const framesOf = async (gateway: Gateway, shard: number): Promise<Uint8Array[]> =>
  (await gateway.frames(shard)).flatMap(({ frames }) => frames);

/** Fetches and executes all that shard 0 of such a deployment ever did. */
export async function replay(gateway: Gateway, domain: Domain): Promise<Replay> {
  return replayFrames(domain, await framesOf(gateway, 0));
}

export interface TraceReplay {
  readonly shards: readonly Run[];
  readonly stateRoot: Uint8Array;
  readonly batches: number;
  /** Those whose data are in no order of the trace, or not in that one, or which give another state than they say. */
  readonly wrong: readonly number[];
}

/** Told of each frame: before it runs, and what is returned after it has. */
export type OnFrame = (engine: Engine, frame: Uint8Array) => ((executed: Executed) => void) | void;

/**
 * Executes all shards, batch by batch, then what is in none yet, in an order in which each message is received after it was sent. Then it is
 * known what every frame depended on, so in which order each batch's data must be: its `dataRoot` tells whether they are.
 */
export async function replayTrace(gateway: Gateway, domain: Domain, onFrame: OnFrame = () => {}): Promise<TraceReplay> {
  const batches = await gateway.batches();
  const count = (await gateway.status()).shards.length;
  const logs = await Promise.all(Array.from({ length: count }, (_, shard) => framesOf(gateway, shard)));
  const trace = new Trace({ ...domain, shards: count });
  /** Executes frames up to those places, of whatever shard can go on. False when none of them can. */
  const finish = async (ends: readonly number[]): Promise<boolean> => {
    for (;;) {
      const { places } = trace;
      const left = ends.flatMap((end, shard) => (places[shard] < end ? [shard] : []));
      if (left.length === 0) return true;
      const shard = left.find((each) => trace.isReady(each, logs[each][places[each]]));
      if (shard === undefined) return false;
      const frame = logs[shard][places[shard]];
      const after = onFrame(trace.runs[shard].engine, frame);
      const executed = await trace.execute(shard, frame);
      after?.(executed);
    }
  };
  const wrong: number[] = [];
  for (const { number, header, ranges, stateRoot } of batches) {
    const { places, traffic } = trace;
    const ends = [...places];
    for (const { shard, firstSeq, frames } of ranges) ends[shard] = Number(firstSeq) + frames;
    const isWhole = (await finish(ends)) && hex(trace.stateRoot) === stateRoot;
    const stretches = trace.since(places).filter(({ frames }) => frames > 0);
    if (
      !isWhole ||
      dataRootOf(
        logs,
        inOrder(() => linearize(stretches, traffic)),
      ) !== header.dataRoot
    )
      wrong.push(number);
  }
  // Logs that were fetched one after the other may end between a message and its receipt: what is behind waits for another look.
  await finish(logs.map((log) => log.length));
  return { shards: trace.runs, stateRoot: trace.stateRoot, batches: batches.length, wrong };
}

/** No ranges for what has no order. */
function inOrder(order: () => Range[]): Range[] {
  try {
    return order();
  } catch (error) {
    if (error instanceof NotConsistent) return [];
    throw error;
  }
}

function dataRootOf(logs: readonly (readonly Uint8Array[])[], order: readonly Range[]): string {
  const records = order.map(({ shard, firstSeq, frames }) => ({
    shard,
    firstSeq,
    frames: logs[shard].slice(firstSeq, firstSeq + frames),
  }));
  return hex(sealData(placeFrames(records)).dataRoot);
}

/** The same frames in other orders that respect what depends on what (docs/protocol.md §4b). */
import { HEAD, PEER, big } from './cells.ts';
import { Deployment } from './deployment.ts';
import { stateDifference } from './differential.ts';
import { type Entry, Trace, type TraceOptions } from './generate.ts';
import type { Random } from './random.ts';
import { CODES } from './statuses.ts';
import { type World, place } from './world.ts';

type Frame = Extract<Entry, { readonly frame: Uint8Array }>;

/** A frame, what it came to, and the frame of another shard it has to follow. */
export interface Recorded extends Frame {
  readonly statuses: readonly number[];
  readonly after: readonly [shard: number, seq: number] | undefined;
}

export interface Run {
  readonly trace: Trace;
  readonly start: readonly Entry[];
  readonly frames: readonly Recorded[];
}

/** What a receive or ack comes to that does not depend on the other shard. */
const REFUSED = new Set(['malformed', 'no_message', 'stale_ack', 'not_received'].map((name) => CODES.get(name)));

/** A run of a trace, with what each frame depends on. */
export function recordRun(options: TraceOptions, drive: (trace: Trace) => void): Run {
  const start: Entry[] = [];
  const frames: Recorded[] = [];
  /** Which frame sent, and which received, a message. */
  const sentBy = new Map<string, readonly [number, number]>();
  const receivedBy = new Map<string, readonly [number, number]>();
  let mailRead = 0;
  let trace: Trace | undefined;
  const afterWhat = (world: World, frame: Uint8Array, shard: number, status: number): Recorded['after'] => {
    const other = frame[1];
    if (REFUSED.has(status) && !isTaken(world, frame, shard)) return undefined;
    if (frame[0] === 0x04) return receivedBy.get(`${shard}>${other} ${big(frame.subarray(2))}`);
    if (frame[0] !== 0x03) return undefined;
    const { received } = world.read(place.peer(shard, other), PEER);
    // One that is congested found its message, and leaves it the next.
    if (status === CODES.get('congested')) return sentBy.get(`${other}>${shard} ${received + 1n}`);
    receivedBy.set(`${other}>${shard} ${received}`, [shard, Number(world.read(place.head(shard), HEAD).seq) - 1]);
    return sentBy.get(`${other}>${shard} ${received}`);
  };
  /** Whether this is how a message that nobody has received yet was received: an act in it may be malformed itself. */
  const isTaken = (world: World, frame: Uint8Array, shard: number): boolean => {
    if (frame[0] !== 0x03) return false;
    const key = `${frame[1]}>${shard} ${world.read(place.peer(shard, frame[1]), PEER).received}`;
    return sentBy.has(key) && !receivedBy.has(key);
  };
  const watch: TraceOptions['watch'] = (entry, outcomes) => {
    if (!('frame' in entry)) {
      start.push(entry);
      return;
    }
    const { world } = trace!.reference;
    const { shard, seq, frame } = entry;
    const here = [shard, seq] as const;
    for (; mailRead < world.mail.length; mailRead++) {
      const { from, to, number } = world.mail[mailRead];
      sentBy.set(`${from}>${to} ${number}`, here);
    }
    const statuses = outcomes.map(({ status }) => status);
    frames.push({ ...entry, statuses, after: afterWhat(world, frame, shard, statuses[0]) });
  };
  trace = new Trace({ ...options, orderly: true, watch: (entry, outcomes) => watch(entry, outcomes) });
  drive(trace);
  return { trace, start, frames };
}

/** Runs the frames again, the next always from the shard that `pick` chooses among those whose next one can. What differs, if anything. The deployment is left as empty as it has to be. */
function rerun(
  { trace, start, frames }: Run,
  deployment: Deployment,
  pick: (shards: readonly number[]) => number,
): string | undefined {
  for (const entry of start) deployment.follow(entry);
  const queues = Array.from({ length: trace.shards }, (_, shard) => frames.filter((frame) => frame.shard === shard));
  const done = queues.map(() => -1);
  const isReady = ({ after }: Recorded): boolean => after === undefined || done[after[0]] >= after[1];
  for (;;) {
    const ready = queues.flatMap((queue, shard) => (queue.length > 0 && isReady(queue[0]) ? [shard] : []));
    if (ready.length === 0) break;
    const shard = pick(ready);
    const frame = queues[shard].shift()!;
    const statuses = deployment.follow(frame).map(({ status }) => status);
    if (String(statuses) !== String(frame.statuses))
      return `shard ${shard} #${frame.seq} came to ${statuses}, in its first order to ${frame.statuses}`;
    done[shard] = frame.seq;
  }
  if (queues.some((queue) => queue.length > 0)) return 'what is left waits for each other';
  const parted = stateDifference(trace.reference, deployment);
  deployment.clear(trace.reference.world.places());
  return parted;
}

/** In some linear extension of the graph. */
export const inAnyOrder = (run: Run, deployment: Deployment, random: Random): string | undefined =>
  rerun(run, deployment, (shards) => random.pick(shards));

/** In the one linear extension that is the trace. */
export const inTraceOrder = (run: Run, deployment: Deployment): string | undefined =>
  rerun(run, deployment, ([lowest]) => lowest);

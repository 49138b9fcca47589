/**
 * From the shards' logs to a batch. What is composed is written down in shard 0 before any of it goes to L1, and from then on only that
 * record counts: a pass that dies, a batch that a reorg took away, a second worker, all post the same bytes again.
 */
import type { BatchRecord, Cut, ShardRpc } from '../../durable/shard/api.ts';
import { hex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { commitment, stepsOf } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { Frontier } from '../../protocol/log.ts';
import type { Range } from '../../protocol/schedule.ts';
import { type BatchHeader, type ChunkRecord, batchHash, frameLeaf } from '../../protocol/trace.ts';
import { StateTree } from '../../protocol/trie.ts';
import type { Look } from './chain.ts';
import type { Log } from './log.ts';
import { Inconsistent, answered, cutsAt, orderOf, readRecords } from './order.ts';
import type { Records, Sealed } from './modes/mode.ts';
import { MAX_PART_BYTES, type Part, firstPart } from './parts.ts';

/** Makes a batch's data available as far as that goes before L1 is asked. */
export type Sealer = (number: number, records: Records) => Promise<Sealed>;

/** A batch, and its frames in the order of its data. */
export interface Composed {
  readonly record: BatchRecord;
  readonly order: readonly Range[];
}

/** What shard `shard` must have received before its next cut: all that was sent to it by everybody's last. */
const mustReceive = (last: readonly Cut[], shard: number): number[] => last.map(({ sent }) => sent[shard]);

/** All at once, and nothing else between: while some shards have made a cut and others have not, messages wait. */
const cutAll = (shards: readonly ShardRpc[], number: number, batch: number, last: readonly Cut[]): Promise<Cut[]> =>
  Promise.all(
    shards.map(async (stub, shard) =>
      answered(`cut of shard ${shard}`, await stub.cut(number, batch, mustReceive(last, shard))),
    ),
  );

/** Finishes a cut that an earlier pass did not make of all shards before it died: until it is, those and the others don't talk. */
export async function finishCut(shards: readonly ShardRpc[], log: Log): Promise<void> {
  if (shards.length === 1) return;
  const epochs = (await Promise.all(shards.map((shard) => shard.standing()))).map(({ cut }) => cut.number);
  const number = Math.max(...epochs);
  if (epochs.every((epoch) => epoch === number)) return;
  const { batch } = (await shards[epochs.indexOf(number)].cutAt(number))!;
  await cutAll(shards, number, batch, await cutsAt(shards, number - 1));
  log('cut_finished', { batch, cut: number });
}

/**
 * Makes cut `number` of every shard, for `batch`. null when there is nothing to post, or not all shards can be cut yet; why, the log says.
 * One that is begun already is made, work or not; so is any with `evenEmpty`.
 */
export async function cutShards(
  shards: readonly ShardRpc[],
  number: number,
  batch: number,
  log: Log,
  evenEmpty = false,
): Promise<Cut[] | null> {
  const standing = await Promise.all(shards.map((shard) => shard.standing()));
  const isBegun = standing.some(({ cut }) => cut.number >= number);
  if (!isBegun && !evenEmpty && !standing.some(({ hasWork }) => hasWork)) return null;
  const last = await cutsAt(shards, number - 1);
  for (const [shard, { received }] of isBegun ? [] : standing.entries()) {
    const from = mustReceive(last, shard).findIndex((least, peer) => received[peer] < least);
    if (from < 0) continue;
    log('not_ready', { batch, shard, from, received: received[from], of: last[from].sent[shard] });
    return null;
  }
  // L1 takes no batch that leaves a clock far behind: so that of each shard that ever ran goes on right before it is cut.
  const isRunning = (shard: number): boolean => standing[shard].hasWork || standing[shard].cut.toSeq > 0;
  await Promise.all(shards.filter((_, shard) => isRunning(shard)).map((shard) => shard.tickIfDue(1)));
  return cutAll(shards, number, batch, last);
}

/** Steps and `dataRoot` of frames in calldata, over any number of them with a few pages in memory. */
export async function seal(records: AsyncIterable<readonly ChunkRecord[]>): Promise<Sealed> {
  const tree = new Frontier(keccak);
  let steps = 0;
  let count = 0;
  for await (const page of records) {
    for (const { shard, firstSeq, frames } of page) {
      frames.forEach((frame, i) => {
        tree.appendLeaf(frameLeaf({ firstStep: steps, shard, seq: firstSeq + i, frame }));
        steps += stepsOf(frame);
      });
      count += frames.length;
    }
  }
  return { da: Da.calldata, steps, frames: count, dataRoot: tree.root() };
}

/**
 * The record of the batch that follows L1's head; null when there is nothing to post yet. With `instead`, that record of the batch is made
 * anew, up to a later cut. `sealer` finds the data its place; without, that is calldata.
 */
export async function compose(
  shards: readonly ShardRpc[],
  look: Pick<Look, 'head' | 'tip'>,
  log: Log,
  evenEmpty = false,
  instead?: BatchRecord,
  sealer: Sealer = (_number, records) => seal(records()),
): Promise<Composed | null> {
  const number = look.head + 1;
  // Only what is recorded says which cut is next: so whoever composes this batch, whenever, asks for the same.
  const [newest] = await shards[0].batches({ newest: true, limit: 1 });
  const near = await shards[0].batches({ after: Math.max(-1, number - 2), limit: 2 });
  if (near.find((record) => record.number === number)?.hash !== instead?.hash) {
    log('overtaken', { batch: number });
    return null;
  }
  const previous = near.find((record) => record.number === number - 1);
  if (number > 1 && !previous) throw new Inconsistent(`nobody knows batch ${number - 1}`);
  const after = previous?.cuts.upTo ?? 0;
  const upTo = (newest?.cuts.upTo ?? 0) + 1;

  const cuts = await cutShards(shards, upTo, number, log, evenEmpty);
  if (!cuts) return null;
  const clocks = cuts.filter(({ toSeq }) => toSeq > 0);
  const held = cuts.filter(({ fromSeq, toSeq }) => toSeq > fromSeq);
  const ranges = held.map(({ shard, fromSeq, toSeq }) => ({ shard, firstSeq: fromSeq, frames: toSeq - fromSeq }));
  const order = await orderOf(shards, { cuts: { after, upTo }, ranges });
  const { da, steps, frames, dataRoot, certificate } = await sealer(number, () => readRecords(shards, order));
  const expected = ranges.reduce((sum, range) => sum + range.frames, 0);
  if (frames !== expected) throw new Inconsistent(`batch ${number} has ${frames} frames, its cuts say ${expected}`);
  const stateRoot = new StateTree(cuts.map(({ shard, shardRoot }) => [shard, shardRoot])).root();
  const header: BatchHeader = {
    number,
    prev: look.tip.batchHash,
    pre: look.tip.post,
    post: hex(commitment(stateRoot)),
    steps,
    // Of those that ever ran a frame: a shard whose clock the batch does not move must not be behind it either.
    timeFrom: Math.min(...clocks.map(({ timeFrom }) => timeFrom)),
    timeTo: Math.max(...clocks.map(({ timeTo }) => timeTo)),
    inboxCursor: cuts[0].inboxCursor,
    dataRoot: hex(dataRoot),
    da,
  };
  const record: BatchRecord = {
    number,
    header,
    hash: batchHash(header),
    stateRoot: hex(stateRoot),
    state: 'pending',
    cuts: { after, upTo },
    ranges,
    ...(certificate === undefined ? {} : { certificate }),
  };
  return { record, order };
}

/** The next part of a batch's data, `skip` frames into it; null when all are in. */
export async function nextPart(
  shards: readonly ShardRpc[],
  order: readonly Range[],
  skip: number,
): Promise<Part | null> {
  const records: ChunkRecord[] = [];
  let bytes = 0;
  for await (const page of readRecords(shards, order, skip, MAX_PART_BYTES + 8192)) {
    records.push(...page);
    bytes += page.reduce((sum, { frames }) => frames.reduce((n, frame) => n + frame.length, sum), 0);
    if (bytes > MAX_PART_BYTES) break;
  }
  return firstPart(records);
}

/**
 * From the shards' logs to a batch. What is composed is written down in shard 0 before any of it goes to L1, and from then on only that
 * record counts: a pass that dies, a batch that a reorg took away, a second worker, all post the same bytes again.
 */
import { type Cut, type Failure, type BatchRecord, type ShardRpc, isFailure } from '../../durable/shard/api.ts';
import { hex } from '../../protocol/bytes.ts';
import { commitment, stepsOf } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { Frontier } from '../../protocol/log.ts';
import { type BatchHeader, type ChunkRecord, batchHash, decodeChunkRecords, frameLeaf } from '../../protocol/trace.ts';
import { StateTree } from '../../protocol/trie.ts';
import type { Look } from './chain.ts';
import { MAX_PART_BYTES, type Part, firstPart } from './parts.ts';

export type Range = BatchRecord['ranges'][number];

/** `da`: the frames are in calldata. */
const CALLDATA = 0;
/** Bytes of frames held at once. */
const PAGE_BYTES = 1024 * 1024;

/** A shard that answered what it never should: nothing is posted until somebody has looked. */
export class Inconsistent extends Error {}

function answered<T extends object | null>(what: string, answer: T | Failure): T {
  if (isFailure(answer)) throw new Inconsistent(`${what}: ${answer.error.code}, ${answer.error.detail}`);
  return answer as T;
}

/** Records looked back through for where a shard's part of a batch starts. */
const LOOK_BACK = 64;

/** Where shard `shard`'s part of batch `number` starts: where the newest batch before it that holds frames of that shard ends. */
async function partStart(shards: readonly ShardRpc[], shard: number, number: number): Promise<number> {
  const { cut: newest } = await shards[shard].head();
  if (newest.number < number) return newest.toSeq;
  // An earlier pass cut this shard, and died before it could write the batch down: ask for that very cut.
  const records = (await shards[0].batches({ newest: true, limit: LOOK_BACK })).filter(
    (record) => record.number < number,
  );
  const before = records.flatMap(({ ranges }) => ranges).findLast((range) => range.shard === shard);
  if (!before && records.length >= LOOK_BACK)
    throw new Inconsistent(`shard ${shard} was cut for batch ${number}, nobody knows from where`);
  return before ? before.firstSeq + before.frames : 0;
}

/** Cuts every shard for batch `number`; the cuts that hold frames, by shard. */
export async function cutShards(shards: readonly ShardRpc[], number: number): Promise<Cut[]> {
  const cuts: Cut[] = [];
  for (const [shard, stub] of shards.entries()) {
    const cut = answered('cut', await stub.cut(number, await partStart(shards, shard, number)));
    if (cut) cuts.push(cut);
  }
  return cuts;
}

/** Chunk records of ranges, page by page, `skip` frames into them. */
export async function* readRecords(
  shards: readonly ShardRpc[],
  ranges: readonly Range[],
  skip = 0,
  pageBytes = PAGE_BYTES,
): AsyncGenerator<ChunkRecord[]> {
  let left = skip;
  for (const { shard, firstSeq, frames } of ranges) {
    let seq = firstSeq + Math.min(left, frames);
    left -= seq - firstSeq;
    const end = firstSeq + frames;
    while (seq < end) {
      const page = answered('frames', await shards[shard].frames(seq, end, pageBytes));
      if (page.nextSeq <= seq) throw new Inconsistent(`shard ${shard} has no frame ${seq}`);
      yield decodeChunkRecords(page.records);
      seq = page.nextSeq;
    }
  }
}

/** Steps and `dataRoot`, over any number of frames with a few pages in memory. */
export async function seal(
  records: AsyncIterable<readonly ChunkRecord[]>,
): Promise<{ steps: number; frames: number; dataRoot: Uint8Array }> {
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
  return { steps, frames: count, dataRoot: tree.root() };
}

/** State root over shard roots: the cut's where there is one, else the one as of the newest earlier cut. */
async function stateRootAfter(shards: readonly ShardRpc[], number: number, cuts: readonly Cut[]): Promise<Uint8Array> {
  const roots: [number, Uint8Array][] = [];
  for (const [shard, stub] of shards.entries()) {
    roots.push([shard, cuts.find((cut) => cut.shard === shard)?.shardRoot ?? (await stub.rootAt(number))]);
  }
  return new StateTree(roots).root();
}

/** The record of the next batch; null when there is nothing to post. */
export async function compose(
  shards: readonly ShardRpc[],
  look: Pick<Look, 'head' | 'tip'>,
): Promise<BatchRecord | null> {
  const number = look.head + 1;
  const cuts = await cutShards(shards, number);
  if (cuts.length === 0) return null;
  const ranges = cuts.map(({ shard, fromSeq, toSeq }) => ({ shard, firstSeq: fromSeq, frames: toSeq - fromSeq }));
  const { steps, frames, dataRoot } = await seal(readRecords(shards, ranges));
  const expected = ranges.reduce((sum, range) => sum + range.frames, 0);
  if (frames !== expected) throw new Inconsistent(`batch ${number} has ${frames} frames, its cuts say ${expected}`);
  const stateRoot = await stateRootAfter(shards, number, cuts);
  const header: BatchHeader = {
    number,
    prev: look.tip.batchHash,
    pre: look.tip.post,
    post: hex(commitment(stateRoot)),
    steps,
    timeFrom: Math.min(...cuts.map(({ timeFrom }) => timeFrom)),
    timeTo: Math.max(...cuts.map(({ timeTo }) => timeTo)),
    inboxCursor: cuts.find(({ shard }) => shard === 0)?.inboxCursor ?? look.tip.inboxCursor,
    dataRoot: hex(dataRoot),
    da: CALLDATA,
  };
  return { number, header, hash: batchHash(header), stateRoot: hex(stateRoot), state: 'pending', ranges };
}

/** The next part of a batch's data, `skip` frames into it; null when all are in. */
export async function nextPart(
  shards: readonly ShardRpc[],
  ranges: readonly Range[],
  skip: number,
): Promise<Part | null> {
  const records: ChunkRecord[] = [];
  let bytes = 0;
  for await (const page of readRecords(shards, ranges, skip, MAX_PART_BYTES + 8192)) {
    records.push(...page);
    bytes += page.reduce((sum, { frames }) => frames.reduce((n, frame) => n + frame.length, sum), 0);
    if (bytes > MAX_PART_BYTES) break;
  }
  return firstPart(records);
}

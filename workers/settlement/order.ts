/**
 * A batch's frames in the order of the trace (docs/protocol.md §4b). The order follows from the shards' logs and cuts alone, so it is
 * written down nowhere: with much between shards it has a run of frames for every message or two.
 */
import { type BatchRecord, type Cut, type Failure, type ShardRpc, isFailure } from '../../durable/shard/api.ts';
import { decodeLinks } from '../../protocol/links.ts';
import { type Link, type Range, type Stretch, linearize } from '../../protocol/schedule.ts';
import { type ChunkRecord, decodeChunkRecords } from '../../protocol/trace.ts';

/** Bytes of frames in a page, and, about, held at once. */
const PAGE_BYTES = 1024 * 1024;
const HELD_BYTES = 8 * 1024 * 1024;

/** A shard that answered what it never should: nothing is posted until somebody has looked. */
export class Inconsistent extends Error {}

export function answered<T extends object | null>(what: string, answer: T | Failure): T {
  if (isFailure(answer)) throw new Inconsistent(`${what}: ${answer.error.code}, ${answer.error.detail}`);
  return answer as T;
}

/** Every shard's cut `number`; none for 0, before everything. */
export async function cutsAt(shards: readonly ShardRpc[], number: number): Promise<Cut[]> {
  if (number === 0) return [];
  return Promise.all(
    shards.map(async (stub, shard) => {
      const cut = await stub.cutAt(number);
      if (!cut) throw new Inconsistent(`shard ${shard} knows nothing of cut ${number}`);
      return cut;
    }),
  );
}

async function linksOf(stub: ShardRpc, { firstSeq, frames }: Range): Promise<Link[]> {
  const links: Link[] = [];
  const end = firstSeq + frames;
  for (let seq = firstSeq; seq < end;) {
    const page = answered('links', await stub.links(seq, end));
    if (page.nextSeq <= seq) throw new Inconsistent(`nothing is known of frame ${seq}`);
    for (const link of decodeLinks(seq, page.links)) links.push(link);
    seq = page.nextSeq;
  }
  return links;
}

/** What had been sent and received before the frames of a batch. */
function traffic(cuts: readonly Cut[]): (Link & { shard: number })[] {
  return cuts.flatMap(({ shard, sent, received, toSeq: seq }) => [
    ...sent.map((number, peer) => ({ shard, seq, kind: 'sent' as const, peer, number })),
    ...received.map((number, peer) => ({ shard, seq, kind: 'received' as const, peer, number })),
  ]);
}

/** Runs of frames, in the order of the batch's data. Throws `NotConsistent` when the cuts leave out what a frame depends on. */
export async function orderOf(
  shards: readonly ShardRpc[],
  { cuts, ranges }: Pick<BatchRecord, 'cuts' | 'ranges'>,
): Promise<readonly Range[]> {
  if (shards.length === 1) return ranges;
  const before = traffic(await cutsAt(shards, cuts.after));
  const stretches = await Promise.all(
    ranges.map(async (range): Promise<Stretch> => ({ ...range, links: await linksOf(shards[range.shard], range) })),
  );
  return linearize(stretches, before);
}

/** Frames of one shard, one after the other, a page ahead. */
class FrameReader {
  readonly #stub: ShardRpc;
  readonly #shard: number;
  readonly #end: number;
  readonly #pageBytes: number;
  #next: number;
  #page: Uint8Array[] = [];
  #taken = 0;

  /** Reads no frame from `end` on. */
  constructor(stub: ShardRpc, shard: number, next: number, end: number, pageBytes: number) {
    this.#stub = stub;
    this.#shard = shard;
    this.#next = next;
    this.#end = end;
    this.#pageBytes = pageBytes;
  }

  get isEmpty(): boolean {
    return this.#taken === this.#page.length;
  }

  async fill(): Promise<void> {
    const page = answered('frames', await this.#stub.frames(this.#next, this.#end, this.#pageBytes));
    if (page.nextSeq <= this.#next) throw new Inconsistent(`shard ${this.#shard} has no frame ${this.#next}`);
    this.#page = decodeChunkRecords(page.records).flatMap(({ frames }) => frames);
    this.#next = page.nextSeq;
    this.#taken = 0;
  }

  /** At most `count` frames, without asking for more. */
  take(count: number): Uint8Array[] {
    const frames = this.#page.slice(this.#taken, this.#taken + count);
    this.#taken += frames.length;
    return frames;
  }
}

/** Chunk records of runs of frames in their order, page by page, `skip` frames into them. */
export async function* readRecords(
  shards: readonly ShardRpc[],
  order: readonly Range[],
  skip = 0,
  pageBytes = PAGE_BYTES,
): AsyncGenerator<ChunkRecord[]> {
  const ends = new Map(order.map(({ shard, firstSeq, frames }) => [shard, firstSeq + frames]));
  const share = Math.ceil(Math.min(pageBytes, HELD_BYTES / Math.max(1, ends.size)));
  const readers = new Map<number, FrameReader>();
  let page: ChunkRecord[] = [];
  let bytes = 0;
  let left = skip;
  for (const { shard, firstSeq, frames } of order) {
    let seq = firstSeq + Math.min(left, frames);
    left -= seq - firstSeq;
    const end = firstSeq + frames;
    while (seq < end) {
      let reader = readers.get(shard);
      if (!reader) readers.set(shard, (reader = new FrameReader(shards[shard], shard, seq, ends.get(shard)!, share)));
      if (reader.isEmpty) await reader.fill();
      const taken = reader.take(end - seq);
      page.push({ shard, firstSeq: seq, frames: taken });
      bytes += taken.reduce((sum, frame) => sum + frame.length, 0);
      seq += taken.length;
      if (bytes < pageBytes) continue;
      yield page;
      [page, bytes] = [[], 0];
    }
  }
  if (page.length > 0) yield page;
}

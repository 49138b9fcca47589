/** The settlement of a simulated Layer Core: cuts, composes, puts in order and posts, by the product's own code. */
import type { BatchRecord, ShardRpc } from '../../../durable/shard/api.ts';
import { type ChunkRecord, decodeChunkRecords } from '../../../protocol/trace.ts';
import type { MemoryShard } from '../../../test/support/memory-shard.ts';
import { compose, finishCut, nextPart } from '../../../workers/settlement/compose.ts';

const NOTHING = `0x${'00'.repeat(32)}` as const;

export class Settlement {
  readonly batches: { record: BatchRecord; records: ChunkRecord[] }[] = [];
  postedBytes = 0;
  /** What it said that did not go as wished: a cut that had to wait, say. */
  readonly events = new Map<string, number>();
  readonly #shards: readonly MemoryShard[];

  constructor(shards: readonly MemoryShard[]) {
    this.#shards = shards;
  }

  /** One pass: posts the next batch, if it can. */
  async post(): Promise<boolean> {
    const rpcs = this.#shards.map(({ rpc }): ShardRpc => rpc);
    const log = (event: string): void => void this.events.set(event, (this.events.get(event) ?? 0) + 1);
    await finishCut(rpcs, log);
    const newest = this.batches.at(-1)?.record;
    const tip = {
      batchHash: newest?.hash ?? NOTHING,
      post: newest?.header.post ?? NOTHING,
      postedAt: 0,
      inboxCursor: 0,
    };
    const composed = await compose(rpcs, { head: this.batches.length, tip }, log);
    if (!composed) return false;
    const { record, order } = composed;
    await rpcs[0].recordBatch(record);
    const records: ChunkRecord[] = [];
    const total = record.ranges.reduce((sum, { frames }) => sum + frames, 0);
    for (let frames = 0; frames < total;) {
      const part = (await nextPart(rpcs, order, frames))!;
      this.postedBytes += part.data.length;
      records.push(...decodeChunkRecords(part.data));
      frames += part.frames;
    }
    this.batches.push({ record, records });
    return true;
  }
}

/** A shard in memory, for tests of what stands around shards: the same log, cuts and records, without a Durable Object. */
import type { BatchRecord, Cut, Failure, FramesPage, L1View, ShardHead, ShardRpc } from '../../durable/shard/api.ts';
import { Inbox, META_INBOX, Region, get, getBytes } from '../../protocol/cells.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { Engine, FrameKind, inboxFrame, stepsOf, tickFrame } from '../../protocol/engine.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import { SHARD_DEPTH, ZERO_HASHES } from '../../protocol/trie.ts';

const fail = (code: string): Failure => ({ error: { code, detail: code } });

export class MemoryShard {
  readonly engine: Engine;
  readonly frameLog: Uint8Array[] = [];
  readonly #cuts: Cut[] = [];
  readonly #records = new Map<number, string>();
  #l1: L1View | null = null;
  /** Seconds the shard's clock is behind. */
  lag = 0;

  constructor(shard: number, signing: Signing) {
    this.engine = new Engine(shard, signing, { verify: () => true });
  }

  /** As who asks over RPC sees it. */
  get rpc(): ShardRpc {
    return this as unknown as ShardRpc;
  }

  run(frame: Uint8Array): void {
    this.engine.execute(this.frameLog.length, frame);
    this.frameLog.push(frame);
  }

  async head(): Promise<ShardHead> {
    const inbox = this.engine.trie.read(Region.meta, META_INBOX);
    const newest = this.#cuts.at(-1);
    return {
      shard: this.engine.shard,
      seq: this.engine.seq,
      time: this.engine.machine.time,
      running: new Uint8Array(32),
      root: this.engine.trie.root(),
      inboxCursor: get(inbox, Inbox.cursor),
      inboxAccumulator: getBytes(inbox, Inbox.accumulator).slice(),
      cut: { number: newest?.number ?? 0, toSeq: newest?.toSeq ?? 0 },
    };
  }

  async cut(number: number, fromSeq: number): Promise<Cut | null | Failure> {
    const known = this.#cuts.find((cut) => cut.number === number);
    if (known?.fromSeq === fromSeq) return known;
    const newest = this.#cuts.at(-1);
    if (known || fromSeq !== (newest?.toSeq ?? 0)) return fail('bad_cut');
    const { seq, time, inboxCursor, inboxAccumulator, root } = await this.head();
    const frames = this.frameLog.slice(fromSeq);
    if (frames.every((frame) => frame[0] === FrameKind.tick)) return null;
    const times = frames
      .filter((f) => f[0] === FrameKind.tick)
      .map((f) => new DataView(f.buffer, f.byteOffset).getUint32(1));
    const cut: Cut = {
      number,
      shard: this.engine.shard,
      fromSeq,
      toSeq: seq,
      shardRoot: root,
      timeFrom: times[0] ?? time,
      timeTo: times.at(-1) ?? time,
      inboxCursor,
      inboxAccumulator,
      steps: frames.reduce((sum, frame) => sum + stepsOf(frame), 0),
      bytes: frames.reduce((sum, frame) => sum + frame.length + 2, 9),
    };
    this.#cuts.push(cut);
    return cut;
  }

  async recut(number: number): Promise<void> {
    while ((this.#cuts.at(-1)?.number ?? 0) >= number) this.#cuts.pop();
  }

  async frames(fromSeq: number, toSeq: number, maxBytes = 1024 * 1024): Promise<FramesPage | Failure> {
    if (fromSeq >= toSeq || toSeq > this.frameLog.length) return fail('not_found');
    let nextSeq = fromSeq;
    for (let bytes = 0; nextSeq < toSeq && (nextSeq === fromSeq || bytes < maxBytes); nextSeq++)
      bytes += this.frameLog[nextSeq].length + 2;
    const frames = this.frameLog.slice(fromSeq, nextSeq);
    return { records: encodeChunkRecord({ shard: this.engine.shard, firstSeq: fromSeq, frames }), nextSeq };
  }

  async inbox(items: readonly { index: number; bytes: Uint8Array }[]): Promise<{ cursor: number } | Failure> {
    for (const { index, bytes } of items) {
      const { inboxCursor } = await this.head();
      if (index < inboxCursor) continue;
      if (index > inboxCursor) return fail('inbox_gap');
      this.run(inboxFrame(bytes));
    }
    return { cursor: (await this.head()).inboxCursor };
  }

  async tickIfDue(maxAgeSeconds?: number): Promise<{ ticked: boolean; seq: number; time: number }> {
    const now = Math.floor(Date.now() / 1000) - this.lag;
    const { time } = this.engine.machine;
    const last = this.frameLog.at(-1);
    const due = last !== undefined && last[0] !== FrameKind.tick;
    const ticked = now > time && (due || (maxAgeSeconds !== undefined && now - time >= maxAgeSeconds));
    if (ticked) this.run(tickFrame(now));
    return { ticked, seq: this.engine.seq, time: this.engine.machine.time };
  }

  async recordBatch(batch: BatchRecord): Promise<void> {
    this.#records.set(batch.number, JSON.stringify(batch));
  }
  async dropBatches(number: number): Promise<void> {
    for (const known of this.#records.keys()) if (known >= number) this.#records.delete(known);
  }
  async batches({
    after = -1,
    limit = 20,
    newest = false,
  }: { after?: number; limit?: number; newest?: boolean } = {}): Promise<BatchRecord[]> {
    const all = [...this.#records].filter(([number]) => number > after).toSorted(([a], [b]) => a - b);
    const page = newest ? all.slice(-limit) : all.slice(0, limit);
    return page.map(([, body]) => JSON.parse(body) as BatchRecord);
  }
  async recordL1(view: L1View): Promise<void> {
    this.#l1 = view;
  }
  async l1(): Promise<L1View | null> {
    return this.#l1;
  }
  async rootAt(number: number): Promise<Uint8Array> {
    return this.#cuts.findLast((cut) => cut.number <= number)?.shardRoot ?? ZERO_HASHES[SHARD_DEPTH].slice();
  }
}

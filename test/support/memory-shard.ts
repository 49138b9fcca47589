/**
 * A shard in memory, for tests of what stands around shards: the real log, cuts and batches over SQLite in memory, and messages that
 * travel when the test says so, instead of a Durable Object.
 */
import type {
  BatchRecord,
  Cut,
  Failure,
  FramesPage,
  L1View,
  LinksPage,
  ShardHead,
  ShardRpc,
  Standing,
} from '../../durable/shard/api.ts';
import { Batches } from '../../durable/shard/batches.ts';
import { Cuts } from '../../durable/shard/cuts.ts';
import { encodeLinks, linksOf } from '../../protocol/links.ts';
import { Log } from '../../durable/shard/log.ts';
import { packOutcomes } from '../../durable/shard/outcomes.ts';
import { Head, Inbox, META_INBOX, Peer, Region, get, getBytes } from '../../protocol/cells.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { Engine, FrameKind, inboxFrame, stepsOf, tickFrame } from '../../protocol/engine.ts';
import { ackFrame, receiveFrame } from '../../protocol/messages.ts';
import type { Outcome } from '../../protocol/status.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import { memorySql } from '../../local/sql.ts';

const fail = (code: string): Failure => ({ error: { code, detail: code } });

/** What is known of the messages to one peer. */
interface Lane {
  /** Payloads sent: that of message n is at n − 1. */
  readonly payloads: Uint8Array[];
  /** What the peer said it has, and its epoch then. */
  received: number;
  epoch: number;
  /** The part of that which may be acknowledged. */
  ackable: number;
}

export class MemoryShard {
  readonly engine: Engine;
  readonly frameLog: Uint8Array[] = [];
  readonly outcomeLog: Outcome[][] = [];
  readonly #log: Log;
  readonly #cuts: Cuts;
  readonly #batches: Batches;
  readonly #lanes = new Map<number, Lane>();
  /** Seconds the shard's clock is behind. */
  lag = 0;

  constructor(shard: number, signing: Signing, shards = 1) {
    const sql = memorySql();
    const foreign = {
      // As in a Shard: only what its sender brought is given to the engine.
      holds: () => true,
      received: (to: number, number: number) => this.#ackable(to) >= number,
    };
    this.engine = new Engine(shard, signing, { verify: () => true, shards, foreign });
    this.#log = new Log(sql);
    this.#cuts = new Cuts(sql, this.engine, this.#log);
    this.#batches = new Batches(sql);
  }

  /** As who asks over RPC sees it. */
  get rpc(): ShardRpc {
    return this as unknown as ShardRpc;
  }

  /** Runs a frame as a chunk of its own. */
  run(frame: Uint8Array): Outcome[] {
    const { engine } = this;
    const { machine, seq } = engine;
    const outcomes = engine.execute(seq, frame);
    const sent = engine.takeSent();
    for (const { to, payload } of sent) this.#lane(to).payloads.push(payload);
    const steps = stepsOf(frame);
    this.#log.append({
      number: this.#log.length,
      firstSeq: seq,
      count: 1,
      timeMs: 1000 * machine.time,
      promisedBy: 0,
      tick: frame[0] === FrameKind.tick ? machine.time : null,
      steps,
      work: frame[0] === FrameKind.tick || frame[0] === FrameKind.ack ? 0 : 1,
      interactions: 0,
      escrows: get(machine.head(), Head.escrows),
      record: encodeChunkRecord({ shard: engine.shard, firstSeq: seq, frames: [frame] }),
      outcomes: packOutcomes(engine.statuses, engine.values, steps),
      running: new Uint8Array(32),
      links: encodeLinks(seq, linksOf(machine, seq, frame, outcomes[0].status, sent)),
    });
    this.frameLog.push(frame);
    this.outcomeLog.push(outcomes);
    return outcomes;
  }

  // --- messages ---

  get epoch(): number {
    return this.#cuts.newest().number;
  }
  #lane(peer: number): Lane {
    let lane = this.#lanes.get(peer);
    if (!lane) this.#lanes.set(peer, (lane = { payloads: [], received: 0, epoch: 0, ackable: 0 }));
    return lane;
  }
  #ackable(to: number): number {
    const lane = this.#lane(to);
    if (lane.epoch <= this.epoch) lane.ackable = lane.received;
    return lane.ackable;
  }
  #received(from: number): number {
    return Peer.received.get(this.engine.machine.cells, this.engine.machine.peer(from));
  }

  /** Whether another shard has not received all that was sent to it. */
  hasMail(to: MemoryShard): boolean {
    return to.#received(this.engine.shard) < this.#lane(to.engine.shard).payloads.length;
  }

  /** Brings at most `most` messages to another shard, as far as that takes them. Returns how many. */
  deliver(to: MemoryShard, most = Infinity): number {
    const [from, lane] = [this.engine.shard, this.#lane(to.engine.shard)];
    const before = to.#received(from);
    for (let next = before; this.epoch <= to.epoch && next < Math.min(lane.payloads.length, before + most); next++) {
      to.run(receiveFrame(from, lane.payloads[next]));
      if (to.#received(from) === next) break;
    }
    this.#ackable(to.engine.shard);
    [lane.received, lane.epoch] = [to.#received(from), to.epoch];
    return lane.received - before;
  }

  /** Acknowledges what another shard is known to have, if that is more than before. */
  acknowledge(to: MemoryShard): boolean {
    const { machine } = this.engine;
    const number = this.#ackable(to.engine.shard);
    const due = number > Peer.acked.get(machine.cells, machine.peer(to.engine.shard));
    if (due) this.run(ackFrame(to.engine.shard, number));
    return due;
  }

  // --- what settlement asks ---

  async head(): Promise<ShardHead> {
    const inbox = this.engine.trie.read(Region.meta, META_INBOX);
    return {
      shard: this.engine.shard,
      seq: this.engine.seq,
      time: this.engine.machine.time,
      running: new Uint8Array(32),
      root: this.engine.trie.root(),
      inboxCursor: get(inbox, Inbox.cursor),
      inboxAccumulator: getBytes(inbox, Inbox.accumulator).slice(),
      cut: this.#cuts.newest(),
    };
  }
  async standing(): Promise<Standing> {
    return this.#cuts.standing();
  }
  async cut(number: number, batch: number, mustReceive: readonly number[]): Promise<Cut | Failure> {
    return this.#cuts.cut(number, batch, mustReceive);
  }
  async cutAt(number: number): Promise<Cut | null> {
    return this.#cuts.at(number);
  }
  async rootAt(batch: number): Promise<Uint8Array> {
    return this.#cuts.rootAt(batch);
  }
  ofFrame(seq: number): number | undefined {
    return this.#cuts.ofFrame(seq);
  }

  async links(fromSeq: number, toSeq: number): Promise<LinksPage | Failure> {
    // Few to a page, so that tests turn pages.
    const { links, nextSeq } = this.#log.links(fromSeq, toSeq, 8);
    return { links: encodeLinks(fromSeq, links), nextSeq };
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
    this.#batches.put(batch);
  }
  async batches(query: { after?: number; limit?: number; newest?: boolean } = {}): Promise<BatchRecord[]> {
    return this.#batches.list(query);
  }
  async recordL1(view: L1View): Promise<void> {
    this.#batches.putL1(view);
  }
  async l1(): Promise<L1View | null> {
    return this.#batches.l1();
  }
}

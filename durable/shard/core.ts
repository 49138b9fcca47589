/**
 * A shard's state and its log, always together: frames run, their chunk is appended, and only then may anyone be told.
 * Memory is nothing but the snapshot plus the log after it; whatever throws between the two makes the owner abort and rebuild.
 */
import { Bundle, decodeBundle } from '../../protocol/bundle.ts';
import { concat, equal } from '../../protocol/bytes.ts';
import { Head, Peer, get } from '../../protocol/cells.ts';
import { Engine, FrameKind, stepsOf, tickFrame } from '../../protocol/engine.ts';
import { Signing } from '../../protocol/eip712.ts';
import { codeOf } from '../../protocol/errors.ts';
import { keccak } from '../../protocol/hash.ts';
import type { Foreign, SentMessage } from '../../protocol/messages.ts';
import { extendRunning, unpackOutcomes } from '../../protocol/receipt.ts';
import type { Link } from '../../protocol/schedule.ts';
import type { StatusName } from '../../protocol/status.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import { PAGE_CELLS, ShardTrie } from '../../protocol/trie.ts';
import { Arrivals } from './arrivals.ts';
import { Feed, FEED_PAGE } from './feed.ts';
import { callOf } from './incoming.ts';
import { encodeLinks, linksOf } from '../../protocol/links.ts';
import { type Chunk, Log, decodeOutcomes, framesOf } from './log.ts';
import { hashOutcomes, packOutcomes } from './outcomes.ts';
import { Recent } from './recent.ts';
import { Snapshots } from './snapshots.ts';
import { type Answers, NO_ANSWERS, Verdicts } from './verdicts.ts';

/** Seconds within which the sequencer promises that a batch holds a frame. */
export const PROMISE_SECONDS = 3600;
/** A chunk ends at about this many bytes of frames and outcomes: far below a row's 2 MB, and small enough to show as JSON. */
const MAX_CHUNK_BYTES = 256 * 1024;
/** A snapshot is taken after so many frames or chunks: replaying them takes a fraction of a second. */
const SNAPSHOT_FRAMES = 2048;
const SNAPSHOT_CHUNKS = 512;

/** Cells that stay in memory, with their part of the tree: well under half of what the platform gives an object. The others come back when somebody asks. */
export const RESIDENT_CELLS = 2 ** 19;

/** Part of those that a chunk may have in memory on top: memory never shrinks, so what one chunk could call back would stay taken. */
const SPARE = 8;

/** A frame that has run, in the chunk being made. */
export interface Executed {
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly frameHash: Uint8Array;
  readonly runningHash: Uint8Array;
  /** Packed (outcomes.ts), and as a receipt signs them. */
  readonly outcomes: Uint8Array;
  readonly outcomesHash: Uint8Array;
  readonly bundle?: Bundle;
}

const interactionsOf = (frame: Uint8Array): number => (frame[0] === FrameKind.bundle ? stepsOf(frame) - 1 : 0);

export class Core {
  readonly engine: Engine;
  readonly verdicts = new Verdicts();
  readonly log: Log;
  readonly snapshots: Snapshots;
  readonly recent = new Recent();
  readonly feed: Feed;
  readonly arrivals: Arrivals;
  /** Running hash after the last frame. */
  running: Uint8Array = new Uint8Array(32);
  #interactions = 0;
  #lastMs = 0;
  #frames = 0;
  /** Whether frames other than ticks ran since the last tick. */
  #untimed = false;
  #pending: Executed[] = [];
  #sent: SentMessage[] = [];
  #links: Link[] = [];
  #replaying = false;
  #willRest = false;
  /** Whether another shard is known to have this one's messages up to a number. */
  hasReceived: (to: number, number: number) => boolean = () => false;
  /** Called with what a chunk sent, before it is appended: to be stored with it. */
  onSent: (sent: readonly SentMessage[]) => void = () => {};
  /** Called for each frame that ran, the engine's `statuses` and `values` being its own; not in a replay. */
  onExecuted: (executed: Executed) => void = () => {};
  /** Called when a chunk was appended. */
  onChunk: () => void = () => {};
  #pendingBytes = 0;
  readonly #mostPages: number;

  /** `shards`: how many the deployment has. `resident`: pages that stay in memory. */
  constructor(
    sql: SqlStorage,
    shard: number,
    signing: Signing,
    shards: number,
    resident: number = RESIDENT_CELLS / PAGE_CELLS,
  ) {
    this.snapshots = new Snapshots(sql);
    const store = {
      load: (region: number, page: number): Uint8Array => {
        this.#restSoon();
        return this.snapshots.page(region, page);
      },
    };
    const trie = new ShardTrie({ store, resident });
    this.#mostPages = resident + Math.floor(resident / SPARE);
    const foreign: Foreign = {
      // Only what its sender's object brought gets into the log; and what is in the log was right when it came.
      holds: () => true,
      received: (to, number) => this.#replaying || this.hasReceived(to, number),
    };
    this.engine = new Engine(shard, signing, { verify: this.verdicts.verify, shards, foreign, trie });
    this.log = new Log(sql);
    this.feed = new Feed(shard);
    this.arrivals = new Arrivals(sql, this.log);
  }

  get seq(): number {
    return this.engine.seq;
  }
  get time(): number {
    return this.engine.machine.time;
  }
  /** Interactions executed so far. */
  get interactions(): number {
    return this.#interactions;
  }
  get untimed(): boolean {
    return this.#untimed;
  }

  // --- restart ---

  /** Loads the snapshot and replays the log after it. Throws when the log says otherwise than the code: a bug, and better no answer than a wrong one. */
  restore(): void {
    const { engine, snapshots, log } = this;
    snapshots.load(engine.trie);
    const from = snapshots.chunks;
    if (from > log.length) throw new Error(`the snapshot of shard ${engine.shard} is ahead of its log`);
    const before = from > 0 ? log.at(from - 1) : null;
    if (before) this.#adopt(before);
    this.#replaying = true;
    for (const chunk of log.from(from)) {
      this.#replay(chunk);
      this.#adopt(chunk);
      this.#frames += chunk.count;
      this.rest(chunk.number + 1);
    }
    this.#replaying = false;
    this.#recall();
  }

  #replay(chunk: Chunk): void {
    const { engine } = this;
    const frames = framesOf(chunk);
    const logged = decodeOutcomes(chunk.outcomes, frames);
    const bundle = new Bundle();
    const packed: Uint8Array[] = [];
    for (const [i, frame] of frames.entries()) {
      const seq = chunk.firstSeq + i;
      if (frame[0] === FrameKind.receive) {
        const call = callOf(frame)?.interactions[0];
        this.verdicts.againMessage(engine.machine, call, logged[i][0].status, () => engine.run(seq, frame));
      } else if (frame[0] !== FrameKind.bundle) engine.run(seq, frame);
      else {
        bundle.decode(frame);
        this.verdicts.again(engine.machine, bundle, logged[i], () => engine.run(seq, frame, bundle));
      }
      packed.push(packOutcomes(engine.statuses, engine.values, stepsOf(frame)));
      this.running = extendRunning(this.running, keccak(frame));
    }
    // They were stored with the chunk.
    engine.takeSent();
    if (!equal(concat(...packed), chunk.outcomes) || !equal(this.running, chunk.running)) {
      throw new Error(`replay of chunk ${chunk.number} of shard ${engine.shard} differs from its log`);
    }
  }

  #adopt(chunk: Chunk): void {
    this.running = chunk.running;
    this.#interactions = chunk.interactions;
    this.#lastMs = chunk.timeMs;
    this.#untimed = chunk.count > 1 || chunk.tick === null;
  }

  /** Fills the recent places and the feed from the newest chunks. */
  #recall(): void {
    let from = this.log.length;
    for (let frames = 0; from > 0 && frames < Recent.kept / 4 && this.log.length - from < FEED_PAGE; from--) {
      frames += this.log.at(from - 1)!.count;
    }
    let interactions = from > 0 ? this.log.at(from - 1)!.interactions : 0;
    for (const chunk of this.log.from(from)) {
      for (const [i, frame] of framesOf(chunk).entries()) {
        if (frame[0] === FrameKind.bundle) this.recent.add(decodeBundle(frame), keccak(frame), chunk.firstSeq + i);
      }
      this.feed.pushChunk(chunk, chunk.interactions - interactions);
      interactions = chunk.interactions;
    }
  }

  // --- executing ---

  /** Whether the chunk being made has no room for another frame, or has called back so many pages that it must end before they may rest again. */
  get full(): boolean {
    return this.#pendingBytes >= MAX_CHUNK_BYTES || (this.isPending && this.engine.trie.resident > this.#mostPages);
  }

  /** Whether anything is in the chunk being made. */
  get isPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Runs a frame as part of the chunk being made; {@link seal} must follow before any await. */
  execute(frame: Uint8Array): Executed {
    return this.#add(frame, this.engine.run(this.seq, frame));
  }

  /** Runs a receive frame, with what is known of the signatures inside it. Returns the status. */
  executeMessage(frame: Uint8Array, answers: Answers): number {
    this.#add(
      frame,
      this.verdicts.duringMessage(answers, () => this.engine.run(this.seq, frame)),
    );
    return this.engine.statuses[0];
  }

  /** Runs a bundle that was found valid under `key`, with what is known of the signatures inside it. */
  executeBundle(bundle: Bundle, key: Uint8Array, answers: Answers): Executed {
    const { frame } = bundle;
    const run = (): number => this.engine.run(this.seq, frame, bundle);
    const executed = this.#add(frame, this.verdicts.during(bundle, key, answers, run), bundle);
    this.recent.add(bundle, executed.frameHash, executed.seq);
    return executed;
  }

  /** Why the engine would refuse a bundle that was found valid under `key`; null when it would not. */
  refusal(bundle: Bundle, key: Uint8Array): StatusName | null {
    return this.verdicts.during(bundle, key, NO_ANSWERS, () => this.engine.admit(bundle));
  }

  /** Messages received from a shard. */
  readonly #received = (peer: number): number => {
    const { machine } = this.engine;
    return Peer.received.get(machine.cells, machine.peer(peer));
  };

  #add(frame: Uint8Array, steps: number, bundle?: Bundle): Executed {
    const { statuses, values } = this.engine;
    const frameHash = keccak(frame);
    this.running = extendRunning(this.running, frameHash);
    this.#interactions += interactionsOf(frame);
    const executed = {
      seq: this.seq - 1,
      frame,
      frameHash,
      runningHash: this.running,
      outcomes: packOutcomes(statuses, values, steps),
      outcomesHash: hashOutcomes(statuses, values, steps),
      bundle,
    };
    this.#pending.push(executed);
    this.arrivals.note(frame, executed.seq, statuses[0], this.#received);
    this.#pendingBytes += frame.length + 2 + executed.outcomes.length;
    const sent = this.engine.takeSent();
    if (sent.length > 0) this.#sent.push(...sent);
    this.#links.push(...linksOf(this.engine.machine, executed.seq, frame, statuses[0], sent));
    this.onExecuted(executed);
    return executed;
  }

  /** Runs a tick when whole seconds have passed; time never goes back. */
  tick(nowMs: number): boolean {
    const now = Math.floor(nowMs / 1000);
    if (now <= this.time) return false;
    this.execute(tickFrame(now));
    return true;
  }

  /** Appends the chunk being made to the log. Returns by when its frames are promised to L1, null when there is none. */
  seal(nowMs: number): { promisedBy: number } | null {
    const executed = this.#pending;
    if (executed.length === 0) return null;
    const { engine, log } = this;
    const promisedBy = Math.floor(nowMs / 1000) + PROMISE_SECONDS;
    const frames = executed.map(({ frame }) => frame);
    const hasTick = frames[0][0] === FrameKind.tick;
    const chunk: Chunk = {
      number: log.length,
      firstSeq: executed[0].seq,
      count: frames.length,
      timeMs: Math.max(nowMs, this.#lastMs + 1),
      promisedBy,
      tick: hasTick ? this.time : null,
      steps: frames.reduce((sum, frame) => sum + stepsOf(frame), 0),
      work: frames.filter(([kind]) => kind !== FrameKind.tick && kind !== FrameKind.ack).length,
      interactions: this.#interactions,
      escrows: get(engine.machine.head(), Head.escrows),
      record: encodeChunkRecord({ shard: engine.shard, firstSeq: executed[0].seq, frames }),
      outcomes: concat(...executed.map(({ outcomes }) => outcomes)),
      running: this.running,
      links: encodeLinks(executed[0].seq, this.#links),
    };
    this.#links = [];
    if (this.#sent.length > 0) this.onSent(this.#sent);
    this.#sent = [];
    log.append(chunk);
    this.arrivals.seal();
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#lastMs = chunk.timeMs;
    this.#untimed = frames.length > (hasTick ? 1 : 0);
    this.#frames += frames.length;
    if (this.#frames >= SNAPSHOT_FRAMES || log.length - this.snapshots.chunks >= SNAPSHOT_CHUNKS) this.snapshot();
    this.rest();
    const interactions = frames.reduce((sum, frame) => sum + interactionsOf(frame), 0);
    const seen = executed.map(({ frame, outcomes, bundle }) => ({
      frame,
      outcomes: () => unpackOutcomes(outcomes),
      bundle,
    }));
    this.feed.pushChunk(chunk, interactions, seen);
    this.onChunk();
    return { promisedBy };
  }

  /** Stores the cells as they are after so many chunks, so that a restart starts from here. */
  snapshot(chunks: number = this.log.length): void {
    this.snapshots.take(this.engine.trie, chunks);
    this.#frames = 0;
  }

  /** Lets go of pages that there is no room for. Between chunks only: no cell is in use. */
  rest(chunks: number = this.log.length): void {
    const { trie } = this.engine;
    if (trie.evict()) return;
    this.snapshot(chunks);
    trie.evict();
  }

  /** Who only reads makes no chunk, after which there would be rest. */
  #restSoon(): void {
    if (this.#willRest) return;
    this.#willRest = true;
    setTimeout(() => {
      this.#willRest = false;
      if (!this.isPending) this.rest();
    }, 0);
  }

  /** What a bundle's parser says of bytes, or null; in `room` where that is given. */
  static decode(frame: Uint8Array, room?: Bundle): Bundle | null {
    try {
      if (!room) return decodeBundle(frame);
      room.decode(frame);
      return room;
    } catch (error) {
      if (codeOf(error) !== 'malformed') throw error;
      return null;
    }
  }
}

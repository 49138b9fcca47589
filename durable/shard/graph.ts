/** The dependency graph as the log has it (docs/protocol.md §4b): levels inside a chunk, and what ties chunks of shards to each other. */
import { type Graph, graphOf } from '../../protocol/graph.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { Link } from '../../protocol/schedule.ts';
import type { Arrivals } from './arrivals.ts';
import { decodeLinks } from '../../protocol/links.ts';
import { type Chunk, type Log, decodeOutcomes, framesOf } from './log.ts';

/** Messages `first … last` to or from a shard. */
export interface MessageRun {
  readonly peer: number;
  readonly first: number;
  readonly last: number;
}

/** A chunk as a node of the graph. */
export interface ChunkNode {
  readonly shard: number;
  readonly number: number;
  readonly firstSeq: number;
  readonly frames: number;
  readonly interactions: number;
  readonly timeMs: number;
  readonly sent: MessageRun[];
  readonly received: MessageRun[];
  /** Messages it acknowledges, by the last of them. */
  readonly acked: { readonly peer: number; readonly number: number }[];
}

export interface ChunkGraph extends Graph {
  readonly node: ChunkNode;
  /** Of each frame with any, what ties it to other shards; of several messages to one shard, the last. */
  readonly links: Link[];
}

/** A chunk, and the last of the messages asked for that is in it. */
export interface ChunkOfMessage {
  readonly chunk: number;
  readonly last: number;
}

export interface GraphRpc {
  /** The newest chunks up to number `to`, oldest first. */
  chunkNodes(limit: number, to?: number): Promise<ChunkNode[]>;
  chunkGraph(number: number): Promise<ChunkGraph | null>;
  /** The chunk that sent message `number` to shard `to`, which received it about `timeMs`; null when that is not found within a bound. */
  sentIn(to: number, number: number, timeMs: number): Promise<ChunkOfMessage | null>;
  /** The chunk that received message `number` of shard `from`. */
  receivedIn(from: number, number: number): Promise<ChunkOfMessage | null>;
}

/** Chunks that are looked through for the one that sent a message: anybody may ask. */
const LOOKED_AT = 4096;
/** Clocks of shards agree within this, about. */
const CLOCKS_MS = 5000;

export class GraphReader {
  readonly #sql: SqlStorage;
  readonly #machine: Machine;
  readonly #log: Log;
  readonly #arrivals: Arrivals;

  constructor(sql: SqlStorage, machine: Machine, log: Log, arrivals: Arrivals) {
    this.#sql = sql;
    this.#machine = machine;
    this.#log = log;
    this.#arrivals = arrivals;
  }

  nodes(limit: number, to = Infinity): ChunkNode[] {
    const last = Math.min(this.#log.length - 1, to);
    const first = Math.max(0, last - limit + 1);
    const sent = new Map<number, number>();
    const nodes: ChunkNode[] = [];
    for (let number = first; number <= last; number++) nodes.push(this.#node(this.#log.at(number)!, sent));
    return nodes;
  }

  chunk(number: number): ChunkGraph | null {
    const chunk = this.#log.at(number);
    if (!chunk) return null;
    const frames = framesOf(chunk);
    const { levels, steps } = graphOf(this.#machine, frames, decodeOutcomes(chunk.outcomes, frames));
    const links = decodeLinks(chunk.firstSeq, chunk.links);
    return { levels, steps, node: this.#node(chunk, new Map()), links };
  }

  sentIn(to: number, number: number, timeMs: number): ChunkOfMessage | null {
    let found: ChunkOfMessage | null = null;
    for (const { chunk, last } of this.#senders(to, this.#newestBefore(timeMs + CLOCKS_MS))) {
      if (last < number) return found;
      found = { chunk, last };
    }
    // Nothing was sent before it; or it is further back than anybody looks.
    return number === 1 ? found : null;
  }

  receivedIn(from: number, number: number): ChunkOfMessage | null {
    const place = this.#arrivals.outcome(from, number);
    const chunk = place && this.#log.ofFrame(place.seq);
    if (!chunk) return null;
    const links = decodeLinks(chunk.firstSeq, chunk.links);
    const last = links.findLast(({ kind, peer }) => kind === 'received' && peer === from);
    return { chunk: chunk.number, last: last?.number ?? number };
  }

  /** `sent`: the last message to each shard before this chunk, as far as known; moved on. */
  #node(chunk: Chunk, sent: Map<number, number>): ChunkNode {
    const { number, firstSeq, count, timeMs } = chunk;
    const node = {
      shard: this.#machine.shard,
      number,
      firstSeq,
      frames: count,
      interactions: chunk.interactions - (number === 0 ? 0 : this.#log.at(number - 1)!.interactions),
      timeMs,
    };
    const runs = { sent: new Map<number, MessageRun>(), received: new Map<number, MessageRun>() };
    const acked = new Map<number, number>();
    for (const { kind, peer, number: last } of decodeLinks(firstSeq, chunk.links)) {
      if (kind === 'acked') acked.set(peer, last);
      // What was left waiting is received one day.
      if (kind === 'acked' || kind === 'congested') continue;
      const first =
        runs[kind].get(peer)?.first ??
        (kind === 'received' ? last : (sent.get(peer) ?? this.#lastBefore(peer, number, last)) + 1);
      runs[kind].set(peer, { peer, first, last });
      if (kind === 'sent') sent.set(peer, last);
    }
    return {
      ...node,
      sent: [...runs.sent.values()],
      received: [...runs.received.values()],
      acked: Array.from(acked, ([peer, upTo]) => ({ peer, number: upTo })),
    };
  }

  /** Number of the last message to a shard before a chunk; `otherwise` less one where that is too far back. */
  #lastBefore(peer: number, chunk: number, otherwise: number): number {
    for (const { last } of this.#senders(peer, chunk - 1)) return last;
    return chunk < LOOKED_AT ? 0 : otherwise - 1;
  }

  /** Chunks up to `newest` that sent a shard something, newest first, each with the last message's number. */
  *#senders(to: number, newest: number): Generator<{ chunk: number; last: number }> {
    const rows = this.#sql.exec<{ number: number; firstSeq: number; links: ArrayBuffer }>(
      'SELECT number, firstSeq, links FROM chunks WHERE number <= ? AND number > ? AND length(links) > 0 ORDER BY number DESC',
      newest,
      newest - LOOKED_AT,
    );
    for (const { number, firstSeq, links } of rows) {
      const sent = decodeLinks(firstSeq, new Uint8Array(links));
      const last = sent.findLast(({ kind, peer }) => kind === 'sent' && peer === to);
      if (last) yield { chunk: number, last: last.number };
    }
  }

  /** Number of the newest chunk made at a time or before; their times grow. */
  #newestBefore(timeMs: number): number {
    let [low, high] = [0, this.#log.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const row = this.#sql.exec<{ t: number }>('SELECT timeMs AS t FROM chunks WHERE number = ?', middle).one();
      if (row.t <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

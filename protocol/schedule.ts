/**
 * The order of the trace (docs/protocol.md §4b): one linear extension of the graph that messages make of the shards'
 * frames, always the next frame of the lowest shard whose next frame depends on nothing that is still to come.
 */

/** What ties a frame to other shards' frames. Numbers of messages, per ordered pair, count from 1. */
export interface Link {
  /** Place of the frame in its shard's log. */
  readonly seq: number;
  /**
   * `sent`: it sent `peer` the messages up to `number`; `received`: it received message `number` of `peer`; `congested`: it
   * found that message, and left it; `acked`: it says that `peer` has received up to `number`. Other refusals tie nothing.
   */
  readonly kind: 'sent' | 'received' | 'congested' | 'acked';
  readonly peer: number;
  readonly number: number;
}

/** A stretch of one shard's log. */
export interface Stretch {
  readonly shard: number;
  readonly firstSeq: number;
  readonly frames: number;
  /** In the order of the log. */
  readonly links: readonly Link[];
}

/** A run of frames of one shard in the trace. */
export interface Range {
  readonly shard: number;
  readonly firstSeq: number;
  readonly frames: number;
}

/** Stretches that can't be put in order: one receives what none of them, nor anything before them, has sent. */
export class NotConsistent extends Error {}

/** How far a pair of shards has come. */
class Progress {
  readonly #numbers = new Map<number, number>();

  of(from: number, to: number): number {
    return this.#numbers.get(from * 256 + to) ?? 0;
  }
  raise(from: number, to: number, number: number): void {
    this.#numbers.set(from * 256 + to, Math.max(this.of(from, to), number));
  }
}

/** One shard's stretch, as far as it has been placed. */
class Cursor {
  readonly stretch: Stretch;
  seq: number;
  #link = 0;

  constructor(stretch: Stretch) {
    this.stretch = stretch;
    this.seq = stretch.firstSeq;
  }

  get end(): number {
    return this.stretch.firstSeq + this.stretch.frames;
  }
  /** Whether the next frame depends on nothing that is still to come. */
  isReady(sent: Progress, received: Progress): boolean {
    const { shard, links } = this.stretch;
    for (let i = this.#link; i < links.length && links[i].seq === this.seq; i++) {
      const { kind, peer, number } = links[i];
      if ((kind === 'received' || kind === 'congested') && sent.of(peer, shard) < number) return false;
      if (kind === 'acked' && received.of(shard, peer) < number) return false;
    }
    return true;
  }
  /** Places frames up to and with the next that is tied to other shards. */
  advance(sent: Progress, received: Progress): void {
    const { shard, links } = this.stretch;
    if (this.#link === links.length) {
      this.seq = this.end;
      return;
    }
    const tied = links[this.#link].seq;
    if (tied > this.seq) {
      this.seq = tied;
      return;
    }
    for (; this.#link < links.length && links[this.#link].seq === tied; this.#link++) {
      const { kind, peer, number } = links[this.#link];
      if (kind === 'sent') sent.raise(shard, peer, number);
      if (kind === 'received') received.raise(peer, shard, number);
    }
    this.seq = tied + 1;
  }
}

/**
 * Puts the stretches, at most one a shard, into the order of the trace. `before` are links of the log before them, as far
 * as they still matter: what had been sent and received. Throws {@link NotConsistent}.
 */
export function linearize(stretches: readonly Stretch[], before: readonly (Link & { shard: number })[] = []): Range[] {
  const [sent, received] = [new Progress(), new Progress()];
  for (const { shard, kind, peer, number } of before) {
    if (kind === 'sent') sent.raise(shard, peer, number);
    if (kind === 'received') received.raise(peer, shard, number);
  }
  const cursors = stretches.map((stretch) => new Cursor(stretch)).toSorted((a, b) => a.stretch.shard - b.stretch.shard);
  const ranges: { shard: number; firstSeq: number; frames: number }[] = [];
  for (;;) {
    const left = cursors.filter((cursor) => cursor.seq < cursor.end);
    if (left.length === 0) return ranges;
    const next = left.find((cursor) => cursor.isReady(sent, received));
    if (!next)
      throw new NotConsistent(`shards ${left.map(({ stretch }) => stretch.shard).join(', ')} wait for messages`);
    const from = next.seq;
    next.advance(sent, received);
    const { shard } = next.stretch;
    const last = ranges.at(-1);
    if (last?.shard === shard) last.frames += next.seq - from;
    else ranges.push({ shard, firstSeq: from, frames: next.seq - from });
  }
}

/**
 * What happened lately, for live pages. Events of the log are derived from its chunks, so a restart finds the newest again;
 * others (sockets, halves) live in memory only.
 */
import { decodeInboxItem } from '../../protocol/inbox.ts';
import { type Bundle, decodeBundle } from '../../protocol/bundle.ts';
import { FrameKind } from '../../protocol/engine.ts';
import { formatId } from '../../protocol/ids.ts';
import { type Outcome, Status } from '../../protocol/status.ts';
import type { EventJson } from './json.ts';
import { type Chunk, decodeOutcomes, framesOf } from './log.ts';

type Fields = Record<string, string | number | boolean>;

const KEPT = 1000;
export const FEED_PAGE = 100;
/** Most events of one chunk besides its own. */
const PER_CHUNK = 64;

const SESSION_EVENTS = {
  open: 'open',
  fund: 'fund',
  settle: 'settle',
  exit: 'exit',
  finalize: 'close',
  close: 'close',
} as const;

/** Codes of the operations that make events: a bundle without any is not looked into. */
const TOLD: ReadonlySet<number> = new Set([0x01, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12]);

function isTold({ codes, count }: Bundle): boolean {
  for (let i = 0; i < count; i++) if (TOLD.has(codes[i])) return true;
  return false;
}

/** A frame with what came of it; its bundle when somebody has decoded it already. */
export interface FrameOutcomes {
  readonly frame: Uint8Array;
  /** Made only where somebody looks. */
  readonly outcomes: () => readonly Outcome[];
  readonly bundle?: Bundle;
}

/** The sessions and agents a frame changed. */
function* eventsOf({ frame, outcomes: outcomesOf, bundle: decoded }: FrameOutcomes): Generator<Fields> {
  if (frame[0] === FrameKind.inbox && frame[1] === 1) {
    const [{ status, value }] = outcomesOf();
    if (status === Status.ok && decodeInboxItem(frame.subarray(1)).kind === 'register')
      yield { kind: 'agent', id: formatId(value), event: 'register' };
  }
  if (frame[0] !== FrameKind.bundle) return;
  const bundle = decoded ?? decodeBundle(frame);
  if (!isTold(bundle)) return;
  const outcomes = outcomesOf();
  if (outcomes[0].status !== Status.ok) return;
  for (const [i, interaction] of bundle.interactions.entries()) {
    const { status, value } = outcomes[i + 1];
    if (status !== Status.ok) continue;
    if (interaction.op === 'register') yield { kind: 'agent', id: formatId(value), event: 'register' };
    else if (interaction.op === 'open') yield { kind: 'session', id: formatId(value), event: 'open' };
    else if (interaction.op === 'settle') {
      const { session, dir, calls, paid } = interaction.half;
      yield { kind: 'session', id: formatId(session), event: 'settle', dir, calls: String(calls), paid: String(paid) };
    } else if (interaction.op === 'close')
      yield { kind: 'session', id: formatId(interaction.close.session), event: 'close' };
    else if (interaction.op === 'fund' || interaction.op === 'exit' || interaction.op === 'finalize') {
      yield { kind: 'session', id: formatId(interaction.session), event: SESSION_EVENTS[interaction.op] };
    }
  }
}

function unpack(chunk: Chunk): FrameOutcomes[] {
  const frames = framesOf(chunk);
  const outcomes = decodeOutcomes(chunk.outcomes, frames);
  return frames.map((frame, i) => ({ frame, outcomes: () => outcomes[i] }));
}

export class Feed {
  readonly #shard: number;
  #events: EventJson[] = [];
  #last = 0;

  constructor(shard: number) {
    this.#shard = shard;
  }

  push(fields: Fields, timeMs = Date.now()): void {
    this.#last = Math.max(timeMs * 1000, this.#last + 1);
    this.#events.push({ ...fields, kind: String(fields.kind), n: this.#last, timeMs });
    if (this.#events.length > 2 * KEPT) this.#events = this.#events.slice(-KEPT);
  }

  /** The chunk's own event and those of the sessions and agents in it. */
  pushChunk(chunk: Chunk, interactions: number, executed: readonly FrameOutcomes[] = unpack(chunk)): void {
    const { number, firstSeq, count, timeMs } = chunk;
    this.push(
      { kind: 'chunk', shard: this.#shard, number, firstSeq: String(firstSeq), frames: count, interactions },
      timeMs,
    );
    let left = PER_CHUNK;
    for (const each of executed) {
      for (const event of eventsOf(each)) {
        if (left-- <= 0) return;
        this.push(event, timeMs);
      }
    }
  }

  /** The oldest events after a cursor, or the newest ones. */
  read(after?: number): EventJson[] {
    return after === undefined
      ? this.#events.slice(-FEED_PAGE)
      : this.#events.filter(({ n }) => n > after).slice(0, FEED_PAGE);
  }
}

/**
 * Where in the log messages from other shards were received, for whoever waits for what one came to. Messages of one shard come in
 * order and mostly several to a chunk, so a row is a run of them: numbers and frames that both count up.
 */
import { MESSAGE_KINDS, type MessageKind, SystemFrame } from '../../protocol/messages.ts';
import { STATUSES, Status } from '../../protocol/status.ts';
import { MAX_MESSAGE_WAIT_MS, type MessageOutcome } from './api.ts';
import { type Log, decodeOutcomes, framesOf } from './log.ts';

/** Who may wait at once: anybody may ask. */
const MAX_WAITING = 4096;
/** Places in a receive frame. */
const FROM = 1;
const KIND = 2;

interface Run {
  readonly peer: number;
  readonly first: number;
  readonly seq: number;
  count: number;
}

export class Arrivals {
  readonly #sql: SqlStorage;
  readonly #log: Log;
  #pending: Run[] = [];
  /** By `peer:number`: who is to be told. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #waiters = 0;

  constructor(sql: SqlStorage, log: Log) {
    this.#sql = sql;
    this.#log = log;
    sql.exec(
      'CREATE TABLE IF NOT EXISTS arrivals (peer INTEGER, first INTEGER, seq INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (peer, first)) WITHOUT ROWID',
    );
  }

  /** A frame has run. `received` tells how many messages of a shard have been received by now. */
  note(frame: Uint8Array, seq: number, status: number, received: (peer: number) => number): void {
    // After these the message is still the next one.
    if (frame[0] !== SystemFrame.receive || status === Status.congested || status === Status.no_message) return;
    const peer = frame[FROM];
    const number = received(peer);
    const last = this.#pending.findLast((run) => run.peer === peer);
    if (last && last.first + last.count === number && last.seq + last.count === seq) last.count += 1;
    else this.#pending.push({ peer, first: number, seq, count: 1 });
  }

  /** Stores what was noted, with the chunk that holds the frames, and tells who waits: what they answer leaves when both are durable. */
  seal(): void {
    for (const { peer, first, seq, count } of this.#pending) {
      this.#sql.exec('INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?)', peer, first, seq, count);
      for (let number = first; this.#waiters > 0 && number < first + count; number++) {
        const key = `${peer}:${number}`;
        for (const tell of this.#waiting.get(key) ?? []) tell();
        this.#waiting.delete(key);
      }
    }
    this.#pending = [];
  }

  /** What a message came to; null while it has not been received. */
  outcome(peer: number, number: number): MessageOutcome | null {
    const [run] = this.#sql.exec<{ first: number; seq: number; count: number }>(
      'SELECT first, seq, count FROM arrivals WHERE peer = ? AND first <= ? ORDER BY first DESC LIMIT 1',
      peer,
      number,
    );
    if (!run || number >= run.first + run.count) return null;
    const seq = run.seq + number - run.first;
    const chunk = this.#log.ofFrame(seq);
    if (!chunk) return null;
    const frames = framesOf(chunk);
    const [{ status, value }] = decodeOutcomes(chunk.outcomes, frames)[seq - chunk.firstSeq];
    const kind = MESSAGE_KINDS[frames[seq - chunk.firstSeq][KIND]] as MessageKind;
    return { kind, seq, status: STATUSES[status], value };
  }

  /** As {@link outcome}, after at most `waitMs` more. */
  async wait(peer: number, number: number, waitMs: number): Promise<MessageOutcome | null> {
    const known = this.outcome(peer, number);
    if (known || !(waitMs > 0) || this.#waiters >= MAX_WAITING) return known;
    const key = `${peer}:${number}`;
    this.#waiters += 1;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(
        () => {
          const others = this.#waiting.get(key)?.filter((other) => other !== tell) ?? [];
          if (others.length > 0) this.#waiting.set(key, others);
          else this.#waiting.delete(key);
          resolve();
        },
        Math.min(waitMs, MAX_MESSAGE_WAIT_MS),
      );
      const tell = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const others = this.#waiting.get(key);
      if (others) others.push(tell);
      else this.#waiting.set(key, [tell]);
    });
    this.#waiters -= 1;
    return this.outcome(peer, number);
  }
}

/** A shard's log in SQLite: one row a chunk. Everything else a shard knows is rebuilt from it. */
import { Reader } from '../../protocol/bytes.ts';
import { stepsOf } from '../../protocol/engine.ts';
import type { Link } from '../../protocol/schedule.ts';
import type { Outcome } from '../../protocol/status.ts';
import { decodeChunkRecords } from '../../protocol/trace.ts';
import { decodeLinks } from '../../protocol/links.ts';

/** One chunk as its row has it. */
export interface Chunk {
  /** From 0, dense. */
  readonly number: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly timeMs: number;
  /** Unix seconds by which a batch holds its frames. */
  readonly promisedBy: number;
  /** Time of its tick, null without one. */
  readonly tick: number | null;
  readonly steps: number;
  /** Frames other than ticks and acks: what is worth a batch. */
  readonly work: number;
  /** Of the whole log up to and with this chunk: interactions executed, and the last escrow serial. */
  readonly interactions: number;
  readonly escrows: number;
  /** Its frames as a chunk record. */
  readonly record: Uint8Array;
  readonly outcomes: Uint8Array;
  /** Running hash after it. */
  readonly running: Uint8Array;
  /** What ties its frames to other shards' (links.ts), from `firstSeq` on. */
  readonly links: Uint8Array;
}

/** A chunk's outcomes (outcomes.ts), frame by frame. */
export function decodeOutcomes(bytes: Uint8Array, frames: readonly Uint8Array[]): Outcome[][] {
  const reader = new Reader(bytes);
  return frames.map((frame) =>
    Array.from({ length: stepsOf(frame) }, () => ({ status: reader.u8(), value: reader.varint() })),
  );
}

export const framesOf = (chunk: Chunk): readonly Uint8Array[] => decodeChunkRecords(chunk.record)[0].frames;

type Row = Record<string, SqlStorageValue>;

const fromRow = (row: Row): Chunk => ({
  number: row.number as number,
  firstSeq: row.firstSeq as number,
  count: row.count as number,
  timeMs: row.timeMs as number,
  promisedBy: row.promisedBy as number,
  tick: row.tick as number | null,
  steps: row.steps as number,
  work: row.work as number,
  interactions: row.interactions as number,
  escrows: row.escrows as number,
  record: new Uint8Array(row.record as ArrayBuffer),
  outcomes: new Uint8Array(row.outcomes as ArrayBuffer),
  running: new Uint8Array(row.running as ArrayBuffer),
  links: new Uint8Array(row.links as ArrayBuffer),
});

export class Log {
  readonly #sql: SqlStorage;
  /** Chunks in it: the next one's number. */
  #length = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`CREATE TABLE IF NOT EXISTS chunks (
      number INTEGER PRIMARY KEY, firstSeq INTEGER NOT NULL, count INTEGER NOT NULL, timeMs INTEGER NOT NULL, promisedBy INTEGER NOT NULL,
      tick INTEGER, steps INTEGER NOT NULL, work INTEGER NOT NULL, interactions INTEGER NOT NULL, escrows INTEGER NOT NULL,
      record BLOB NOT NULL, outcomes BLOB NOT NULL, running BLOB NOT NULL, links BLOB NOT NULL)`);
    this.#length = sql.exec<{ n: number }>('SELECT coalesce(max(number) + 1, 0) AS n FROM chunks').one().n;
  }

  get length(): number {
    return this.#length;
  }

  append(chunk: Chunk): void {
    this.#sql.exec(
      'INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      chunk.number,
      chunk.firstSeq,
      chunk.count,
      chunk.timeMs,
      chunk.promisedBy,
      chunk.tick,
      chunk.steps,
      chunk.work,
      chunk.interactions,
      chunk.escrows,
      chunk.record,
      chunk.outcomes,
      chunk.running,
      chunk.links,
    );
    this.#length = chunk.number + 1;
  }

  at(number: number): Chunk | null {
    const [row] = this.#sql.exec('SELECT * FROM chunks WHERE number = ?', number);
    return row ? fromRow(row) : null;
  }

  last(): Chunk | null {
    return this.#length === 0 ? null : this.at(this.#length - 1);
  }

  /** Chunks numbered `from` and above, lazily. */
  *from(number: number): Generator<Chunk> {
    for (let n = number; n < this.#length; n++) yield this.at(n)!;
  }

  /** Number of the first chunk for which a column is at least `value`; columns that never fall. An index would cost a second row a chunk. */
  #first(column: 'firstSeq' | 'escrows', value: number): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const { v } = this.#sql.exec<{ v: number }>(`SELECT ${column} AS v FROM chunks WHERE number = ?`, middle).one();
      if (v < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The chunk that holds a frame. */
  ofFrame(seq: number): Chunk | null {
    const chunk = this.at(this.#first('firstSeq', seq + 1) - 1);
    return chunk && seq >= chunk.firstSeq && seq < chunk.firstSeq + chunk.count ? chunk : null;
  }

  /** The chunk in which an escrow serial was given. */
  ofEscrow(serial: number): Chunk | null {
    return this.at(this.#first('escrows', serial));
  }

  runningBefore(chunk: Chunk): Uint8Array {
    return chunk.number === 0 ? new Uint8Array(32) : this.at(chunk.number - 1)!.running;
  }

  /** Whether frames other than ticks and acks came since `fromSeq`, where a chunk starts: time alone is not worth a batch. */
  hasWork(fromSeq: number): boolean {
    const work = 'SELECT 1 FROM chunks WHERE number >= ? AND work > 0 LIMIT 1';
    return this.#sql.exec(work, this.#first('firstSeq', fromSeq)).toArray().length > 0;
  }

  /** Links of frames `fromSeq … toSeq − 1`, whole chunks of them, at least one chunk and about `most` links; and where the next page starts. */
  links(fromSeq: number, toSeq: number, most: number): { links: Link[]; nextSeq: number } {
    const links: Link[] = [];
    let next = fromSeq;
    for (
      let chunk = this.ofFrame(fromSeq);
      chunk && next < toSeq && links.length < most;
      chunk = this.at(chunk.number + 1)
    ) {
      for (const link of decodeLinks(chunk.firstSeq, chunk.links))
        if (link.seq >= fromSeq && link.seq < toSeq) links.push(link);
      next = Math.min(toSeq, chunk.firstSeq + chunk.count);
    }
    return { links, nextSeq: next };
  }

  /** What a cut says of frames `from … to − 1` (chunk boundaries, as every cut is). */
  measure(from: number, to: number): { steps: number; bytes: number; timeFrom: number | null; timeTo: number | null } {
    return this.#sql
      .exec<{ steps: number; bytes: number; timeFrom: number | null; timeTo: number | null }>(
        `SELECT coalesce(sum(steps), 0) AS steps, coalesce(sum(length(record)), 0) AS bytes, min(tick) AS timeFrom, max(tick) AS timeTo
         FROM chunks WHERE number >= ? AND number < ?`,
        this.#first('firstSeq', from),
        this.#first('firstSeq', to),
      )
      .one();
  }
}

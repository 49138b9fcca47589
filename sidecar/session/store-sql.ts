/** A session's store in a SQLite of whatever runtime: a file's in Node (store-sqlite.ts), an edge agent's own in its Durable Object. */
import { CALL_RECORD_BYTES } from '../../protocol/call.ts';
import { Reader, Writer, concat } from '../../protocol/bytes.ts';
import { type Direction, SIGNATURE_BYTES, type SignedHalf, decodeHalf, encodeHalf } from '../../protocol/half.ts';
import type { Database, Statement } from '../database.ts';
import type { DirectionSnapshot, SessionStore } from './store.ts';

/** The tables of all sessions of one agent. */
export const SESSION_SCHEMA = `
  CREATE TABLE IF NOT EXISTS session_direction (session INTEGER, dir INTEGER, snapshot BLOB NOT NULL, PRIMARY KEY (session, dir)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS session_records (session INTEGER, dir INTEGER, first INTEGER, n INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (session, dir, first)) WITHOUT ROWID;
`;

/** The store of one session, beside those of others in one SQLite. */
export class SqlStore implements SessionStore {
  readonly #db: Database;
  readonly #session: number;
  readonly #load: Statement;
  readonly #save: Statement;
  readonly #append: Statement;
  readonly #range: Statement;
  readonly #last: Statement;
  readonly #counts: [number, number];
  #inside = false;

  constructor(db: Database, session: number) {
    this.#db = db;
    this.#session = session;
    this.#load = db.prepare('SELECT snapshot FROM session_direction WHERE session = ? AND dir = ?');
    this.#save = db.prepare(
      'INSERT INTO session_direction VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot',
    );
    this.#append = db.prepare('INSERT INTO session_records VALUES (?, ?, ?, ?, ?)');
    this.#range = db.prepare(
      'SELECT first, bytes FROM session_records WHERE session = ? AND dir = ? AND first + n > ? AND first < ? ORDER BY first',
    );
    this.#last = db.prepare(
      'SELECT first + n AS count FROM session_records WHERE session = ? AND dir = ? ORDER BY first DESC LIMIT 1',
    );
    const count = (dir: Direction): number => Number(this.#last.get(session, dir)?.count ?? 0);
    this.#counts = [count(0), count(1)];
  }

  load(dir: Direction): DirectionSnapshot | null {
    const row = this.#load.get(this.#session, dir);
    return row ? decodeSnapshot(new Uint8Array(row.snapshot as Uint8Array)) : null;
  }

  save(dir: Direction, snapshot: DirectionSnapshot): void {
    this.#save.run(this.#session, dir, encodeSnapshot(snapshot));
  }

  append(dir: Direction, from: number, records: readonly Uint8Array[]): void {
    if (from !== this.#counts[dir]) throw new RangeError(`append at ${from}, have ${this.#counts[dir]}`);
    if (records.length === 0) return;
    this.#append.run(this.#session, dir, from, records.length, concat(...records));
    this.#counts[dir] += records.length;
  }

  records(dir: Direction, from: number, to: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    for (const row of this.#range.all(this.#session, dir, from, to)) {
      const first = Number(row.first);
      const bytes = new Uint8Array(row.bytes as Uint8Array);
      const n = bytes.length / CALL_RECORD_BYTES;
      for (let i = Math.max(0, from - first); i < Math.min(n, to - first); i++) {
        out.push(Uint8Array.prototype.slice.call(bytes, i * CALL_RECORD_BYTES, (i + 1) * CALL_RECORD_BYTES));
      }
    }
    return out;
  }

  count(dir: Direction): number {
    return this.#counts[dir];
  }

  transaction(run: () => void): void {
    if (this.#inside) {
      run();
      return;
    }
    const before: [number, number] = [...this.#counts];
    this.#inside = true;
    try {
      this.#db.transaction(run);
    } catch (error) {
      [this.#counts[0], this.#counts[1]] = before;
      throw error;
    } finally {
      this.#inside = false;
    }
  }
}

const NO_SIGNATURE = new Uint8Array(SIGNATURE_BYTES);

function writeSigned(writer: Writer, signed: SignedHalf | null): void {
  writer.u8(signed === null ? 0 : signed.payee === undefined ? 1 : 2);
  if (signed !== null)
    writer
      .bytes(encodeHalf(signed.half))
      .bytes(signed.payer)
      .bytes(signed.payee ?? NO_SIGNATURE);
}

function readSigned(reader: Reader): SignedHalf | null {
  const kind = reader.u8();
  if (kind === 0) return null;
  const half = decodeHalf(reader);
  const payer = reader.bytes(SIGNATURE_BYTES);
  const payee = reader.bytes(SIGNATURE_BYTES);
  return kind === 2 ? { half, payer, payee } : { half, payer };
}

function encodeSnapshot(s: DirectionSnapshot): Uint8Array {
  const writer = new Writer().u8(1);
  writeSigned(writer, s.half);
  writeSigned(writer, s.receipt);
  writer.u64(s.leaves).u64(s.sum).u64(s.allowance).u8(s.stack.length);
  for (const node of s.stack) writer.bytes(node);
  return writer.finish();
}

function decodeSnapshot(blob: Uint8Array): DirectionSnapshot {
  const reader = new Reader(Uint8Array.from(blob), 1);
  const half = readSigned(reader);
  const receipt = readSigned(reader);
  const leaves = reader.u64();
  const sum = reader.u64();
  const allowance = reader.u64();
  const stack = Array.from({ length: reader.u8() }, () => reader.bytes(32));
  reader.end();
  return { half, receipt, leaves, sum, allowance, stack };
}

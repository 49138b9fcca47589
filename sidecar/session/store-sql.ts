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

/** What is in the tables, of whichever session. */
export class SessionTables {
  readonly db: Database;
  readonly #load: Statement;
  readonly #save: Statement;
  readonly #append: Statement;
  readonly #range: Statement;
  readonly #last: Statement;

  constructor(db: Database) {
    this.db = db;
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
  }

  load(session: number, dir: Direction): DirectionSnapshot | null {
    const row = this.#load.get(session, dir);
    return row ? decodeSnapshot(new Uint8Array(row.snapshot as Uint8Array)) : null;
  }

  /** Takes a snapshot as {@link encodeSnapshot} has it. */
  save(session: number, dir: Direction, snapshot: Uint8Array): void {
    this.#save.run(session, dir, snapshot);
  }

  /** Takes records in pieces of one or more. */
  append(session: number, dir: Direction, from: number, records: readonly Uint8Array[]): void {
    const bytes = concat(...records);
    this.#append.run(session, dir, from, bytes.length / CALL_RECORD_BYTES, bytes);
  }

  records(session: number, dir: Direction, from: number, to: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    for (const row of this.#range.all(session, dir, from, to)) {
      const first = Number(row.first);
      const records = splitRecords(new Uint8Array(row.bytes as Uint8Array));
      out.push(...records.slice(Math.max(0, from - first), Math.min(records.length, to - first)));
    }
    return out;
  }

  count(session: number, dir: Direction): number {
    return Number(this.#last.get(session, dir)?.count ?? 0);
  }
}

/** Records that stand one behind the other, copied. */
export function splitRecords(bytes: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += CALL_RECORD_BYTES) records.push(bytes.slice(at, at + CALL_RECORD_BYTES));
  return records;
}

/** Whoever appends says where, so that nobody leaves a gap or writes twice. */
export function assertNext(from: number, count: number): void {
  if (from !== count) throw new RangeError(`append at ${from}, have ${count}`);
}

/** The store of one session, beside those of others in one SQLite that keeps each write when it is made. */
export class SqlStore implements SessionStore {
  readonly #tables: SessionTables;
  readonly #session: number;
  readonly #counts: [number, number];
  #inside = false;

  constructor(tables: SessionTables, session: number) {
    this.#tables = tables;
    this.#session = session;
    this.#counts = [tables.count(session, 0), tables.count(session, 1)];
  }

  load(dir: Direction): DirectionSnapshot | null {
    return this.#tables.load(this.#session, dir);
  }

  save(dir: Direction, snapshot: DirectionSnapshot): void {
    this.#tables.save(this.#session, dir, encodeSnapshot(snapshot));
  }

  append(dir: Direction, from: number, records: readonly Uint8Array[]): void {
    assertNext(from, this.#counts[dir]);
    if (records.length === 0) return;
    this.#tables.append(this.#session, dir, from, records);
    this.#counts[dir] += records.length;
  }

  records(dir: Direction, from: number, to: number): Uint8Array[] {
    return this.#tables.records(this.#session, dir, from, to);
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
      this.#tables.db.transaction(run);
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

export function encodeSnapshot(s: DirectionSnapshot): Uint8Array {
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

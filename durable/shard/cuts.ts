/** Cuts: where each batch's part of this shard ends, with the root there and the withdrawals it is the first to hold. */
import { Head, META_INBOX, Inbox, Outbox, Region, get, getBytes, slotOf } from '../../protocol/cells.ts';
import type { Engine } from '../../protocol/engine.ts';
import { concat } from '../../protocol/bytes.ts';
import { makeId } from '../../protocol/ids.ts';
import { SHARD_DEPTH, ZERO_HASHES } from '../../protocol/trie.ts';
import { type Cut, type CutWithdrawal, type Failure, failure } from './api.ts';
import type { Log } from './log.ts';

type Row = Record<string, SqlStorageValue>;
const bytesOf = (value: SqlStorageValue): Uint8Array => new Uint8Array(value as ArrayBuffer);

const toCut = (shard: number, row: Row): Cut => ({
  number: row.number as number,
  shard,
  fromSeq: row.fromSeq as number,
  toSeq: row.toSeq as number,
  shardRoot: bytesOf(row.root),
  timeFrom: row.timeFrom as number,
  timeTo: row.timeTo as number,
  inboxCursor: row.inboxCursor as number,
  inboxAccumulator: bytesOf(row.inboxAccumulator),
  steps: row.steps as number,
  bytes: row.bytes as number,
});

export class Cuts {
  readonly #sql: SqlStorage;
  readonly #engine: Engine;
  readonly #log: Log;

  constructor(sql: SqlStorage, engine: Engine, log: Log) {
    this.#sql = sql;
    this.#engine = engine;
    this.#log = log;
    sql.exec(`CREATE TABLE IF NOT EXISTS cuts (
      number INTEGER PRIMARY KEY, fromSeq INTEGER NOT NULL, toSeq INTEGER NOT NULL, root BLOB NOT NULL, timeFrom INTEGER NOT NULL, timeTo INTEGER NOT NULL,
      inboxCursor INTEGER NOT NULL, inboxAccumulator BLOB NOT NULL, steps INTEGER NOT NULL, bytes INTEGER NOT NULL, outbox INTEGER NOT NULL)`);
    sql.exec(`CREATE TABLE IF NOT EXISTS withdrawals (
      number INTEGER, id INTEGER, amount INTEGER NOT NULL, cell BLOB NOT NULL, siblings BLOB NOT NULL, PRIMARY KEY (number, id)) WITHOUT ROWID`);
  }

  #row(sql: string, ...args: number[]): Row | undefined {
    return [...this.#sql.exec(sql, ...args)][0];
  }
  #newest(): Row | undefined {
    return this.#row('SELECT * FROM cuts ORDER BY number DESC LIMIT 1');
  }

  newest(): { number: number; toSeq: number } {
    const row = this.#newest();
    return { number: (row?.number as number) ?? 0, toSeq: (row?.toSeq as number) ?? 0 };
  }

  /** The batch whose cut holds a frame. */
  ofFrame(seq: number): number | undefined {
    return this.#row('SELECT number FROM cuts WHERE toSeq > ? ORDER BY number LIMIT 1', seq)?.number as
      | number
      | undefined;
  }

  rootAt(number: number): Uint8Array {
    const row = this.#row('SELECT root FROM cuts WHERE number <= ? ORDER BY number DESC LIMIT 1', number);
    return row ? bytesOf(row.root) : ZERO_HASHES[SHARD_DEPTH].slice();
  }

  cut(number: number, fromSeq: number): Cut | null | Failure {
    const { shard, trie, machine, seq } = this.#engine;
    const known = this.#row('SELECT * FROM cuts WHERE number = ?', number);
    if (known && known.fromSeq === fromSeq) return toCut(shard, known);
    const last = this.#newest();
    if (known || number <= ((last?.number as number) ?? 0) || fromSeq !== ((last?.toSeq as number) ?? 0)) {
      const at = this.newest();
      return failure(
        'bad_cut',
        `the newest cut is ${at.number}, up to frame ${at.toSeq}: cut the next number from there`,
      );
    }
    if (!this.#log.hasWork(fromSeq)) return null;
    const { steps, bytes, timeFrom, timeTo } = this.#log.measure(fromSeq, seq);
    const inbox = trie.read(Region.meta, META_INBOX);
    const outbox = get(machine.head(), Head.outbox);
    const root = trie.root();
    this.#sql.exec(
      'INSERT INTO cuts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      number,
      fromSeq,
      seq,
      root,
      timeFrom ?? machine.time,
      timeTo ?? machine.time,
      get(inbox, Inbox.cursor),
      getBytes(inbox, Inbox.accumulator),
      steps,
      bytes,
      outbox,
    );
    for (let serial = ((last?.outbox as number) ?? 0) + 1; serial <= outbox; serial++) {
      const slot = slotOf(Region.outbox, serial);
      const cell = trie.read(Region.outbox, slot);
      const siblings = concat(...trie.proof(Region.outbox, slot));
      this.#sql.exec(
        'INSERT INTO withdrawals VALUES (?, ?, ?, ?, ?)',
        number,
        makeId(shard, serial),
        get(cell, Outbox.amount),
        cell,
        siblings,
      );
    }
    return toCut(shard, this.#row('SELECT * FROM cuts WHERE number = ?', number)!);
  }

  recut(number: number): void {
    this.#sql.exec('DELETE FROM cuts WHERE number >= ?', number);
    this.#sql.exec('DELETE FROM withdrawals WHERE number >= ?', number);
  }

  withdrawal(number: number, id: number): CutWithdrawal | null {
    const row = this.#row('SELECT * FROM withdrawals WHERE number = ? AND id = ?', number, id);
    if (!row) return null;
    const packed = bytesOf(row.siblings);
    const siblings = Array.from({ length: packed.length / 32 }, (_, i) => packed.slice(32 * i, 32 * i + 32));
    return { number, id, cell: bytesOf(row.cell), siblings, shardRoot: this.rootAt(number) };
  }

  /** All withdrawals ever: those of cuts from their rows, later ones from the outbox. */
  withdrawn(): number {
    const { trie, machine } = this.#engine;
    let sum = this.#sql.exec<{ sum: number }>('SELECT coalesce(sum(amount), 0) AS sum FROM withdrawals').one().sum;
    const outbox = get(machine.head(), Head.outbox);
    for (let serial = ((this.#newest()?.outbox as number) ?? 0) + 1; serial <= outbox; serial++) {
      sum += get(trie.read(Region.outbox, slotOf(Region.outbox, serial)), Outbox.amount);
    }
    return sum;
  }
}

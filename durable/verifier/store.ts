/**
 * What a verifier keeps, in SQLite: of every page of cells the versions that batches left, so that the state before any batch that may
 * still be disputed is at hand; the data of those batches; and what was found of them. A Durable Object's storage, or a file in Node.
 */
import type { ChunkRecord } from '../../protocol/trace.ts';
import { decodeChunkRecords, encodeChunkRecord } from '../../protocol/trace.ts';
import type { PageStore } from '../../protocol/trie.ts';
import type { KnownBatch, ShardPage, VerifierStore } from '../../protocol/verifier.ts';
import { concat } from '../../protocol/bytes.ts';
import { type Carrier, decodeCarrier, encodeCarrier } from '../../protocol/da/carrier.ts';

/** All of `work`, or nothing of it. */
export type Together = <T>(work: () => T) => T;

/** Of a carrier in a row: SQLite in a Durable Object takes 2 MB. */
const PIECE_BYTES = 2 ** 20;

const bytesOf = (value: SqlStorageValue): Uint8Array => new Uint8Array(value as ArrayBuffer);

/** Of each page the newest version as of a batch. */
const NEWEST = `number = (SELECT max(number) FROM pages AS newer
  WHERE newer.shard = pages.shard AND newer.region = pages.region AND newer.page = pages.page AND newer.number <= ?)`;

export class SqlVerifierStore implements VerifierStore {
  readonly #sql: SqlStorage;
  readonly #together: Together;
  readonly #resident: number | null;

  /** `resident`: pages that each shard may have in memory; null for all. */
  constructor(sql: SqlStorage, together: Together, resident: number | null = null) {
    this.#sql = sql;
    this.#together = together;
    this.#resident = resident;
    for (const table of [
      'batches (number INTEGER PRIMARY KEY, good INTEGER NOT NULL, body TEXT NOT NULL)',
      'data (number INTEGER, page INTEGER, records BLOB NOT NULL, PRIMARY KEY (number, page)) WITHOUT ROWID',
      'carriers (number INTEGER, piece INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (number, piece)) WITHOUT ROWID',
      'pages (shard INTEGER, region INTEGER, page INTEGER, number INTEGER, cells BLOB NOT NULL, PRIMARY KEY (shard, region, page, number)) WITHOUT ROWID',
    ])
      sql.exec(`CREATE TABLE IF NOT EXISTS ${table}`);
  }

  get head(): number {
    return this.#sql.exec<{ n: number }>('SELECT coalesce(max(number), 0) AS n FROM batches WHERE good = 1').one().n;
  }

  /** Number of the newest batch that is known at all. */
  get known(): number {
    return this.#sql.exec<{ n: number }>('SELECT coalesce(max(number), 0) AS n FROM batches').one().n;
  }

  batch(number: number): KnownBatch | undefined {
    const [row] = this.#sql.exec<{ body: string }>('SELECT body FROM batches WHERE number = ?', number).toArray();
    return row && (JSON.parse(row.body) as KnownBatch);
  }

  putData(number: number, page: number, records: readonly ChunkRecord[]): void {
    this.#together(() => {
      this.#sql.exec('DELETE FROM data WHERE number = ? AND page >= ?', number, page);
      this.#sql.exec('INSERT INTO data VALUES (?, ?, ?)', number, page, concat(...records.map(encodeChunkRecord)));
    });
  }
  *data(number: number): Generator<readonly ChunkRecord[]> {
    for (let page = 0; ; page++) {
      const [row] = this.#sql
        .exec<{ records: ArrayBuffer }>('SELECT records FROM data WHERE number = ? AND page = ?', number, page)
        .toArray();
      if (!row) return;
      yield decodeChunkRecords(bytesOf(row.records));
    }
  }

  putCarrier(number: number, carrier: Carrier): void {
    const bytes = encodeCarrier(carrier);
    this.#together(() => {
      this.#sql.exec('DELETE FROM carriers WHERE number = ?', number);
      for (let piece = 0; piece * PIECE_BYTES < bytes.length; piece++) {
        const part = bytes.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
        this.#sql.exec('INSERT INTO carriers VALUES (?, ?, ?)', number, piece, part);
      }
    });
  }
  carrier(number: number): Carrier | null {
    const pieces = this.#sql
      .exec<{ bytes: ArrayBuffer }>('SELECT bytes FROM carriers WHERE number = ? ORDER BY piece', number)
      .toArray();
    return pieces.length === 0 ? null : decodeCarrier(concat(...pieces.map(({ bytes }) => bytesOf(bytes))));
  }

  put(batch: KnownBatch, pages: Iterable<ShardPage>): void {
    const { number } = batch.header;
    this.#together(() => {
      this.#forget(number);
      const good = batch.verdict.fault === null ? 1 : 0;
      this.#sql.exec('INSERT INTO batches VALUES (?, ?, ?)', number, good, JSON.stringify(batch));
      for (const { shard, region, page, cells } of pages)
        this.#sql.exec('INSERT INTO pages VALUES (?, ?, ?, ?, ?)', shard, region, page, number, cells);
    });
  }

  *pages(upTo: number): Generator<ShardPage> {
    for (const row of this.#sql.exec<{ shard: number; region: number; page: number; cells: ArrayBuffer }>(
      `SELECT shard, region, page, cells FROM pages WHERE ${NEWEST}`,
      upTo,
    ))
      yield { ...row, cells: bytesOf(row.cells) };
  }

  pageStore(shard: number, upTo: number): { store: PageStore; resident: number } | null {
    if (this.#resident === null) return null;
    const load = (region: number, page: number): Uint8Array => {
      const { cells } = this.#sql
        .exec<{ cells: ArrayBuffer }>(
          'SELECT cells FROM pages WHERE shard = ? AND region = ? AND page = ? AND number <= ? ORDER BY number DESC LIMIT 1',
          shard,
          region,
          page,
          upTo,
        )
        .one();
      return bytesOf(cells);
    };
    return { store: { load }, resident: this.#resident };
  }

  drop(number: number): void {
    this.#together(() => {
      this.#forget(number);
      for (const table of ['data', 'carriers']) this.#sql.exec(`DELETE FROM ${table} WHERE number >= ?`, number);
    });
  }
  #forget(number: number): void {
    for (const table of ['batches', 'pages']) this.#sql.exec(`DELETE FROM ${table} WHERE number >= ?`, number);
  }

  settle(upTo: number): void {
    this.#together(() => {
      for (const table of ['data', 'carriers']) this.#sql.exec(`DELETE FROM ${table} WHERE number <= ?`, upTo);
      this.#sql.exec('DELETE FROM batches WHERE number < ?', upTo);
      this.#sql.exec(`DELETE FROM pages WHERE number <= ? AND NOT (${NEWEST})`, upTo, upTo);
    });
  }
}

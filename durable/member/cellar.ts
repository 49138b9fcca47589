/** Where the bytes of columns lie: rows of SQLite, or an R2 bucket, where a gigabyte costs a tenth as much. */

export interface Cellar {
  /** Durable when it resolves. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Bytes `from … to − 1`, which must be there. */
  read(name: string, from: number, to: number): Promise<Uint8Array>;
  delete(name: string): Promise<void>;
}

/** A row's value may have 2 MB in a Durable Object. */
export const CHUNK_BYTES: number = 2 ** 18;

export class SqlCellar implements Cellar {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec('CREATE TABLE IF NOT EXISTS chunks (name TEXT, n INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (name, n))');
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    for (let n = 0; n * CHUNK_BYTES < bytes.length; n++)
      this.#sql.exec(
        'INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)',
        name,
        n,
        // A copy of its own: a view is bound with all of what it is a view of.
        bytes.slice(n * CHUNK_BYTES, (n + 1) * CHUNK_BYTES),
      );
  }

  async read(name: string, from: number, to: number): Promise<Uint8Array> {
    const first = Math.floor(from / CHUNK_BYTES);
    const rows = this.#sql.exec<{ bytes: ArrayBuffer }>(
      'SELECT bytes FROM chunks WHERE name = ? AND n >= ? AND n < ? ORDER BY n',
      name,
      first,
      Math.ceil(to / CHUNK_BYTES),
    );
    const out = new Uint8Array(to - from);
    let at = first * CHUNK_BYTES;
    for (const row of rows) {
      const chunk = new Uint8Array(row.bytes);
      const [start, end] = [Math.max(from, at), Math.min(to, at + chunk.length)];
      out.set(chunk.subarray(start - at, end - at), start - from);
      at += chunk.length;
    }
    if (at < to) throw new Error(`${name} ends at byte ${at}`);
    return out;
  }

  async delete(name: string): Promise<void> {
    this.#sql.exec('DELETE FROM chunks WHERE name = ?', name);
  }
}

/** As far as R2 is used. */
export interface Bucket {
  put(key: string, value: Uint8Array): Promise<unknown>;
  get(
    key: string,
    options: { range: { offset: number; length: number } },
  ): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>;
  delete(key: string): Promise<void>;
}

export class BucketCellar implements Cellar {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#bucket.put(name, bytes);
  }

  async read(name: string, from: number, to: number): Promise<Uint8Array> {
    const found = await this.#bucket.get(name, { range: { offset: from, length: to - from } });
    const bytes = found && new Uint8Array(await found.arrayBuffer());
    if (bytes?.length !== to - from) throw new Error(`${name} has no bytes ${from} to ${to}`);
    return bytes;
  }

  delete(name: string): Promise<void> {
    return this.#bucket.delete(name);
  }
}

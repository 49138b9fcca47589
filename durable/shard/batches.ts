/** Batches as the settlement worker records them, and how L1 stood when it last looked. Shard 0 keeps them for the API. */
import type { BatchRecord, L1View } from './api.ts';

export class Batches {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      'CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL)',
    );
    sql.exec('CREATE TABLE IF NOT EXISTS l1 (id INTEGER PRIMARY KEY, body TEXT NOT NULL)');
  }

  #all(sql: string, ...args: number[]): BatchRecord[] {
    return [...this.#sql.exec<{ body: string }>(sql, ...args)].map(({ body }) => JSON.parse(body) as BatchRecord);
  }

  /**
   * False when nothing changed: also when the record is known up to a later cut, so that a pass overtaken by another can't take back what
   * that one has made anew. Records after one that is made anew were made on top of the old one, and go.
   */
  put(batch: BatchRecord): boolean {
    const body = JSON.stringify(batch);
    const old = this.get(batch.number);
    if (old && (old.cuts.upTo > batch.cuts.upTo || JSON.stringify(old) === body)) return false;
    if (old && old.cuts.upTo < batch.cuts.upTo) this.#sql.exec('DELETE FROM batches WHERE number > ?', batch.number);
    this.#sql.exec('INSERT OR REPLACE INTO batches VALUES (?, ?, ?)', batch.number, batch.state, body);
    return true;
  }
  get(number: number): BatchRecord | null {
    return this.#all('SELECT body FROM batches WHERE number = ?', number)[0] ?? null;
  }
  list({
    after = -1,
    limit = 20,
    newest = false,
  }: {
    after?: number;
    limit?: number;
    newest?: boolean;
  }): BatchRecord[] {
    if (newest)
      return this.#all(
        'SELECT body FROM batches WHERE number > ? ORDER BY number DESC LIMIT ?',
        after,
        limit,
      ).toReversed();
    return this.#all('SELECT body FROM batches WHERE number > ? ORDER BY number LIMIT ?', after, limit);
  }

  /** The newest numbers that are posted (or final) and final; 0 for none. */
  newest(): { posted: number; final: number } {
    const max = (states: string) =>
      this.#sql
        .exec<{ n: number }>(`SELECT coalesce(max(number), 0) AS n FROM batches WHERE state IN (${states})`)
        .one().n;
    return { posted: max("'posted', 'final'"), final: max("'final'") };
  }

  putL1(view: L1View): void {
    this.#sql.exec('INSERT OR REPLACE INTO l1 VALUES (0, ?)', JSON.stringify(view));
  }
  l1(): L1View | null {
    const [row] = this.#sql.exec<{ body: string }>('SELECT body FROM l1 WHERE id = 0');
    return row ? (JSON.parse(row.body) as L1View) : null;
  }
}

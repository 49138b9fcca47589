/** `Connect` nonces, each good for one socket. On disk: a restart must not make one that was seen good again. */
import type { Hex } from '../../protocol/bytes.ts';

/** How long one stays taken after its time: longer than a `Connect` is good for, both ways. */
const KEPT_MS = 180_000;

export class Nonces {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec('CREATE TABLE IF NOT EXISTS nonces (nonce TEXT PRIMARY KEY, untilMs INTEGER NOT NULL) WITHOUT ROWID');
    sql.exec('CREATE INDEX IF NOT EXISTS nonces_until ON nonces (untilMs)');
  }

  /** False when it was taken before. */
  take(nonce: Hex, timeMs: number, nowMs = Date.now()): boolean {
    this.#sql.exec('DELETE FROM nonces WHERE untilMs < ?', nowMs);
    if ([...this.#sql.exec('SELECT 1 FROM nonces WHERE nonce = ?', nonce)].length > 0) return false;
    this.#sql.exec('INSERT INTO nonces VALUES (?, ?)', nonce, timeMs + KEPT_MS);
    return true;
  }
}

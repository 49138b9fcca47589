/** {@link Database} in a file, for Node: every statement is on disk when it returns. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Database, Row, SqlValue, Statement } from './database.ts';
import { Store } from './store.ts';

/** Opens a file, made when missing, for its owner alone; null keeps everything in memory, for tests. */
export function openDatabase(file: string | null): Database {
  if (file !== null) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(file ?? ':memory:');
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
  // KiB of pages that each database keeps in this process, in place of 2000: the system keeps the file's too.
  db.exec('PRAGMA cache_size = -512;');
  return {
    exec: (text) => db.exec(text),
    prepare: (text): Statement => {
      const statement = db.prepare(text);
      return {
        run: (...values: SqlValue[]) => statement.run(...values),
        get: (...values: SqlValue[]) => statement.get(...values) as Row | undefined,
        all: (...values: SqlValue[]) => statement.all(...values) as Row[],
      };
    },
    transaction: (run) => {
      db.exec('BEGIN IMMEDIATE');
      try {
        run();
        db.exec('COMMIT');
      } catch (error) {
        db.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => db.close(),
  };
}

/** The store of a state directory; null keeps everything in memory, for tests. */
export const openStore = (dir: string | null): Store =>
  new Store(openDatabase(dir === null ? null : join(dir, 'sidecar.sqlite')));

/** A Durable Object's SQL storage over SQLite in a file or in memory: what keeps its state there runs in Node too. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';

declare global {
  // As far as our objects use them; where the platform's own types are loaded, this file is not.
  type SqlStorageValue = ArrayBuffer | string | number | null;
  interface SqlStorageCursor<T> extends Iterable<T> {
    toArray(): T[];
    one(): T;
  }
  interface SqlStorage {
    exec<T extends Record<string, SqlStorageValue>>(query: string, ...bindings: unknown[]): SqlStorageCursor<T>;
  }
}

/** What comes of a path is closed by `close`. */
export interface OpenSql extends SqlStorage {
  /** All of `work`, or nothing of it. */
  together<T>(work: () => T): T;
  close(): void;
}

/** `durable`: what was written is on disk when the call returns, and not only safe from a crash of ours. */
export function openSql(path: string, { durable = false } = {}): OpenSql {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  return {
    exec<T>(query: string, ...bindings: unknown[]): SqlStorageCursor<T> {
      let statement = statements.get(query);
      if (!statement) statements.set(query, (statement = database.prepare(query)));
      const values = bindings as SQLInputValue[];
      const run = statement;
      // A statement that writes runs at once; what only reads, row by row, as the platform's does.
      if (!/^\s*SELECT/i.test(query)) {
        run.run(...values);
        return { [Symbol.iterator]: () => [][Symbol.iterator](), toArray: () => [], one: () => fail(0) };
      }
      const toArray = (): T[] => run.all(...values) as T[];
      return {
        // A statement of its own, since another may be made of the same query before this one ends.
        [Symbol.iterator]: () => database.prepare(query).iterate(...values) as IterableIterator<T>,
        toArray,
        one() {
          const rows = toArray();
          return rows.length === 1 ? rows[0] : fail(rows.length);
        },
      };
    },
    together(work) {
      database.exec('BEGIN');
      try {
        const result = work();
        database.exec('COMMIT');
        return result;
      } catch (error) {
        database.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => database.close(),
  };
}

function fail(rows: number): never {
  throw new Error(`${rows} rows where there should be one`);
}

export const memorySql = (): SqlStorage => openSql(':memory:');

/** A Durable Object's SQL storage over SQLite in memory: what keeps its state there runs in Node too. */
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

export function memorySql(): SqlStorage {
  const database = new DatabaseSync(':memory:');
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  return {
    exec<T>(query: string, ...bindings: unknown[]): SqlStorageCursor<T> {
      let statement = statements.get(query);
      if (!statement) statements.set(query, (statement = database.prepare(query)));
      const rows = statement.all(...(bindings as SQLInputValue[])) as T[];
      return {
        [Symbol.iterator]: () => rows[Symbol.iterator](),
        toArray: () => rows,
        one() {
          if (rows.length !== 1) throw new Error(`${rows.length} rows where there should be one`);
          return rows[0];
        },
      };
    },
  };
}

/** {@link Database} in a Durable Object's own SQLite. */
import type { Database, Row, SqlValue, Statement } from '../database.ts';

/** As much of `DurableObjectStorage` as is needed. */
export interface Storage {
  readonly sql: { exec(text: string, ...values: unknown[]): { toArray(): Record<string, unknown>[] } };
  transactionSync<T>(run: () => T): T;
}

export function durableDatabase(storage: Storage): Database {
  const { sql } = storage;
  return {
    exec: (text) => void sql.exec(text),
    // The platform keeps prepared statements by their text.
    prepare: (text): Statement => {
      const all = (...values: SqlValue[]): Row[] => sql.exec(text, ...values).toArray();
      return {
        all,
        get: (...values) => all(...values)[0],
        run: (...values) => {
          all(...values);
          return { changes: Number(sql.exec('SELECT changes() AS n').toArray()[0].n) };
        },
      };
    },
    transaction: (run) => storage.transactionSync(run),
    // It ends with its object.
    close: () => {},
  };
}

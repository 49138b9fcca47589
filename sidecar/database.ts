/** A SQLite as every runtime of ours has one: synchronous, positional parameters. Node's is in sqlite.ts, a Durable Object's in edge/. */
export type SqlValue = number | string | Uint8Array | null;
export type Row = Readonly<Record<string, unknown>>;

export interface Statement {
  run(...values: SqlValue[]): { readonly changes: number | bigint };
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
}

export interface Database {
  /** Statements of the schema: several, without parameters. */
  exec(text: string): void;
  prepare(text: string): Statement;
  /** All or nothing, also across a crash. */
  transaction(run: () => void): void;
  close(): void;
}

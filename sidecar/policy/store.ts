/** What the policy must not forget when the process dies. */
import type { Database, Statement } from '../database.ts';
import type { CircuitRow } from './breaker.ts';

/** Base units of one minute to one service of a peer (service 0: unknown). */
export interface Spend {
  readonly minute: number;
  readonly peer: number;
  readonly service: number;
  readonly amount: number;
}

export interface PeerRow extends CircuitRow {
  readonly peer: number;
  /** When it was first paid for something; 0 if never. */
  readonly firstPaidMs: number;
}

/** A call that waits for a person, or that one has let through. */
export interface ApprovalRow {
  readonly id: string;
  readonly peer: number;
  readonly service: number;
  /** Base units it may cost. */
  readonly amount: number;
  readonly granted: boolean;
  readonly untilMs: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS spent (minute INTEGER NOT NULL, peer INTEGER NOT NULL, service INTEGER NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (minute, peer, service)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS peers (peer INTEGER PRIMARY KEY, first_paid_ms INTEGER NOT NULL, fails INTEGER NOT NULL, open_until_ms INTEGER NOT NULL, open_ms INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS approvals (id TEXT PRIMARY KEY, peer INTEGER NOT NULL, service INTEGER NOT NULL, amount INTEGER NOT NULL, granted INTEGER NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tables (service INTEGER PRIMARY KEY, document TEXT NOT NULL, newer TEXT);
`;

export class PolicyStore {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
    db.exec(SCHEMA);
  }

  #sql(text: string): Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) this.#statements.set(text, (statement = this.#db.prepare(text)));
    return statement;
  }

  /** Replaces the given rows and drops counters of minutes before `keepFrom`, in one transaction. */
  save(spends: readonly Spend[], peers: readonly PeerRow[], keepFrom: number): void {
    this.#db.transaction(() => {
      for (const { minute, peer, service, amount } of spends)
        this.#sql('INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?)').run(minute, peer, service, amount);
      for (const { peer, firstPaidMs, row, openUntilMs, openMs } of peers)
        this.#sql('INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?, ?)').run(
          peer,
          firstPaidMs,
          row,
          openUntilMs,
          openMs,
        );
      this.#sql('DELETE FROM spent WHERE minute < ?').run(keepFrom);
    });
  }

  spends(): Spend[] {
    return this.#sql('SELECT minute, peer, service, amount FROM spent')
      .all()
      .map((row) => ({
        minute: Number(row.minute),
        peer: Number(row.peer),
        service: Number(row.service),
        amount: Number(row.amount),
      }));
  }
  peers(): PeerRow[] {
    return this.#sql('SELECT * FROM peers')
      .all()
      .map((row) => ({
        peer: Number(row.peer),
        firstPaidMs: Number(row.first_paid_ms),
        row: Number(row.fails),
        openUntilMs: Number(row.open_until_ms),
        openMs: Number(row.open_ms),
      }));
  }

  saveApproval({ id, peer, service, amount, granted, untilMs }: ApprovalRow): void {
    this.#sql('INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?, ?)').run(
      id,
      peer,
      service,
      amount,
      granted ? 1 : 0,
      untilMs,
    );
  }
  removeApproval(id: string): void {
    this.#sql('DELETE FROM approvals WHERE id = ?').run(id);
  }
  approvals(): ApprovalRow[] {
    return this.#sql('SELECT * FROM approvals ORDER BY until_ms')
      .all()
      .map((row) => ({
        id: String(row.id),
        peer: Number(row.peer),
        service: Number(row.service),
        amount: Number(row.amount),
        granted: Number(row.granted) === 1,
        untilMs: Number(row.until_ms),
      }));
  }

  /** The price table of a service that calls are let through at, and the dearer one that waits for a person. */
  saveTable(service: number, document: string, newer: string | null): void {
    this.#sql('INSERT OR REPLACE INTO tables VALUES (?, ?, ?)').run(service, document, newer);
  }
  tables(): { service: number; document: string; newer: string | null }[] {
    return this.#sql('SELECT * FROM tables')
      .all()
      .map((row) => ({
        service: Number(row.service),
        document: String(row.document),
        newer: row.newer === null ? null : String(row.newer),
      }));
  }
}

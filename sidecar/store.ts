/** What must outlive a crash of the sidecar, in one SQLite. Every method is one durable write or one read. */
import { hex } from '../protocol/bytes.ts';
import type { NetworkFacts } from './core.ts';
import type { Database, Statement } from './database.ts';
import { refusal } from './errors.ts';
import { Evidence } from './evidence.ts';
import type { Sent } from './far.ts';
import { PolicyStore } from './policy/store.ts';
import type { Contradiction } from './session/index.ts';

/** A first-contact call's escrow that we took on: `serving` until its answer is known, then `responding` until Core has it. */
export interface PendingRespond {
  readonly escrow: number;
  readonly price: number;
  /** 0 fulfilled, 1 failed, 2 declined: the field's own numbers. */
  readonly result: 0 | 1 | 2;
  /** Payload leaf of the respond, 32 bytes. */
  readonly payload: Uint8Array;
}

/** An escrow we paid into, or our order for one on another shard, until its end is known. */
export interface PaidEscrow {
  readonly escrow: number;
  readonly peer: number;
  readonly amount: number;
  readonly deadline: number;
  /** When the budget counted it; 0 if nobody knows that it did. */
  readonly atMs: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS taken (escrow INTEGER PRIMARY KEY, state TEXT NOT NULL, price INTEGER, result INTEGER, payload BLOB, at_ms INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS taken_open ON taken (state) WHERE state <> 'done';
  CREATE TABLE IF NOT EXISTS paid (escrow INTEGER PRIMARY KEY, peer INTEGER NOT NULL, amount INTEGER NOT NULL, deadline INTEGER NOT NULL, at_ms INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sessions (session INTEGER PRIMARY KEY, peer INTEGER NOT NULL, state TEXT NOT NULL, exit_at INTEGER);
  CREATE TABLE IF NOT EXISTS openings (shard INTEGER NOT NULL, number INTEGER NOT NULL, peer INTEGER NOT NULL, interaction BLOB NOT NULL, PRIMARY KEY (shard, number)) WITHOUT ROWID;
`;

/** How a session stands with us: usable, being left, or over. */
export type SessionState = 'open' | 'exiting' | 'closed';

export interface SessionRow {
  readonly session: number;
  readonly peer: number;
  readonly state: SessionState;
  readonly exitAt: number | null;
}

export class Store {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();
  /** What the policy keeps. */
  readonly policy: PolicyStore;
  /** Against peers that cheat. */
  readonly evidence: Evidence;

  constructor(db: Database) {
    this.#db = db;
    db.exec(SCHEMA);
    this.policy = new PolicyStore(db);
    this.evidence = new Evidence(db);
  }

  #sql(text: string): Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) this.#statements.set(text, (statement = this.#db.prepare(text)));
    return statement;
  }

  /** Takes an escrow for one call; false when it was taken before, whatever became of it. */
  takeEscrow(escrow: number): boolean {
    return (
      this.#sql(`INSERT OR IGNORE INTO taken VALUES (?, 'serving', NULL, NULL, NULL, ?)`).run(escrow, Date.now())
        .changes === 1
    );
  }

  /** Notes how a taken escrow ended, before anybody is told: the respond is owed from here on. */
  oweRespond(respond: PendingRespond): void {
    this.#sql(`UPDATE taken SET state = 'responding', price = ?, result = ?, payload = ? WHERE escrow = ?`).run(
      respond.price,
      respond.result,
      respond.payload,
      respond.escrow,
    );
  }

  /** Whether an escrow was ever taken. */
  isTaken(escrow: number): boolean {
    return this.#sql('SELECT 1 FROM taken WHERE escrow = ?').get(escrow) !== undefined;
  }

  respondDone(escrow: number): void {
    this.#sql(`UPDATE taken SET state = 'done', payload = NULL WHERE escrow = ?`).run(escrow);
  }

  /** Escrows in somebody's hands when the sidecar last stopped: taken, answer unknown. */
  servingEscrows(): number[] {
    return this.#sql(`SELECT escrow FROM taken WHERE state = 'serving'`)
      .all()
      .map((row) => Number(row.escrow));
  }

  pendingResponds(): PendingRespond[] {
    return this.#sql(`SELECT escrow, price, result, payload FROM taken WHERE state = 'responding'`)
      .all()
      .map((row) => ({
        escrow: Number(row.escrow),
        price: Number(row.price),
        result: Number(row.result) as 0 | 1 | 2,
        payload: new Uint8Array(row.payload as Uint8Array),
      }));
  }

  /** Forgets escrows that ended before `atMs`: their serials are long done on chain and verify as such. */
  forgetTaken(beforeMs: number): void {
    this.#sql(`DELETE FROM taken WHERE state = 'done' AND at_ms < ?`).run(beforeMs);
  }

  addPaid(paid: PaidEscrow): void {
    this.#sql('INSERT OR REPLACE INTO paid VALUES (?, ?, ?, ?, ?)').run(
      paid.escrow,
      paid.peer,
      paid.amount,
      paid.deadline,
      paid.atMs,
    );
  }
  hasPaid(escrow: number): boolean {
    return this.#sql('SELECT 1 FROM paid WHERE escrow = ?').get(escrow) !== undefined;
  }
  removePaid(escrow: number): void {
    this.#sql('DELETE FROM paid WHERE escrow = ?').run(escrow);
  }
  paidEscrows(): PaidEscrow[] {
    return this.#sql('SELECT escrow, peer, amount, deadline, at_ms FROM paid ORDER BY at_ms LIMIT 1000')
      .all()
      .map((row) => ({
        escrow: Number(row.escrow),
        peer: Number(row.peer),
        amount: Number(row.amount),
        deadline: Number(row.deadline),
        atMs: Number(row.at_ms),
      }));
  }

  setFact(key: string, value: string): void {
    this.#sql('INSERT OR REPLACE INTO facts VALUES (?, ?)').run(key, value);
  }
  fact(key: string): string | null {
    return (this.#sql('SELECT value FROM facts WHERE key = ?').get(key)?.value as string | undefined) ?? null;
  }

  /**
   * A sequencer's key, once trusted, stays the one trusted: receipts mean nothing if it could be changed behind our back. Throws `network_changed`.
   */
  pinNetwork({ domain, sequencerKey }: Pick<NetworkFacts, 'domain' | 'sequencerKey'>): void {
    const seen = `${domain.chainId} ${domain.root} ${hex(sequencerKey)}`;
    const pinned = this.fact('network');
    if (pinned === null) this.setFact('network', seen);
    else if (pinned !== seen)
      throw refusal(
        'network_changed',
        'the gateway speaks for another network than this state directory; use a new stateDir if that is meant',
      );
  }

  saveSession(session: number, peer: number, state: SessionState, exitAt: number | null = null): void {
    this.#sql('INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)').run(session, peer, state, exitAt);
  }
  sessions(): SessionRow[] {
    return this.#sql(`SELECT session, peer, state, exit_at FROM sessions WHERE state <> 'closed' ORDER BY session`)
      .all()
      .map((row) => ({
        session: Number(row.session),
        peer: Number(row.peer),
        state: row.state as SessionState,
        exitAt: row.exit_at === null ? null : Number(row.exit_at),
      }));
  }

  /** How a session stands with us; null when we never had it. */
  sessionState(session: number): SessionState | null {
    return (
      (this.#sql('SELECT state FROM sessions WHERE session = ?').get(session)?.state as SessionState | undefined) ??
      null
    );
  }

  /** Keeps evidence against the peer of a session, which is being left from here on. False when there was some against it. */
  convict(peer: number, found: Contradiction): boolean {
    const { session } = found.first.half;
    let isNew = false;
    this.#db.transaction(() => {
      isNew = this.evidence.keep(peer, found);
      if (isNew && this.sessionState(session) !== 'closed') this.saveSession(session, peer, 'exiting');
    });
    return isNew;
  }

  /** Notes a message that opens a session on another shard, until what it made is known. */
  addOpening({ to, number, interaction }: Sent, peer: number): void {
    this.#sql('INSERT OR REPLACE INTO openings VALUES (?, ?, ?, ?)').run(to, number, peer, interaction);
  }
  removeOpening({ to, number }: Sent): void {
    this.#sql('DELETE FROM openings WHERE shard = ? AND number = ?').run(to, number);
  }
  openings(): (Sent & { readonly peer: number })[] {
    return this.#sql('SELECT shard, number, peer, interaction FROM openings ORDER BY shard, number')
      .all()
      .map((row) => ({
        to: Number(row.shard),
        number: Number(row.number),
        peer: Number(row.peer),
        interaction: new Uint8Array(row.interaction as Uint8Array),
      }));
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }
}

/**
 * The stores of a sidecar's sessions in a file, for Node (never imported where Workers run). What a session writes is in the {@link Journal} when its call
 * returns; twice a second all of it goes into the SQLite, in one transaction for all sessions. A crash of the process loses nothing. A power cut may lose the last
 * moments, of all sessions to the same point; the peer and the relay hold copies of the halves, and the records come back on resume.
 */
import { Reader, concat, writeUint } from '../../protocol/bytes.ts';
import type { Direction } from '../../protocol/half.ts';
import type { Database, Statement } from '../database.ts';
import { openDatabase } from '../sqlite.ts';
import { Journal } from './journal.ts';
import { SESSION_SCHEMA, SessionTables, assertNext, encodeSnapshot, splitRecords } from './store-sql.ts';
import type { DirectionSnapshot, SessionStore } from './store.ts';

/** How long the SQLite may lack what the journal has. */
const BEHIND_MS = 500;
/** The generation of the journal that the SQLite took last, 0 for none. Only the next one follows it without a gap. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS session_journal (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL);
  INSERT OR IGNORE INTO session_journal VALUES (1, 0);
`;

/** Head of a write in an entry of the journal: `kind u8 ‖ session u64 ‖ dir u8 ‖ from u64 ‖ length u32`, before so many bytes. */
const HEAD_BYTES = 22;
const RECORDS = 1;
const SNAPSHOT = 2;

/** Records from number `from` on, or a snapshot (`from` 0). */
interface Write {
  readonly kind: number;
  readonly dir: Direction;
  readonly from: number;
  readonly parts: readonly Uint8Array[];
}

/** The sessions of one sidecar. */
export class SessionFile {
  readonly #db: Database;
  readonly #tables: SessionTables;
  readonly #journal: Journal;
  readonly #setGeneration: Statement;
  readonly #onError: (error: unknown) => void;
  readonly #stores = new Map<number, JournaledStore>();
  /** Those of which the journal has what the SQLite has not. */
  readonly #ahead = new Set<JournaledStore>();
  /** The one being written. */
  #generation: number;
  #timer: NodeJS.Timeout | null = null;

  /** Opens or makes the file at `path`, and the journal beside it. `onError` hears when the SQLite takes nothing: what was written is safe, and tried again. */
  constructor(path: string, onError: (error: unknown) => void = () => {}) {
    this.#db = openDatabase(path);
    this.#db.exec('PRAGMA synchronous = NORMAL;');
    this.#db.exec(SESSION_SCHEMA + SCHEMA);
    this.#onError = onError;
    this.#tables = new SessionTables(this.#db);
    this.#setGeneration = this.#db.prepare('UPDATE session_journal SET generation = ?');
    this.#generation = Number(this.#db.prepare('SELECT generation FROM session_journal').get()!.generation) + 1;
    for (const entry of Journal.read(`${path}.ahead`, this.#generation)) this.#replay(entry);
    this.#intoTables();
    this.#journal = Journal.create(`${path}.ahead`, this.#generation);
  }

  /** The store of one session. */
  storeOf(session: number): SessionStore {
    return this.#store(session);
  }

  #store(session: number): JournaledStore {
    let store = this.#stores.get(session);
    if (store === undefined) this.#stores.set(session, (store = new JournaledStore(this, this.#tables, session)));
    return store;
  }

  #replay(entry: Uint8Array): void {
    for (const reader = new Reader(entry); reader.left > 0;) {
      const kind = reader.u8();
      const store = this.#store(reader.u64());
      const [dir, from] = [reader.u8() as Direction, reader.u64()];
      const bytes = reader.bytes(reader.u32());
      store.replay({ kind, dir, from, parts: kind === RECORDS ? splitRecords(bytes) : [bytes] });
      this.#ahead.add(store);
    }
  }

  /** @internal All of them or none; on return they outlive the process. */
  write(store: JournaledStore, session: number, writes: readonly Write[]): void {
    let length = 0;
    for (const write of writes) length += HEAD_BYTES + lengthOf(write);
    const fill = (bytes: Uint8Array, at: number): void => {
      for (const write of writes) at = put(bytes, at, session, write);
    };
    if (!this.#journal.append(length, fill)) {
      this.settle();
      if (!this.#journal.append(length, fill)) return this.settle(() => store.put(writes));
    }
    store.behind(writes);
    this.#ahead.add(store);
    this.#timer ??= setTimeout(this.#late, BEHIND_MS).unref();
  }

  readonly #late = (): void => {
    this.#timer = null;
    try {
      this.settle();
    } catch (error) {
      // The journal has it all; the next write tries again.
      this.#onError(error);
    }
  };

  /** @internal Before somebody reads what a session wrote. */
  settleFor(store: JournaledStore): void {
    if (this.#ahead.has(store)) this.settle();
  }

  /** Puts all that the journal has, and what `more` puts besides, into the SQLite. */
  settle(more: (() => void) | null = null): void {
    if (this.#ahead.size === 0 && more === null) return;
    this.#intoTables(more);
    this.#journal.begin(this.#generation);
  }

  #intoTables(more: (() => void) | null = null): void {
    this.#db.transaction(() => {
      for (const store of this.#ahead) store.putBehind();
      more?.();
      this.#setGeneration.run(this.#generation);
    });
    for (const store of this.#ahead) store.settled();
    this.#ahead.clear();
    this.#generation += 1;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.settle();
    this.#journal.close();
    this.#db.close();
  }
}

function lengthOf({ parts }: Write): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/** Puts a write with its head at a place; the place behind it. */
function put(bytes: Uint8Array, start: number, session: number, write: Write): number {
  const { kind, dir, from, parts } = write;
  bytes[start] = kind;
  writeUint(bytes, start + 1, 8, session);
  bytes[start + 9] = dir;
  writeUint(bytes, start + 10, 8, from);
  writeUint(bytes, start + 18, 4, lengthOf(write));
  let at = start + HEAD_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return at;
}

/** What a direction wrote since the SQLite was written. */
interface Behind {
  from: number;
  /** Those of a write in one piece: an object for each would stay for longer than V8's young heap lasts. */
  records: Uint8Array[];
  snapshot: Uint8Array | null;
}

const nothing = (): Behind => ({ from: 0, records: [], snapshot: null });

class JournaledStore implements SessionStore {
  readonly #file: SessionFile;
  readonly #tables: SessionTables;
  readonly #session: number;
  readonly #counts: [number, number];
  readonly #behind: readonly [Behind, Behind] = [nothing(), nothing()];
  /** What a transaction has put together so far. */
  #writes: Write[] | null = null;

  constructor(file: SessionFile, tables: SessionTables, session: number) {
    this.#file = file;
    this.#tables = tables;
    this.#session = session;
    this.#counts = [tables.count(session, 0), tables.count(session, 1)];
  }

  load(dir: Direction): DirectionSnapshot | null {
    this.#file.settleFor(this);
    return this.#tables.load(this.#session, dir);
  }

  records(dir: Direction, from: number, to: number): Uint8Array[] {
    this.#file.settleFor(this);
    return this.#tables.records(this.#session, dir, from, to);
  }

  count(dir: Direction): number {
    return this.#counts[dir];
  }

  save(dir: Direction, snapshot: DirectionSnapshot): void {
    this.#write({ kind: SNAPSHOT, dir, from: 0, parts: [encodeSnapshot(snapshot)] });
  }

  append(dir: Direction, from: number, records: readonly Uint8Array[]): void {
    assertNext(from, this.#counts[dir]);
    if (records.length === 0) return;
    this.#write({ kind: RECORDS, dir, from, parts: records });
    this.#counts[dir] += records.length;
  }

  #write(write: Write): void {
    if (this.#writes === null) this.#file.write(this, this.#session, [write]);
    else this.#writes.push(write);
  }

  transaction(run: () => void): void {
    if (this.#writes !== null) return run();
    const before: [number, number] = [...this.#counts];
    const writes: Write[] = (this.#writes = []);
    try {
      run();
      if (writes.length > 0) this.#file.write(this, this.#session, writes);
    } catch (error) {
      [this.#counts[0], this.#counts[1]] = before;
      throw error;
    } finally {
      this.#writes = null;
    }
  }

  // ---- the file's side ----

  /** These are in the journal. */
  behind(writes: readonly Write[]): void {
    for (const { kind, dir, from, parts } of writes) {
      const behind = this.#behind[dir];
      if (kind === SNAPSHOT) behind.snapshot = parts[0];
      else {
        if (behind.records.length === 0) behind.from = from;
        behind.records.push(parts.length === 1 ? parts[0] : concat(...parts));
      }
    }
  }

  /** As a process before this one wrote it. */
  replay(write: Write): void {
    if (write.kind === RECORDS) {
      assertNext(write.from, this.#counts[write.dir]);
      this.#counts[write.dir] += write.parts.length;
    }
    this.behind([write]);
  }

  /** Into the SQLite, past the journal. */
  put(writes: readonly Write[]): void {
    for (const { kind, dir, from, parts } of writes) {
      if (kind === RECORDS) this.#tables.append(this.#session, dir, from, parts);
      else this.#tables.save(this.#session, dir, parts[0]);
    }
  }

  putBehind(): void {
    for (const dir of [0, 1] as const) {
      const { from, records, snapshot } = this.#behind[dir];
      if (records.length > 0) this.#tables.append(this.#session, dir, from, records);
      if (snapshot !== null) this.#tables.save(this.#session, dir, snapshot);
    }
  }

  settled(): void {
    for (const behind of this.#behind) {
      behind.records = [];
      behind.snapshot = null;
    }
  }
}

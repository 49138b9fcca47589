/** Evidence against peers who signed two halves that contradict each other, and what became of it: on disk from when it is seen. */
import { Reader, Writer } from '../protocol/bytes.ts';
import { type Direction, SIGNATURE_BYTES, type SignedHalf, decodeHalf, encodeHalf } from '../protocol/half.ts';
import type { Database } from './database.ts';
import type { Contradiction } from './session/index.ts';

/** `owed` until Core has it; then whether the peer was slashed over it, or what refused it for good. */
export type EvidenceState = 'owed' | 'slashed' | 'refused';

export interface EvidenceRow extends Contradiction {
  readonly session: number;
  /** The direction of which the peer is the payer. */
  readonly dir: Direction;
  readonly peer: number;
  readonly state: EvidenceState;
  /** Why it was refused. */
  readonly code: string | null;
}

/** One row for each payer of a session: Core slashes it once. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS evidence (session INTEGER NOT NULL, dir INTEGER NOT NULL, peer INTEGER NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL,
    state TEXT NOT NULL, code TEXT, PRIMARY KEY (session, dir)) WITHOUT ROWID;
`;

const encode = ({ half, payer }: SignedHalf): Uint8Array => new Writer().bytes(encodeHalf(half)).bytes(payer).finish();

function decode(blob: unknown): SignedHalf {
  const reader = new Reader(Uint8Array.from(blob as Uint8Array));
  return { half: decodeHalf(reader), payer: reader.bytes(SIGNATURE_BYTES) };
}

export class Evidence {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.exec(SCHEMA);
  }

  /** Keeps it; false when there was some before against the same payer in the same session, which is enough. */
  keep(peer: number, { first, second }: Contradiction): boolean {
    const { session, dir } = first.half;
    const row = [session, dir, peer, encode(first), encode(second)];
    return (
      this.#db.prepare(`INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?, ?, 'owed', NULL)`).run(...row).changes === 1
    );
  }

  /** Notes what became of it. */
  end({ session, dir }: Pick<EvidenceRow, 'session' | 'dir'>, state: EvidenceState, code: string | null): void {
    this.#db
      .prepare('UPDATE evidence SET state = ?, code = ? WHERE session = ? AND dir = ?')
      .run(state, code, session, dir);
  }

  /** How many there are, or how many of a state. */
  count(state: EvidenceState | null = null): number {
    const rows = 'SELECT count(*) AS n FROM evidence';
    const row = state === null ? this.#db.prepare(rows).get() : this.#db.prepare(`${rows} WHERE state = ?`).get(state);
    return Number(row!.n);
  }

  /** What Core does not have yet. */
  owed(): EvidenceRow[] {
    return this.#rows(`WHERE state = 'owed'`);
  }

  /** Of all there is, so much as a person looks at. */
  some(): EvidenceRow[] {
    return this.#rows('LIMIT 100');
  }

  #rows(which: string): EvidenceRow[] {
    const columns = 'session, dir, peer, first, second, state, code';
    return this.#db
      .prepare(`SELECT ${columns} FROM evidence ${which}`)
      .all()
      .map((row) => ({
        session: Number(row.session),
        dir: Number(row.dir) as Direction,
        peer: Number(row.peer),
        first: decode(row.first),
        second: decode(row.second),
        state: row.state as EvidenceState,
        code: row.code as string | null,
      }));
  }
}

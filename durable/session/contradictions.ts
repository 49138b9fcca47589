/**
 * What a relay keeps of a payer that contradicts itself (docs/protocol.md §8): of each direction the first two halves that do, both verified, until
 * whoever is paid by it has been shown them, and after.
 */
import { type Direction, type SignedHalf, contradicts } from '../../protocol/half.ts';
import { encodeHello } from '../../protocol/packet.ts';

export class Contradictions {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec('CREATE TABLE IF NOT EXISTS contradiction (dir INTEGER PRIMARY KEY, packet BLOB NOT NULL)');
  }

  /** The packet that shows what is kept of a direction; null for nothing. */
  shown(dir: Direction): Uint8Array | null {
    const row = this.#sql
      .exec<{ packet: ArrayBuffer }>('SELECT packet FROM contradiction WHERE dir = ?', dir)
      .toArray()[0];
    return row === undefined ? null : new Uint8Array(row.packet);
  }

  /** Keeps two verified halves of one direction if they contradict each other, and are the first that do: then the packet that shows them. */
  weigh(known: SignedHalf | null, next: SignedHalf): Uint8Array | null {
    if (known === null || !contradicts(known.half, next.half)) return null;
    const halves = [known, next].map(({ half, payer }) => ({ half, payer }));
    const packet = encodeHello({ halves, credit: 0 });
    const { rowsWritten } = this.#sql.exec(
      'INSERT OR IGNORE INTO contradiction VALUES (?, ?)',
      next.half.dir,
      packet.slice().buffer,
    );
    return rowsWritten === 0 ? null : packet;
  }
}

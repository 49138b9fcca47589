/** What a committee member's Worker asks of its object, which keeps its columns (docs/protocol.md §12). */
import type { Hex } from '../../protocol/bytes.ts';
import type { CellAnswer } from '../../protocol/da/offer.ts';
import type { Failure, Namespace } from '../shard/api.ts';

/** A column, and for how long it was promised. */
export interface Held {
  readonly dataRoot: Hex;
  /** Of the batch for which it was promised last. */
  readonly number: number;
  readonly epoch: number;
  /** Which of the data's columns: the member's place in the epoch's list. */
  readonly column: number;
  /** Unix seconds: the latest that was promised. */
  readonly until: number;
  /** As `encodeCommitment` writes it. */
  readonly commitment: Uint8Array;
}

export interface MemberStats {
  readonly columns: number;
  /** Of columns, without what is kept beside them. */
  readonly bytes: number;
  readonly maxBytes: number;
  /** Batch number of the newest column; 0 without any. */
  readonly newest: number;
}

export interface MemberRpc {
  /**
   * Keeps a column whose cells have these leaf hashes; it is on disk when this returns null. The same once more, or for longer, is fine.
   * Fails with `storage_full`.
   */
  keep(held: Held, column: Uint8Array, hashes: Uint8Array): Promise<Failure | null>;
  held(dataRoot: Hex): Promise<Held | null>;
  /** Bytes of a column, from … to; null when it is not here. */
  read(dataRoot: Hex, from?: number, to?: number): Promise<Uint8Array | null>;
  /** Cells with their paths; null when the column is not here. Rows that it has not are left out. */
  cells(dataRoot: Hex, rows: readonly number[]): Promise<CellAnswer[] | null>;
  stats(): Promise<MemberStats>;
}

/** A member's object: one a Worker. Each call has a stub of its own, since one may not be used by two requests. */
export function memberStore(namespace: Namespace): MemberRpc {
  const stub = (): MemberRpc => namespace.getByName('member') as MemberRpc;
  return {
    keep: (held, column, hashes) => stub().keep(held, column, hashes),
    held: (dataRoot) => stub().held(dataRoot),
    read: (dataRoot, from, to) => stub().read(dataRoot, from, to),
    cells: (dataRoot, rows) => stub().cells(dataRoot, rows),
    stats: () => stub().stats(),
  };
}

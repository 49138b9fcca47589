/**
 * What goes between the sequencer, a committee's members and who reads from them (docs/protocol.md §12): an offer of a column, what a `dataRoot` is the
 * hash of, and cells with their paths. Parsers are total.
 */
import { Reader, Writer, concat, equal } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { KEY_BYTES } from '../keys.ts';
import { HASH_BYTES } from '../hash.ts';
import { ADDRESS_BYTES } from './certificate.ts';
import { CELL_BYTES, cellPath, committeeRoot, isCell, rowsOf } from './columns.ts';

/** Cells in one answer. */
export const MAX_CELLS = 64;
/** Bytes of data that columns are made of, so that a row's number has 32 bits in every proof. */
export const MAX_DATA_BYTES: number = 2 ** 32 - 1;
/** Of a path under a column's root: data is shorter than 2^32 bytes. */
const MAX_PATH = 32;

/** What a committee's `dataRoot` is the hash of. */
export interface Commitment {
  /** Bytes of data. */
  readonly length: number;
  readonly epoch: number;
  /** Of each column. */
  readonly roots: readonly Uint8Array[];
}

export const commitmentBytes = (n: number): number => 16 + HASH_BYTES * n;

export const encodeCommitment = ({ length, epoch, roots }: Commitment): Uint8Array =>
  new Writer()
    .u64(length)
    .u64(epoch)
    .bytes(concat(...roots))
    .finish();

/** Of `n` columns. Throws `malformed`. */
export function decodeCommitment(bytes: Uint8Array, n: number): Commitment {
  const reader = new Reader(bytes);
  const [length, epoch] = [reader.u64(), reader.u64()];
  if (length === 0 || length > MAX_DATA_BYTES) throw malformed('data has 1 to 2^32 - 1 bytes');
  const roots = Array.from({ length: n }, () => reader.bytes(HASH_BYTES));
  reader.end();
  return { length, epoch, roots };
}

export const rootOfCommitment = ({ length, epoch, roots }: Commitment): Uint8Array =>
  committeeRoot(length, epoch, roots);

/** The same, if it is what this `dataRoot` is the hash of; null for anything else. Total. */
export function openCommitment(bytes: Uint8Array, n: number, dataRoot: Uint8Array): Commitment | null {
  if (bytes.length !== commitmentBytes(n)) return null;
  try {
    const commitment = decodeCommitment(bytes, n);
    return equal(rootOfCommitment(commitment), dataRoot) ? commitment : null;
  } catch {
    return null;
  }
}

/** What comes before the column in an offer. */
export interface OfferHead {
  /** The batch's. */
  readonly number: number;
  /** Unix seconds for which the column is to be kept. */
  readonly until: number;
  /** The sequencer's, P-256, over `Offer`. */
  readonly signature: Uint8Array;
  /** The addresses of the epoch's members: column i is for member i. */
  readonly members: readonly Uint8Array[];
  readonly commitment: Commitment;
}

/** Bytes of an offer before its column. */
export const offerHeadBytes = (n: number): number => 16 + KEY_BYTES + ADDRESS_BYTES * n + commitmentBytes(n);

export const encodeOfferHead = ({ number, until, signature, members, commitment }: OfferHead): Uint8Array =>
  new Writer()
    .u64(number)
    .u64(until)
    .bytes(signature)
    .bytes(concat(...members))
    .bytes(encodeCommitment(commitment))
    .finish();

/** Of a committee of `n`. Throws `malformed`. */
export function decodeOfferHead(bytes: Uint8Array, n: number): OfferHead {
  const reader = new Reader(bytes);
  const [number, until] = [reader.u64(), reader.u64()];
  const signature = reader.bytes(KEY_BYTES);
  const members = Array.from({ length: n }, () => reader.bytes(ADDRESS_BYTES));
  return { number, until, signature, members, commitment: decodeCommitment(reader.bytes(reader.left), n) };
}

/** A cell of a known column. */
export interface CellAnswer {
  readonly row: number;
  readonly content: Uint8Array;
  /** From the leaf up. */
  readonly path: readonly Uint8Array[];
}

/** The cell of a column that is here whole. */
export const cellOf = (column: Uint8Array, row: number): CellAnswer => ({
  row,
  content: column.slice(CELL_BYTES * row, CELL_BYTES * (row + 1)),
  path: cellPath(column, row),
});

/** `count u16 ‖ count × (row u32 ‖ length of path u8 ‖ path ‖ 1,024 bytes)`. */
export function encodeCells(cells: readonly CellAnswer[]): Uint8Array {
  const writer = new Writer().u16(cells.length);
  for (const { row, content, path } of cells)
    writer
      .u32(row)
      .u8(path.length)
      .bytes(concat(...path))
      .bytes(content);
  return writer.finish();
}

/** Throws `malformed`. */
export function decodeCells(bytes: Uint8Array): CellAnswer[] {
  const reader = new Reader(bytes);
  const count = reader.u16();
  if (count > MAX_CELLS) throw malformed(`more than ${MAX_CELLS} cells`);
  const cells = Array.from({ length: count }, () => {
    const row = reader.u32();
    const length = reader.u8();
    if (length > MAX_PATH) throw malformed('a path longer than any column is high');
    const path = Array.from({ length }, () => reader.bytes(HASH_BYTES));
    return { row, path, content: reader.bytes(CELL_BYTES) };
  });
  reader.end();
  return cells;
}

/** Whether a cell is column `column`'s. Total. */
export const isCellOf = (commitment: Commitment, column: number, k: number, cell: CellAnswer): boolean =>
  isCell(commitment.roots[column], rowsOf(commitment.length, k), cell.row, cell.content, cell.path);

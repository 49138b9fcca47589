/**
 * Data in the columns of a committee: systematic Reed–Solomon, k columns of data and n − k more, any k of which give the data back; and the
 * commitment that members sign for and L1 opens cells under (docs/protocol.md §12).
 */
import { concat, writeUint } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { keccak } from '../hash.ts';
import { hashCells } from './cells.ts';
import { checkWeights, multiply } from './field.ts';
import { interpolate } from './kernel.ts';
import { inclusionPath, rootOf, verifyInclusion } from '../log.ts';

export const CELL_BYTES = 1024;
export const MAX_MEMBERS = 16;
/** First byte of what a committee's `dataRoot` is the hash of. */
const COMMITTEE = 0x02;

/** `n` columns, any `k` of which are enough: 1 ≤ k ≤ n ≤ 16. */
export interface Code {
  readonly n: number;
  readonly k: number;
}

/** Cells in a column of data of so many bytes. */
export const rowsOf = (length: number, k: number): number => Math.ceil(length / (CELL_BYTES * k));
export const columnBytes = (length: number, k: number): number => CELL_BYTES * rowsOf(length, k);

const dataColumns = (data: Uint8Array, k: number): Uint8Array[] => {
  const size = columnBytes(data.length, k);
  return Array.from({ length: k }, (_, c) => {
    const column = new Uint8Array(size);
    column.set(data.subarray(c * size, (c + 1) * size));
    return column;
  });
};

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** The `n` columns of data, the first `k` of which hold it as it is. */
export function encodeColumns(data: Uint8Array, { n, k }: Code): Uint8Array[] {
  const own = dataColumns(data, k);
  return [...own, ...interpolate(new Map(own.entries()), range(k, n))];
}

/** The data of `length` bytes from at least `k` of its columns; of more, the first `k` count. Throws `malformed` for too few, or of another size. */
export function decodeColumns(columns: ReadonlyMap<number, Uint8Array>, length: number, { n, k }: Code): Uint8Array {
  const size = columnBytes(length, k);
  const held = [...columns].slice(0, k);
  if (held.length < k || held.some(([c, column]) => c < 0 || c >= n || column.length !== size))
    throw malformed(`data of ${length} bytes takes ${k} columns of ${size} bytes`);
  const have = new Map(held);
  const missing = range(0, k).filter((c) => !have.has(c));
  for (const [i, column] of interpolate(have, missing).entries()) have.set(missing[i], column);
  const data = new Uint8Array(size * k);
  for (let c = 0; c < k; c++) data.set(have.get(c)!, c * size);
  return data.subarray(0, length);
}

/** A column's root, over its cells. */
export const columnRoot = (column: Uint8Array): Uint8Array => rootOf(keccak, hashCells(column));

/** A cell's path under its column's root, from the leaf up. */
export const cellPath = (column: Uint8Array, row: number): Uint8Array[] =>
  inclusionPath(keccak, hashCells(column), row);

/** Whether a cell stands in this row, of so many, under a column's root. Total. */
export const isCell = (
  root: Uint8Array,
  rows: number,
  row: number,
  cell: Uint8Array,
  path: readonly Uint8Array[],
): boolean => cell.length === CELL_BYTES && verifyInclusion(keccak, root, rows, row, hashCells(cell)[0], path);

/** The `dataRoot` of data in a committee's columns. */
export function committeeRoot(length: number, epoch: number, roots: readonly Uint8Array[]): Uint8Array {
  const head = new Uint8Array(17);
  head[0] = COMMITTEE;
  writeUint(head, 1, 8, length);
  writeUint(head, 9, 8, epoch);
  return keccak(concat(head, ...roots));
}

/**
 * Where the bytes of k + 1 or more columns of one size are on no polynomial of degree below k: by the first k + 1 of them, the byte's index in its column;
 * null where all are.
 */
export function encodingFault(columns: ReadonlyMap<number, Uint8Array>, k: number): number | null {
  const held = [...columns].slice(0, k + 1);
  if (held.length <= k) throw malformed(`a check takes ${k + 1} columns`);
  const last = held.at(-1)!;
  const [expected] = interpolate(new Map(held.slice(0, k)), [last[0]]);
  const at = expected.findIndex((byte, x) => byte !== last[1][x]);
  return at < 0 ? null : at;
}

/** Whether L1 sees a fault in one byte of each of k + 1 columns: it sums them with its weights. */
export function isFault(bytes: ReadonlyMap<number, number>): boolean {
  const weights = checkWeights([...bytes.keys()]);
  return [...bytes.values()].reduce((sum, byte, i) => sum ^ multiply(byte, weights[i]), 0) !== 0;
}

/** Proofs over cells of a committee's columns, as L1 takes them (docs/protocol.md §12). */
import { encodeAbiParameters, parseAbiParameters } from 'viem';
import { type Hex, concat, equal, hex, unhex } from '../../protocol/bytes.ts';
import { hashCells } from '../../protocol/da/cells.ts';
import { CELL_BYTES } from '../../protocol/da/columns.ts';
import { type CellAnswer, type Commitment, cellOf } from '../../protocol/da/offer.ts';
import { keccak } from '../../protocol/hash.ts';
import { treeLevels } from '../../protocol/log.ts';
import type { CellsByRow, Retrieved } from './retrieve.ts';

/** First byte of a proof of mode 2. */
const COMMITTEE = 0x02;
const PARAMETERS = parseAbiParameters([
  'Columns columns, Cell[] cells',
  'struct Columns { uint64 length; uint64 epoch; bytes32[] roots; }',
  'struct Cell { uint8 column; uint32 row; bytes content; bytes32[] path; }',
]);

/** A commitment as the ABI wants it. */
export const columnsToWire = ({ length, epoch, roots }: Commitment) => ({
  length: BigInt(length),
  epoch: BigInt(epoch),
  roots: roots.map(hex),
});

/** Cells of different columns, opened under the commitment's `dataRoot`. */
export const cellProof = (commitment: Commitment, cells: readonly (CellAnswer & { readonly column: number })[]): Hex =>
  hex(
    concat(
      Uint8Array.of(COMMITTEE),
      unhex(
        encodeAbiParameters(PARAMETERS, [
          columnsToWire(commitment),
          cells.map(({ column, row, content, path }) => ({ column, row, content: hex(content), path: path.map(hex) })),
        ]),
      ),
    ),
  );

/** Cells of one row, all committed to, that are on no polynomial; and the byte. */
export interface EncodingFault {
  readonly place: number;
  readonly cells: readonly (CellAnswer & { readonly column: number })[];
}

/** The first byte in which cells differ; −1 where they don't. */
const difference = (a: Uint8Array, b: Uint8Array): number => a.findIndex((byte, i) => byte !== b[i]);

const expectedCell = ({ columns }: Retrieved, column: number, row: number): Uint8Array =>
  columns[column].subarray(CELL_BYTES * row, CELL_BYTES * (row + 1));

/**
 * The fault that a committed cell shows which is not as the data has it: with k others of its row that are. null where it is as it should be.
 */
export function faultBy(retrieved: Retrieved, k: number, column: number, cell: CellAnswer): EncodingFault | null {
  const place = difference(cell.content, expectedCell(retrieved, column, cell.row));
  if (place < 0) return null;
  const others = [...retrieved.held].map(([c, bytes]) => ({ column: c, ...cellOf(bytes, cell.row) }));
  for (const [c, known] of retrieved.cells.get(cell.row) ?? []) {
    const isGood = difference(known.content, expectedCell(retrieved, c, cell.row)) < 0;
    if (isGood && !retrieved.held.has(c)) others.push({ column: c, ...known });
  }
  const cells = [{ column, ...cell }, ...others.filter((other) => other.column !== column).slice(0, k)];
  return { place, cells: cells.toSorted((a, b) => a.column - b.column) };
}

/** The fault in a column that is here whole, as it was committed to. */
export function faultIn(retrieved: Retrieved, k: number, column: number, bytes: Uint8Array): EncodingFault | null {
  const at = difference(bytes, retrieved.columns[column]);
  return at < 0 ? null : faultBy(retrieved, k, column, cellOf(bytes, Math.floor(at / CELL_BYTES)));
}

/**
 * Where a column that is not as the data has it differs, as far as cells with their paths tell: a row in the smallest part of it that is known to differ. Each
 * more cell halves that part, so a withheld column comes down to one cell in as many steps as its tree is high. Row 0 where nothing is known.
 */
export function suspectRow(retrieved: Retrieved, column: number, known: CellsByRow): number {
  const levels = treeLevels(keccak, hashCells(retrieved.columns[column]));
  let [suspect, smallest] = [0, Infinity];
  for (const [row, cells] of known) {
    const cell = cells.get(column);
    if (!cell) continue;
    let step = 0;
    for (let level = 0; level < levels.length - 1; level++) {
      const sibling = Math.floor(row / 2 ** level) ^ 1;
      // A last node has none.
      if (sibling >= levels[level].length) continue;
      if (!equal(cell.path[step++], levels[level][sibling]) && 2 ** level < smallest)
        [suspect, smallest] = [sibling * 2 ** level, 2 ** level];
    }
  }
  return suspect;
}

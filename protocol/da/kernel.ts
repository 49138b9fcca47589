/** Linear combinations of columns over GF(2^8): in JavaScript, or some ten times faster in WebAssembly once an entry has installed `module.ts`. Both give the same bytes. */
import { coefficients, multiply } from './field.ts';

/** Bytes of each column that are worked on at a time. */
const TILE = 16 * 1024;
const TABLE = 32;
const MAX_COLUMNS = 16;
/** A tile of each source and of one target, and the tables of one target. */
export const MEMORY_PAGES: number = Math.ceil(((MAX_COLUMNS + 1) * TILE + MAX_COLUMNS * TABLE) / 65_536);

interface Kernel {
  readonly memory: WebAssembly.Memory;
  addProduct(target: number, source: number, length: number, table: number): void;
}

let installed: { readonly kernel: Kernel; readonly bytes: Uint8Array } | null = null;

/** Takes `module.ts` (or `kernel.wasm`, the same bytes), compiled, for every combination from now on. */
export function installKernel(module: WebAssembly.Module): void {
  const kernel = new WebAssembly.Instance(module).exports as unknown as Kernel;
  installed = { kernel, bytes: new Uint8Array(kernel.memory.buffer) };
}

/** Products of one factor, by the low four bits of a byte and by the high. */
function tableOf(factor: number): Uint8Array {
  const table = new Uint8Array(TABLE);
  for (let i = 0; i < 16; i++) {
    table[i] = multiply(factor, i);
    table[16 + i] = multiply(factor, i << 4);
  }
  return table;
}

/**
 * Columns at `targets` of the polynomials that the `sources` (by their points, all of one length) are on: encoding, and decoding, too.
 * At most 16 sources.
 */
export function interpolate(sources: ReadonlyMap<number, Uint8Array>, targets: readonly number[]): Uint8Array[] {
  const points = [...sources.keys()];
  const columns = [...sources.values()];
  const length = columns[0]?.length ?? 0;
  if (columns.length === 0 || columns.length > MAX_COLUMNS || columns.some((column) => column.length !== length))
    throw new RangeError('1 to 16 columns of one length');
  const out = targets.map(() => new Uint8Array(length));
  const factors = targets.map((target) => coefficients(points, target));
  if (installed === null) {
    for (const [t, target] of out.entries())
      for (const [c, column] of columns.entries()) addTo(target, column, tableOf(factors[t][c]));
    return out;
  }
  const { kernel, bytes } = installed;
  const tables = factors.map((row) => row.map(tableOf));
  const [targetAt, tablesAt] = [MAX_COLUMNS * TILE, (MAX_COLUMNS + 1) * TILE];
  for (let from = 0; from < length; from += TILE) {
    const size = Math.min(TILE, length - from);
    const padded = Math.ceil(size / 16) * 16;
    for (const [c, column] of columns.entries()) bytes.set(column.subarray(from, from + size), c * TILE);
    for (const [t, target] of out.entries()) {
      bytes.fill(0, targetAt, targetAt + padded);
      for (const [c, table] of tables[t].entries()) {
        bytes.set(table, tablesAt + c * TABLE);
        kernel.addProduct(targetAt, c * TILE, padded, tablesAt + c * TABLE);
      }
      target.set(bytes.subarray(targetAt, targetAt + size), from);
    }
  }
  return out;
}

function addTo(target: Uint8Array, source: Uint8Array, table: Uint8Array): void {
  for (let x = 0; x < source.length; x++) {
    const byte = source[x];
    target[x] ^= table[byte & 15] ^ table[16 + (byte >> 4)];
  }
}

/** Hashes of a column's cells: keccak(0x00 ‖ 1,024 bytes) each, many at once where keccak is WebAssembly. */
import { keccak, hashingMemory, type HashingMemory } from '../hash.ts';
import { KECCAK_END, KECCAK_LIST, KECCAK_LIST_PAIRS } from '../keccak/layout.ts';
import { concat } from '../bytes.ts';

const CELL = 1024;
const RATE = 136;
const BLOCKS = Math.ceil((1 + CELL + 1) / RATE);
const HASH = 32;
/** Cells hashed at a time. */
const MANY = 64;
const LEAF = Uint8Array.of(0);

const START: number = Math.ceil(KECCAK_END / 64) * 64;
const OUT: number = START + MANY * BLOCKS * RATE;
const PAGES = Math.ceil((OUT + MANY * HASH) / 65_536);
if (MANY > KECCAK_LIST_PAIRS) throw new RangeError('the list is too short');

let held: { hashing: HashingMemory; bytes: Uint8Array; words: Uint32Array } | null = null;

/** A memory with the padding of every message in place; null where keccak is not WebAssembly. */
function memory(): typeof held {
  if (held !== null) return held;
  const hashing = hashingMemory(PAGES);
  if (hashing === null) return null;
  const bytes = new Uint8Array(hashing.memory.buffer);
  for (let i = 0; i < MANY; i++) {
    const at = START + i * BLOCKS * RATE;
    bytes[at + 1 + CELL] = 0x01;
    bytes[at + BLOCKS * RATE - 1] |= 0x80;
  }
  return (held = { hashing, bytes, words: new Uint32Array(hashing.memory.buffer) });
}

/** The leaf hashes of a column's cells; its length is a multiple of 1,024. */
export function hashCells(column: Uint8Array): Uint8Array[] {
  const rows = column.length / CELL;
  const into = memory();
  if (into === null)
    return Array.from({ length: rows }, (_, row) =>
      keccak(concat(LEAF, column.subarray(row * CELL, (row + 1) * CELL))),
    );
  const { hashing, bytes, words } = into;
  const out: Uint8Array[] = [];
  for (let from = 0; from < rows; from += MANY) {
    const count = Math.min(MANY, rows - from);
    for (let i = 0; i < count; i++) {
      const at = START + i * BLOCKS * RATE;
      bytes.set(column.subarray((from + i) * CELL, (from + i + 1) * CELL), at + 1);
      words[KECCAK_LIST / 4 + 2 * i] = at;
      words[KECCAK_LIST / 4 + 2 * i + 1] = OUT + i * HASH;
    }
    // Of an odd number, the last stands there twice.
    if (count % 2 === 1) {
      words[KECCAK_LIST / 4 + 2 * count] = words[KECCAK_LIST / 4 + 2 * count - 2];
      words[KECCAK_LIST / 4 + 2 * count + 1] = words[KECCAK_LIST / 4 + 2 * count - 1];
    }
    hashing.hashPadded(count, BLOCKS);
    for (let i = 0; i < count; i++) out.push(bytes.slice(OUT + i * HASH, OUT + (i + 1) * HASH));
  }
  return out;
}

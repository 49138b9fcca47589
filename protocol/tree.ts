/**
 * Complete 4-ary keccak trees, each in one run of a {@link Memory}'s bytes: what the interaction trie is put together
 * from. They are recomputed several at a time, level by level, and only along the leaves that are marked.
 */
import { CELL_BYTES } from './cells.ts';
import { HASH_BYTES as HASH, keccak } from './hash.ts';
import { LIST, LIST_ENTRIES, type Memory } from './memory.ts';

export const DEPTH = 16;
/** Siblings a level of a proof has. */
export const SIBLINGS = 3;

/** Z[h]: root of an empty subtree of height h. */
export const ZERO_HASHES: readonly Uint8Array[] = (() => {
  const zeros = [keccak(new Uint8Array(CELL_BYTES))];
  for (let h = 0; h < DEPTH; h++) {
    const four = new Uint8Array(4 * HASH);
    for (let i = 0; i < 4; i++) four.set(zeros[h], i * HASH);
    zeros.push(keccak(four));
  }
  return zeros;
})();

/** Four hashes, what a node is the hash of. */
const NODE_BYTES = 128;
const MAX_LEAVES = 1024;
/** Words of a tree's marks, a bit for each leaf. */
export const MARK_WORDS: number = MAX_LEAVES / 32;

/** What trees of one height and place have in common: 4^levels leaves, their parents, … the root, one after the other. */
export class Shape {
  readonly levels: number;
  readonly byteLength: number;
  /** First node of each level. */
  readonly #starts: readonly number[];
  readonly #zeroHeight: number;

  /** Of trees whose leaves, where nothing is written, are empty subtrees of height `zeroHeight`. */
  constructor(levels: number, zeroHeight: number) {
    const starts = [0];
    for (let level = 0; level <= levels; level++) starts.push(starts[level] + 4 ** (levels - level));
    this.levels = levels;
    this.byteLength = starts[levels + 1] * HASH;
    this.#starts = starts;
    this.#zeroHeight = zeroHeight;
  }

  /** Byte where a node of the tree at `base` starts. */
  node(base: number, level: number, i: number): number {
    return base + (this.#starts[level] + i) * HASH;
  }
  root(base: number): number {
    return this.node(base, this.levels, 0);
  }

  /** Makes the tree at `base` an empty one. */
  clear(bytes: Uint8Array, base: number): void {
    for (let level = 0; level <= this.levels; level++) {
      const first = this.node(base, level, 0);
      const end = first + 4 ** (this.levels - level) * HASH;
      bytes.set(ZERO_HASHES[this.#zeroHeight + level], first);
      // Each copy doubles what is there.
      for (let done = HASH; first + done < end; done *= 2)
        bytes.copyWithin(first + done, first, Math.min(first + done, end - done));
    }
  }

  /** The three siblings of each node on the path from leaf `i`, in child order. */
  siblings(bytes: Uint8Array, base: number, i: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    let at = i;
    for (let level = 0; level < this.levels; level++) {
      const first = at - (at % 4);
      for (let child = first; child < first + 4; child++) {
        const node = this.node(base, level, child);
        if (child !== at) out.push(bytes.slice(node, node + HASH));
      }
      at = Math.floor(at / 4);
    }
    return out;
  }
}

/** Trees updated together: enough for long batches, few enough to stay in a cache. */
const GROUP = 8;
/** The nodes being recomputed: `tree of the group × 1,024 + index in its level`, ascending. */
const places = new Int32Array(GROUP * MAX_LEAVES);

/** Lists the leaves of tree `t` that are marked from `marks[from]` on, and unmarks them. */
function takeMarked(marks: Int32Array, from: number, t: number, count: number): number {
  let listed = count;
  for (let word = 0; word < MARK_WORDS; word++) {
    const first = t * MAX_LEAVES + 32 * word;
    for (let bits = marks[from + word]; bits !== 0; bits &= bits - 1)
      places[listed++] = first + 31 - Math.clz32(bits & -bits);
    marks[from + word] = 0;
  }
  return listed;
}

/** Turns the listed places into those of their parents, each once. */
function toParents(count: number): number {
  let parents = 0;
  for (let i = 0; i < count; i++) {
    const place = places[i];
    const parent = (place & -MAX_LEAVES) | ((place & (MAX_LEAVES - 1)) >>> 2);
    if (parents === 0 || places[parents - 1] !== parent) places[parents++] = parent;
  }
  return parents;
}

/** For every listed place, puts keccak of block i of `width` bytes from `sources[tree]` on to node i from `targets[tree]` on. */
function hashPlaces(
  memory: Memory,
  count: number,
  width: 64 | 128,
  sources: readonly number[],
  targets: readonly number[],
): void {
  const { words } = memory;
  let [tree, source, target] = [-1, 0, 0];
  for (let done = 0; done < count; done += LIST_ENTRIES) {
    const listed = Math.min(LIST_ENTRIES, count - done);
    for (let i = 0; i < listed; i++) {
      const place = places[done + i];
      const index = place & (MAX_LEAVES - 1);
      if (place >>> 10 !== tree) {
        tree = place >>> 10;
        source = sources[tree];
        target = targets[tree];
      }
      words[LIST + 2 * i] = source + index * width;
      words[LIST + 2 * i + 1] = target + index * HASH;
    }
    memory.hashListed(width, listed);
  }
}

/**
 * Recomputes trees of one shape above their marked leaves, and unmarks these. `bases`: where the trees are; `marksAt`:
 * where in `marks` those of each start. With `cells`, where the cells of each start, the leaves are first hashed from them.
 */
export function updateTrees(
  memory: Memory,
  shape: Shape,
  bases: readonly number[],
  marks: Int32Array,
  marksAt: readonly number[],
  cells?: readonly number[],
): void {
  for (let first = 0; first < bases.length; first += GROUP) {
    const group = bases.slice(first, first + GROUP);
    const nodes = (level: number): number[] => group.map((base) => shape.node(base, level, 0));
    let count = 0;
    for (let t = 0; t < group.length; t++) count = takeMarked(marks, marksAt[first + t], t, count);
    if (cells) hashPlaces(memory, count, CELL_BYTES, cells.slice(first, first + GROUP), group);
    for (let level = 0; level < shape.levels; level++) {
      count = toParents(count);
      hashPlaces(memory, count, NODE_BYTES, nodes(level), nodes(level + 1));
    }
  }
}

/**
 * The interaction trie (docs/protocol.md §2): a dense 4-ary keccak tree over 64-byte cells.
 *
 * One `ShardTrie` holds a shard in one flat memory: its upper trees first, then pages of 1,024 cells (4^5, a subtree each)
 * with their hashes, in the order in which they are first written. A page never moves, so a cell is named by where its
 * bytes start; a page is what a snapshot stores; and a root is computed level by level over all pages, only along what
 * changed, in batches. Memory is 64 + 32 × 4/3 bytes a cell.
 */
import { CELL_BYTES, REGION_SLOTS, placeOf } from './cells.ts';
import { equal } from './bytes.ts';
import { HASH_BYTES as HASH, MAX_BLOCKS, blockHasher, keccak } from './hash.ts';
import { type Cell, type Edit, Memory, NONE } from './memory.ts';

export const DEPTH = 16;
/** Levels below a shard root. */
export const SHARD_DEPTH = 12;
const PAGE_LEVELS = 5;
export const PAGE_CELLS = 4 ** PAGE_LEVELS;
const PAGES = REGION_SLOTS / PAGE_CELLS;
/** Siblings a level of a proof has. */
const SIBLINGS = 3;

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

// --- hash trees: complete, 4-ary, each in one run of bytes ---

/** Words of a hash, and of a cell or four hashes: what moves in batches moves as 32-bit words. */
const HASH_WORDS = HASH / 4;
const CELL_WORDS = CELL_BYTES / 4;
const NODE_WORDS = 4 * HASH_WORDS;

/** What trees of one height and place have in common: 4^levels leaves, their parents, … the root, one after the other. */
class Shape {
  readonly levels: number;
  /** First node of each level. */
  readonly starts: readonly number[];
  readonly byteLength: number;
  readonly #zeroHeight: number;

  /** Of trees whose leaves, where nothing is written, are empty subtrees of height `zeroHeight`. */
  constructor(levels: number, zeroHeight: number) {
    const starts = [0];
    for (let level = 0; level <= levels; level++) starts.push(starts[level] + 4 ** (levels - level));
    this.levels = levels;
    this.starts = starts;
    this.byteLength = starts[levels + 1] * HASH;
    this.#zeroHeight = zeroHeight;
  }

  /** Byte where a node of the tree at `base` starts. */
  node(base: number, level: number, i: number): number {
    return base + (this.starts[level] + i) * HASH;
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

const PAGE = new Shape(PAGE_LEVELS, 0);
const REGION = new Shape(PAGE_LEVELS, PAGE_LEVELS);
const SHARD = new Shape(2, 10);
const STATE = new Shape(DEPTH - SHARD_DEPTH, SHARD_DEPTH);
const REGIONS = 4 ** SHARD.levels;

const MAX_LEAVES = 1024;
const MARK_WORDS = MAX_LEAVES / 32;

/** Trees updated together: enough for long batches, few enough to stay in a cache. */
const GROUP = 32;
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

function copyWords(from: Int32Array, at: number, to: Int32Array, toAt: number, words: number): void {
  for (let i = 0; i < words; i++) to[toAt + i] = from[at + i];
}

/**
 * For every listed place, puts keccak(block) at its node: block i of `width` words from `sources[tree]` on, node i from
 * `targets[tree]` on, counted in words.
 */
function hashPlaces(
  words: Int32Array,
  count: number,
  width: number,
  sources: readonly number[],
  targets: readonly number[],
): void {
  for (let done = 0; done < count; done += MAX_BLOCKS) {
    const blocks = Math.min(MAX_BLOCKS, count - done);
    const hasher = blockHasher(blocks);
    const { input, output } = hasher;
    for (let i = 0; i < blocks; i++) {
      const place = places[done + i];
      copyWords(words, sources[place >>> 10] + (place & (MAX_LEAVES - 1)) * width, input, i * width, width);
    }
    if (width === CELL_WORDS) hasher.each64(blocks);
    else hasher.each128(blocks);
    for (let i = 0; i < blocks; i++) {
      const place = places[done + i];
      const at = targets[place >>> 10] + (place & (MAX_LEAVES - 1)) * HASH_WORDS;
      copyWords(output, i * HASH_WORDS, words, at, HASH_WORDS);
    }
  }
}

/** Recomputes all above the listed leaves of trees of one shape, level by level over all of them, so that batches are long. */
function hashUp(words: Int32Array, shape: Shape, bases: readonly number[], leaves: number): void {
  let count = leaves;
  for (let level = 0; level < shape.levels; level++) {
    count = toParents(count);
    const nodes = (l: number): number[] => bases.map((base) => shape.node(base, l, 0) / 4);
    hashPlaces(words, count, NODE_WORDS, nodes(level), nodes(level + 1));
  }
}

// --- where a shard's memory holds what ---

/** Memory grows by blocks: three pages of cells, then their trees. What a page is at is counted in pages of 64 KiB. */
const PAGE_BYTES = PAGE_CELLS * CELL_BYTES;
const BLOCK_PAGES = 3;
const BLOCK = 5;
/** Before the blocks: a cell of zeros that is {@link NONE}, the trees of the regions, the tree over them. */
const REGION_TREES = CELL_BYTES;
const SHARD_TREE = REGION_TREES + REGIONS * REGION.byteLength;
const FIRST_BLOCK = Math.ceil((SHARD_TREE + SHARD.byteLength) / PAGE_BYTES);

const regionTree = (region: number): number => REGION_TREES + region * REGION.byteLength;
/** Tree of the page of cells at `page`. */
function pageTree(page: number): number {
  const at = page - FIRST_BLOCK;
  const block = Math.floor(at / BLOCK);
  return (page + BLOCK_PAGES - (at % BLOCK)) * PAGE_BYTES + (at - BLOCK * block) * PAGE.byteLength;
}

/** One page as a snapshot stores it. */
export interface PageImage {
  readonly region: number;
  readonly page: number;
  readonly cells: Uint8Array;
}

/** The cells of one shard, and their root. */
export class ShardTrie {
  readonly memory: Memory;
  /** By region and number: where in memory a page is, 0 while nothing was written to it. */
  readonly #table = new Int32Array(REGIONS * PAGES);
  /** Region and number of each page, in the order in which they were made. */
  readonly #made: number[] = [];
  /** A bit for every cell in memory: changed since the last root. */
  #marks = new Int32Array(0);
  /** By place in memory: whether a page was edited since the last {@link takeChanged}. */
  #changed = new Uint8Array(0);

  constructor() {
    this.memory = new Memory(FIRST_BLOCK * PAGE_BYTES);
    SHARD.clear(this.memory.bytes, SHARD_TREE);
  }

  /** Place of a new page. */
  #make(region: number, number: number): number {
    const count = this.#made.length;
    const page = FIRST_BLOCK + BLOCK * Math.floor(count / BLOCK_PAGES) + (count % BLOCK_PAGES);
    if (count % BLOCK_PAGES === 0) this.#grow(page + BLOCK);
    const key = region * PAGES + number;
    if (!this.#made.some((made) => Math.floor(made / PAGES) === region))
      REGION.clear(this.memory.bytes, regionTree(region));
    PAGE.clear(this.memory.bytes, pageTree(page));
    this.#made.push(key);
    this.#table[key] = page;
    return page;
  }

  /** Makes room for so many pages, and some to spare: growing may copy everything. */
  #grow(pages: number): void {
    if (this.#changed.length >= pages) return;
    const room = pages + (pages >>> 3);
    this.memory.grow(room * PAGE_BYTES);
    const marks = new Int32Array(room * MARK_WORDS);
    marks.set(this.#marks);
    this.#marks = marks;
    const changed = new Uint8Array(room);
    changed.set(this.#changed);
    this.#changed = changed;
  }

  // --- by handle: what runs reads and writes this way ---

  /** A cell for reading: {@link NONE}, all zeros, where nothing was written near it. */
  cell(region: number, slot: number): Cell {
    const page = this.#table[region * PAGES + (slot >>> 10)];
    return page === 0 ? NONE : ((page * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  /** A cell for writing, wherever it is; it counts as changed. */
  make(region: number, slot: number): Edit {
    const page = this.#table[region * PAGES + (slot >>> 10)] || this.#make(region, slot >>> 10);
    return this.mark((page * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  /** The same cell for writing; it counts as changed. It must not be {@link NONE}. */
  mark(cell: Cell): Edit {
    if (cell === NONE) throw new RangeError('there is no cell to write');
    // Its bit: a shift takes its amount modulo 32.
    this.#marks[cell >>> 11] |= 1 << (cell >>> 6);
    this.#changed[cell >>> 16] = 1;
    return cell as Edit;
  }

  // --- as bytes ---

  /** A copy of a cell. */
  read(region: number, slot: number): Uint8Array {
    const at = this.cell(region, slot);
    return this.memory.bytes.slice(at, at + CELL_BYTES);
  }

  /** A view of a cell for writing at once; it counts as changed. */
  edit(region: number, slot: number): Uint8Array {
    const at = this.make(region, slot);
    return this.memory.bytes.subarray(at, at + CELL_BYTES);
  }

  // --- roots and proofs ---

  /** Shard root over everything written. */
  root(): Uint8Array {
    const { bytes } = this.memory;
    const regions = this.#updatePages();
    if (regions.size > 0) {
      const bases = [...regions.keys()].map(regionTree);
      let count = 0;
      let t = 0;
      for (const leaves of regions.values()) {
        for (const leaf of leaves.toSorted((a, b) => a - b)) places[count++] = t * MAX_LEAVES + leaf;
        t += 1;
      }
      hashUp(this.memory.words, REGION, bases, count);
      count = 0;
      for (const region of [...regions.keys()].toSorted((a, b) => a - b)) {
        const root = REGION.root(regionTree(region));
        bytes.copyWithin(SHARD.node(SHARD_TREE, 0, region), root, root + HASH);
        places[count++] = region;
      }
      hashUp(this.memory.words, SHARD, [SHARD_TREE], count);
    }
    const root = SHARD.root(SHARD_TREE);
    return bytes.slice(root, root + HASH);
  }

  /** Recomputes every page with marks, and puts its root into its region's tree. Returns the pages' numbers by region. */
  #updatePages(): Map<number, number[]> {
    const { bytes, words } = this.memory;
    const dirty = this.#made.filter((key) => this.#isMarked(this.#table[key]));
    const regions = new Map<number, number[]>();
    for (let first = 0; first < dirty.length; first += GROUP) {
      const keys = dirty.slice(first, first + GROUP);
      const pages = keys.map((key) => this.#table[key]);
      let count = 0;
      for (const [t, page] of pages.entries()) count = takeMarked(this.#marks, page * MARK_WORDS, t, count);
      const bases = pages.map(pageTree);
      const cells = pages.map((page) => (page * PAGE_BYTES) / 4);
      const leaves = bases.map((base) => base / 4);
      hashPlaces(words, count, CELL_WORDS, cells, leaves);
      hashUp(words, PAGE, bases, count);
      for (const [t, key] of keys.entries()) {
        const region = Math.floor(key / PAGES);
        const root = PAGE.root(bases[t]);
        bytes.copyWithin(REGION.node(regionTree(region), 0, key % PAGES), root, root + HASH);
        if (!regions.has(region)) regions.set(region, []);
        regions.get(region)!.push(key % PAGES);
      }
    }
    return regions;
  }

  #isMarked(page: number): boolean {
    let any = 0;
    for (let word = page * MARK_WORDS; word < (page + 1) * MARK_WORDS; word++) any |= this.#marks[word];
    return any !== 0;
  }

  /** Proof of a cell under the shard root: 12 levels × 3 siblings, from the leaf up. */
  proof(region: number, slot: number): Uint8Array[] {
    this.root();
    const { bytes } = this.memory;
    const number = slot >>> 10;
    const page = this.#table[region * PAGES + number];
    const isThere = this.#made.some((key) => Math.floor(key / PAGES) === region);
    const emptyLevels = (from: number) =>
      Array.from({ length: PAGE_LEVELS * SIBLINGS }, (_, i) => ZERO_HASHES[from + Math.floor(i / SIBLINGS)]);
    return [
      ...(page ? PAGE.siblings(bytes, pageTree(page), slot % PAGE_CELLS) : emptyLevels(0)),
      ...(isThere ? REGION.siblings(bytes, regionTree(region), number) : emptyLevels(PAGE_LEVELS)),
      ...SHARD.siblings(bytes, SHARD_TREE, region),
    ];
  }

  // --- snapshots ---

  #image(key: number): PageImage {
    const at = this.#table[key] * PAGE_BYTES;
    return {
      region: Math.floor(key / PAGES),
      page: key % PAGES,
      cells: this.memory.bytes.subarray(at, at + PAGE_BYTES),
    };
  }

  /** Images of the pages edited since the last call: what a snapshot has to store. Their cells are views, to be used at once. */
  takeChanged(): PageImage[] {
    const images = this.#made.filter((key) => this.#changed[this.#table[key]] !== 0).map((key) => this.#image(key));
    this.#changed.fill(0);
    return images;
  }

  /** Puts a stored page into its place, where nothing was written yet. */
  load(image: PageImage): void {
    const page = this.#table[image.region * PAGES + image.page] || this.#make(image.region, image.page);
    this.memory.bytes.set(image.cells, page * PAGE_BYTES);
    const { words } = this.memory;
    for (let cell = page * PAGE_CELLS; cell < (page + 1) * PAGE_CELLS; cell++) {
      let any = 0;
      for (let w = cell * CELL_WORDS; w < (cell + 1) * CELL_WORDS; w++) any |= words[w];
      if (any !== 0) this.#marks[cell >>> 5] |= 1 << cell;
    }
  }
}

/** The 4-ary tree over shard roots: state root and the upper four levels of every proof. */
export class StateTree {
  readonly #bytes = new Uint8Array(STATE.byteLength);

  constructor(shardRoots: Iterable<readonly [shard: number, root: Uint8Array]>) {
    STATE.clear(this.#bytes, 0);
    const given = new Map(shardRoots);
    let count = 0;
    for (const shard of [...given.keys()].toSorted((a, b) => a - b)) {
      this.#bytes.set(given.get(shard)!, STATE.node(0, 0, shard));
      places[count++] = shard;
    }
    hashUp(new Int32Array(this.#bytes.buffer), STATE, [0], count);
  }

  root(): Uint8Array {
    const at = STATE.root(0);
    return this.#bytes.slice(at, at + HASH);
  }

  /** Siblings of a shard root, 4 levels × 3. */
  siblings(shard: number): Uint8Array[] {
    return STATE.siblings(this.#bytes, 0, shard);
  }
}

/** Root that a cell and its siblings (from the leaf up, 3 a level; 16 levels for the state root, 12 for a shard's) lead to. */
export function proofRoot(address: number, cell: Uint8Array, siblings: readonly Uint8Array[]): Uint8Array {
  let node = keccak(cell);
  const children = new Uint8Array(4 * HASH);
  for (let level = 0; level < siblings.length / SIBLINGS; level++) {
    const own = Math.floor(address / 4 ** level) % 4;
    for (let child = 0, next = level * SIBLINGS; child < 4; child++)
      children.set(child === own ? node : siblings[next++], child * HASH);
    node = keccak(children);
  }
  return node;
}

/** Whether `cell` stands at `address` under a state root. Total. */
export function verifyCell(
  root: Uint8Array,
  address: number,
  cell: Uint8Array,
  siblings: readonly Uint8Array[],
): boolean {
  return (
    cell.length === CELL_BYTES &&
    siblings.length === DEPTH * SIBLINGS &&
    siblings.every((s) => s.length === HASH) &&
    placeOf(address).shard < 256 &&
    equal(proofRoot(address, cell, siblings), root)
  );
}

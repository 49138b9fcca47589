/** A shard's cells in shared memory: each thread has one of these over the same cells, with marks of its own. */
import { CELL_BYTES } from '../../protocol/cells.ts';
import { HASH_BYTES, type PlainExports } from '../../protocol/hash.ts';
import { keccakModule } from '../../protocol/keccak/module.ts';
import { type Cell, type Edit, LIST, Memory, NONE } from '../../protocol/memory.ts';
import { TABLE } from '../../protocol/plain/layout.ts';
import { MARK_WORDS, updateTrees } from '../../protocol/tree.ts';
import { PAGE_CELLS, type PageImage, ShardTrie } from '../../protocol/trie.ts';
import {
  FROZEN,
  FROZEN_CELLS,
  FROZEN_LIST,
  LIST_BYTES,
  PAGE,
  PAGES,
  PAGE_BYTES,
  REGION,
  REGIONS,
  SHARD,
  SHARD_TREE,
  type Shared,
  UNIT_CELLS,
  Word,
  isPlanned,
  listOf,
  placeOfPage,
  regionTree,
  treeOfPage,
} from './shared.ts';

/** The views of a memory of a given size; it never grows. */
class FixedMemory extends Memory {
  constructor(buffer: ArrayBufferLike) {
    super(0);
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
  }

  override grow(bytes: number): void {
    if (bytes > this.bytes.length) throw new RangeError('a shared memory has the size it has');
  }
}

interface Hashing extends PlainExports {
  each64(list: number, count: number): void;
  each128(list: number, count: number): void;
}

/** The same memory for hashing: what is to be hashed is listed where the thread has a place of its own for it. */
class ListedMemory extends FixedMemory {
  readonly #list: number;
  readonly hashing: Hashing;

  constructor(memory: WebAssembly.Memory, list: number) {
    super(memory.buffer);
    this.#list = list;
    this.words = new Int32Array(memory.buffer, list - 4 * LIST, LIST + LIST_BYTES / 4);
    const module = new WebAssembly.Module(keccakModule(true));
    this.hashing = new WebAssembly.Instance(module, { keccak: { memory } }).exports as unknown as Hashing;
  }

  override hashListed(width: 64 | 128, count: number): void {
    const { words } = this;
    // Blocks are hashed in pairs, so an odd one twice.
    if (count % 2 === 1) words.copyWithin(LIST + 2 * count, LIST + 2 * count - 2, LIST + 2 * count);
    if (width === 64) this.hashing.each64(this.#list, count);
    else this.hashing.each128(this.#list, count);
  }

  /** Hashes cells by a list of an even number that stands somewhere else. */
  hashCells(list: number, count: number): void {
    this.hashing.each64(list, count);
  }
}

/** Bytes that a process is given at once, or more. */
export const OS_PAGE = 4096;

/** All eight at once: a third of the time that 16 words take one by one. */
function copyCell(longs: BigInt64Array, to: number, from: number): void {
  const t = to >>> 3;
  const f = from >>> 3;
  longs[t] = longs[f];
  longs[t + 1] = longs[f + 1];
  longs[t + 2] = longs[f + 2];
  longs[t + 3] = longs[f + 3];
  longs[t + 4] = longs[f + 4];
  longs[t + 5] = longs[f + 5];
  longs[t + 6] = longs[f + 6];
  longs[t + 7] = longs[f + 7];
}

export class SharedTrie extends ShardTrie {
  override readonly memory: Memory;
  readonly #shared: Shared;
  readonly #longs: BigInt64Array;
  readonly #lane: number;
  readonly #table: Int32Array;
  readonly #marks: Int32Array;
  readonly #touched: Uint8Array;
  readonly #listed: ListedMemory;
  /** Regions with a tree. */
  readonly #regions = new Set<number>();
  /** What the trees over pages have to be recomputed along; by region, and the last for the shard's. */
  readonly #regionMarks = new Int32Array((REGIONS + 1) * MARK_WORDS);
  /** The page to freeze next. */
  #next = 0;

  /** The first thread's also makes pages and roots. */
  constructor(shared: Shared, lane: number) {
    super();
    this.memory = new FixedMemory(shared.memory.buffer);
    this.#shared = shared;
    this.#longs = new BigInt64Array(shared.memory.buffer);
    this.#lane = lane;
    this.#table = new Int32Array(shared.memory.buffer, TABLE, REGIONS * PAGES);
    this.#marks = shared.marks[lane];
    this.#touched = shared.touched[lane];
    this.#listed = new ListedMemory(shared.memory, listOf(lane));
    if (lane === 0) this.memory.module = this.#listed.hashing;
    if (lane === 0) SHARD.clear(this.memory.bytes, SHARD_TREE);
  }

  get #count(): number {
    return this.#shared.control[Word.count];
  }

  override cell(region: number, slot: number): Cell {
    const place = this.#table[region * PAGES + (slot >>> 10)];
    return place === 0 ? NONE : ((place * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  override make(region: number, slot: number): Edit {
    const key = region * PAGES + (slot >>> 10);
    const place = this.#table[key] || this.#makePage(key);
    return this.mark((place * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  /** Makes sure that a cell is there to be written by any thread. */
  prepare(region: number, slot: number): void {
    const key = region * PAGES + (slot >>> 10);
    if (this.#table[key] === 0) this.#makePage(key);
  }

  override mark(cell: Cell): Edit {
    if (cell === NONE) throw new RangeError('there is no cell to write');
    // Its bit: a shift takes its amount modulo 32.
    this.#marks[cell >>> 11] |= 1 << (cell >>> 6);
    this.#touched[cell >>> 16] = 1;
    return cell as Edit;
  }

  #makePage(key: number): number {
    if (this.#lane !== 0) throw new Error('only the first thread makes pages');
    const page = this.#count;
    const { bytes } = this.memory;
    this.#shared.bare[page] = 1;
    // Memory that is read before it is written is given twice, and the second time every thread's processor is stopped.
    const first = placeOfPage(page) * PAGE_BYTES;
    for (let at = first; at < first + PAGE_BYTES; at += OS_PAGE) bytes[at] = 0;
    const region = Math.floor(key / PAGES);
    if (!this.#regions.has(region)) REGION.clear(bytes, regionTree(region));
    this.#regions.add(region);
    this.#shared.keys[page] = key;
    this.#shared.control[Word.count] = page + 1;
    // Last, because other threads look here.
    Atomics.store(this.#table, key, placeOfPage(page));
    return placeOfPage(page);
  }

  // --- the root, in three parts: the first thread copies what changed, all hash the copies, the first finishes ---

  /**
   * Takes what has changed since it was last asked and copies it, as far as there is room: from then on it may change
   * again. Others already hash what is copied. When all of that is hashed, {@link isFrozen} tells whether there is more.
   */
  freeze(): void {
    const { control, frozen, frozenMarks, units, keys, touched } = this.#shared;
    const { words } = this.memory;
    const places = this.#count;
    let [pages, cells, entries, count] = [0, 0, 0, 0];
    for (; this.#next < places && cells <= FROZEN_CELLS - PAGE_CELLS; this.#next++) {
      const page = this.#next;
      const place = placeOfPage(page);
      let any = 0;
      for (const lane of touched) {
        any |= lane[place];
        lane[place] = 0;
      }
      if (any === 0) continue;
      if (count === 0 || entries - units[2 * count - 1] >= UNIT_CELLS) {
        entries = this.#evenUp(entries);
        units[2 * count] = pages;
        units[2 * count + 1] = entries;
        Atomics.store(control, Word.planned, count);
        count += 1;
      }
      frozen[pages] = page;
      const key = keys[page];
      this.#regionMarks[key >>> 5] |= 1 << key;
      const tree = treeOfPage(page);
      for (let word = 0; word < MARK_WORDS; word++) {
        let bits = this.#takeMarks(place * MARK_WORDS + word);
        frozenMarks[pages * MARK_WORDS + word] = bits;
        for (; bits !== 0; bits &= bits - 1) {
          const cell = 32 * word + 31 - Math.clz32(bits & -bits);
          const to = FROZEN + cells * CELL_BYTES;
          copyCell(this.#longs, to, place * PAGE_BYTES + cell * CELL_BYTES);
          words[FROZEN_LIST / 4 + 2 * entries] = to;
          words[FROZEN_LIST / 4 + 2 * entries + 1] = tree + HASH_BYTES * cell;
          cells += 1;
          entries += 1;
        }
      }
      pages += 1;
    }
    units[2 * count] = pages;
    units[2 * count + 1] = this.#evenUp(entries);
    if (this.#next === places) this.#next = 0;
    Atomics.store(control, Word.planned, count);
    Atomics.store(control, Word.limit, count);
  }

  /** Whether all that has changed is with those who hash. */
  get isFrozen(): boolean {
    return this.#next === 0;
  }

  /** Cells are hashed in pairs, so an odd one twice. Returns how many entries of the list there are then. */
  #evenUp(entries: number): number {
    if (entries % 2 === 0) return entries;
    const at = FROZEN_LIST / 4 + 2 * entries;
    this.memory.words.copyWithin(at, at - 2, at);
    return entries + 1;
  }

  /** What all threads have marked. */
  #takeMarks(word: number): number {
    let bits = 0;
    for (const marks of this.#shared.marks) {
      bits |= marks[word];
      marks[word] = 0;
    }
    return bits;
  }

  /** Hashes units that nobody else has taken. */
  hashUnits(): void {
    const { control } = this.#shared;
    for (;;) {
      const unit = Atomics.add(control, Word.claim, 1);
      if (!isPlanned(this.#shared, unit)) return;
      this.#hashUnit(unit);
    }
  }

  #hashUnit(unit: number): void {
    const { bare, frozen, frozenMarks, keys, units } = this.#shared;
    const { bytes } = this.memory;
    const [first, entry, end, lastEntry] = units.subarray(2 * unit, 2 * unit + 4);
    const pages = Array.from(frozen.subarray(first, end));
    for (const page of pages) {
      // All cells but the marked ones are empty still.
      if (bare[page] !== 0) PAGE.clear(bytes, treeOfPage(page));
      bare[page] = 0;
    }
    this.#listed.hashCells(FROZEN_LIST + 8 * entry, lastEntry - entry);
    const marksAt = pages.map((_, i) => (first + i) * MARK_WORDS);
    updateTrees(this.#listed, PAGE, pages.map(treeOfPage), frozenMarks, marksAt);
    for (const page of pages) {
      const key = keys[page];
      const root = PAGE.root(treeOfPage(page));
      bytes.copyWithin(REGION.node(regionTree(Math.floor(key / PAGES)), 0, key % PAGES), root, root + HASH_BYTES);
    }
  }

  /** Hashes what stands above pages, when all units are. Returns the root. */
  finishRoot(): Uint8Array {
    const marks = this.#regionMarks;
    const { bytes } = this.memory;
    const regions = [...this.#regions].filter((region) =>
      marks.subarray(region * MARK_WORDS, (region + 1) * MARK_WORDS).some((word) => word !== 0),
    );
    const marksAt = regions.map((region) => region * MARK_WORDS);
    updateTrees(this.#listed, REGION, regions.map(regionTree), marks, marksAt);
    const top = REGIONS * MARK_WORDS;
    for (const region of regions) {
      const root = REGION.root(regionTree(region));
      bytes.copyWithin(SHARD.node(SHARD_TREE, 0, region), root, root + HASH_BYTES);
      marks[top] |= 1 << region;
    }
    updateTrees(this.#listed, SHARD, [SHARD_TREE], marks, [top]);
    const root = SHARD.root(SHARD_TREE);
    return bytes.slice(root, root + HASH_BYTES);
  }

  override root(): Uint8Array {
    throw new Error('the root is asked of the executor');
  }

  // --- pages ---

  override get resident(): number {
    return this.#count;
  }
  override evict(): boolean {
    return true;
  }
  override proof(): Uint8Array[] {
    throw new Error('proofs are made where one thread has the state');
  }

  /** Images of all pages, as views. */
  override takeChanged(): PageImage[] {
    return Array.from(this.#shared.keys.subarray(0, this.#count), (key, page) => {
      const at = placeOfPage(page) * PAGE_BYTES;
      const cells = this.memory.bytes.subarray(at, at + PAGE_BYTES);
      return { region: Math.floor(key / PAGES), page: key % PAGES, cells };
    });
  }

  override load({ region, page, cells }: PageImage): void {
    this.prepare(region, page * PAGE_CELLS);
    const first = this.cell(region, page * PAGE_CELLS);
    this.memory.bytes.set(cells, first);
    for (let i = 0; i < PAGE_CELLS; i++)
      if (cells.subarray(i * CELL_BYTES, (i + 1) * CELL_BYTES).some((byte) => byte !== 0))
        this.mark((first + i * CELL_BYTES) as Cell);
  }
}

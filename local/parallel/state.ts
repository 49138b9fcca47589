/** A shard's cells in shared memory: each thread has one of these over the same cells, with marks of its own. */
import { CELL_BYTES } from '../../protocol/cells.ts';
import { HASH_BYTES } from '../../protocol/hash.ts';
import { keccakModule } from '../../protocol/keccak/module.ts';
import { type Cell, type Edit, LIST, LIST_ENTRIES, Memory, NONE } from '../../protocol/memory.ts';
import { MARK_WORDS, updateTrees } from '../../protocol/tree.ts';
import { PAGE_CELLS, type PageImage, ShardTrie } from '../../protocol/trie.ts';
import {
  PAGE,
  PAGES,
  PAGE_BYTES,
  REGION,
  REGIONS,
  SHARD,
  SHARD_TREE,
  type Shared,
  Word,
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

interface Hashing {
  each64(list: number, count: number): void;
  each128(list: number, count: number): void;
}

/** The same memory for hashing: what is to be hashed is listed in words of the thread's own, in a place of its own. */
class ListedMemory extends FixedMemory {
  readonly #shared: Int32Array;
  readonly #list: number;
  readonly #hashing: Hashing;

  constructor(memory: WebAssembly.Memory, list: number) {
    super(memory.buffer);
    this.#shared = this.words;
    this.#list = list;
    this.words = new Int32Array(LIST + 2 * (LIST_ENTRIES + 1));
    const module = new WebAssembly.Module(keccakModule(true));
    this.#hashing = new WebAssembly.Instance(module, { keccak: { memory } }).exports as unknown as Hashing;
  }

  override hashListed(width: 64 | 128, count: number): void {
    const { words } = this;
    const to = this.#list / 4;
    const shared = this.#shared;
    for (let i = 0; i < 2 * count; i++) shared[to + i] = words[LIST + i];
    // Blocks are hashed in pairs, so an odd one twice.
    if (count % 2 === 1) shared.copyWithin(to + 2 * count, to + 2 * count - 2, to + 2 * count);
    if (width === 64) this.#hashing.each64(this.#list, count);
    else this.#hashing.each128(this.#list, count);
  }
}

/** Bytes that a process is given at once, or more. */
export const OS_PAGE = 4096;
/** Pages hashed together: few, so that the threads are done together. */
const GROUP = 4;

export class SharedTrie extends ShardTrie {
  override readonly memory: Memory;
  readonly #shared: Shared;
  readonly #lane: number;
  readonly #table: Int32Array;
  readonly #marks: Int32Array;
  readonly #touched: Uint8Array;
  readonly #listed: Memory;
  /** Regions with a tree. */
  readonly #regions = new Set<number>();

  /** The first thread's also makes pages and roots. */
  constructor(shared: Shared, lane: number) {
    super();
    this.memory = new FixedMemory(shared.memory.buffer);
    this.#shared = shared;
    this.#lane = lane;
    this.#table = shared.table;
    this.#marks = shared.marks[lane];
    this.#touched = shared.touched[lane];
    this.#listed = new ListedMemory(shared.memory, listOf(lane));
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

  // --- the root, in three parts: the first thread lists pages, all hash them, the first finishes ---

  /** Lists the pages to be hashed. */
  listDirty(): number {
    const { dirty, touched } = this.#shared;
    let count = 0;
    for (let page = 0; page < this.#count; page++) {
      const place = placeOfPage(page);
      let any = 0;
      for (const lane of touched) {
        any |= lane[place];
        lane[place] = 0;
      }
      if (any !== 0) dirty[count++] = page;
    }
    return count;
  }

  /** Hashes pages of the list that nobody else has taken. */
  hashDirty(count: number): void {
    const { control, dirty } = this.#shared;
    for (;;) {
      const first = Atomics.add(control, Word.claim, GROUP);
      if (first >= count) return;
      this.#hashPages(dirty.subarray(first, Math.min(first + GROUP, count)));
    }
  }

  #hashPages(pages: Int32Array): void {
    const places = Array.from(pages, placeOfPage);
    for (const place of places) this.#gatherMarks(place * MARK_WORDS);
    for (const page of pages) this.#makeTree(page);
    updateTrees(
      this.#listed,
      PAGE,
      Array.from(pages, treeOfPage),
      this.#marks,
      places.map((place) => place * MARK_WORDS),
      places.map((place) => place * PAGE_BYTES),
    );
    const { bytes } = this.memory;
    for (const page of pages) {
      const key = this.#shared.keys[page];
      const root = PAGE.root(treeOfPage(page));
      bytes.copyWithin(REGION.node(regionTree(Math.floor(key / PAGES)), 0, key % PAGES), root, root + HASH_BYTES);
    }
  }

  /** All cells but the marked ones are empty still. */
  #makeTree(page: number): void {
    if (this.#shared.bare[page] === 0) return;
    PAGE.clear(this.memory.bytes, treeOfPage(page));
    this.#shared.bare[page] = 0;
  }

  /** Takes over what all threads have marked. */
  #gatherMarks(from: number): void {
    const own = this.#marks;
    for (const marks of this.#shared.marks) {
      if (marks === own) continue;
      for (let word = from; word < from + MARK_WORDS; word++) {
        own[word] |= marks[word];
        marks[word] = 0;
      }
    }
  }

  /** Hashes what stands above the listed pages. Returns the root. */
  finishRoot(count: number): Uint8Array {
    const { dirty, keys } = this.#shared;
    const marks = new Int32Array((REGIONS + 1) * MARK_WORDS);
    const regions = new Set<number>();
    for (let i = 0; i < count; i++) {
      const key = keys[dirty[i]];
      marks[key >>> 5] |= 1 << key;
      regions.add(Math.floor(key / PAGES));
    }
    const list = [...regions];
    const places = list.map((region) => region * MARK_WORDS);
    updateTrees(this.#listed, REGION, list.map(regionTree), marks, places);
    const { bytes } = this.memory;
    const top = REGIONS * MARK_WORDS;
    for (const region of list) {
      const root = REGION.root(regionTree(region));
      bytes.copyWithin(SHARD.node(SHARD_TREE, 0, region), root, root + HASH_BYTES);
      marks[top] |= 1 << region;
    }
    updateTrees(this.#listed, SHARD, [SHARD_TREE], marks, [top]);
    const root = SHARD.root(SHARD_TREE);
    return bytes.slice(root, root + HASH_BYTES);
  }

  override root(): Uint8Array {
    const count = this.listDirty();
    this.#shared.control[Word.claim] = 0;
    this.hashDirty(count);
    return this.finishRoot(count);
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

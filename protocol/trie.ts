/**
 * The interaction trie (docs/protocol.md §2): a dense 4-ary keccak tree over 64-byte cells.
 *
 * One `ShardTrie` holds a shard in one flat memory: pages of 1,024 cells (4^5, a subtree each) with their trees, in the
 * order in which they are first written, and the trees over them. While frames run no page moves, so a cell is named by
 * where its bytes start; a page is what a snapshot stores, and what can be left to a {@link PageStore} while nobody uses
 * it; and a root is computed level by level over all pages, only along what changed. Memory is 64 + 32 × 4/3 bytes a cell.
 */
import { equal } from './bytes.ts';
import { CELL_BYTES, placeOf } from './cells.ts';
import { HASH_BYTES as HASH, keccak } from './hash.ts';
import { type Cell, type Edit, Memory, NONE, RESERVED_BYTES } from './memory.ts';
import { PAGES, PAGE_CELLS, PLAIN_END, REGIONS, TABLE as TABLE_AT } from './plain/layout.ts';
import { DEPTH, MARK_WORDS, SIBLINGS, Shape, ZERO_HASHES, updateTrees } from './tree.ts';

export { PAGE_CELLS } from './plain/layout.ts';
export { DEPTH, ZERO_HASHES } from './tree.ts';

/** Levels below a shard root. */
export const SHARD_DEPTH = 12;
const PAGE_LEVELS = 5;
const PAGE_BYTES = PAGE_CELLS * CELL_BYTES;
/** Word where the table of pages starts. */
const TABLE = TABLE_AT / 4;
/** Bytes that a process is given at once, or more. */
const OS_PAGE = 4096;

const PAGE = new Shape(PAGE_LEVELS, 0);
const REGION = new Shape(PAGE_LEVELS, PAGE_LEVELS);
const SHARD = new Shape(2, 10);
const STATE = new Shape(DEPTH - SHARD_DEPTH, SHARD_DEPTH);

/** A memory holds this first, and a shard's then blocks, each of whole *places* of 64 KiB. */
const SHARD_TREE = PLAIN_END;
const STATE_TREE = RESERVED_BYTES;
const FIRST_BLOCK = Math.ceil((SHARD_TREE + SHARD.byteLength) / PAGE_BYTES);
/** As many trees of a page or a region as fit into two places without waste. */
const TREES = 3;
const TREE_PLACES = 2;

/** Of a place that holds a page: edited since the last snapshot; edited since the last root. */
const CHANGED = 1;
const DIRTY = 2;
/** Its tree has to be made: of a page that was empty from its marks, of one that was loaded from all its cells. */
const NEW = 1;
const LOADED = 2;
/** In the table, of a page that is left to the store. */
const AWAY = -(2 ** 31);

/** One page as a snapshot stores it. */
export interface PageImage {
  readonly region: number;
  readonly page: number;
  readonly cells: Uint8Array;
}

/** Where pages stay that are not in memory: whatever keeps what {@link ShardTrie.takeChanged} gives. */
export interface PageStore {
  /** The cells of a page as last given. It is copied at once. */
  load(region: number, page: number): Uint8Array;
}

export interface Paging {
  readonly store: PageStore;
  /** Most pages to be in memory after {@link ShardTrie.evict}. */
  readonly resident: number;
}

/** The cells of one shard, and their root. */
export class ShardTrie {
  readonly memory: Memory;
  readonly #paging: Paging | null;
  /** By region: where its tree is, 0 while it is empty. */
  readonly #regions = new Int32Array(REGIONS);
  readonly #regionMarks = new Int32Array(REGIONS * MARK_WORDS);
  /** Room for trees of regions, addresses. */
  readonly #freeTrees: number[] = [];
  /** Places for pages, in use or not. */
  readonly #places: number[] = [];
  readonly #freePlaces: number[] = [];
  /** The place that was last asked to give way. */
  #hand = 0;
  /** First place past the last block. */
  #end = FIRST_BLOCK;

  // By place.
  /** A bit for every cell: changed since the last root. */
  #marks = new Int32Array(0);
  #state = new Uint8Array(0);
  /** What is still to be done for the page's tree: see {@link NEW} and {@link LOADED}. */
  #bare = new Uint8Array(0);
  /** Where the page's tree is. */
  #trees = new Int32Array(0);
  /** Region and number of the page, -1 for none. */
  #keys = new Int32Array(0);

  constructor(paging: Paging | null = null) {
    this.#paging = paging;
    // With room for the first block and trees of regions, as every shard has them: a small one then never grows.
    this.memory = new Memory((FIRST_BLOCK + TREES + 2 * TREE_PLACES) * PAGE_BYTES);
    SHARD.clear(this.memory.bytes, SHARD_TREE);
  }

  // --- places ---

  /** Makes room for a block. Returns its first place. */
  #extend(places: number): number {
    const first = this.#end;
    this.#end += places;
    this.memory.grow(this.#end * PAGE_BYTES);
    if (this.#state.length < this.#end) {
      const room = this.#end + (this.#end >>> 3);
      const roomier = <A extends Int32Array | Uint8Array>(old: A, made: A): A => {
        made.set(old);
        return made;
      };
      this.#marks = roomier(this.#marks, new Int32Array(room * MARK_WORDS));
      this.#state = roomier(this.#state, new Uint8Array(room));
      this.#bare = roomier(this.#bare, new Uint8Array(room));
      this.#trees = roomier(this.#trees, new Int32Array(room));
      this.#keys = roomier(this.#keys, new Int32Array(room));
    }
    return first;
  }

  /** Gives a page a place, all zeros. */
  #settle(key: number): number {
    if (this.#freePlaces.length === 0) {
      const first = this.#extend(TREES + TREE_PLACES);
      for (let i = TREES - 1; i >= 0; i--) {
        this.#trees[first + i] = (first + TREES) * PAGE_BYTES + i * PAGE.byteLength;
        this.#keys[first + i] = -1;
        this.#freePlaces.push(first + i);
        this.#places.push(first + i);
      }
    }
    const region = Math.floor(key / PAGES);
    if (this.#regions[region] === 0) {
      if (this.#freeTrees.length === 0) {
        const first = this.#extend(TREE_PLACES) * PAGE_BYTES;
        for (let i = TREES - 1; i >= 0; i--) this.#freeTrees.push(first + i * REGION.byteLength);
      }
      this.#regions[region] = this.#freeTrees.pop()!;
      REGION.clear(this.memory.bytes, this.#regions[region]);
    }
    const place = this.#freePlaces.pop()!;
    // Written before it is read: else the system maps its zeros first, and has to map each page of its own once more.
    const { words } = this.memory;
    for (let at = place * PAGE_BYTES; at < (place + 1) * PAGE_BYTES; at += OS_PAGE) words[at >>> 2] = 0;
    this.memory.words[TABLE + key] = place;
    this.#keys[place] = key;
    this.#bare[place] = NEW;
    return place;
  }

  /** Place of a page that is not simply there: back from its rest, back from the store, or 0. */
  #recall(key: number): number {
    const was = this.memory.words[TABLE + key];
    if (was === 0) return 0;
    if (was !== AWAY) return (this.memory.words[TABLE + key] = -was);
    const cells = this.#paging!.store.load(Math.floor(key / PAGES), key % PAGES);
    return this.#fill(key, cells);
  }

  /** Puts a page back into memory. */
  #fill(key: number, cells: Uint8Array): number {
    const place = this.#settle(key);
    this.memory.bytes.set(cells, place * PAGE_BYTES);
    this.#bare[place] = LOADED;
    return place;
  }

  /**
   * Lets go of the pages used least lately, until no more than `Paging.resident` are in memory. Only where no frame is
   * running: handles of cells in them are void. What was edited since the last {@link takeChanged} stays; false where
   * that is too much, and a snapshot has to be taken first.
   */
  evict(): boolean {
    if (!this.#paging) return true;
    let tooMany = this.resident - this.#paging.resident;
    const gone: number[] = [];
    // Whoever is met the second time without having been used in between goes.
    for (let met = 0; tooMany > 0 && met < 2 * this.#places.length; met++) {
      this.#hand = (this.#hand + 1) % this.#places.length;
      const place = this.#places[this.#hand];
      const key = this.#keys[place];
      // The page of the shard's head stays where it is: who runs holds on to it.
      if (key <= 0 || (this.#state[place] & CHANGED) !== 0 || this.memory.words[TABLE + key] === AWAY) continue;
      if (this.memory.words[TABLE + key] > 0) this.memory.words[TABLE + key] = -place;
      else {
        this.memory.words[TABLE + key] = AWAY;
        gone.push(place);
        tooMany -= 1;
      }
    }
    // Its root stays behind.
    this.#updatePages(gone.filter((place) => (this.#state[place] & DIRTY) !== 0));
    for (const place of gone) {
      this.#keys[place] = -1;
      this.memory.words.fill(0, (place * PAGE_BYTES) / 4, ((place + 1) * PAGE_BYTES) / 4);
      this.#freePlaces.push(place);
    }
    return tooMany <= 0;
  }

  /** Pages in memory. */
  get resident(): number {
    return this.#places.length - this.#freePlaces.length;
  }

  // --- by handle: what runs reads and writes this way ---

  /** A cell for reading: {@link NONE}, all zeros, where nothing was written near it. */
  cell(region: number, slot: number): Cell {
    const key = region * PAGES + (slot >>> 10);
    const place = this.memory.words[TABLE + key];
    if (place > 0) return (place * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell;
    const recalled = this.#recall(key);
    return recalled === 0 ? NONE : ((recalled * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  /** A cell for writing, wherever it is; it counts as changed. */
  make(region: number, slot: number): Edit {
    const key = region * PAGES + (slot >>> 10);
    let place = this.memory.words[TABLE + key];
    if (place <= 0) place = this.#recall(key) || this.#settle(key);
    return this.mark((place * PAGE_BYTES + (slot & (PAGE_CELLS - 1)) * CELL_BYTES) as Cell);
  }

  /** The same cell for writing; it counts as changed. It must not be {@link NONE}. */
  mark(cell: Cell): Edit {
    if (cell === NONE) throw new RangeError('there is no cell to write');
    // Its bit: a shift takes its amount modulo 32.
    this.#marks[cell >>> 11] |= 1 << (cell >>> 6);
    this.#state[cell >>> 16] = CHANGED | DIRTY;
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
    this.#updatePages(this.#places.filter((place) => (this.#state[place] & DIRTY) !== 0));
    const regions = Array.from(this.#regions.keys()).filter((region) => this.#isMarked(region));
    const trees = regions.map((region) => this.#regions[region]);
    const marksAt = regions.map((region) => region * MARK_WORDS);
    updateTrees(this.memory, REGION, trees, this.#regionMarks, marksAt);
    const marks = new Int32Array(MARK_WORDS);
    for (const [i, region] of regions.entries()) {
      const root = REGION.root(trees[i]);
      bytes.copyWithin(SHARD.node(SHARD_TREE, 0, region), root, root + HASH);
      marks[0] |= 1 << region;
    }
    updateTrees(this.memory, SHARD, [SHARD_TREE], marks, [0]);
    const root = SHARD.root(SHARD_TREE);
    return bytes.slice(root, root + HASH);
  }

  #isMarked(region: number): boolean {
    return this.#regionMarks.subarray(region * MARK_WORDS, (region + 1) * MARK_WORDS).some((word) => word !== 0);
  }

  /** Recomputes pages along their marks, and puts their roots into the trees of their regions. */
  #updatePages(places: readonly number[]): void {
    for (const place of places) if (this.#bare[place] !== 0) this.#makeTree(place);
    const trees = places.map((place) => this.#trees[place]);
    const marksAt = places.map((place) => place * MARK_WORDS);
    const cells = places.map((place) => place * PAGE_BYTES);
    updateTrees(this.memory, PAGE, trees, this.#marks, marksAt, cells);
    for (const [i, place] of places.entries()) {
      const key = this.#keys[place];
      const root = PAGE.root(trees[i]);
      const leaf = REGION.node(this.#regions[Math.floor(key / PAGES)], 0, key % PAGES);
      this.memory.bytes.copyWithin(leaf, root, root + HASH);
      this.#regionMarks[key >>> 5] |= 1 << key;
      this.#state[place] &= ~DIRTY;
    }
  }

  /** Makes the page's tree an empty one; of a page that was loaded, marks all cells that are not. */
  #makeTree(place: number): void {
    const { bytes, words } = this.memory;
    const width = CELL_BYTES / 4;
    PAGE.clear(bytes, this.#trees[place]);
    const end = this.#bare[place] === LOADED ? (place + 1) * PAGE_CELLS : 0;
    for (let cell = place * PAGE_CELLS; cell < end; cell++) {
      let any = 0;
      for (let word = cell * width; word < (cell + 1) * width; word++) any |= words[word];
      if (any !== 0) this.#marks[cell >>> 5] |= 1 << cell;
    }
    this.#bare[place] = 0;
  }

  /** Proof of a cell under the shard root: 12 levels × 3 siblings, from the leaf up. */
  proof(region: number, slot: number): Uint8Array[] {
    const number = slot >>> 10;
    const place = this.cell(region, slot) >>> 16;
    if (place !== 0 && this.#bare[place] !== 0) this.#state[place] |= DIRTY;
    this.root();
    const { bytes } = this.memory;
    const tree = this.#regions[region];
    const emptyLevels = (from: number) =>
      Array.from({ length: PAGE_LEVELS * SIBLINGS }, (_, i) => ZERO_HASHES[from + Math.floor(i / SIBLINGS)]);
    return [
      ...(place ? PAGE.siblings(bytes, this.#trees[place], slot % PAGE_CELLS) : emptyLevels(0)),
      ...(tree ? REGION.siblings(bytes, tree, number) : emptyLevels(PAGE_LEVELS)),
      ...SHARD.siblings(bytes, SHARD_TREE, region),
    ];
  }

  // --- snapshots ---

  /** Images of the pages edited since the last call: what a snapshot has to store. Their cells are views, to be used at once. */
  takeChanged(): PageImage[] {
    return this.#places
      .filter((place) => (this.#state[place] & CHANGED) !== 0)
      .map((place) => {
        this.#state[place] &= ~CHANGED;
        const key = this.#keys[place];
        const cells = this.memory.bytes.subarray(place * PAGE_BYTES, (place + 1) * PAGE_BYTES);
        return { region: Math.floor(key / PAGES), page: key % PAGES, cells };
      });
  }

  /** Puts a stored page into its place, where nothing was written yet. */
  load(image: PageImage): void {
    const place = this.#fill(image.region * PAGES + image.page, image.cells);
    this.#state[place] = DIRTY;
  }
}

/** The 4-ary tree over shard roots: state root and the upper four levels of every proof. */
export class StateTree {
  readonly #memory = new Memory(RESERVED_BYTES + STATE.byteLength);

  constructor(shardRoots: Iterable<readonly [shard: number, root: Uint8Array]>) {
    const { bytes } = this.#memory;
    STATE.clear(bytes, STATE_TREE);
    const marks = new Int32Array(MARK_WORDS);
    for (const [shard, root] of shardRoots) {
      bytes.set(root, STATE.node(STATE_TREE, 0, shard));
      marks[shard >>> 5] |= 1 << shard;
    }
    updateTrees(this.#memory, STATE, [STATE_TREE], marks, [0]);
  }

  root(): Uint8Array {
    const at = STATE.root(STATE_TREE);
    return this.#memory.bytes.slice(at, at + HASH);
  }

  /** Siblings of a shard root, 4 levels × 3. */
  siblings(shard: number): Uint8Array[] {
    return STATE.siblings(this.#memory.bytes, STATE_TREE, shard);
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

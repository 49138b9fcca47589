/**
 * The interaction trie (docs/protocol.md §2): a dense 4-ary keccak tree over 64-byte cells.
 *
 * One `ShardTrie` holds a shard: per region, pages of 1,024 cells (4^5, a subtree of its own) that never move, so a view
 * of a cell stays valid, a page is what a snapshot stores, and a root is computed level by level over all pages, only
 * along what changed, in batches. Memory is 64 + 32 × 4/3 bytes a cell.
 */
import { CELL_BYTES, REGION_SLOTS, placeOf } from './cells.ts';
import { equal } from './bytes.ts';
import { HASH_BYTES as HASH, MAX_BLOCKS, blockHasher, keccak } from './hash.ts';

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

const ZERO_CELL = new Uint8Array(CELL_BYTES);

// --- hash trees: complete, 4-ary, each in one array ---

/** Words of a hash, and of a cell or four hashes: what moves in batches moves as 32-bit words. */
const HASH_WORDS = HASH / 4;
const CELL_WORDS = CELL_BYTES / 4;
const NODE_WORDS = 4 * HASH_WORDS;

/** First node of each level of a tree of `levels` levels, in one array: 4^levels leaves, their parents, … the root. */
const levelStarts = (levels: number): readonly number[] => {
  const starts = [0];
  for (let level = 0; level <= levels; level++) starts.push(starts[level] + 4 ** (levels - level));
  return starts;
};

/** A tree with nothing in it, whose leaves are empty subtrees of height `zeroHeight`. */
function emptyNodes(levels: number, zeroHeight: number): Uint8Array {
  const starts = levelStarts(levels);
  const nodes = new Uint8Array(starts[levels + 1] * HASH);
  for (let level = 0; level <= levels; level++)
    for (let i = starts[level]; i < starts[level + 1]; i++) nodes.set(ZERO_HASHES[zeroHeight + level], i * HASH);
  return nodes;
}

/** Where a tree stands: its height, and a copy of it when empty. */
class Shape {
  readonly levels: number;
  readonly starts: readonly number[];
  readonly empty: Uint8Array;

  constructor(levels: number, zeroHeight: number) {
    this.levels = levels;
    this.starts = levelStarts(levels);
    this.empty = emptyNodes(levels, zeroHeight);
  }
}

const MAX_LEAVES = 1024;
const MARK_WORDS = MAX_LEAVES / 32;

/** A tree of at most 1,024 leaves. Mark what changed, then {@link update} it. */
class HashTree {
  readonly shape: Shape;
  readonly words: Int32Array;
  readonly #bytes: Uint8Array;
  /** Which leaves changed, one bit each; the word after the last says which words are not zero. */
  readonly marks = new Int32Array(MARK_WORDS + 1);

  constructor(shape: Shape) {
    this.shape = shape;
    this.#bytes = shape.empty.slice();
    this.words = new Int32Array(this.#bytes.buffer);
  }

  mark(leaf: number): void {
    this.marks[leaf >>> 5] |= 1 << (leaf & 31);
    this.marks[MARK_WORDS] |= 1 << (leaf >>> 5);
  }
  get isMarked(): boolean {
    return this.marks[MARK_WORDS] !== 0;
  }
  setLeaf(i: number, hash: Uint8Array): void {
    this.#bytes.set(hash, i * HASH);
    this.mark(i);
  }
  /** A view of a node. */
  node(level: number, i: number): Uint8Array {
    const at = (this.shape.starts[level] + i) * HASH;
    return this.#bytes.subarray(at, at + HASH);
  }
  /** A view of the root, as of the last update. */
  get root(): Uint8Array {
    return this.node(this.shape.levels, 0);
  }

  /** The three siblings of each node on the path from leaf `i`, in child order. Only after an update. */
  siblings(i: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    let at = i;
    for (let level = 0; level < this.shape.levels; level++) {
      const first = at - (at % 4);
      for (let child = first; child < first + 4; child++) if (child !== at) out.push(this.node(level, child).slice());
      at = Math.floor(at / 4);
    }
    return out;
  }
}

/** Trees updated together: enough for long batches, few enough to stay in a cache. */
const GROUP = 32;
/** The nodes being recomputed: `tree of the group × 1,024 + index in its level`, ascending. */
const places = new Int32Array(GROUP * MAX_LEAVES);

/** Lists the marked leaves of a group and unmarks them. */
function takeMarked(group: readonly HashTree[]): number {
  let count = 0;
  for (let t = 0; t < group.length; t++) {
    const { marks } = group[t];
    for (let words = marks[MARK_WORDS]; words !== 0; words &= words - 1) {
      const word = 31 - Math.clz32(words & -words);
      for (let bits = marks[word]; bits !== 0; bits &= bits - 1)
        places[count++] = t * MAX_LEAVES + 32 * word + 31 - Math.clz32(bits & -bits);
      marks[word] = 0;
    }
    marks[MARK_WORDS] = 0;
  }
  return count;
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

/** Puts keccak(block) at `target` for every listed place: of its cell, or, without cells, of its four children from `source` on. */
function hashPlaces(
  group: readonly HashTree[],
  count: number,
  cells: readonly Int32Array[] | null,
  source: number,
  target: number,
): void {
  const words = cells ? CELL_WORDS : NODE_WORDS;
  for (let done = 0; done < count; done += MAX_BLOCKS) {
    const blocks = Math.min(MAX_BLOCKS, count - done);
    const hasher = blockHasher(blocks);
    const { input, output } = hasher;
    for (let i = 0; i < blocks; i++) {
      const place = places[done + i];
      const tree = place >>> 10;
      const at = source * HASH_WORDS + (place & (MAX_LEAVES - 1)) * words;
      copyWords(cells ? cells[tree] : group[tree].words, at, input, i * words, words);
    }
    if (cells) hasher.each64(blocks);
    else hasher.each128(blocks);
    for (let i = 0; i < blocks; i++) {
      const place = places[done + i];
      const at = (target + (place & (MAX_LEAVES - 1))) * HASH_WORDS;
      copyWords(output, i * HASH_WORDS, group[place >>> 10].words, at, HASH_WORDS);
    }
  }
}

/**
 * Recomputes what depends on the marked leaves of trees of one shape, level by level over all of them, so that batches
 * are long. A leaf is the hash of its cell where `cellsOf` gives cells, else it was set.
 */
function update<T extends { readonly tree: HashTree }>(nodes: readonly T[], cellsOf?: (node: T) => Int32Array): void {
  for (let first = 0; first < nodes.length; first += GROUP) {
    const some = nodes.slice(first, first + GROUP);
    const group = some.map(({ tree }) => tree);
    const { levels, starts } = group[0].shape;
    let count = takeMarked(group);
    if (cellsOf) hashPlaces(group, count, some.map(cellsOf), 0, 0);
    for (let level = 0; level < levels; level++) {
      count = toParents(count);
      hashPlaces(group, count, null, starts[level], starts[level + 1]);
    }
  }
}

const PAGE = new Shape(PAGE_LEVELS, 0);
const REGION = new Shape(PAGE_LEVELS, PAGE_LEVELS);
const SHARD = new Shape(2, 10);
const STATE = new Shape(DEPTH - SHARD_DEPTH, SHARD_DEPTH);

class Page {
  readonly region: number;
  readonly number: number;
  readonly cells = new Uint8Array(PAGE_CELLS * CELL_BYTES);
  readonly words = new Int32Array(this.cells.buffer);
  readonly tree = new HashTree(PAGE);
  /** Whether it was edited since the last {@link ShardTrie.takeChanged}. */
  changed = false;

  constructor(region: number, number: number) {
    this.region = region;
    this.number = number;
  }

  /** Marks every cell that is not zero. */
  markWritten(): void {
    for (let i = 0; i < PAGE_CELLS; i++) {
      let any = 0;
      for (let w = i * CELL_WORDS; w < (i + 1) * CELL_WORDS; w++) any |= this.words[w];
      if (any !== 0) this.tree.mark(i);
    }
  }
}

class RegionTree {
  readonly pages: (Page | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  readonly tree = new HashTree(REGION);
}

/** A cell's view where it was last looked for: a view costs more than most reads, and few cells take most of them. */
interface Seen {
  readonly key: number;
  readonly page: Page;
  readonly view: Uint8Array;
}
const SEEN = 512;

/** One page as a snapshot stores it. */
export interface PageImage {
  readonly region: number;
  readonly page: number;
  readonly cells: Uint8Array;
}

/** The cells of one shard, and their root. */
export class ShardTrie {
  readonly #regions: (RegionTree | undefined)[] = Array.from({ length: 4 ** SHARD.levels }, () => undefined);
  readonly #top = { tree: new HashTree(SHARD) };
  /** Pages with cells that changed since the last root. */
  #dirty: Page[] = [];
  readonly #changed = new Set<Page>();
  readonly #seen: (Seen | undefined)[] = Array.from({ length: SEEN }, () => undefined);

  #page(region: number, number: number): Page {
    const tree = (this.#regions[region] ??= new RegionTree());
    return (tree.pages[number] ??= new Page(region, number));
  }

  /** The cell's page and view, when it is the one last seen in its place. */
  #find(region: number, slot: number): Seen | null {
    const seen = this.#seen[(slot + 61 * region) & (SEEN - 1)];
    return seen !== undefined && seen.key === region * REGION_SLOTS + slot ? seen : null;
  }
  #see(page: Page, slot: number): Seen {
    const at = (slot % PAGE_CELLS) * CELL_BYTES;
    const seen = {
      key: page.region * REGION_SLOTS + slot,
      page,
      view: new Uint8Array(page.cells.buffer, at, CELL_BYTES),
    };
    this.#seen[(slot + 61 * page.region) & (SEEN - 1)] = seen;
    return seen;
  }

  /** A view of a cell, for reading only. */
  read(region: number, slot: number): Uint8Array {
    const seen = this.#find(region, slot);
    if (seen) return seen.view;
    const page = this.#regions[region]?.pages[Math.floor(slot / PAGE_CELLS)];
    return page ? this.#see(page, slot).view : ZERO_CELL;
  }

  /** A view of a cell for writing; it counts as changed. */
  edit(region: number, slot: number): Uint8Array {
    const { page, view } =
      this.#find(region, slot) ?? this.#see(this.#page(region, Math.floor(slot / PAGE_CELLS)), slot);
    if (!page.tree.isMarked) this.#dirty.push(page);
    page.tree.mark(slot % PAGE_CELLS);
    if (!page.changed) {
      page.changed = true;
      this.#changed.add(page);
    }
    return view;
  }

  /** Shard root over everything written. */
  root(): Uint8Array {
    if (this.#dirty.length > 0) {
      const dirty = this.#dirty;
      this.#dirty = [];
      update(dirty, ({ words }) => words);
      const regions = new Set<RegionTree>();
      for (const page of dirty) {
        const region = this.#regions[page.region]!;
        region.tree.setLeaf(page.number, page.tree.root);
        regions.add(region);
      }
      update([...regions]);
      for (const page of dirty) this.#top.tree.setLeaf(page.region, this.#regions[page.region]!.tree.root);
      update([this.#top]);
    }
    return this.#top.tree.root.slice();
  }

  /** Proof of a cell under the shard root: 12 levels × 3 siblings, from the leaf up. */
  proof(region: number, slot: number): Uint8Array[] {
    this.root();
    const number = Math.floor(slot / PAGE_CELLS);
    const tree = this.#regions[region];
    const page = tree?.pages[number];
    const emptyLevels = (from: number) =>
      Array.from({ length: PAGE_LEVELS * SIBLINGS }, (_, i) => ZERO_HASHES[from + Math.floor(i / SIBLINGS)]);
    return [
      ...(page ? page.tree.siblings(slot % PAGE_CELLS) : emptyLevels(0)),
      ...(tree ? tree.tree.siblings(number) : emptyLevels(PAGE_LEVELS)),
      ...this.#top.tree.siblings(region),
    ];
  }

  /** Images of the pages edited since the last call: what a snapshot has to store. */
  takeChanged(): PageImage[] {
    const images = [...this.#changed].map(({ region, number, cells }) => ({ region, page: number, cells }));
    for (const page of this.#changed) page.changed = false;
    this.#changed.clear();
    return images;
  }

  /** Puts a stored page into its place, where nothing was written yet. */
  load(image: PageImage): void {
    const page = this.#page(image.region, image.page);
    page.cells.set(image.cells);
    page.markWritten();
    if (page.tree.isMarked) this.#dirty.push(page);
  }
}

/** The 4-ary tree over shard roots: state root and the upper four levels of every proof. */
export class StateTree {
  readonly #tree = new HashTree(STATE);

  constructor(shardRoots: Iterable<readonly [shard: number, root: Uint8Array]>) {
    for (const [shard, root] of shardRoots) this.#tree.setLeaf(shard, root);
    update([{ tree: this.#tree }]);
  }

  root(): Uint8Array {
    return this.#tree.root.slice();
  }

  /** Siblings of a shard root, 4 levels × 3. */
  siblings(shard: number): Uint8Array[] {
    return this.#tree.siblings(shard);
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

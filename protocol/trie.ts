/**
 * The interaction trie (docs/protocol.md §2): a dense 4-ary keccak tree over 64-byte cells.
 *
 * One `ShardTrie` holds a shard: per region, pages of 1,024 cells (4^5, a subtree of its own) that never move, so a view
 * of a cell stays valid, a page is what a snapshot stores, and a root is computed page by page, level by level, only
 * along what changed. Memory is 64 + 32 × 4/3 bytes a cell.
 */
import { CELL_BYTES, REGION_SLOTS, placeOf } from './cells.ts';
import { equal } from './bytes.ts';
import { keccak } from './hash.ts';

export const DEPTH = 16;
/** Levels below a shard root. */
export const SHARD_DEPTH = 12;
const PAGE_LEVELS = 5;
export const PAGE_CELLS = 4 ** PAGE_LEVELS;
const PAGES = REGION_SLOTS / PAGE_CELLS;
const HASH = 32;
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

/** A complete 4-ary tree of hashes: level 0 has 4^levels of them, the last level one. `mark` what changed, then `root`. */
class HashTree {
  readonly #levels: Uint8Array[] = [];
  readonly #dirty: Uint8Array[] = [];

  constructor(levels: number, zeroHeight: number) {
    for (let h = 0; h <= levels; h++) {
      const count = 4 ** (levels - h);
      const nodes = new Uint8Array(count * HASH);
      for (let i = 0; i < count; i++) nodes.set(ZERO_HASHES[zeroHeight + h], i * HASH);
      this.#levels.push(nodes);
      this.#dirty.push(new Uint8Array(count));
    }
  }

  /** Marks leaf `i` as changed; `setLeaf` must follow before the next `root`. */
  mark(i: number): void {
    this.#dirty[0][i] = 1;
  }
  isMarked(i: number): boolean {
    return this.#dirty[0][i] === 1;
  }
  setLeaf(i: number, hash: Uint8Array): void {
    this.#levels[0].set(hash, i * HASH);
    this.#dirty[0][i] = 1;
  }
  node(level: number, i: number): Uint8Array {
    return this.#levels[level].subarray(i * HASH, (i + 1) * HASH);
  }

  /** Recomputes what depends on marked leaves, one level at a time. */
  root(): Uint8Array {
    for (let level = 0; level + 1 < this.#levels.length; level++) {
      const dirty = this.#dirty[level];
      const nodes = this.#levels[level];
      for (let parent = 0; parent < dirty.length / 4; parent++) {
        const first = 4 * parent;
        if ((dirty[first] | dirty[first + 1] | dirty[first + 2] | dirty[first + 3]) === 0) continue;
        this.#levels[level + 1].set(keccak(nodes.subarray(first * HASH, (first + 4) * HASH)), parent * HASH);
        this.#dirty[level + 1][parent] = 1;
      }
      dirty.fill(0);
    }
    this.#dirty[this.#levels.length - 1].fill(0);
    return this.node(this.#levels.length - 1, 0);
  }

  /** The three siblings of each node on the path from leaf `i`, in child order. Only after `root`. */
  siblings(i: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    let at = i;
    for (let level = 0; level + 1 < this.#levels.length; level++) {
      const first = at - (at % 4);
      for (let child = first; child < first + 4; child++) if (child !== at) out.push(this.node(level, child).slice());
      at = Math.floor(at / 4);
    }
    return out;
  }
}

class Page {
  readonly cells = new Uint8Array(PAGE_CELLS * CELL_BYTES);
  readonly tree = new HashTree(PAGE_LEVELS, 0);

  root(): Uint8Array {
    for (let i = 0; i < PAGE_CELLS; i++) {
      if (this.tree.isMarked(i))
        this.tree.setLeaf(i, keccak(this.cells.subarray(i * CELL_BYTES, (i + 1) * CELL_BYTES)));
    }
    return this.tree.root();
  }
}

class RegionTree {
  readonly pages = new Map<number, Page>();
  /** Pages with cells that changed since the last root. */
  readonly dirty = new Set<number>();
  readonly tree = new HashTree(PAGE_LEVELS, PAGE_LEVELS);

  root(): Uint8Array {
    for (const number of this.dirty) this.tree.setLeaf(number, this.pages.get(number)!.root());
    this.dirty.clear();
    return this.tree.root();
  }
}

/** One page as a snapshot stores it. */
export interface PageImage {
  readonly region: number;
  readonly page: number;
  readonly cells: Uint8Array;
}

/** The cells of one shard, and their root. */
export class ShardTrie {
  readonly #regions = new Map<number, RegionTree>();
  readonly #top = new HashTree(2, 10);
  /** `region * PAGES + page` of pages edited since the last {@link takeChanged}. */
  #changed = new Set<number>();

  #region(region: number): RegionTree {
    let tree = this.#regions.get(region);
    if (!tree) this.#regions.set(region, (tree = new RegionTree()));
    return tree;
  }

  /** A view of a cell, for reading only. */
  read(region: number, slot: number): Uint8Array {
    const page = this.#regions.get(region)?.pages.get(Math.floor(slot / PAGE_CELLS));
    if (!page) return ZERO_CELL;
    const at = (slot % PAGE_CELLS) * CELL_BYTES;
    return page.cells.subarray(at, at + CELL_BYTES);
  }

  /** A view of a cell for writing; it counts as changed. */
  edit(region: number, slot: number): Uint8Array {
    const tree = this.#region(region);
    const number = Math.floor(slot / PAGE_CELLS);
    let page = tree.pages.get(number);
    if (!page) tree.pages.set(number, (page = new Page()));
    tree.dirty.add(number);
    this.#changed.add(region * PAGES + number);
    page.tree.mark(slot % PAGE_CELLS);
    const at = (slot % PAGE_CELLS) * CELL_BYTES;
    return page.cells.subarray(at, at + CELL_BYTES);
  }

  /** Shard root over everything written. */
  root(): Uint8Array {
    for (const [region, tree] of this.#regions) {
      if (tree.dirty.size > 0) this.#top.setLeaf(region, tree.root());
    }
    return this.#top.root().slice();
  }

  /** Proof of a cell under the shard root: 12 levels × 3 siblings, from the leaf up. */
  proof(region: number, slot: number): Uint8Array[] {
    this.root();
    const number = Math.floor(slot / PAGE_CELLS);
    const tree = this.#regions.get(region);
    const page = tree?.pages.get(number);
    const emptyLevels = (from: number) =>
      Array.from({ length: PAGE_LEVELS * SIBLINGS }, (_, i) => ZERO_HASHES[from + Math.floor(i / SIBLINGS)]);
    return [
      ...(page ? page.tree.siblings(slot % PAGE_CELLS) : emptyLevels(0)),
      ...(tree ? tree.tree.siblings(number) : emptyLevels(PAGE_LEVELS)),
      ...this.#top.siblings(region),
    ];
  }

  /** Images of the pages edited since the last call: what a snapshot has to store. */
  takeChanged(): PageImage[] {
    const changed = this.#changed;
    this.#changed = new Set();
    return [...changed].map((key) => {
      const region = Math.floor(key / PAGES);
      const page = key % PAGES;
      return { region, page, cells: this.#regions.get(region)!.pages.get(page)!.cells };
    });
  }

  /** Puts a stored page back. */
  load(image: PageImage): void {
    for (let i = 0; i < PAGE_CELLS; i++) {
      const cell = image.cells.subarray(i * CELL_BYTES, (i + 1) * CELL_BYTES);
      if (!equal(cell, ZERO_CELL)) this.edit(image.region, image.page * PAGE_CELLS + i).set(cell);
    }
    this.#changed.delete(image.region * PAGES + image.page);
  }
}

/** The 4-ary tree over shard roots: state root and the upper four levels of every proof. */
export class StateTree {
  readonly #tree = new HashTree(DEPTH - SHARD_DEPTH, SHARD_DEPTH);

  constructor(shardRoots: Iterable<readonly [shard: number, root: Uint8Array]>) {
    for (const [shard, root] of shardRoots) this.#tree.setLeaf(shard, root);
  }

  root(): Uint8Array {
    return this.#tree.root().slice();
  }

  /** Siblings of a shard root, 4 levels × 3. */
  siblings(shard: number): Uint8Array[] {
    this.#tree.root();
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

import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import './keccak/install.ts';
import { hex } from './bytes.ts';
import { addressOf } from './cells.ts';
import {
  DEPTH,
  PAGE_CELLS,
  type PageStore,
  SHARD_DEPTH,
  ShardTrie,
  StateTree,
  ZERO_HASHES,
  proofRoot,
  verifyCell,
} from './trie.ts';

/** The definition, literally: the root of the subtree of height h over `cells` (address → cell). */
function naiveRoot(cells: ReadonlyMap<number, Uint8Array>, height: number, index = 0): Uint8Array {
  if (cells.size === 0) return ZERO_HASHES[height];
  if (height === 0) return keccak_256(cells.get(index)!);
  const children = Array.from({ length: 4 }, (_, child) => {
    const within = new Map(
      [...cells].filter(([address]) => Math.floor(address / 4 ** (height - 1)) === 4 * index + child),
    );
    return naiveRoot(within, height - 1, 4 * index + child);
  });
  return keccak_256(new Uint8Array(children.flatMap((c) => [...c])));
}

const cell = (fill: number): Uint8Array => new Uint8Array(64).fill(fill);
const place = fc.tuple(
  fc.integer({ min: 0, max: 8 }),
  fc.oneof(fc.nat(12), fc.constantFrom(PAGE_CELLS - 1, PAGE_CELLS, 2 ** 20 - 1), fc.nat(2 ** 20 - 1)),
);

describe('ShardTrie', () => {
  test('the empty root is Z', () => {
    expect(hex(new ShardTrie().root())).toBe(hex(ZERO_HASHES[SHARD_DEPTH]));
    expect(hex(new StateTree([]).root())).toBe(hex(ZERO_HASHES[DEPTH]));
  });

  test('any order and batching of writes gives the root of the definition', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 }), fc.boolean()), { maxLength: 40 }),
        (writes) => {
          const trie = new ShardTrie();
          const model = new Map<number, Uint8Array>();
          for (const [[region, slot], fill, rootNow] of writes) {
            trie.edit(region, slot).set(cell(fill));
            model.set(addressOf(0, region, slot), cell(fill));
            if (rootNow) trie.root();
          }
          expect(hex(trie.root())).toBe(hex(naiveRoot(model, SHARD_DEPTH)));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('proofs open every cell, written or not, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(place, { minLength: 1, maxLength: 12 }),
        place,
        fc.integer({ min: 0, max: 255 }),
        (written, [region, slot], shard) => {
          const trie = new ShardTrie();
          written.forEach(([r, s], i) => trie.edit(r, s).set(cell(i + 1)));
          const top = new StateTree([[shard, trie.root()]]);
          const address = addressOf(shard, region, slot);
          const siblings = [...trie.proof(region, slot), ...top.siblings(shard)];
          const value = trie.read(region, slot);
          expect(verifyCell(top.root(), address, value, siblings)).toBe(true);
          const lie = value.slice();
          lie[5] ^= 1;
          expect(verifyCell(top.root(), address, lie, siblings)).toBe(false);
          // Another address opens with this path only where the two are interchangeable: same cell, same siblings.
          expect(verifyCell(top.root(), (address ^ 1) >>> 0, lie, siblings)).toBe(false);
          expect(verifyCell(top.root(), address, value, siblings.slice(3))).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('the upper levels are the four above a shard', () => {
    const trie = new ShardTrie();
    trie.edit(1, 1).set(cell(1));
    const proof = trie.proof(1, 1);
    expect(proof).toHaveLength(3 * SHARD_DEPTH);
    expect(hex(proofRoot(addressOf(0, 1, 1), trie.read(1, 1), proof))).toBe(hex(trie.root()));
  });

  test('pages put back give the same root, and only edited ones count as changed', () => {
    const trie = new ShardTrie();
    for (const slot of [1, 2, PAGE_CELLS, 5 * PAGE_CELLS + 7]) trie.edit(6, slot).set(cell(slot % 251));
    trie.edit(0, 0).set(cell(9));
    const images = trie.takeChanged().map((image) => ({ ...image, cells: image.cells.slice() }));
    expect(images).toHaveLength(4);
    expect(trie.takeChanged()).toHaveLength(0);
    const restored = new ShardTrie();
    images.forEach((image) => restored.load(image));
    expect(restored.takeChanged()).toHaveLength(0);
    expect(hex(restored.root())).toBe(hex(trie.root()));
  });
});

/** Keeps what snapshots store. */
class MemoryStore implements PageStore {
  readonly #pages = new Map<number, Uint8Array>();
  readonly loads: number[] = [];

  load(region: number, page: number): Uint8Array {
    this.loads.push(page);
    return this.#pages.get(region * PAGE_CELLS + page)!;
  }
  snapshot(trie: ShardTrie): void {
    for (const { region, page, cells } of trie.takeChanged())
      this.#pages.set(region * PAGE_CELLS + page, cells.slice());
  }
  /** What a restart does. */
  restore(resident: number): ShardTrie {
    const trie = new ShardTrie({ store: this, resident });
    for (const [key, cells] of this.#pages) {
      trie.load({ region: Math.floor(key / PAGE_CELLS), page: key % PAGE_CELLS, cells });
      expect(trie.evict()).toBe(true);
    }
    return trie;
  }
}

/** The path of a cell, as one string. */
const pathOf = (trie: ShardTrie, region: number, slot: number): string => trie.proof(region, slot).map(hex).join();

describe('paging', () => {
  /** One of 40 pages, some used more than others, with cells from all over them. */
  const somewhere = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(9), fc.nat(PAGE_CELLS - 1));
  const step = fc.oneof(
    fc.record({ do: fc.constant('write' as const), at: somewhere, fill: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ do: fc.constantFrom('read' as const, 'prove' as const), at: somewhere }),
    fc.record({ do: fc.constantFrom('root' as const, 'snapshot' as const, 'evict' as const, 'restart' as const) }),
  );

  test('changes no cell, root or proof, whatever is in memory', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.array(step, { maxLength: 60 }), (resident, steps) => {
        const store = new MemoryStore();
        const whole = new ShardTrie();
        let paged = new ShardTrie({ store, resident });
        for (const { at: [region, page, index] = [1, 0, 0], ...it } of steps.map((s) => ({ at: undefined, ...s }))) {
          const slot = page * PAGE_CELLS + index;
          switch (it.do) {
            case 'write':
              for (const trie of [whole, paged]) trie.edit(region, slot).set(cell(it.fill));
              break;
            case 'read':
              expect(hex(paged.read(region, slot))).toBe(hex(whole.read(region, slot)));
              break;
            case 'prove':
              expect(pathOf(paged, region, slot)).toBe(pathOf(whole, region, slot));
              break;
            case 'root':
              expect(hex(paged.root())).toBe(hex(whole.root()));
              break;
            case 'snapshot':
              store.snapshot(paged);
              break;
            case 'evict':
              if (!paged.evict()) {
                store.snapshot(paged);
                expect(paged.evict()).toBe(true);
              }
              expect(paged.resident).toBeLessThanOrEqual(resident);
              break;
            case 'restart':
              store.snapshot(paged);
              paged = store.restore(resident);
          }
        }
        expect(hex(paged.root())).toBe(hex(whole.root()));
      }),
      { numRuns: 200 },
    );
  });

  /** One whose pages 0 … 9 hold something and are in the store. */
  function filled(resident: number): { store: MemoryStore; trie: ShardTrie } {
    const store = new MemoryStore();
    const trie = new ShardTrie({ store, resident });
    for (let page = 0; page < 10; page++) trie.edit(1, page * PAGE_CELLS).set(cell(page + 1));
    store.snapshot(trie);
    return { store, trie };
  }

  test('roots, and proofs of what is there, ask the store for nothing', () => {
    const { store, trie } = filled(3);
    trie.evict();
    trie.root();
    trie.proof(1, 11 * PAGE_CELLS);
    trie.proof(2, 0);
    expect(store.loads).toHaveLength(0);
    for (let page = 0; page < 10; page++) expect(trie.read(1, page * PAGE_CELLS)[0]).toBe(page + 1);
    expect(store.loads).toHaveLength(7);
  });

  test('who is used often stays', () => {
    const { store, trie } = filled(4);
    for (let turn = 0; turn < 50; turn++) {
      trie.read(1, 3 * PAGE_CELLS);
      trie.read(1, (turn % 10) * PAGE_CELLS);
      trie.evict();
    }
    expect(store.loads.filter((page) => page === 3).length).toBeLessThanOrEqual(1);
    expect(store.loads.length).toBeGreaterThan(30);
  });

  test('what no snapshot has stays, and says so', () => {
    const { store, trie } = filled(2);
    for (const page of [1, 3, 5]) trie.edit(1, page * PAGE_CELLS).set(cell(99));
    expect(trie.evict()).toBe(false);
    expect(trie.resident).toBe(3);
    store.snapshot(trie);
    expect(trie.evict()).toBe(true);
    for (const page of [1, 3, 5]) expect(trie.read(1, page * PAGE_CELLS)[0]).toBe(99);
  });
});

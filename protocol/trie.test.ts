import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import './keccak/install.ts';
import { hex } from './bytes.ts';
import { addressOf } from './cells.ts';
import { DEPTH, PAGE_CELLS, SHARD_DEPTH, ShardTrie, StateTree, ZERO_HASHES, proofRoot, verifyCell } from './trie.ts';

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

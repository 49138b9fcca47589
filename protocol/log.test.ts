import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hex, unhex } from './bytes.ts';
import { Frontier, inclusionPath, keccak, leafHash, rootOf, sha, verifyInclusion } from './log.ts';

/** Leaves and heads that Certificate Transparency implementations test against (RFC 6962 reference). */
const CT_LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const CT_ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('heads are those of RFC 6962', () => {
  const log = new Frontier();
  expect(hex(log.root())).toBe('0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  CT_LEAVES.forEach((leaf, i) => {
    log.append(unhex(`0x${leaf}`));
    expect(hex(log.root())).toBe(`0x${CT_ROOTS[i]}`);
  });
});

describe.each([
  ['sha', sha],
  ['keccak', keccak],
])('%s', (_, hash) => {
  const leaves = Array.from({ length: 70 }, (_unused, i) => leafHash(hash, Uint8Array.of(i)));

  test('a frontier, also one put back half way, agrees with the whole list', () => {
    let log = new Frontier(hash);
    leaves.forEach((leaf, i) => {
      log.appendLeaf(leaf);
      expect(hex(log.root())).toBe(hex(rootOf(hash, leaves.slice(0, i + 1))));
      if (i === 40) log = new Frontier(hash, log.size, log.stack);
    });
  });

  test('inclusion paths prove their leaf at their index only', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(69), fc.nat(69), (size, a, b) => {
        const [index, other] = [a % size, b % size];
        const root = rootOf(hash, leaves.slice(0, size));
        const path = inclusionPath(hash, leaves.slice(0, size), index);
        expect(verifyInclusion(hash, root, size, index, leaves[index], path)).toBe(true);
        if (other !== index) {
          expect(verifyInclusion(hash, root, size, other, leaves[index], path)).toBe(false);
          expect(verifyInclusion(hash, root, size, index, leaves[other], path)).toBe(false);
        }
        expect(verifyInclusion(hash, root, size, index, leaves[index], [...path, root])).toBe(false);
        if (path.length > 0) expect(verifyInclusion(hash, root, size, index, leaves[index], path.slice(1))).toBe(false);
        expect(verifyInclusion(hash, root, size, size, leaves[index], path)).toBe(false);
      }),
    );
  });
});

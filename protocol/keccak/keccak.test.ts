import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hex } from '../bytes.ts';
import { HASH_BYTES, MAX_BLOCKS, blockHasher, installKeccak, keccak, keccakCount } from '../hash.ts';
import { KECCAK_INPUT_BYTES } from './layout.ts';
import { keccakModule } from './module.ts';

/** Blocks of one size through the batch entry of whatever is installed. */
function each(width: 64 | 128, blocks: Uint8Array): Uint8Array {
  const count = blocks.length / width;
  const hasher = blockHasher(count);
  new Uint8Array(hasher.input.buffer, hasher.input.byteOffset).set(blocks);
  if (width === 64) hasher.each64(count);
  else hasher.each128(count);
  return new Uint8Array(hasher.output.buffer, hasher.output.byteOffset, count * HASH_BYTES).slice();
}

const expected = (width: number, blocks: Uint8Array): string =>
  Array.from({ length: blocks.length / width }, (_, i) => hex(keccak_256(blocks.slice(i * width, (i + 1) * width))))
    .map((hash) => hash.slice(2))
    .join('');

const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

function agreesWithNoble(): void {
  for (let length = 0; length <= 1000; length++) {
    const bytes = random(length);
    expect(hex(keccak(bytes))).toBe(hex(keccak_256(bytes)));
  }
  fc.assert(
    fc.property(fc.constantFrom(64 as const, 128 as const), fc.nat(9), (width, count) => {
      const blocks = random(width * count);
      expect(hex(each(width, blocks)).slice(2)).toBe(expected(width, blocks));
    }),
    { numRuns: 50 },
  );
}

describe('keccak', () => {
  test('in JavaScript, one by one and in batches', agreesWithNoble);

  test('in WebAssembly gives what noble gives, for any length and in every batch', () => {
    installKeccak(new WebAssembly.Instance(new WebAssembly.Module(keccakModule())));
    agreesWithNoble();
    for (const width of [64, 128] as const) {
      const blocks = random(width * MAX_BLOCKS);
      expect(hex(each(width, blocks)).slice(2)).toBe(expected(width, blocks));
    }
    for (const length of [KECCAK_INPUT_BYTES - 1, KECCAK_INPUT_BYTES, KECCAK_INPUT_BYTES + 1]) {
      const bytes = new Uint8Array(length).fill(7);
      expect(hex(keccak(bytes))).toBe(hex(keccak_256(bytes)));
    }
  });

  test('every hash counts', () => {
    const before = keccakCount();
    keccak(random(3));
    each(64, random(5 * 64));
    expect(keccakCount() - before).toBe(6);
  });
});

import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { equal, hex } from '../bytes.ts';
import { HASH_BYTES, installKeccak, keccak, keccakCount, sha } from '../hash.ts';
import { LIST, LIST_ENTRIES, Memory } from '../memory.ts';
import { KECCAK_INPUT, KECCAK_INPUT_BYTES, KECCAK_MEMORY_PAGES, KECCAK_OUTPUT } from './layout.ts';
import { keccakModule } from './module.ts';

/** Blocks of one size by the list, in a memory of so many bytes: scattered, and so are their hashes. */
function listed(bytes: number, width: 64 | 128, blocks: Uint8Array): Uint8Array {
  const memory = new Memory(bytes);
  const count = blocks.length / width;
  const [sources, targets] = [2 ** 17, 2 ** 19];
  const order = (i: number): number => (i * 7) % LIST_ENTRIES;
  for (let i = 0; i < count; i++) {
    memory.bytes.set(blocks.subarray(i * width, (i + 1) * width), sources + order(i) * width);
    memory.words[LIST + 2 * i] = sources + order(i) * width;
    memory.words[LIST + 2 * i + 1] = targets + order(i) * HASH_BYTES;
  }
  const before = memory.bytes.slice(targets);
  memory.hashListed(width, count);
  const hashes = new Uint8Array(count * HASH_BYTES);
  for (let i = 0; i < count; i++) {
    const at = order(i) * HASH_BYTES;
    hashes.set(memory.bytes.subarray(targets + at, targets + at + HASH_BYTES), i * HASH_BYTES);
    before.set(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES), at);
  }
  // Nothing else was written.
  expect(equal(memory.bytes.subarray(targets), before)).toBe(true);
  return hashes;
}
/** One that stays a plain buffer, and one that hashes in place where it can. */
const SIZES = [2 ** 20, 2 ** 21 + 1];

const expected = (width: number, blocks: Uint8Array): string =>
  Array.from({ length: blocks.length / width }, (_, i) => hex(keccak_256(blocks.slice(i * width, (i + 1) * width))))
    .map((hash) => hash.slice(2))
    .join('');

function random(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

function agreesWithNoble(): void {
  for (let length = 0; length <= 1000; length++) {
    const bytes = random(length);
    expect(hex(keccak(bytes))).toBe(hex(keccak_256(bytes)));
  }
  fc.assert(
    fc.property(
      fc.constantFrom(...SIZES),
      fc.constantFrom(64 as const, 128 as const),
      fc.nat(9),
      (size, width, count) => {
        const blocks = random(width * count);
        expect(hex(listed(size, width, blocks)).slice(2)).toBe(expected(width, blocks));
      },
    ),
    { numRuns: 20 },
  );
}

describe('keccak', () => {
  test('in JavaScript, one by one and in batches', agreesWithNoble);

  test.for([false, true])('in WebAssembly gives what noble gives, shared: %s', (shared) => {
    installKeccak(new WebAssembly.Module(keccakModule(shared)), shared);
    agreesWithNoble();
    for (const width of [64, 128] as const) {
      const blocks = random(width * LIST_ENTRIES);
      expect(hex(listed(2 ** 21, width, blocks)).slice(2)).toBe(expected(width, blocks));
    }
    for (const length of [KECCAK_INPUT_BYTES - 1, KECCAK_INPUT_BYTES, KECCAK_INPUT_BYTES + 1]) {
      const bytes = new Uint8Array(length).fill(7);
      expect(hex(keccak(bytes))).toBe(hex(keccak_256(bytes)));
    }
  });

  test('and its SHA-256 is noble’s, of messages of any length', () => {
    const memory = new WebAssembly.Memory({ initial: KECCAK_MEMORY_PAGES });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(keccakModule()), { keccak: { memory } });
    const hash = (exports as { sha(pointer: number, length: number, output: number): void }).sha;
    const bytes = new Uint8Array(memory.buffer);
    for (const length of [...Array(1000).keys(), KECCAK_INPUT_BYTES - 1, KECCAK_INPUT_BYTES]) {
      const message = random(length);
      bytes.fill(0xee, KECCAK_INPUT);
      bytes.set(message, KECCAK_INPUT);
      hash(KECCAK_INPUT, length, KECCAK_OUTPUT);
      expect(hex(bytes.slice(KECCAK_OUTPUT, KECCAK_OUTPUT + HASH_BYTES))).toBe(hex(sha256(message)));
      if (length < 1000) expect(hex(sha(message))).toBe(hex(sha256(message)));
    }
  });

  test('every hash counts', () => {
    const before = keccakCount();
    keccak(random(3));
    for (const size of SIZES) listed(size, 64, random(5 * 64));
    expect(keccakCount() - before).toBe(11);
  });
});

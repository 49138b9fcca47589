import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a module of the page, in plain JavaScript
import { keccak } from './public/explorer/keccak.js';
// @ts-expect-error a module of the page, in plain JavaScript
import * as verify from './public/explorer/verify.js';

const raw = (parts: Uint8Array[]) => keccak_256(verify.join(...parts));

const node = (left: Uint8Array, right: Uint8Array) => raw([Uint8Array.of(1), left, right]);
const split = (n: number) => 2 ** Math.floor(Math.log2(n - 1));

describe('keccak', () => {
  it('is keccak256 around every block boundary', () => {
    for (const length of [0, 1, 31, 32, 64, 127, 128, 135, 136, 137, 271, 272, 273, 4096]) {
      const data = Uint8Array.from({ length }, (_, i) => i * 31);
      expect(verify.hex(keccak(data))).toBe(verify.hex(keccak_256(data)));
    }
  });
  it('is keccak256 of anything', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 600 }),
        (data) => verify.hex(keccak(data)) === verify.hex(keccak_256(data)),
      ),
      { numRuns: 60 },
    );
  });
});

describe('foldCell', () => {
  it('reaches the root of the empty state from any address', () => {
    let zero = keccak_256(new Uint8Array(64));
    const siblings: string[][] = [];
    for (let height = 0; height < 16; height++) {
      siblings.push([verify.hex(zero), verify.hex(zero), verify.hex(zero)]);
      zero = raw([zero, zero, zero, zero]);
    }
    for (const at of [0, 5, verify.address('escrow', '0:9'), 2 ** 32 - 1]) {
      expect(verify.foldCell(`0x${'00'.repeat(64)}`, at, siblings).root).toBe(verify.hex(zero));
    }
    expect(verify.emptyRoot()).toBe(verify.hex(zero));
    const forged = verify.foldCell(`0x01${'00'.repeat(63)}`, 5, siblings);
    expect(forged.root).not.toBe(verify.hex(zero));
    expect(forged.levels).toHaveLength(16);
  });
  it('addresses cells as the protocol does', () => {
    expect(verify.address('agent', '0:7')).toBe(0x00100007);
    expect(verify.address('escrow', '3:1048577')).toBe(0x03600001);
    expect(verify.address('session', '0:2')).toBe(0x00500008);
  });
});

describe('foldPath', () => {
  const root = (leaves: Uint8Array[]): Uint8Array =>
    leaves.length === 1
      ? leaves[0]
      : node(root(leaves.slice(0, split(leaves.length))), root(leaves.slice(split(leaves.length))));
  const path = (leaves: Uint8Array[], index: number): Uint8Array[] => {
    if (leaves.length === 1) return [];
    const k = split(leaves.length);
    return index < k
      ? [...path(leaves.slice(0, k), index), root(leaves.slice(k))]
      : [...path(leaves.slice(k), index - k), root(leaves.slice(0, k))];
  };
  it('opens every leaf of trees of every small size, and nothing at another index or size', () => {
    for (let size = 1; size <= 20; size++) {
      const leaves = Array.from({ length: size }, (_, seq) =>
        verify.bytes(verify.frameLeaf({ firstStep: seq, shard: 0, seq, frame: '0x0100000001' })),
      );
      const expected = verify.hex(root(leaves));
      for (let index = 0; index < size; index++) {
        const audit = path(leaves, index).map(verify.hex);
        expect(verify.foldPath(verify.hex(leaves[index]), index, size, audit).root).toBe(expected);
        expect(verify.foldPath(verify.hex(leaves[index]), index, size, [...audit, expected]).root).not.toBe(expected);
        if (size > 1)
          expect(verify.foldPath(verify.hex(leaves[index]), (index + 1) % size, size, audit).root).not.toBe(expected);
      }
    }
  });
});

describe('verifyP256', () => {
  it('takes a signed receipt and refuses a changed one', async () => {
    const pair = (await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ])) as CryptoKeyPair;
    const point = new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer);
    const key = { x: verify.hex(point.slice(1, 33)), y: verify.hex(point.slice(33)) };
    const domain = { chainId: 31337, root: `0x${'11'.repeat(20)}` };
    const receipt = {
      shard: 0,
      seq: '5',
      frameHash: `0x${'aa'.repeat(32)}`,
      runningHash: `0x${'bb'.repeat(32)}`,
      outcomesHash: `0x${'cc'.repeat(32)}`,
      promisedBy: '1800000000',
    };
    const message = verify.receiptPreimage(domain, receipt);
    expect(message).toHaveLength(66);
    const signature = verify.hex(
      new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, message)),
    );
    expect(await verify.verifyP256(key, signature, message)).toBe(true);
    expect(await verify.verifyP256(key, signature, verify.receiptPreimage(domain, { ...receipt, seq: '6' }))).toBe(
      false,
    );
    expect(await verify.verifyP256({ x: '0x00', y: '0x00' }, signature, message)).toBe(false);
  });
});

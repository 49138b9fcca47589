import { p256 } from '@noble/curves/nist.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex, unhex } from '../../protocol/bytes.ts';
import { EXISTS, Agent, Region, addressOf, set } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type ProofJson, verifyProof } from '../../protocol/proof.ts';
import { ShardTrie } from '../../protocol/trie.ts';
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
    const raw = new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, message));
    const s = BigInt(verify.hex(raw.slice(32)));
    const order = p256.Point.CURVE().n;
    const other = verify.join(raw.slice(0, 32), verify.uint(order - s, 32));
    const [signature, high] = (s <= order / 2n ? [raw, other] : [other, raw]).map(verify.hex);
    expect(await verify.verifyP256(key, signature, message)).toBe(true);
    expect(await verify.verifyP256(key, high, message)).toBe(false);
    expect(await verify.verifyP256(key, signature, verify.receiptPreimage(domain, { ...receipt, seq: '6' }))).toBe(
      false,
    );
    expect(await verify.verifyP256({ x: '0x00', y: '0x00' }, signature, message)).toBe(false);
  });
});

describe('checkAgentProof', () => {
  it('believes what protocol/proof.ts believes, and nothing else', async () => {
    const domain = { chainId: 31337, root: `0x${'11'.repeat(20)}` } as const;
    const key = await MachineKey.import(new Uint8Array(32).fill(3));
    const sequencerKey = { x: hex(key.publicKey.slice(0, 32)), y: hex(key.publicKey.slice(32)) };
    const trie = new ShardTrie();
    for (const slot of [6, 7, 8]) {
      trie.edit(Region.agent, slot).fill(slot);
      set(trie.edit(Region.agent, slot), Agent.flags, EXISTS);
    }
    const checkpoint = { shard: 2, seq: 99, shardRoot: trie.root() };
    const place = { shard: 2, seq: '99', shardRoot: hex(checkpoint.shardRoot) };
    const siblings = trie.proof(Region.agent, 7).map(hex);
    const good: ProofJson = {
      kind: 'agent',
      id: '2:7',
      cells: [{ address: addressOf(2, Region.agent, 7), cell: hex(trie.read(Region.agent, 7)), fields: {} }],
      proof: { ...place, siblings: Array.from({ length: 12 }, (_, i) => siblings.slice(3 * i, 3 * i + 3)) },
      checkpoint: {
        ...place,
        signature: hex(await key.sign(new Signing(domain).checkpoint(checkpoint))),
      },
    };
    const asked = { ...domain, sequencerKey, id: '2:7' };
    const ours = (answer: unknown, question: typeof asked) =>
      verifyProof(answer, { ...question, kind: 'agent' }).then(
        () => true,
        () => false,
      );
    const pages = async (answer: unknown, question: typeof asked) => {
      try {
        const { ok, signed } = await verify.checkAgentProof(answer, question);
        return ok && signed;
      } catch {
        return false;
      }
    };
    expect([await ours(good, asked), await pages(good, asked)]).toEqual([true, true]);
    const paths = [
      ['id'],
      ['kind'],
      ['cells', 0, 'address'],
      ['cells', 0, 'cell'],
      ['proof', 'siblings', 0, 1],
      ['proof', 'siblings', 11, 2],
      ['proof', 'siblings'],
      ['proof', 'shardRoot'],
      ['proof', 'seq'],
      ['proof', 'shard'],
      ['checkpoint', 'shardRoot'],
      ['checkpoint', 'seq'],
      ['checkpoint', 'shard'],
      ['checkpoint', 'signature'],
    ];
    const flipped = (text: string, at: number, bit: number) => {
      const data = unhex(text);
      data[at % data.length] ^= 1 << bit;
      return hex(data);
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.nat(63),
        fc.nat(7),
        fc.jsonValue(),
        async (path, at, bit, junk) => {
          const answer = structuredClone(good) as unknown as Record<string | number, unknown>;
          let holder = answer;
          for (const name of path.slice(0, -1)) holder = holder[name] as typeof holder;
          const last = path.at(-1)!;
          const was = holder[last];
          holder[last] = typeof was === 'string' && was.startsWith('0x') ? flipped(was, at, bit) : junk;
          fc.pre(holder[last] !== was);
          expect([await ours(answer, asked), await pages(answer, asked)]).toEqual([false, false]);
        },
      ),
      { numRuns: 400 },
    );
    for (const other of [
      { ...asked, id: '2:8' },
      { ...asked, id: '3:7' },
      { ...asked, id: `2:${2 ** 20 + 7}` },
      { ...asked, chainId: 1 },
      { ...asked, root: `0x${'12'.repeat(20)}` as const },
      { ...asked, sequencerKey: { x: sequencerKey.y, y: sequencerKey.x } },
    ])
      expect([await ours(good, other as typeof asked), await pages(good, other as typeof asked)]).toEqual([
        false,
        false,
      ]);
  });
});

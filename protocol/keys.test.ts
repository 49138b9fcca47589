import { p256 } from '@noble/curves/nist.js';
import fc from 'fast-check';
import { hashTypedData } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, test } from 'vitest';
import { hex, unhex, word } from './bytes.ts';
import { Signing } from './eip712.ts';
import { keccak } from './hash.ts';
import { MachineKey, ownerAddress, signOwner, verifyOwner, verifyP256, verifyP256Sync } from './keys.ts';

const root = '0x5fbdb2315678afecb367f032d93f642f64180aa3' as const;
const signing = new Signing({ chainId: 31337, root });
const message = new Uint8Array(66).fill(3);

describe('machine keys', () => {
  test('signs low-s, and WebCrypto and JavaScript agree on every signature, valid or not', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const other = await MachineKey.import(MachineKey.randomSecret());
    const half = p256.Point.CURVE().n >> 1n;
    for (let i = 0; i < 40; i++) {
      const preimage = Uint8Array.of(i, ...message);
      const signature = await key.sign(preimage);
      expect(BigInt(hex(signature.subarray(32))) <= half).toBe(true);
      const high = signature.slice();
      high.set(word(p256.Point.CURVE().n - BigInt(hex(signature.subarray(32)))), 32);
      const cases: [Uint8Array, Uint8Array, Uint8Array, boolean][] = [
        [key.publicKey, preimage, signature, true],
        [other.publicKey, preimage, signature, false],
        [key.publicKey, message, signature, false],
        [key.publicKey, preimage, high, false],
        [new Uint8Array(64), preimage, signature, false],
        [new Uint8Array(64).fill(0xff), preimage, signature, false],
        [key.publicKey, preimage, new Uint8Array(64), false],
        [key.publicKey, preimage, signature.subarray(1), false],
      ];
      for (const [publicKey, bytes, sig, valid] of cases) {
        expect(await verifyP256(publicKey, bytes, sig)).toBe(valid);
        expect(verifyP256Sync(publicKey, bytes, sig)).toBe(valid);
      }
    }
  });

  test('a secret that is no scalar is refused', async () => {
    await expect(MachineKey.import(new Uint8Array(32))).rejects.toMatchObject({ code: 'malformed' });
    await expect(MachineKey.import(new Uint8Array(31))).rejects.toMatchObject({ code: 'malformed' });
  });
});

describe('owners', () => {
  const secret = new Uint8Array(32).fill(7);
  const owner = ownerAddress(secret);

  test('are addresses as wallets have them, and sign as wallets do', async () => {
    const account = privateKeyToAccount(hex(secret));
    expect(hex(owner)).toBe(account.address.toLowerCase());
    const key = new Uint8Array(64).fill(1);
    const half = hex(key.subarray(32));
    const typed = {
      domain: { name: 'AGNT2', version: '1', chainId: 31337, verifyingContract: root },
      types: {
        Rotate: [
          { name: 'agent', type: 'uint64' },
          { name: 'epoch', type: 'uint32' },
          { name: 'keyX', type: 'bytes32' },
          { name: 'keyY', type: 'bytes32' },
        ],
      },
      primaryType: 'Rotate',
      message: { agent: 512n, epoch: 4, keyX: half, keyY: half },
    } as const;
    const preimage = signing.rotate({ agent: 512, epoch: 4, key });
    expect(hex(keccak(preimage))).toBe(hashTypedData(typed));
    expect(verifyOwner(owner, preimage, unhex(await account.signTypedData(typed)))).toBe(true);
    expect(verifyOwner(owner, preimage, signOwner(secret, preimage))).toBe(true);
  });

  test('verification is total, and only the owner’s signature passes', () => {
    const good = signOwner(secret, message);
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 60, maxLength: 70 }),
        fc.nat(64),
        fc.integer({ min: 1, max: 255 }),
        (junk, at, flip) => {
          expect(verifyOwner(owner, message, junk)).toBe(false);
          expect(
            verifyOwner(
              owner,
              message,
              good.map((b, i) => (i === at ? b ^ flip : b)),
            ),
          ).toBe(false);
        },
      ),
      { numRuns: 50 },
    );
  });
});

test('every struct digest is the one that EIP-712 tools compute', () => {
  const bytes32 = hex(new Uint8Array(32).fill(8));
  const eight = new Uint8Array(32).fill(8);
  const domain = { name: 'AGNT2', version: '1', chainId: 31337, verifyingContract: root };
  const u = (name: string, bits = 64) => ({ name, type: `uint${bits}` });
  const h = (name: string) => ({ name, type: 'bytes32' });
  const check = (
    primaryType: string,
    fields: { name: string; type: string }[],
    value: Record<string, unknown>,
    preimage: Uint8Array,
  ) =>
    expect(hex(keccak(preimage)), primaryType).toBe(
      hashTypedData({ domain, types: { [primaryType]: fields }, primaryType, message: value }),
    );

  check('Bundle', [{ name: 'body', type: 'bytes' }], { body: '0x010203' }, signing.bundle(Uint8Array.of(1, 2, 3)));
  check(
    'Half',
    [u('session'), u('dir', 8), u('seq'), u('calls'), u('paid'), h('root'), h('locks')],
    {
      session: 256n,
      dir: 1,
      seq: 2n,
      calls: 3n,
      paid: 9007199254740991n,
      root: bytes32,
      locks: `0x${'00'.repeat(32)}`,
    },
    signing.half({ session: 256, dir: 1, seq: 2, calls: 3, paid: Number.MAX_SAFE_INTEGER, root: eight }),
  );
  check(
    'Close',
    [u('session'), u('paidAB'), u('paidBA'), u('callsAB'), u('callsBA'), h('rootAB'), h('rootBA')],
    { session: 1n, paidAB: 2n, paidBA: 3n, callsAB: 4n, callsBA: 5n, rootAB: bytes32, rootBA: bytes32 },
    signing.close({ session: 1, paidAB: 2, paidBA: 3, callsAB: 4, callsBA: 5, rootAB: eight, rootBA: eight }),
  );
  check(
    'Receipt',
    [u('shard', 8), u('seq'), h('frameHash'), h('runningHash'), h('outcomesHash'), u('promisedBy')],
    { shard: 1, seq: 2n, frameHash: bytes32, runningHash: bytes32, outcomesHash: bytes32, promisedBy: 3n },
    signing.receipt({ shard: 1, seq: 2, frameHash: eight, runningHash: eight, outcomesHash: eight, promisedBy: 3 }),
  );
  check(
    'Connect',
    [u('agent'), { name: 'room', type: 'string' }, u('timeMs'), h('nonce')],
    { agent: 256n, room: '/x', timeMs: 5n, nonce: bytes32 },
    signing.connect({ agent: 256, room: '/x', timeMs: 5, nonce: eight }),
  );
  check(
    'Announce',
    [u('agent'), h('contentHash'), u('timeMs')],
    { agent: 256n, contentHash: bytes32, timeMs: 5n },
    signing.announce({ agent: 256, contentHash: eight, timeMs: 5 }),
  );
  check(
    'Checkpoint',
    [u('shard', 8), u('seq'), h('shardRoot')],
    { shard: 255, seq: 281474976710655n, shardRoot: bytes32 },
    signing.checkpoint({ shard: 255, seq: 2 ** 48 - 1, shardRoot: eight }),
  );
});

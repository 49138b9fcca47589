import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Hex, concat, equal, hex, unhex } from '../bytes.ts';
import { Signing } from '../eip712.ts';
import { keccak } from '../hash.ts';
import { ownerAddress, recoverOwner, signOwner, toCompact } from '../keys.ts';
import { inclusionPath, pathIn, treeLevels } from '../log.ts';
import {
  addresses,
  checkCertificate,
  decodeCertificate,
  encodeCertificate,
  membersHash,
  recoverMembers,
  signedBy,
} from './certificate.ts';
import {
  commitmentBytes,
  decodeCells,
  decodeCommitment,
  decodeOfferHead,
  encodeCells,
  encodeCommitment,
  encodeOfferHead,
  offerHeadBytes,
  openCommitment,
  rootOfCommitment,
} from './offer.ts';

const { committee, certificates } = JSON.parse(
  readFileSync(new URL('../../test/vectors/da.json', import.meta.url), 'utf8'),
) as {
  committee: { dataRoot: Hex; roots: Hex[]; epoch: number };
  certificates: Record<'quorate' | 'unanimous' | 'short', Hex> & {
    number: number;
    until: number;
    quorum: number;
    list: Hex[];
    next: Hex[];
    rotation: { signers: number; signed: Hex };
  };
};
const { number, quorum } = certificates;
const list = addresses(certificates.list);
const dataRoot = unhex(committee.dataRoot);
const signing = new Signing({ chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' });
const check = (bytes: Uint8Array) => checkCertificate(bytes, { number, dataRoot }, { members: list, quorum }, signing);
const coded = (work: () => unknown): string => {
  try {
    work();
    return 'ok';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('certificates', () => {
  test('those of the vector are good, or short of a quorum', () => {
    for (const name of ['quorate', 'unanimous'] as const) {
      const bytes = unhex(certificates[name]);
      expect(check(bytes)).toMatchObject({ epoch: committee.epoch, until: certificates.until });
      expect(hex(encodeCertificate(decodeCertificate(bytes, list.length)))).toBe(certificates[name]);
    }
    expect(check(unhex(certificates.short))).toBeNull();
  });

  test('no other bytes are one', () => {
    const good = unhex(certificates.quorate);
    const parsed = fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = good.slice();
      changed[at] ^= change;
      let answer: unknown = null;
      expect(['ok', 'malformed']).toContain(coded(() => (answer = check(changed))));
      expect(answer).toBeNull();
    });
    fc.assert(parsed, { numRuns: 30 });
    for (let length = 0; length < good.length; length += 13)
      expect(coded(() => check(good.subarray(0, length)))).toBe('malformed');
    expect(coded(() => check(concat(good, Uint8Array.of(0))))).toBe('malformed');
    expect(coded(() => decodeCertificate(good, 15))).toBe('malformed');
  });

  test('one signature in another’s place is nobody’s', () => {
    const { members, epoch, until } = decodeCertificate(unhex(certificates.unanimous), list.length);
    const twice = members.map((one, i) => (i === 3 ? members[4] : one));
    expect(check(encodeCertificate({ epoch, until, members: twice }))).toBeNull();
  });

  test('a rotation recovers the members that sign it', () => {
    const { signers, signed } = certificates.rotation;
    // As a certificate has it, behind an epoch and a time.
    const bytes = concat(new Uint8Array(16), Uint8Array.of(signers >> 8, signers & 255), unhex(signed));
    const { members } = decodeCertificate(bytes, list.length);
    const words = { epoch: committee.epoch + 1, members: membersHash(addresses(certificates.next)) };
    expect(recoverMembers(members, signing.rotateCommittee(words))?.map(hex)).toEqual(certificates.list);
  });

  test('a compact signature is one account’s over one text, low-s', () => {
    const secret = keccak(Uint8Array.of(1));
    for (let i = 0; i < 20; i++) {
      const preimage = Uint8Array.of(i);
      const compact = toCompact(signOwner(secret, preimage));
      expect(equal(recoverOwner(preimage, compact)!, ownerAddress(secret))).toBe(true);
      expect(recoverOwner(Uint8Array.of(i, 0), compact)).not.toEqual(ownerAddress(secret));
    }
    expect(recoverOwner(Uint8Array.of(0), new Uint8Array(64))).toBeNull();
    expect(recoverOwner(Uint8Array.of(0), new Uint8Array(64).fill(0xff))).toBeNull();
    expect(recoverOwner(Uint8Array.of(0), new Uint8Array(63))).toBeNull();
  });

  test('a list may be signed by any of its members, and by nobody else', () => {
    const signature = new Uint8Array(64).fill(7);
    expect(signedBy(list, new Map([[2, signature]])).map(({ length }) => length)).toEqual(
      list.map((_, i) => (i === 2 ? 64 : 20)),
    );
    const wrong = list.map((address, i) => (i === 2 ? address.subarray(1) : address));
    expect(coded(() => encodeCertificate({ epoch: 1, until: 1, members: wrong }))).toBe('malformed');
  });
});

describe('what goes between members and others', () => {
  const commitment = { length: 5000, epoch: 3, roots: committee.roots.map((root) => unhex(root)) };
  const n = commitment.roots.length;
  const head = { number: 9, until: 77, signature: new Uint8Array(64).fill(3), members: list, commitment };
  const path = [keccak(Uint8Array.of(1)), keccak(Uint8Array.of(2))];
  const cells = [0, 6].map((row) => ({ row, content: new Uint8Array(1024).fill(row), path }));

  test('comes out as it went in', () => {
    expect(decodeCommitment(encodeCommitment(commitment), n)).toEqual(commitment);
    expect(encodeCommitment(commitment)).toHaveLength(commitmentBytes(n));
    expect(decodeOfferHead(encodeOfferHead(head), n)).toEqual(head);
    expect(encodeOfferHead(head)).toHaveLength(offerHeadBytes(n));
    expect(decodeCells(encodeCells(cells))).toEqual(cells);
    expect(decodeCells(encodeCells([]))).toEqual([]);
  });

  test('opens under its own dataRoot alone', () => {
    const root = rootOfCommitment(commitment);
    const bytes = encodeCommitment(commitment);
    expect(openCommitment(bytes, n, root)).toEqual(commitment);
    for (let at = 0; at < bytes.length; at += 5) {
      const changed = bytes.slice();
      changed[at] ^= 1;
      expect(openCommitment(changed, n, root)).toBeNull();
    }
    expect(openCommitment(bytes.subarray(1), n, root)).toBeNull();
    expect(openCommitment(bytes, n - 1, root)).toBeNull();
  });

  test('any bytes are read, or are malformed', () => {
    const samples = [encodeCommitment(commitment), encodeOfferHead(head), encodeCells(cells)];
    const readers = [
      (bytes: Uint8Array) => decodeCommitment(bytes, n),
      (bytes: Uint8Array) => decodeOfferHead(bytes, n),
      decodeCells,
    ];
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.tuple(fc.constantFrom(...samples), fc.nat(), fc.nat(255), fc.nat()).map(([sample, at, value, cut]) => {
        const out = sample.slice(0, cut % 2 === 0 ? sample.length : cut % sample.length);
        if (out.length > 0) out[at % out.length] = value;
        return out;
      }),
    );
    fc.assert(
      fc.property(bytes, (one) => {
        for (const read of readers) expect(['ok', 'malformed']).toContain(coded(() => read(one)));
      }),
      { numRuns: 2000 },
    );
  });
});

test('paths by levels are the same', () => {
  for (const size of [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 33, 70]) {
    const leaves = Array.from({ length: size }, (_, i) => keccak(Uint8Array.of(i)));
    const levels = treeLevels(keccak, leaves);
    for (let i = 0; i < size; i += size > 20 ? 7 : 1)
      expect(pathIn(levels, i)).toEqual(inclusionPath(keccak, leaves, i));
    expect(() => pathIn(levels, size)).toThrow(RangeError);
  }
});

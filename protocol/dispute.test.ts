/** Cutting a batch's steps, revealing what lies between, and walking there: on the trace of the vectors, every step of which is written down. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { concat, hex, unhex } from './bytes.ts';
import { MAX_SEGMENTS, RevealTree, Walk, commitmentsAt, segmentEnds } from './dispute.ts';
import { Signing } from './eip712.ts';
import { commitment } from './engine.ts';
import { keccak } from './hash.ts';
import { Shards } from './shards.ts';
import { placeFrames } from './trace.ts';
import { ZERO_HASHES } from './trie.ts';
import { Verdicts } from './verdicts.ts';
import { Recorder } from './witness.ts';

const read = (name: string) => JSON.parse(readFileSync(new URL(`../test/vectors/${name}`, import.meta.url), 'utf8'));
const { domain, shards: count, frames } = read('trace.json');
const { steps } = read('steps.json') as { steps: { pre: string[]; post: string[]; witness: string[] } };
const length = steps.post.length;
const genesis = hex(commitment(ZERO_HASHES[16]));

function walk(recorder = new Recorder()): Walk {
  const verdicts = new Verdicts();
  const trie = (shard: number) => recorder.trie(shard);
  const shards = new Shards({ shards: count, signing: new Signing(domain), verify: verdicts.verify, trie });
  const records = frames.map(({ shard, seq, frame }: { shard: number; seq: number; frame: string }) => ({
    shard,
    firstSeq: seq,
    frames: [unhex(frame)],
  }));
  return new Walk(shards, placeFrames(records), verdicts);
}

test('a segment is cut as L1 cuts it', () => {
  expect(segmentEnds(1)).toEqual([1]);
  expect(segmentEnds(3)).toEqual([1, 2, 3]);
  expect(segmentEnds(128)).toEqual(Array.from({ length: 128 }, (_, i) => i + 1));
  for (const all of [129, 255, 16_384, 1_000_003, Number.MAX_SAFE_INTEGER]) {
    const ends = segmentEnds(all);
    expect(ends.length).toBe(MAX_SEGMENTS);
    expect(ends.at(-1)).toBe(all);
    for (const [i, end] of ends.entries()) expect(BigInt(end)).toBe((BigInt(all) * BigInt(i + 1)) / 128n);
  }
});

test('every commitment opens from what was revealed', () => {
  const commitments = [1, 2, 3, 4, 5].map((n) => keccak(Uint8Array.of(n)));
  const tree = new RevealTree(commitments);
  for (let leaf = 0; leaf < MAX_SEGMENTS; leaf++) {
    let node = commitments[leaf] ?? new Uint8Array(32);
    const path = tree.path(leaf);
    expect(path.length).toBe(7);
    for (const [level, sibling] of path.entries())
      node = keccak((leaf >>> level) & 1 ? concat(sibling, node) : concat(node, sibling));
    expect(hex(node)).toBe(hex(tree.root));
  }
});

test('a walk comes by every commitment, whatever steps it takes', async () => {
  expect(walk().length).toBe(length);
  expect(hex(walk().commitment())).toBe(genesis);
  for (const stride of [1, 7, 100, length]) {
    const ends = Array.from({ length: Math.floor(length / stride) }, (_, i) => (i + 1) * stride);
    const found = await commitmentsAt(walk(), ends);
    expect(found.map(hex)).toEqual(ends.map((end) => steps.post[end - 1]));
  }
});

test('any step is proved from where the walk stands, inside a bundle too', async () => {
  for (const step of [0, 1, 57, 58, 59, length - 1]) {
    const recorder = new Recorder();
    const at = walk(recorder);
    await at.to(step);
    const { pre, post, witness } = await at.prove(recorder);
    expect([hex(pre), hex(post), hex(witness)]).toEqual([steps.pre[step], steps.post[step], steps.witness[step]]);
    expect(at.done).toBe(step + 1);
  }
});

test('there is no way back, nor out of the batch', async () => {
  const at = walk();
  await at.to(5);
  await expect(at.to(4)).rejects.toThrow(RangeError);
  await expect(at.to(length + 1)).rejects.toThrow(RangeError);
  await at.to(length);
  expect(at.next).toBeNull();
  await expect(at.prove(new Recorder())).rejects.toThrow(RangeError);
});

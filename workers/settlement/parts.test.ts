import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ChunkRecord, decodeChunkRecords } from '../../protocol/trace.ts';
import { MAX_PART_BYTES, MAX_PART_GAS, firstPart, partGas } from './parts.ts';

/** The records without their first `count` frames. */
function rest(records: readonly ChunkRecord[], count: number): ChunkRecord[] {
  let left = count;
  return records.flatMap(({ shard, firstSeq, frames }) => {
    const skipped = Math.min(left, frames.length);
    left -= skipped;
    return skipped < frames.length ? [{ shard, firstSeq: firstSeq + skipped, frames: frames.slice(skipped) }] : [];
  });
}

const places = (records: readonly ChunkRecord[]): string[] =>
  records.flatMap(({ shard, firstSeq, frames }) =>
    frames.map((frame, i) => `${shard}:${firstSeq + i}:${frame.length}`),
  );

test('parts hold every frame once, in order, within both bounds, wherever each begins', () => {
  const chunk = fc.record({
    shard: fc.nat(3),
    firstSeq: fc.nat(1000),
    frames: fc.array(
      fc.integer({ min: 1, max: 300 }).map((length) => new Uint8Array(length)),
      { minLength: 1, maxLength: 30 },
    ),
  });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 12 }), fc.integer({ min: 400, max: 3000 }), (records, maxBytes) => {
      const seen: string[] = [];
      for (;;) {
        const part = firstPart(rest(records, seen.length), maxBytes, MAX_PART_GAS);
        if (!part) break;
        expect(part.data.length).toBeLessThanOrEqual(maxBytes);
        const decoded = places(decodeChunkRecords(part.data));
        expect(decoded.length).toBe(part.frames);
        seen.push(...decoded);
      }
      expect(seen).toEqual(places(records));
    }),
    { numRuns: 200 },
  );
});

test('many tiny frames are bounded by gas, not by bytes', () => {
  const frames = Array.from({ length: 40_000 }, () => Uint8Array.of(7));
  const part = firstPart([{ shard: 0, firstSeq: 0, frames }])!;
  expect(partGas(part.data.length, part.frames)).toBeLessThanOrEqual(MAX_PART_GAS);
  expect(part.data.length).toBeLessThan(MAX_PART_BYTES);
  expect(part.frames).toBeGreaterThan(10_000);
});

test('nothing is no part, and one frame always goes', () => {
  expect(firstPart([])).toBeNull();
  expect(firstPart([{ shard: 0, firstSeq: 0, frames: [new Uint8Array(4096)] }], 100)?.frames).toBe(1);
});

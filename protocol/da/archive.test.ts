import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Hex, concat, unhex } from '../bytes.ts';
import { codeOf } from '../errors.ts';
import type { ChunkRecord } from '../trace.ts';
import { packArchive, unpackArchive } from './archive.ts';

/** Every operation of the protocol is in the trace vector. */
const trace = JSON.parse(readFileSync(new URL('../../test/vectors/trace.json', import.meta.url), 'utf8')) as {
  frames: { shard: number; seq: number; frame: Hex }[];
};
const records: ChunkRecord[] = trace.frames.map(({ shard, seq, frame }) => ({
  shard,
  firstSeq: seq,
  frames: [unhex(frame)],
}));
const bytes = records.reduce((sum, { frames }) => sum + frames[0].length, 0);

const frame = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 200 }),
  // What looks like a bundle, and what is one with something changed.
  fc.uint8Array({ minLength: 1, maxLength: 200 }).map((tail) => concat(Uint8Array.of(0x10), tail)),
  fc
    .tuple(fc.constantFrom(...records), fc.nat(), fc.integer({ min: 0, max: 255 }))
    .map(([{ frames }, at, byte]) => frames[0].with(at % frames[0].length, byte)),
);

describe('archives', () => {
  test('hold the trace vector, smaller, and give it back', async () => {
    const archive = await packArchive(records);
    expect(archive.length).toBeLessThan(bytes);
    expect(await unpackArchive(archive, bytes)).toEqual(records);
    await expect(unpackArchive(archive, bytes - 1)).rejects.toMatchObject({ code: 'malformed' });
  });

  test('of nothing is one of nothing', async () => {
    expect(await unpackArchive(await packArchive([]), 0)).toEqual([]);
  });

  test('give back any frames', async () => {
    const record = fc.record({
      shard: fc.integer({ min: 0, max: 255 }),
      firstSeq: fc.integer({ min: 0, max: 2 ** 48 - 100 }),
      frames: fc.array(frame, { minLength: 1, maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 5 }), async (given) => {
        expect(await unpackArchive(await packArchive(given), 100_000)).toEqual(given);
      }),
      { numRuns: 300 },
    );
  });

  test('take nothing that can’t be posted', async () => {
    for (const frames of [[], [new Uint8Array(0)], [new Uint8Array(4097)]])
      await expect(packArchive([{ shard: 0, firstSeq: 0, frames }])).rejects.toMatchObject({ code: 'malformed' });
  });

  test('are read from any bytes, as records or as malformed', async () => {
    const archive = await packArchive(records);
    const changed = fc
      .array(fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
      .map((changes) => changes.reduce((out, [at, byte]) => out.with(at, byte), archive));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), changed), async (given) => {
        try {
          for (const { frames } of await unpackArchive(given, 100_000)) expect(frames.length).toBeGreaterThan(0);
        } catch (error) {
          expect(codeOf(error)).toBe('malformed');
        }
      }),
      { numRuns: 300 },
    );
  });

  test('that would swell are cut off where the reader says', async () => {
    const zeros = new Uint8Array(4_000_000);
    const stream = new Blob([zeros]).stream().pipeThrough(new CompressionStream('deflate-raw'));
    const bomb = concat(Uint8Array.of(1), new Uint8Array(await new Response(stream).arrayBuffer()));
    expect(bomb.length).toBeLessThan(10_000);
    await expect(unpackArchive(bomb, 10_000)).rejects.toMatchObject({ code: 'malformed' });
  });
});

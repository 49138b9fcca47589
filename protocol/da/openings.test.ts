import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Hex, unhex } from '../bytes.ts';
import { encodeBlobs } from './blobs.ts';
import { type BlobCarrier, type ColumnsCarrier, dataOf, decodeCarrier, encodeCarrier, faultIn } from './carrier.ts';
import { CELL_BYTES, encodeColumns } from './columns.ts';
import { frameRanges, layoutRanges, openEncoding, openRanges } from './openings.ts';
import { writeUint } from '../bytes.ts';
import { entryAt } from './layout.ts';

/** The same proofs that the contracts' tests give to L1. */
const vector = JSON.parse(readFileSync(new URL('../../test/vectors/da.json', import.meta.url), 'utf8')) as {
  data: Hex;
  steps: number;
  committee: { members: number; threshold: number; epoch: number; roots: Hex[]; openings: Hex[]; whole: Hex[] };
  blobs: { openings: Hex[] };
};
const data = unhex(vector.data);
const { members: n, threshold: k, epoch, roots } = vector.committee;
const all = encodeColumns(data, { n, k });
const columns: ColumnsCarrier = {
  da: 2,
  length: data.length,
  epoch,
  k,
  roots: roots.map((root) => unhex(root)),
  columns: new Map(all.slice(0, k).entries()),
};
const blobs: BlobCarrier = { da: 1, length: data.length, blobs: encodeBlobs(data) };

describe('what opens frames', () => {
  test('in columns, every frame', async () => {
    for (const [index, opening] of vector.committee.openings.entries())
      expect(await openRanges(columns, frameRanges(data, index)), `frame ${index}`).toBe(opening);
  });
  test('in blobs, by KZG proofs', { timeout: 120_000 }, async () => {
    expect(await openRanges(blobs, frameRanges(data, 0))).toBe(vector.blobs.openings[0]);
  });
});

test('k + 1 columns of which one is wrong show themselves, whichever they are', () => {
  const wrong = all.map((column) => column.slice());
  wrong[7][CELL_BYTES + 5] ^= 1;
  const carrier = { ...columns, columns: new Map([9, 7, 1, 2, 3, 4, 5].map((c) => [c, wrong[c]])) };
  expect(faultIn(carrier, vector.steps)).toEqual({ kind: 'encoding', at: CELL_BYTES + 5 });
  expect(openEncoding(carrier, CELL_BYTES + 5).place).toBe(5);
  expect(
    faultIn({ ...carrier, columns: new Map([9, 8, 1, 2, 3, 4, 5].map((c) => [c, wrong[c]])) }, vector.steps),
  ).toBeNull();
});

test('carriers go through bytes and back', () => {
  for (const carrier of [columns, blobs]) {
    expect(decodeCarrier(encodeCarrier(carrier))).toEqual(carrier);
    expect(dataOf(decodeCarrier(encodeCarrier(carrier)))).toEqual(data);
    expect(() => decodeCarrier(encodeCarrier(carrier).subarray(0, -1))).toThrow();
  }
  expect(() => decodeCarrier(Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 1))).toThrow();
});

test('faults of the index are shown by what L1 looks at', () => {
  const broken = (at: number, width: number, value: number): Uint8Array => {
    const copy = data.slice();
    writeUint(copy, at, width, value);
    return copy;
  };
  const rangesOf = (bytes: Uint8Array) => {
    const fault = faultIn({ ...blobs, blobs: encodeBlobs(bytes) }, vector.steps);
    if (fault === null || fault.kind === 'encoding') throw new Error('well formed');
    return [fault.kind, layoutRanges(bytes, fault)];
  };
  expect(rangesOf(broken(0, 4, 0))).toEqual(['count', [[0, 4]]]);
  expect(rangesOf(broken(entryAt(0), 6, 1))).toEqual([
    'first',
    [
      [0, 4],
      [entryAt(0), entryAt(1)],
    ],
  ]);
  // An offset behind the end: the frame is not looked at.
  expect(rangesOf(broken(entryAt(1) + 13, 4, 2 ** 31))).toEqual([
    'next',
    [
      [0, 4],
      [entryAt(0), entryAt(2)],
    ],
  ]);
  expect(rangesOf(broken(entryAt(6) + 6, 1, 9))).toEqual([
    'last',
    [
      [0, 4],
      [entryAt(6), entryAt(7)],
    ],
  ]);
});

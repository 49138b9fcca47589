import { keccak_256 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { concat, equal } from '../bytes.ts';
import { HASH_BYTES, installKeccak } from '../hash.ts';
import { keccakModule } from '../keccak/module.ts';
import { rootOf, leafHash, keccak } from '../log.ts';
import { type ChunkRecord, placeFrames } from '../trace.ts';
import {
  BLOB_CAPACITY,
  BLOB_ELEMENTS,
  blobsRoot,
  decodeBlobs,
  elementsOf,
  encodeBlobs,
  pointOf,
  versionedHash,
} from './blobs.ts';
import { hashCells } from './cells.ts';
import {
  CELL_BYTES,
  cellPath,
  columnRoot,
  committeeRoot,
  decodeColumns,
  encodeColumns,
  encodingFault,
  isCell,
  isFault,
} from './columns.ts';
import { inverse, multiply } from './field.ts';
import { installKernel, interpolate } from './kernel.ts';
import { ENTRY_BYTES, decodeData, encodeData, entryAt, faultOf } from './layout.ts';
import { kernelModule } from './module.ts';

const random = (length: number, seed = 1): Uint8Array => {
  let state = seed >>> 0 || 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
};

describe('the field', () => {
  test('every element but 0 has an inverse, and products distribute over sums', () => {
    for (let a = 1; a < 256; a++) expect(multiply(a, inverse(a))).toBe(1);
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(byte, byte, byte, (a, b, c) => {
        expect(multiply(a, b ^ c)).toBe(multiply(a, b) ^ multiply(a, c));
        expect(multiply(a, multiply(b, c))).toBe(multiply(multiply(a, b), c));
      }),
    );
  });

  test('2 generates it, modulo x^8 + x^4 + x^3 + x^2 + 1', () => {
    expect(multiply(2, 0x80)).toBe(0x1d);
    const powers = new Set<number>();
    for (let i = 0, power = 1; i < 255; i++, power = multiply(power, 2)) powers.add(power);
    expect(powers.size).toBe(255);
  });
});

describe('columns', () => {
  const lengths = [1, 31, 1024, 6 * 1024, 6 * 1024 + 1, 100_000];

  test('any k of n give the data back', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }).chain((n) => fc.tuple(fc.constant(n), fc.integer({ min: 1, max: n }))),
        fc.constantFrom(...lengths),
        fc.integer(),
        ([n, k], length, seed) => {
          const data = random(length, seed);
          const columns = encodeColumns(data, { n, k });
          expect(columns).toHaveLength(n);
          const order = columns.map((_, c) => c).toSorted((a, b) => ((a * 7 + seed) % 17) - ((b * 7 + seed) % 17));
          const some = new Map(order.slice(0, k).map((c) => [c, columns[c]]));
          expect(equal(decodeColumns(some, length, { n, k }), data)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('the first k are the data, and fewer than k, or of another size, are refused', () => {
    const data = random(10_000);
    const columns = encodeColumns(data, { n: 16, k: 6 });
    expect(equal(concat(...columns.slice(0, 6)).subarray(0, data.length), data)).toBe(true);
    const five = new Map(columns.slice(0, 5).entries());
    expect(() => decodeColumns(five, data.length, { n: 16, k: 6 })).toThrow('takes 6 columns');
    expect(() => decodeColumns(new Map([...five, [5, columns[5].subarray(1)]]), data.length, { n: 16, k: 6 })).toThrow(
      'takes 6 columns',
    );
  });

  test('a wrong byte of any column is on no polynomial with k others, for L1 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 2047 }), fc.integer(), (bad, at, seed) => {
        const columns = encodeColumns(random(9_000, seed), { n: 16, k: 6 });
        const order = columns.map((_, c) => c).toSorted((a, b) => ((a * 5 + seed) % 19) - ((b * 5 + seed) % 19));
        const seven = new Map([bad, ...order.filter((c) => c !== bad)].slice(0, 7).map((c) => [c, columns[c]]));
        expect(encodingFault(seven, 6)).toBeNull();
        columns[bad][at] ^= 1 + ((seed >>> 3) % 255);
        expect(encodingFault(seven, 6)).toBe(at);
        expect(isFault(new Map([...seven].map(([c, column]) => [c, column[at]])))).toBe(true);
        const other = at === 0 ? 1 : 0;
        expect(isFault(new Map([...seven].map(([c, column]) => [c, column[other]])))).toBe(false);
      }),
      { numRuns: 40 },
    );
  });

  test('cells open under their column’s root, at their own row alone', () => {
    const [column] = encodeColumns(random(30_000), { n: 3, k: 1 });
    const rows = column.length / CELL_BYTES;
    const root = columnRoot(column);
    for (let row = 0; row < rows; row++) {
      const cell = column.subarray(row * CELL_BYTES, (row + 1) * CELL_BYTES);
      const path = cellPath(column, row);
      expect(isCell(root, rows, row, cell, path)).toBe(true);
      expect(isCell(root, rows, (row + 1) % rows, cell, path)).toBe(false);
      expect(
        isCell(
          root,
          rows,
          row,
          cell.map((byte) => byte ^ 1),
          path,
        ),
      ).toBe(false);
      expect(isCell(root, rows, row, cell.subarray(1), path)).toBe(false);
    }
  });

  test('the commitment binds the length, the epoch and every column’s root', () => {
    const roots = [random(32, 1), random(32, 2)];
    const all = [
      committeeRoot(5, 0, roots),
      committeeRoot(6, 0, roots),
      committeeRoot(5, 1, roots),
      committeeRoot(5, 0, [roots[1], roots[0]]),
      committeeRoot(5, 0, [roots[0]]),
    ];
    expect(new Set(all.map(String)).size).toBe(all.length);
  });
});

describe('in WebAssembly', () => {
  const points = [0, 3, 5, 9, 15];
  const columns = new Map(points.map((point) => [point, random(40_000, point + 1)]));
  const plain = interpolate(columns, [1, 2, 3, 14]);
  const cells = hashCells(random(70 * CELL_BYTES));

  beforeAll(() => {
    installKernel(new WebAssembly.Module(kernelModule()));
    installKeccak(new WebAssembly.Module(keccakModule(true)), true);
  });

  test('columns are the same, and a source is its own interpolation', () => {
    const fast = interpolate(columns, [1, 2, 3, 14]);
    for (const [i, column] of plain.entries()) expect(equal(fast[i], column)).toBe(true);
    expect(equal(fast[2], columns.get(3)!)).toBe(true);
  });

  test('cells hash as before, any number of them', () => {
    for (const rows of [1, 2, 63, 64, 65, 70]) {
      const hashes = hashCells(random(70 * CELL_BYTES).subarray(0, rows * CELL_BYTES));
      expect(hashes).toHaveLength(rows);
      for (const [i, hash] of hashes.entries()) expect(equal(hash, cells[i])).toBe(true);
    }
    const first = keccak_256(concat(Uint8Array.of(0), random(70 * CELL_BYTES).subarray(0, CELL_BYTES)));
    expect(equal(cells[0], first)).toBe(true);
  });
});

describe('the layout', () => {
  const bundle = (count: number, length: number): Uint8Array => {
    const frame = random(length, count);
    frame[0] = 0x10;
    frame[1] = count - 1;
    return frame;
  };
  const records: ChunkRecord[] = [
    { shard: 0, firstSeq: 7, frames: [Uint8Array.of(1, 0, 0, 0, 9), bundle(64, 700), Uint8Array.of(0x10)] },
    { shard: 200, firstSeq: 2 ** 40, frames: [bundle(256, 4096), Uint8Array.of(0)] },
    { shard: 0, firstSeq: 10, frames: [bundle(1, 90)] },
  ];
  const placed = placeFrames(records);
  const { data, steps, frames } = encodeData(records);

  test('frames come out with their places', () => {
    expect(frames).toBe(6);
    expect(faultOf(data, steps)).toBeNull();
    expect(decodeData(data, steps)).toEqual(placed);
  });

  test('every change of the index is a fault, but where it says of other bytes that they are frames, or of frames that they are elsewhere', () => {
    let faults = 0;
    for (let at = 0; at < entryAt(frames + 1); at++) {
      const changed = data.slice();
      changed[at] ^= 1 << (at % 8);
      const isPlace =
        at >= entryAt(0) && at < entryAt(frames) && [6, 7, 8, 9, 10, 11, 12].includes((at - 4) % ENTRY_BYTES);
      if (faultOf(changed, steps) !== null) {
        expect(isPlace, `byte ${at}`).toBe(false);
        faults += 1;
      } else expect(decodeData(changed, steps)).not.toEqual(placed);
    }
    // Steps, the count and all but one of the offsets' bytes.
    expect(faults).toBe(entryAt(frames + 1) - 7 * frames - 1);
    expect(faultOf(data, steps + 1)).toEqual({ kind: 'last' });
    expect(faultOf(data.subarray(0, data.length - 1), steps)).not.toBeNull();
    expect(faultOf(concat(data, Uint8Array.of(0)), steps)).toEqual({ kind: 'last' });
  });

  test('any bytes are well formed or have a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (bytes, n) => {
        if (faultOf(bytes, n) === null) expect(decodeData(bytes, n).length).toBeGreaterThan(0);
        else expect(() => decodeData(bytes, n)).toThrow('malformed');
      }),
      { numRuns: 2_000 },
    );
  });

  test('what can’t be posted is refused', () => {
    expect(() => encodeData([])).toThrow('malformed');
    expect(() => encodeData([{ shard: 0, firstSeq: 0, frames: [new Uint8Array(0)] }])).toThrow('malformed');
    expect(() => encodeData([{ shard: 0, firstSeq: 0, frames: [new Uint8Array(4097)] }])).toThrow('malformed');
  });
});

describe('blobs', () => {
  test('data of any length comes back, and every element is below the modulus', () => {
    for (const length of [1, 31, 32, BLOB_CAPACITY, BLOB_CAPACITY + 1, 3 * BLOB_CAPACITY - 5]) {
      const data = random(length, length);
      const blobs = encodeBlobs(data);
      expect(blobs).toHaveLength(Math.ceil(length / BLOB_CAPACITY));
      for (const blob of blobs) for (let i = 0; i < BLOB_ELEMENTS; i++) expect(blob[32 * i]).toBe(0);
      expect(equal(decodeBlobs(blobs, length), data)).toBe(true);
      // An element's first byte says nothing.
      blobs[0][0] = 0x55;
      expect(equal(decodeBlobs(blobs, length), data)).toBe(true);
      expect(() => decodeBlobs(blobs.slice(1), length)).toThrow('malformed');
    }
  });

  test('bytes are in the elements that are said to hold them', () => {
    const data = random(2 * BLOB_CAPACITY, 5);
    const blobs = encodeBlobs(data);
    fc.assert(
      fc.property(fc.nat(2 * BLOB_CAPACITY - 600), fc.integer({ min: 1, max: 600 }), (offset, length) => {
        const bytes = concat(
          ...elementsOf(offset, length).map(({ blob, element }) =>
            blobs[blob].subarray(32 * element + 1, 32 * element + 32),
          ),
        );
        const skip = offset % 31;
        expect(equal(bytes.subarray(skip, skip + length), data.subarray(offset, offset + length))).toBe(true);
      }),
    );
  });

  test('the commitment binds the length and every blob in order', () => {
    const hashes = [random(48, 1), random(48, 2)].map(versionedHash);
    expect(hashes[0][0]).toBe(1);
    const all = [
      blobsRoot(9, hashes),
      blobsRoot(8, hashes),
      blobsRoot(9, [hashes[1], hashes[0]]),
      blobsRoot(9, [hashes[0]]),
    ];
    expect(new Set(all.map(String)).size).toBe(all.length);
    expect(all[0]).toHaveLength(HASH_BYTES);
    expect(rootOf(keccak, [leafHash(keccak, hashes[0])])).not.toEqual(all[0]);
  });

  test('elements are at roots of unity of order 4,096, all different', () => {
    const points = new Set(Array.from({ length: BLOB_ELEMENTS }, (_, i) => pointOf(i)));
    expect(points.size).toBe(BLOB_ELEMENTS);
    expect(pointOf(0)).toBe(1n);
    // ω^2048, at the index whose reversed bits are 2048: minus one.
    const MODULUS = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;
    expect(pointOf(1)).toBe(MODULUS - 1n);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeBundle, MAX_FRAME_BYTES } from './bundle.ts';
import { MAX_AMOUNT, Reader, Writer, concat, hex, unhex } from './bytes.ts';
import { decodeCallRecord, encodeCallRecord } from './call.ts';
import { LAYOUTS, cellFromJson, cellToJson, placeOf, addressOf } from './cells.ts';
import { stepsOf } from './engine.ts';
import { codeOf } from './errors.ts';
import { type Half, decodeHalf, encodeHalf, join, payOut } from './half.ts';
import { formatId, parseId } from './ids.ts';
import { decodeInboxItem, encodeInboxItem } from './inbox.ts';
import {
  decodeCalls,
  decodeHead,
  decodeHello,
  decodeRecords,
  MAX_HALVES,
  decodeNewest,
  decodeSigned,
  encodeHalvesPacket,
  encodeCalls,
  encodeHello,
} from './packet.ts';
import { type SignedReceipt, decodeReceipt, encodeReceipt, receiptText, receiptToJson } from './receipt.ts';
import { STATUSES } from './status.ts';
import { type ChunkRecord, cutParts, decodeChunkRecords, encodeChunkRecord, placeFrames, sealData } from './trace.ts';

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const amount = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 127, 128, 2 ** 32, MAX_AMOUNT));

/** A value or the code `malformed`; nothing else, ever. */
function total(parse: (bytes: Uint8Array) => unknown, seeds: readonly Uint8Array[]): void {
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.nat(), fc.integer({ min: 1, max: 255 }))
    .map(([seed, at, flip]) => {
      const copy = seed.slice();
      if (copy.length > 0) copy[at % copy.length] ^= flip;
      return copy;
    });
  const cut = fc.tuple(fc.constantFrom(...seeds), fc.nat()).map(([seed, n]) => seed.slice(0, n % (seed.length + 1)));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), mutated, cut), (bytes) => {
      try {
        parse(bytes);
      } catch (error) {
        expect(codeOf(error)).toBe('malformed');
      }
    }),
    { numRuns: 500 },
  );
}

test('varints and integers round-trip, and only one byte string means a number', () => {
  fc.assert(
    fc.property(amount, (n) => {
      const bytes = new Writer().varint(n).u64(n).finish();
      const reader = new Reader(bytes);
      expect([reader.varint(), reader.u64()]).toEqual([n, n]);
      reader.end();
    }),
  );
  for (const bad of ['0x8000', '0xff00', '0xffffffffffffffff', '0xffffffffffffff7f01', '0x80', '0x']) {
    // The first 8-byte value above 2^53−1 and every overlong or unfinished one.
    expect(() => new Reader(unhex(bad)).varint(), bad).toThrow(/malformed/);
  }
});

test('varints survive the buffer growing under them', () => {
  const writer = new Writer();
  for (let i = 0; i < 2000; i++) writer.varint(i * 1_000_003);
  const reader = new Reader(writer.finish());
  for (let i = 0; i < 2000; i++) expect(reader.varint()).toBe(i * 1_000_003);
});

test('ids print and parse', () => {
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(2 ** 31 - 1),
      (shard, serial) => void expect(parseId(formatId(serial * 256 + shard))).toBe(serial * 256 + shard),
    ),
  );
  for (const bad of ['', '0', '256:1', '0:01', '0:-1', '0:1 ', 'a:b', '0:17592186044416'])
    expect(() => parseId(bad), bad).toThrow(/malformed/);
});

test('addresses come apart again', () => {
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(15),
      fc.nat(2 ** 20 - 1),
      (shard, region, slot) => void expect(placeOf(addressOf(shard, region, slot))).toEqual({ shard, region, slot }),
    ),
  );
});

test('cells are 64 bytes and their JSON is the cell', () => {
  for (const [kind, fields] of Object.entries(LAYOUTS)) {
    const width = Object.values(fields).reduce((end, f) => Math.max(end, f.at + f.width), 0);
    expect(width, kind).toBeLessThanOrEqual(64);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: width, maxLength: width }), (raw) => {
        const cell = new Uint8Array(64);
        // What lies between fields is nobody's, and stays zero.
        for (const { at, width: length } of Object.values(fields)) cell.set(raw.subarray(at, at + length), at);
        // Only values the protocol can write: amounts and ids stay below 2^53, no id has serial 0.
        for (const f of Object.values(fields)) {
          if (f.kind === 'bytes') continue;
          if (f.width === 7) cell[f.at] &= 0x0f;
          if (f.kind === 'id' && cell.subarray(f.at, f.at + f.width - 1).every((b) => b === 0))
            cell[f.at + f.width - 1] = 0;
        }
        expect(hex(cellFromJson(fields, cellToJson(fields, cell)))).toBe(hex(cell));
      }),
      { numRuns: 50 },
    );
  }
  expect(() => cellFromJson(LAYOUTS.agent, { balance: '-1' })).toThrow(/malformed/);
  expect(() => cellFromJson(LAYOUTS.agent, { nothing: 1 })).toThrow(/malformed/);
});

describe('halves', () => {
  const half = fc.record({
    session: amount,
    dir: fc.constantFrom(0 as const, 1 as const),
    seq: amount,
    calls: fc.nat(2 ** 40),
    paid: amount,
    root: bytes32,
  });

  test('round-trip', () => {
    fc.assert(fc.property(half, (h) => void expect(decodeHalf(new Reader(encodeHalf(h)))).toEqual(h)));
    total(
      (bytes) => decodeHalf(new Reader(bytes)),
      [encodeHalf({ session: 256, dir: 0, seq: 1, calls: 1, paid: 1, root: new Uint8Array(32) })],
    );
  });

  test('join is idempotent and independent of order', () => {
    fc.assert(
      fc.property(fc.array(half, { maxLength: 6 }), fc.integer(), (halves, seed) => {
        const run = (list: readonly (typeof halves)[number][]) => {
          const state = { paid: 0, calls: 0, root: new Uint8Array(32) };
          for (const h of list) join(state, h);
          return { ...state, root: hex(state.root) };
        };
        const shuffled = halves.toSorted((a, b) => ((a.paid ^ seed) % 7) - ((b.paid ^ seed) % 7));
        expect(run([...shuffled, ...halves])).toEqual(run(halves));
      }),
    );
  });

  test('pay out gives everything to the two of them, never less than nothing', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 50), fc.nat(2 ** 50), amount, amount, (depositA, depositB, paidAB, paidBA) => {
        const { outA, outB } = payOut(depositA, depositB, paidAB, paidBA);
        expect(outA + outB).toBe(depositA + depositB);
        expect(Math.min(outA, outB)).toBeGreaterThanOrEqual(0);
        if (paidAB === paidBA) expect(outB).toBe(depositB);
      }),
    );
  });
});

test('call records, inbox items and packets round-trip, and their parsers are total', () => {
  const record = encodeCallRecord({
    index: 5,
    requestHash: new Uint8Array(32).fill(1),
    responseHash: new Uint8Array(32).fill(2),
    price: 7,
    status: 200,
    timeMs: 1.9e12,
  });
  expect(decodeCallRecord(record)).toMatchObject({ index: 5, price: 7, status: 200, timeMs: 1.9e12 });
  const item = encodeInboxItem({ kind: 'deposit', from: new Uint8Array(20).fill(1), agent: 256, amount: 9 });
  expect(decodeInboxItem(item)).toMatchObject({ kind: 'deposit', agent: 256, amount: 9 });
  const parts = [
    { kind: 1, call: 4, body: new Uint8Array(3) },
    { kind: 3, call: 1000, body: new Uint8Array(0) },
  ];
  expect(decodeCalls(encodeCalls(parts))).toEqual(parts);
  const hello = encodeHello({ halves: [], credit: 5 });
  expect(decodeHello(hello)).toEqual({ halves: [], credit: 5 });
  total(decodeCallRecord, [record]);
  total(decodeInboxItem, [item]);
  const half = { session: 256, dir: 0 as const, seq: 1, calls: 2, paid: 3, root: new Uint8Array(32) };
  const [payer, last] = [new Uint8Array(64), new Uint8Array(64).fill(1)];
  const later = { ...half, seq: 2 };
  const halves = (...rows: [Half, Uint8Array][]): Uint8Array =>
    encodeHalvesPacket(rows.map(([each, signature]) => ({ half: each, payer: signature })));
  expect(decodeNewest(halves([half, payer], [later, last]))).toEqual({ half: later, signature: last });
  for (const wrong of [
    half,
    { ...later, paid: 2 },
    { ...later, calls: 1 },
    { ...later, dir: 1 as const },
    { ...later, session: 512 },
  ])
    expect(() => decodeNewest(halves([half, payer], [wrong, last]))).toThrow('halves of a packet');
  const rising = Array.from({ length: MAX_HALVES + 1 }, (_, seq): [Half, Uint8Array] => [{ ...half, seq }, payer]);
  expect(decodeNewest(halves(...rising.slice(1))).half.seq).toBe(MAX_HALVES);
  expect(() => decodeNewest(halves(...rising))).toThrow('halves of a packet');
  for (const parse of [decodeCalls, decodeSigned, decodeNewest, decodeHello, decodeRecords])
    total(parse, [encodeCalls(parts), hello]);
  total(decodeHead, [new TextEncoder().encode('{"method":"GET","target":"/","headers":[["a","b"]]}')]);
  total(decodeBundle, [new Uint8Array(100).fill(16)]);
});

describe('posted data', () => {
  const frame = fc.oneof(
    { weight: 5, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 60 }) },
    { weight: 1, arbitrary: fc.constant(new Uint8Array(MAX_FRAME_BYTES).fill(0x10)) },
  );
  const record: fc.Arbitrary<ChunkRecord> = fc.record({
    shard: fc.nat(255),
    firstSeq: fc.nat(2 ** 40),
    frames: fc.array(frame, { minLength: 1, maxLength: 30 }),
  });

  test('however it is cut, the frames, the steps and dataRoot are the same', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 4200, max: 20_000 }),
        (records, maxBytes) => {
          const parts = cutParts(records, maxBytes);
          for (const part of parts) expect(part.length).toBeLessThanOrEqual(maxBytes);
          const placed = placeFrames(parts.flatMap(decodeChunkRecords));
          expect(placed).toEqual(placeFrames(records));
          expect(sealData(placed).steps).toBe(placed.reduce((n, p) => n + stepsOf(p.frame), 0));
        },
      ),
      { numRuns: 60 },
    );
    total(decodeChunkRecords, [
      encodeChunkRecord({ shard: 1, firstSeq: 2, frames: [Uint8Array.of(1, 2), Uint8Array.of(3)] }),
    ]);
  });

  test('a part starts where the last ended', () => {
    const records = [
      { shard: 0, firstSeq: 10, frames: Array.from({ length: 9 }, (_, i) => new Uint8Array(1000).fill(i + 1)) },
    ];
    const parts = cutParts(records, 4200).map(decodeChunkRecords);
    expect(parts.map((p) => p.map((r) => [r.firstSeq, r.frames.length]))).toEqual([[[10, 4]], [[14, 4]], [[18, 1]]]);
    expect(concat(...parts.flat().flatMap((r) => r.frames))).toHaveLength(9000);
  });
});

describe('receipts', () => {
  const steps = fc.array(fc.record({ status: fc.nat(STATUSES.length - 1), value: amount }), { maxLength: 257 });
  const signed: fc.Arbitrary<SignedReceipt> = fc.record({
    receipt: fc.record({
      shard: fc.nat(255),
      seq: amount,
      frameHash: bytes32,
      runningHash: bytes32,
      outcomesHash: bytes32,
      promisedBy: amount,
    }),
    outcomes: steps,
    signature: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  });
  const encode = ({ receipt, outcomes, signature }: SignedReceipt): Uint8Array => {
    const packed = new Writer();
    for (const { status, value } of outcomes) packed.u8(status).varint(value);
    return encodeReceipt(receipt, packed.finish(), signature);
  };

  test('their records and the JSON of those say the same', () => {
    fc.assert(
      fc.property(signed, (one) => {
        const record = encode(one);
        expect(decodeReceipt(record)).toEqual(one);
        expect(JSON.parse(receiptText(record))).toEqual(receiptToJson(one));
      }),
    );
  });

  test('any bytes give one or malformed', () => {
    total(decodeReceipt, fc.sample(signed, 10).map(encode));
  });
});

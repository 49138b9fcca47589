/** Records that wait for a half: what an array of them would say; and proofs of a log that is longer than what is read of it at once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CALL_RECORD_BYTES, encodeCallRecord } from '../../protocol/call.ts';
import { Frontier, leafHash, sha, verifyInclusion } from '../../protocol/log.ts';
import { PayeeLedger } from './ledger.ts';
import { RecordQueue } from './queue.ts';
import { MemoryStore } from './store.ts';

const record = (price: number): Uint8Array =>
  encodeCallRecord({
    index: price,
    requestHash: new Uint8Array(32).fill(price),
    responseHash: new Uint8Array(32).fill(price >> 8),
    price,
    status: 200,
    timeMs: 1,
  });

test('a queue of records is an array of them', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), n: fc.integer({ min: 1, max: 40 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('drop' as const), n: fc.integer({ min: 0, max: 60 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), n: fc.constant(0) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new RecordQueue();
      let model: number[] = [];
      let price = 0;
      const given: { copies: Uint8Array[]; prices: number[] }[] = [];
      for (const { kind, n } of steps) {
        if (kind === 'trim') queue.trim();
        else if (kind === 'drop') {
          queue.drop(Math.min(n, model.length));
          model = model.slice(n);
        } else
          for (let i = 0; i < n; i++) {
            // What was pushed is the queue's own: its giver may use the bytes again.
            const bytes = record(++price);
            queue.push(bytes);
            bytes.fill(255);
            model.push(price);
          }
        expect(queue.length).toBe(model.length);
        model.forEach((each, i) => expect(queue.at(i)).toEqual(record(each)));
        const n2 = n % (model.length + 1);
        expect(queue.cost(n2)).toBe(model.slice(0, n2).reduce((sum, each) => sum + each, 0));
        given.push({ copies: queue.copies(n2), prices: model.slice(n2) });
      }
      // Copies stay what they were.
      for (const { copies, prices } of given) expect(copies).toEqual(prices.map(record));
    }),
    { numRuns: 30 },
  );
});

test('proves calls of a long log by reading a few records at a time', () => {
  const CALLS = 20_001;
  let most = 0;
  class Counting extends MemoryStore {
    override records(dir: 0 | 1, from: number, to: number): Uint8Array[] {
      const records = super.records(dir, from, to);
      most = Math.max(most, records.length);
      return records;
    }
  }
  const ledger = new PayeeLedger(256, 0, new Counting());
  const log = new Frontier(sha);
  for (let i = 0; i < CALLS; i++) {
    const hash = new Uint8Array(32).fill(i % 251);
    log.append(ledger.append(hash, hash, 1, 200, i));
  }
  const half = { session: 256, dir: 0 as const, seq: 1, calls: CALLS, paid: CALLS, root: log.root() };
  expect(ledger.accept({ half, payer: new Uint8Array(64) })).toBe(true);
  most = 0;
  for (const index of [0, 1, 4095, 4096, 16_383, 16_384, CALLS - 1]) {
    const { record: proved, path } = ledger.prove(index);
    expect(proved.index).toBe(index);
    expect(verifyInclusion(sha, half.root, CALLS, index, leafHash(sha, encodeCallRecord(proved)), path)).toBe(true);
  }
  expect(most).toBeGreaterThan(0);
  expect(most * CALL_RECORD_BYTES).toBeLessThanOrEqual(512 * 1024);
});

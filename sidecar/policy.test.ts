import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codeOf } from '../protocol/errors.ts';
import { Policy } from './policy.ts';
import { openStore } from './sqlite.ts';

const caps = { perCall: 50, perHour: 100, perDay: 150, perPeer: 80 };
const MINUTE = 60_000;
const codeFrom = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return codeOf(error);
  }
  return 'ok';
};

test('each cap holds, names itself, and counts what is only at risk', () => {
  const policy = new Policy(caps, openStore(null));
  expect(() => policy.reserve(1, 51)).toThrow(/per-call cap of 50/);
  policy.reserve(1, 50);
  policy.reserve(1, 30);
  expect(() => policy.reserve(1, 1)).toThrow(/per-peer cap of 80/);
  policy.reserve(2, 20);
  expect(() => policy.reserve(2, 1)).toThrow(/hourly cap of 100/);
  expect(codeFrom(() => policy.reserve(2, 1))).toBe('over_budget');
  policy.flush();
});

test('what was not spent comes back, once; what is old leaves the sums', () => {
  let now = 1e12;
  const policy = new Policy(caps, openStore(null), () => now);
  const a = policy.reserve(1, 50);
  a.settle(20);
  a.settle(0);
  a.release();
  expect(policy.spent()).toEqual({ hour: 20, day: 20 });
  const b = policy.reserve(1, 50);
  now += 61 * MINUTE;
  expect(policy.spent()).toEqual({ hour: 0, day: 70 });
  b.release();
  expect(policy.spent()).toEqual({ hour: 0, day: 20 });
  policy.reserve(2, 50);
  policy.reserve(2, 30);
  policy.reserve(3, 20);
  expect(() => policy.reserve(3, 10)).toThrow(/hourly/);
  now += 61 * MINUTE;
  expect(() => policy.reserve(3, 40)).toThrow(/daily cap of 150/);
  now += 24 * 60 * MINUTE;
  expect(policy.spent()).toEqual({ hour: 0, day: 0 });
  policy.flush();
});

test('counters outlive the process', () => {
  const store = openStore(null);
  const before = new Policy(caps, store);
  before.reserve(1, 50).settle(45);
  before.reserve(2, 50);
  before.flush();
  const after = new Policy(caps, store);
  expect(after.spent()).toEqual({ hour: 95, day: 95 });
  expect(() => after.reserve(1, 36)).toThrow(/per-peer|hourly/);
});

test('whatever order calls come and end in, no cap is passed and nothing goes negative', () => {
  const step = fc.record({
    peer: fc.integer({ min: 1, max: 3 }),
    amount: fc.integer({ min: 0, max: 60 }),
    wait: fc.integer({ min: 0, max: 200 }),
    price: fc.integer({ min: 0, max: 60 }),
    settle: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let now = 1e12;
      const policy = new Policy(caps, openStore(null), () => now);
      for (const { peer, amount, wait, price, settle } of steps) {
        now += wait * MINUTE;
        try {
          const reservation = policy.reserve(peer, amount);
          if (settle) reservation.settle(price);
        } catch (error) {
          expect(codeOf(error)).toBe('over_budget');
        }
        const { hour, day } = policy.spent();
        expect(hour).toBeGreaterThanOrEqual(0);
        expect(hour).toBeLessThanOrEqual(caps.perHour);
        expect(day).toBeLessThanOrEqual(caps.perDay);
        expect(day).toBeGreaterThanOrEqual(hour);
      }
      policy.flush();
    }),
    { numRuns: 50 },
  );
});

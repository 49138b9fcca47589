import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { problemOf } from '../errors.ts';
import { type PolicyConfig, readPolicy } from './config.ts';
import { Policy } from './policy.ts';
import { openDatabase } from '../sqlite.ts';
import { PolicyStore } from './store.ts';

const limits = (value: Record<string, unknown>): PolicyConfig => {
  const faults: string[] = [];
  const policy = readPolicy(value, faults);
  expect(faults).toEqual([]);
  return policy;
};
const caps = limits({ perCall: 50, perHour: 100, perDay: 150, perPeer: 80 });
const RICH = { perDay: 1_000_000 };
const inMemory = (): PolicyStore => new PolicyStore(openDatabase(null));
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
  const policy = new Policy(caps, inMemory());
  expect(() => policy.reserve(1, 51)).toThrow(/policy\.perCall = 50/);
  policy.reserve(1, 50);
  policy.reserve(1, 30);
  expect(() => policy.reserve(1, 1)).toThrow(/policy\.perPeer = 80/);
  policy.reserve(2, 20);
  expect(() => policy.reserve(2, 1)).toThrow(/policy\.perHour = 100/);
  expect(codeFrom(() => policy.reserve(2, 1))).toBe('over_hour_cap');
  policy.flush();
});

test('what was not spent comes back, once; what is old leaves the sums', () => {
  let now = 1e12;
  const policy = new Policy(caps, inMemory(), () => now);
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
  expect(() => policy.reserve(3, 10)).toThrow(/perHour/);
  now += 61 * MINUTE;
  expect(() => policy.reserve(3, 40)).toThrow(/policy\.perDay = 150/);
  now += 24 * 60 * MINUTE;
  expect(policy.spent()).toEqual({ hour: 0, day: 0 });
  policy.flush();
});

test('counters outlive the process', () => {
  const store = inMemory();
  const before = new Policy(caps, store);
  before.reserve(1, 50).settle(45);
  before.reserve(2, 50);
  before.flush();
  const after = new Policy(caps, store);
  expect(after.spent()).toEqual({ hour: 95, day: 95 });
  expect(() => after.reserve(1, 36)).toThrow(/perPeer|perHour/);
});

test('the service cap counts one service, also after a correction', () => {
  const policy = new Policy(limits({ perDay: 1000, perService: 100 }), inMemory());
  const first = policy.reserve(1, 100, 7);
  expect(codeFrom(() => policy.reserve(1, 1, 7))).toBe('over_service_cap');
  expect(() => policy.reserve(1, 1, 7)).toThrow(/policy\.perService = 100/);
  policy.reserve(1, 100, 8);
  first.settle(60);
  policy.reserve(1, 40, 7);
  expect(codeFrom(() => policy.reserve(1, 1, 7))).toBe('over_service_cap');
});

test('a process that is killed at any moment forgets nothing that it let through', () => {
  const step = fc.record({
    service: fc.integer({ min: 1, max: 3 }),
    amount: fc.integer({ min: 1, max: 60 }),
    wait: fc.integer({ min: 0, max: 90_000 }),
    price: fc.integer({ min: 0, max: 60 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      let now = 1e12;
      const store = inMemory();
      const policy = new Policy(limits({ perDay: 2000, perHour: 1500 }), store, () => now);
      for (const { service, amount, wait, price } of steps) {
        now += wait;
        const code = codeFrom(() => policy.reserve(service, amount, service).settle(price));
        // Killed here: whoever takes over knows of at least as much, and of no more than the caps allow.
        const after = new Policy(limits({ perDay: 2000, perHour: 1500 }), store, () => now).spent();
        expect(after.day).toBeGreaterThanOrEqual(policy.spent().day);
        expect(after.hour).toBeGreaterThanOrEqual(policy.spent().hour);
        expect(after.day).toBeLessThanOrEqual(2000);
        expect(['ok', 'over_hour_cap', 'over_day_cap']).toContain(code);
      }
      policy.flush();
      expect(new Policy(RICH_LIMITS, store, () => now).spent()).toEqual(policy.spent());
    }),
    { numRuns: 40 },
  );
});
const RICH_LIMITS = limits(RICH);

test('a busy minute reaches the disk a few times, not once a call', () => {
  const store = inMemory();
  let saves = 0;
  const counted = Object.assign(Object.create(store) as PolicyStore, {
    save: (...args: Parameters<PolicyStore['save']>) => {
      saves += 1;
      store.save(...args);
    },
    spends: () => store.spends(),
    peers: () => store.peers(),
    approvals: () => store.approvals(),
    tables: () => store.tables(),
  });
  const policy = new Policy(limits({ perDay: 1e9 }), counted, () => 1e12);
  for (let i = 0; i < 10_000; i++) policy.reserve(1, 1, 1).settle(1);
  expect(saves).toBeLessThan(20);
});

test('a disk that takes nothing lets nothing through', () => {
  const db = openDatabase(null);
  const policy = new Policy(RICH_LIMITS, new PolicyStore(db));
  db.close();
  expect(() => policy.reserve(1, 1, 1)).toThrow();
  expect(policy.spent()).toEqual({ hour: 0, day: 0 });
});

test('a new peer gets little until it was paid long enough ago, also across a restart', () => {
  let now = 1e12;
  const store = inMemory();
  const config = limits({ ...RICH, newPeer: { seconds: 600, cap: 30 } });
  const policy = new Policy(config, store, () => now);
  expect(codeFrom(() => policy.reserve(1, 31))).toBe('over_new_peer_cap');
  expect(() => policy.reserve(1, 31)).toThrow(/policy\.newPeer\.cap = 30.*600 s/);
  // What came to nothing starts no clock: a peer can't wait its newness out by failing.
  policy.reserve(1, 20).release();
  now += 601_000;
  expect(codeFrom(() => policy.reserve(1, 31))).toBe('over_new_peer_cap');
  policy.reserve(1, 20).settle(20);
  expect(codeFrom(() => policy.reserve(1, 11))).toBe('over_new_peer_cap');
  policy.flush();
  now += 599_000;
  const after = new Policy(config, store, () => now);
  expect(codeFrom(() => after.reserve(1, 11))).toBe('over_new_peer_cap');
  now += 2000;
  after.reserve(1, 5000);
  expect(codeFrom(() => after.reserve(2, 31))).toBe('over_new_peer_cap');
});

const breaker = { failures: 3, share: 50, calls: 10, windowSeconds: 60, openSeconds: 30 };

test('failures in a row open the circuit; one call tries it; what is refused says when to come again', () => {
  let now = 1e12;
  const store = inMemory();
  const config = limits({ ...RICH, breaker });
  let policy = new Policy(config, store, () => now);
  const call = (isGood: boolean | null): string => {
    const code = codeFrom(() => policy.reserve(1, 1));
    if (code === 'ok') policy.report(1, isGood);
    return code;
  };
  expect([call(false), call(false), call(true), call(false), call(false), call(null), call(false)]).toEqual(
    Array.from({ length: 7 }, () => 'ok'),
  );
  expect(call(true)).toBe('circuit_open');
  expect(codeFrom(() => policy.reserve(1, 0))).toBe('circuit_open');
  expect(codeFrom(() => policy.reserve(2, 1))).toBe('ok');
  now += 10_500;
  try {
    policy.reserve(1, 1);
  } catch (error) {
    expect(problemOf(error)).toMatchObject({ status: 503, code: 'circuit_open', retryAfter: 20 });
  }
  // A restart in between closes nothing.
  policy = new Policy(config, store, () => now);
  expect(call(true)).toBe('circuit_open');
  now += 20_000;
  policy.reserve(1, 1);
  expect(codeFrom(() => policy.reserve(1, 1))).toBe('circuit_open');
  policy.report(1, false);
  // The trial failed: twice as long.
  now += 59_000;
  expect(call(true)).toBe('circuit_open');
  now += 1000;
  // A trial that says nothing of the peer lets the next one try.
  expect(call(null)).toBe('ok');
  expect(call(true)).toBe('ok');
  expect(call(true)).toBe('ok');
  expect(policy.openCircuits).toBe(0);
});

test('a share of failures opens the circuit too, within its window only', () => {
  let now = 1e12;
  const policy = new Policy(limits({ ...RICH, breaker: { ...breaker, failures: 100 } }), inMemory(), () => now);
  for (let i = 0; i < 4; i++) policy.report(1, i % 2 === 0);
  now += 121_000;
  for (let i = 0; i < 9; i++) policy.report(1, i % 2 === 0);
  expect(codeFrom(() => policy.reserve(1, 1))).toBe('ok');
  policy.report(1, false);
  expect(codeFrom(() => policy.reserve(1, 1))).toBe('circuit_open');
});

test('a trial whose end nobody reports does not hold the circuit forever', () => {
  let now = 1e12;
  const policy = new Policy(limits({ ...RICH, breaker: { ...breaker, failures: 1 } }), inMemory(), () => now);
  policy.report(1, false);
  now += 30_000;
  policy.reserve(1, 1);
  expect(codeFrom(() => policy.reserve(1, 1))).toBe('circuit_open');
  now += 30_000;
  policy.reserve(1, 1);
});

test('above the threshold a person lets a call through: once, for that peer, service and amount, for a while', () => {
  let now = 1e12;
  const store = inMemory();
  const config = limits({ ...RICH, approveAbove: 100, approvalSeconds: 60 });
  let policy = new Policy(config, store, () => now);
  const ask = (peer: number, amount: number, service = 7): string => {
    try {
      policy.reserve(peer, amount, service).settle(amount);
      return 'ok';
    } catch (error) {
      expect(codeOf(error)).toBe('approval_needed');
      return problemOf(error).approval!;
    }
  };
  expect(ask(1, 100)).toBe('ok');
  const id = ask(1, 101);
  expect(ask(1, 101)).toBe(id);
  expect(codeFrom(() => policy.grant('00'))).toBe('unknown_approval');
  policy.grant(id);
  policy = new Policy(config, store, () => now);
  expect(policy.approvals()).toMatchObject([{ approval: id, amount: '101', state: 'granted' }]);
  for (const [peer, amount, service] of [
    [2, 101, 7],
    [1, 102, 7],
    [1, 101, 8],
  ])
    expect(ask(peer, amount, service)).not.toBe('ok');
  expect(ask(1, 101)).toBe('ok');
  const next = ask(1, 101);
  expect(next).not.toBe(id);
  policy.grant(next);
  now += 60_001;
  expect(ask(1, 101)).not.toBe('ok');
  // A call that certainly was not made leaves the grant as it was.
  const third = ask(1, 101);
  policy.grant(third);
  policy.reserve(1, 101, 7).release();
  expect(ask(1, 101)).toBe('ok');
  const fourth = ask(1, 101);
  policy.deny(fourth);
  expect(codeFrom(() => policy.grant(fourth))).toBe('unknown_approval');
});

test('an app that asks for everything fills no disk, and no approval passes a cap', () => {
  const policy = new Policy(limits({ perDay: 1000, approveAbove: 0 }), inMemory());
  for (let i = 1; i <= 300; i++) codeFrom(() => policy.reserve(i, 1));
  expect(policy.approvals()).toHaveLength(256);
  expect(codeFrom(() => policy.reserve(1, 1001))).toBe('over_day_cap');
});

const table = (price: number, more: Record<string, unknown> = {}) => ({
  routes: [{ method: 'POST', path: '/run/*', price }],
  free: ['/free'],
  defaultPrice: 10,
  ...more,
});

test('a service that got too much dearer waits until its prices are accepted, however it hides the rise', () => {
  const store = inMemory();
  const config = limits({ ...RICH, priceRise: 50 });
  const policy = new Policy(config, store);
  const see = (prices: ReturnType<typeof table>): string => {
    policy.see([{ id: 9, table: prices }]);
    return codeFrom(() => policy.reserve(1, 10, 9));
  };
  expect(see(table(10))).toBe('ok');
  expect(see(table(15))).toBe('ok');
  // Many small rises are one.
  expect(see(table(16))).toBe('price_rise');
  expect(see(table(5))).toBe('ok');
  for (const sly of [
    table(10, { defaultPrice: 16 }),
    table(10, { free: [] }),
    table(10, { routes: [{ method: 'POST', path: '/run/x', price: 99 }, table(10).routes[0]] }),
    table(10, { routes: [{ method: 'GET', path: '/free', price: 99 }], free: [], defaultPrice: 10 }),
    table(10, { routes: [], defaultPrice: 99 }),
  ])
    expect(see(sly)).toBe('price_rise');
  const after = new Policy(config, store);
  expect(codeFrom(() => after.reserve(1, 10, 9))).toBe('price_rise');
  expect(codeFrom(() => after.reserve(1, 0, 9))).toBe('ok');
  expect(() => after.reserve(1, 10, 9)).toThrow(/policy\.priceRise = 50/);
  expect(after.priceRises()).toHaveLength(1);
  after.acceptPrices(9);
  expect(codeFrom(() => after.reserve(1, 10, 9))).toBe('ok');
  expect(codeFrom(() => after.acceptPrices(9))).toBe('not_found');
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
      const policy = new Policy(caps, inMemory(), () => now);
      for (const { peer, amount, wait, price, settle } of steps) {
        now += wait * MINUTE;
        try {
          const reservation = policy.reserve(peer, amount);
          if (settle) reservation.settle(price);
        } catch (error) {
          expect(codeOf(error)).toMatch(/^over_(?:call|hour|day|peer)_cap$/);
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

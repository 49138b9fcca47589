/** Calls counted by byte: what the payee stops at, what the payer refuses, and what both agree on. */
import { expect, test } from 'vitest';
import type { Signal } from '../../protocol/aborts.ts';
import type { Rate } from '../../protocol/meter.ts';
import { body, bytesOf, code, collect, pair, request } from './testing.ts';

const RATE: Rate = { unit: 'byte', each: 10, price: 2, base: 5 };
const quote = () => ({ price: 100, rate: RATE });

test('a call is charged what both have counted of it, and the rest of its most is free again', async () => {
  const charged: number[] = [];
  const { left, right } = await pair({}, { quote, onCharged: (price) => charged.push(price) });
  const { response, record } = await left.call(request('POST', '/', 'fifteen bytes..'), { maxPrice: 100, rate: RATE });
  expect(await collect(response.body)).toHaveLength(15);
  // 30 bytes are three times ten.
  expect((await record).price).toBe(5 + 3 * 2);
  expect(charged).toEqual([11]);
  await left.flush();
  expect(right.accrued.earns).toBe(11);
});

test('an answer is stopped where its most is used up, with a code, and what has passed is paid', async () => {
  async function* endless() {
    for (;;) {
      yield new Uint8Array(7);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  let stopped = false;
  const handler = async (req: { signal: Signal }) => {
    req.signal.addEventListener('abort', () => (stopped = true));
    return { status: 200, headers: [], body: endless() };
  };
  const { left, right } = await pair({}, { quote, handler });
  const { response, record } = await left.call(request('GET', '/'), { maxPrice: 25, rate: RATE });
  let got = 0;
  const reading = (async () => {
    for await (const chunk of response.body) got += chunk.length;
  })();
  expect(await code(reading)).toBe('over_price');
  expect(got).toBe(100);
  expect((await record).price).toBe(25);
  expect(stopped).toBe(true);
  expect(left.error).toBeNull();
  // And the session goes on.
  await (await left.call(request('GET', '/'), { maxPrice: 25, rate: RATE })).response.body[Symbol.asyncIterator]()
    .return!();
  await left.flush();
  expect(right.error).toBeNull();
});

test('a request that sends more than its most pays for is stopped too', async () => {
  async function* upload() {
    for (let i = 0; i < 1000; i++) {
      yield new Uint8Array(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const { left, right } = await pair(
    {},
    { quote, handler: async (req) => ({ status: 200, headers: [], body: req.body }) },
  );
  const { response, record } = await left.call(request('POST', '/', upload()), { maxPrice: 45, rate: RATE });
  expect(await code(collect(response.body))).toBe('over_price');
  expect((await record).price).toBe(45);
  expect(left.error ?? right.error).toBeNull();
});

test('a caller that leaves pays for what has passed, and no more', async () => {
  const { left } = await pair({}, { quote, handler: async () => ({ status: 200, headers: [], body: slow() }) });
  async function* slow() {
    yield new Uint8Array(20);
    await new Promise(() => {});
  }
  const gone = new AbortController();
  const { response, record } = await left.call(request('GET', '/', '', gone.signal), { maxPrice: 100, rate: RATE });
  await response.body[Symbol.asyncIterator]().next();
  gone.abort();
  expect((await record).price).toBe(9);
});

test('what has no room for its base, or is counted by another rate, is refused before the app sees it', async () => {
  let served = 0;
  const handler = async () => {
    served += 1;
    return { status: 200, headers: [], body: body() };
  };
  const { left } = await pair({}, { quote, handler });
  expect(await code(left.call(request('GET', '/'), { maxPrice: 4, rate: RATE }))).toBe('over_price');
  expect(await code(left.call(request('GET', '/'), { maxPrice: 100, rate: { ...RATE, price: 1 } }))).toBe('over_price');
  const flat = await pair({}, { quote: () => 3, handler });
  expect(await code(flat.left.call(request('GET', '/'), { maxPrice: 100, rate: RATE }))).toBe('over_price');
  expect(served).toBe(0);
});

test('a payee that charges more than its payer has counted is not paid, and the session stops', async () => {
  // It agrees on one rate and counts by another.
  let asked = 0;
  const lying = {
    ...RATE,
    get price() {
      return asked++ === 0 ? RATE.price : 50;
    },
  };
  const handler = async () => ({ status: 200, headers: [], body: body(bytesOf('0123456789')) });
  const { left, right } = await pair({}, { quote: () => ({ price: 100, rate: lying }), handler });
  const { record } = await left.call(request('GET', '/'), { maxPrice: 100, rate: RATE });
  expect(await code(record)).toBe('record_rejected');
  expect(right.accrued.earns).toBe(55);
  expect(left.error?.code).toBe('record_rejected');
  expect(left.accrued.pays).toBe(0);
});

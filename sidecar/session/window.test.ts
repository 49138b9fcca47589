/** When a half is due, and what waits for the accounts of calls: nothing that anybody would miss. */
import { expect, test } from 'vitest';
import { MemoryStore } from './store.ts';
import { Pipe, bytesOf, endpoint, parties, request, text, until } from './testing.ts';
import { signDelay, stretched } from './window.ts';

const RULE = { ms: 20, calls: 256 };
const CREDIT = 1600;

test.each([
  ['nothing to sign', { calls: 0, value: 0 }, 0, Infinity],
  ['little owed', { calls: 1, value: 99 }, 100, 400],
  ['calls that cost nothing', { calls: 255, value: 0 }, 0, 500],
  ['little owed in a session that was idle', { calls: 1, value: 99 }, 500, 0],
  ['a sixteenth of the credit', { calls: 1, value: 100 }, 5, 15],
  ['a sixteenth in a session that was idle', { calls: 1, value: 100 }, 20, 0],
  ['half of the credit', { calls: 1, value: 800 }, 0, 0],
  ['as many calls as a window has', { calls: 256, value: 0 }, 0, 0],
])('%s', (_, unsigned, sinceMs, delay) => {
  expect(signDelay(RULE, unsigned, CREDIT, sinceMs)).toBe(delay);
});

test('a window is never shorter than its rule, nor longer than half a second but by it', () => {
  expect([0, 0.5, 2, 40].map((tookMs) => stretched(20, tookMs))).toEqual([20, 20, 50, 500]);
  expect(signDelay({ ms: 2000, calls: 256 }, { calls: 1, value: 1 }, CREDIT, 0)).toBe(2000);
  // Without credit everything is much.
  expect(signDelay(RULE, { calls: 1, value: 0 }, 0, 0)).toBe(20);
});

const PRICE = 2;

/** Two endpoints that have met; windows are long, so that nothing is signed unless somebody asks. */
async function pair(extra: Parameters<typeof endpoint>[3] = {}) {
  const { a, b, facts } = await parties();
  const pipe = new Pipe();
  const options = { credit: 1000, windowMs: 60_000, quote: () => PRICE, ...extra };
  const left = endpoint('a', a, facts, options);
  const right = endpoint('b', b, facts, options);
  void left.attach(pipe.socket('a'));
  void right.attach(pipe.socket('b'));
  await until(() => left.state === 'ready' && right.state === 'ready');
  const call = async (maxPrice = PRICE): Promise<void> => {
    const { response } = await left.call(request('POST', '/run', 'question'), { maxPrice });
    expect(await text(response)).toBe('question');
  };
  return { a, b, facts, pipe, left, right, call };
}

/** An answer in two packets. */
async function* slowly(): AsyncGenerator<Uint8Array> {
  yield bytesOf('quest');
  await new Promise((resolve) => setTimeout(resolve, 2));
  yield bytesOf('ion');
}

test.each([
  ['that came whole', {}],
  ['that streamed', { handler: () => Promise.resolve({ status: 200, headers: [], body: slowly() }) }],
])('records of answers %s are in both stores soon, unasked', async (_, extra) => {
  const { a, b, left, right, call } = await pair(extra);
  for (let i = 0; i < 5; i++) await call();
  await until(() => a.store.count(0) === 5 && b.store.count(0) === 5);
  expect(a.store.records(0, 0, 5)).toEqual(b.store.records(0, 0, 5));
  left.close();
  right.close();
});

test('who asks for accounts sees every answer it has', async () => {
  const { left, right, call } = await pair();
  await call();
  expect(left.accrued.pays).toBe(PRICE);
  await call();
  // The first half went out at once: the session was idle.
  expect(left.unsigned.pays).toBeLessThanOrEqual(2 * PRICE);
  await call();
  await left.flush();
  expect(left.proveCall(2).record.index).toBe(2);
  expect(left.unsigned.pays).toBe(0);
  await Promise.all([left.drain(), right.drain()]);
  expect(right.halves().earns?.half.paid).toBe(3 * PRICE);
  left.close();
  right.close();
});

test('calls that may cost more than they do use up neither credit nor deposit by waiting', async () => {
  // Each may cost 600 of a credit of 1000: the second enters only once the first is accounted for.
  const { left, right, call } = await pair();
  for (let i = 0; i < 10; i++) await call(600);
  expect(left.accrued.pays).toBe(10 * PRICE);
  left.setDeposits(700, 0);
  for (let i = 0; i < 10; i++) await call(600);
  expect(left.accrued.pays).toBe(20 * PRICE);
  left.close();
  right.close();
});

test('a record that a callee forgot in a crash comes back from its caller; one that nobody has stops both, and the half settles', async () => {
  const { a, b, facts, pipe, left, right, call } = await pair();
  await call();
  await call();
  await left.flush();
  await until(() => right.halves().earns?.half.calls === 2);
  left.close();
  right.close();
  // As a crash leaves it between the packet and the store: without the last record, and before the half came.
  const forgetful = (): MemoryStore => {
    const store = new MemoryStore();
    store.append(0, 0, b.store.records(0, 0, 1));
    store.save(0, { half: null, receipt: null, allowance: 0, sum: 0, stack: [], leaves: 0 });
    return store;
  };
  const back = { ...b, store: forgetful() };
  const ends = [endpoint('a', a, facts, { quote: () => PRICE }), endpoint('b', back, facts, { quote: () => PRICE })];
  void ends[0].attach(pipe.socket('a'));
  void ends[1].attach(pipe.socket('b'));
  await until(() => ends.every(({ state }) => state === 'ready'));
  expect(back.store.records(0, 0, 2)).toEqual(a.store.records(0, 0, 2));
  for (const end of ends) end.close();

  // The caller has nothing left either, but what the relay kept: here, what its store keeps of the half.
  const bare = { ...a, store: new MemoryStore() };
  bare.store.save(0, { ...a.store.load(0)!, stack: [], leaves: 0, sum: 0 });
  const both = [endpoint('a', bare, facts), endpoint('b', { ...b, store: forgetful() }, facts)];
  void both[0].attach(pipe.socket('a'));
  void both[1].attach(pipe.socket('b'));
  await until(() => both.some(({ state }) => state === 'stopped'));
  expect(both.flatMap(({ error }) => (error === null ? [] : [error.code]))).toContain('records_lost');
  expect(both[0].halves().pays?.half.paid).toBe(2 * PRICE);
  for (const end of both) end.close();
});

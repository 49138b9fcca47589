/** Very much at once: what waits, and what comes from elsewhere, holds up nobody's bundles, and none of it is lost. */
import { evictDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { shardOf } from '../../protocol/ids.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';
import { isFailure } from './api.ts';
import { Waiting } from './waiting.ts';
import { type TestAgent, registerAgents, run, service, shardAt, stubAt, transfer, until } from './testing.ts';

const BUNDLE = 256;
const BUNDLES_AT_ONCE = 32;

/** So many interactions; how many found no room for their message. All others must go well. */
async function submitMany(agent: TestAgent, count: number, interaction: Interaction): Promise<number> {
  let congested = 0;
  for (let left = count; left > 0;) {
    const bundles: Uint8Array[] = [];
    for (; left > 0 && bundles.length < BUNDLES_AT_ONCE; left -= BUNDLE)
      bundles.push(await agent.bundle(Array.from({ length: Math.min(BUNDLE, left) }, () => interaction)));
    for (const result of await agent.submit(...bundles)) {
      if (isFailure(result)) throw new Error(`${result.error.code}: ${result.error.detail}`);
      for (const { status } of result.receipt.outcomes.slice(1)) {
        if (STATUSES[status] === 'congested') congested += 1;
        else if (STATUSES[status] !== 'ok') throw new Error(`it came to ${STATUSES[status]}`);
      }
    }
  }
  return congested;
}

/** Places of so many bundles of an agent's own, each sent when the one before has its receipt. */
async function placesOf(agent: TestAgent, count: number): Promise<number[]> {
  const places: number[] = [];
  for (let i = 0; i < count; i++) {
    const [result] = await agent.submit(await agent.bundle([transfer(agent, 1)]));
    if (isFailure(result)) throw new Error(result.error.code);
    places.push(result.receipt.receipt.seq);
  }
  return places;
}

test('lists of what waits: each is woken once, the oldest first, whatever slots are used', () => {
  const waiting = new Waiting(2 ** 20);
  const drain = (): number[] => {
    const out: number[] = [];
    while (waiting.isAwake) out.push(waiting.take());
    return out;
  };
  for (const slot of [5, 9, 5, 2 ** 20 - 1]) waiting.add(3, slot);
  waiting.add(2 ** 19, 4);
  waiting.add(9, 10);
  waiting.wake(7);
  expect([waiting.isAwake, waiting.take()]).toEqual([false, -1]);
  waiting.wake(3);
  // Not taken yet: it is looked at anyway.
  waiting.add(3, 9);
  waiting.wake(3);
  waiting.wake(2 ** 19);
  expect(drain()).toEqual([5, 9, 2 ** 20 - 1, 4]);
  waiting.add(3, 5);
  waiting.wake(9);
  waiting.wake(3);
  waiting.wake(3);
  expect(drain()).toEqual([10, 5]);
  expect(drain()).toEqual([]);
});

test('100,000 calls that wait, half for one and half each for the one before, hold up nobody once they may go on', async () => {
  const HALF = 50_000;
  const [provider, many, chain, other] = await registerAgents(4, 10_000_000);
  const [sold] = await run(provider, service());
  const supply = async (): Promise<number> => (await shardAt(0).supply()).escrows;
  const before = await supply();
  const call = { op: 'invoke', service: sold, amount: 1 } as const;
  const [first] = await run(many, call);
  await submitMany(many, HALF, { ...call, after: first });
  const [root] = await run(chain, call);
  await run(chain, { ...call, after: root });
  await submitMany(chain, HALF - 1, { ...call, back: 1 });
  expect(await supply()).toBe(before + 2 * HALF + 2);
  // What waits is found again.
  await evictDurableObject(stubAt(0));
  const { chunks } = await shardAt(0).status();
  await run(
    provider,
    { op: 'respond', escrow: first, price: 1, result: 'fulfilled' },
    { op: 'respond', escrow: root, price: 0, result: 'declined' },
  );
  const places = await placesOf(other, 20);
  while ((await supply()) !== before + HALF) await new Promise((resolve) => setTimeout(resolve, 200));
  // All of them had receipts while there was still much to do.
  expect((await shardAt(0).head()).seq - places.at(-1)!).toBeGreaterThan(HALF);
  // And not a chunk for each.
  expect((await shardAt(0).status()).chunks - chunks).toBeLessThan(HALF / 10);
  expect((await shardAt(0).agent(chain.id))?.balance).toBe('10000000');
  expect((await shardAt(0).agent(many.id))?.balance).toBe(String(10_000_000 - HALF - 1));
  const { items } = await shardAt(0).escrows({ payer: many.id, statuses: ['waiting'] });
  expect(items).toEqual([]);
}, 120_000);

test('messages, as many as rings take and again as soon as there is room, hold up no bundles, and all arrive', async () => {
  const EACH = 2048;
  const [hoarder, other] = await registerAgents(2, 1_000_000, 1);
  const senders = [...(await registerAgents(4, 1_000_000, 0)), ...(await registerAgents(4, 1_000_000, 2))];
  const balanceOf = async (agent: TestAgent): Promise<number> =>
    Number((await shardAt(shardOf(agent.id)).agent(agent.id))?.balance);
  let flooding = senders.length;
  const flood = senders.map(async (sender) => {
    // Attempts are counted, too: what found no room is not tried again at once.
    for (let left = EACH; left > 0; await new Promise((resolve) => setTimeout(resolve, 20)))
      left -= Math.min(left, BUNDLE) - (await submitMany(sender, Math.min(left, BUNDLE), transfer(hoarder, 1)));
    flooding -= 1;
  });
  let receipts = 0;
  while (flooding > 0) receipts += (await placesOf(other, 1)).length;
  await Promise.all(flood);
  expect(receipts).toBeGreaterThan(0);
  await until('all to arrive', async () => (await balanceOf(hoarder)) === 1_000_000 + senders.length * EACH);
  for (const sender of senders) expect(await balanceOf(sender)).toBe(1_000_000 - EACH);
}, 120_000);

test('more bundles at once than wait decoded all run, in the order of their nonces', async () => {
  const agents = await registerAgents(2, 1_000_000);
  const [alice, bob] = agents;
  const results = await Promise.all(
    agents.map(async (agent) => {
      const bundles: Uint8Array[] = [];
      for (let i = 0; i < 160; i++)
        bundles.push(
          await agent.bundle(Array.from({ length: BUNDLE }, () => transfer(agent === alice ? bob : alice, 1))),
        );
      return agent.submit(...bundles);
    }),
  );
  for (const own of results) {
    const seqs = own.map((result) => (isFailure(result) ? result.error.code : result.receipt.receipt.seq));
    expect(seqs).toEqual(seqs.toSorted((a, b) => Number(a) - Number(b)));
    expect(seqs.every((seq) => typeof seq === 'number')).toBe(true);
  }
  expect((await shardAt(0).agent(alice.id))?.balance).toBe('1000000');
}, 120_000);

/** Messages between shard objects when things go wrong: crowded rings, strange deliveries, silence, deadlines that nobody attends to. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Interaction } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';
import { isFailure } from './api.ts';
import {
  type TestAgent,
  balanceOf,
  escrowOf,
  registerAgents,
  run,
  service,
  shardAt,
  statusOf,
  stubAt,
  until,
} from './testing.ts';

let ann: TestAgent;
let bob: TestAgent;
let eve: TestAgent;
let bobs: number;
let eves: number;

beforeAll(async () => {
  [ann] = await registerAgents(1, 1_000_000, 0);
  [bob] = await registerAgents(1, 1_000_000, 1);
  [eve] = await registerAgents(1, 1_000_000, 2);
  [bobs] = await run(bob, service());
  [eves] = await run(eve, service());
});

/** Ends a shard's object in the middle of what it does; an eviction would wait for that. */
const crash = (shard: number): Promise<void> =>
  runInDurableObject(stubAt(shard), (_, state) => state.abort('crashed by a test')).catch(() => {});

const transfers = (count: number): Interaction[] =>
  Array.from({ length: count }, () => ({ op: 'transfer', to: bob.id, amount: 1 }));

/** What shard 0 has sent to shard 1 and has no ack of, from the first on. */
const parcels = () =>
  runInDurableObject(stubAt(0), async (_, { storage }) => {
    const rows = [
      ...storage.sql.exec<{ first: number; payloads: ArrayBuffer }>('SELECT * FROM parcels WHERE peer = 1'),
    ];
    const payloads = rows.flatMap((row) => {
      const [bytes, out] = [new Uint8Array(row.payloads), [] as Uint8Array[]];
      for (let at = 0; at < bytes.length;) {
        const length = bytes[at] * 256 + bytes[at + 1];
        out.push(bytes.slice(at + 2, at + 2 + length));
        at += 2 + length;
      }
      return out;
    });
    return { first: rows[0]?.first ?? 0, payloads };
  });

describe('a peer that does not take anything', () => {
  test('fills the ring, and the ring empties once it does; what strangers bring meanwhile changes nothing', async () => {
    const had = await balanceOf(bob);
    await until('the registrations to be settled', async () => (await parcels()).payloads.length === 0);
    // Shard 0 has made a cut that shard 1 has not: it may take nothing.
    const cut = await shardAt(0).cut(1, 1, [0, 0, 0]);
    if (isFailure(cut)) throw new Error(cut.error.detail);
    const bundles = await Promise.all(Array.from({ length: 9 }, () => ann.bundle(transfers(256))));
    const codes = (await ann.submit(...bundles)).flatMap((result) => {
      if (isFailure(result)) throw new Error(result.error.code);
      return result.receipt.outcomes.slice(1).map(({ status }) => STATUSES[status]);
    });
    const sent = codes.filter((code) => code === 'ok').length;
    // Two are always left for what one operation may need.
    expect(sent).toBe(2047);
    expect(codes.filter((code) => code === 'congested')).toHaveLength(9 * 256 - 2047);
    expect(await balanceOf(bob)).toBe(had);
    await crash(0);
    const { first, payloads } = await parcels();
    expect(payloads).toHaveLength(sent);

    await shardAt(1).cut(1, 1, [0, 0, 0]);
    await shardAt(2).cut(1, 1, [0, 0, 0]);
    // As somebody would who repeats, skips and mixes up what it brings.
    const bring = (from: number, to: number) => shardAt(1).deliver(0, 1, first + from, payloads.slice(from, to));
    await bring(50, 60);
    await Promise.all([bring(0, 5), bring(3, 9), bring(0, 5), bring(2000, 2047), bring(1, 700)]);
    await Promise.all([crash(1), bring(0, 2047).catch(() => null)]);
    await until('everything to arrive', async () => (await balanceOf(bob)) === had + sent);
    await until('the acks', async () => (await parcels()).payloads.length === 0);
    await run(ann, ...transfers(256));
    await until('what came after', async () => (await balanceOf(bob)) === had + sent + 256);
  });

  test('is not believed to have received before the cut it received in is made here, too', async () => {
    await until('silence', async () => (await parcels()).payloads.length === 0);
    const had = await balanceOf(bob);
    await shardAt(1).cut(2, 2, [0, 0, 0]);
    await run(ann, ...transfers(3));
    await until('the transfers', async () => (await balanceOf(bob)) === had + 3);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    // In its log, shard 0 would say of this batch what happened in the next.
    expect((await parcels()).payloads).toHaveLength(3);
    await shardAt(0).cut(2, 2, [0, 0, 0]);
    await shardAt(2).cut(2, 2, [0, 0, 0]);
    await until('the ack', async () => (await parcels()).payloads.length === 0);
  });
});

describe('by itself', () => {
  test('a shard starts all calls that waited for one', async () => {
    const [first] = await run(ann, { op: 'invoke', service: bobs, amount: 1 });
    const after: Interaction[] = Array.from({ length: 300 }, (_, i) => ({
      op: 'invoke',
      service: i % 2 === 0 ? eves : bobs,
      amount: 1,
      after: first,
    }));
    const orders = [...(await run(ann, ...after.slice(0, 150))), ...(await run(ann, ...after.slice(150)))];
    expect(await statusOf(orders[0])).toBe('waiting');
    await evictDurableObject(stubAt(0));
    await run(bob, { op: 'respond', escrow: await escrowOf(first, 1), price: 1, result: 'fulfilled' });
    await until('the last to start', async () => {
      const { items } = await shardAt(0).escrows({ payer: ann.id, statuses: ['waiting'] });
      return items.length === 0;
    });
    await run(eve, { op: 'respond', escrow: await escrowOf(orders[298], 2), price: 1, result: 'fulfilled' });
    await until('the report', async () => (await statusOf(orders[298])) === 'fulfilled');
  });

  test('a shard ends what is overdue, asleep and without traffic; the penalty crosses', async () => {
    const [hasty] = await run(bob, service({ deadlineSeconds: 1 }), { op: 'stake', amount: 50 });
    const before = await balanceOf(ann);
    const [order] = await run(ann, { op: 'invoke', service: hasty, amount: 40 });
    await escrowOf(order, 1);
    await evictDurableObject(stubAt(1));
    // Only the payer's shard is asked.
    await until('the expiry', async () => (await statusOf(order)) === 'expired');
    expect(await balanceOf(ann)).toBe(before + 20);
    expect((await shardAt(1).agent(bob.id))?.stake).toBe('10');
  });

  test('a shard tells the legs of a workflow that is overdue', async () => {
    const legs = [
      { payer: ann.id, service: bobs },
      { payer: ann.id, service: eves },
    ];
    const before = await balanceOf(ann);
    const [workflow, one] = await run(
      ann,
      { op: 'plan', deadlineSeconds: 3, legs },
      { op: 'invoke', service: bobs, amount: 50, workflow: 0, leg: 0 },
    );
    await run(bob, { op: 'respond', escrow: await escrowOf(one, 1), price: 50, result: 'fulfilled' });
    await evictDurableObject(stubAt(0));
    await until('the refund', async () => (await statusOf(one)) === 'refunded');
    expect(await balanceOf(ann)).toBe(before);
    expect((await shardAt(0).workflow(workflow))?.status).toBe('aborted');
  });

  test('a shard does nothing when there is nothing to do', async () => {
    await until('silence', async () => (await parcels()).payloads.length === 0);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const look = () =>
      Promise.all([0, 1, 2].map(async (n) => [(await shardAt(n).status()).chunks, (await shardAt(n).head()).seq]));
    const before = await look();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await look()).toEqual(before);
    // The last alarm for what was under way goes off in vain; then there are only those for calls that end in minutes.
    for (const n of [0, 1, 2])
      await until('the last alarm', async () => {
        const alarm = await runInDurableObject(stubAt(n), (_, { storage }) => storage.getAlarm());
        return alarm === null || alarm - Date.now() > 60_000;
      });
    expect(await look()).toEqual(before);
  });
});

describe('over three shards', () => {
  test('a capability pays for a call from elsewhere to elsewhere', async () => {
    const [before, had, paid] = [await balanceOf(ann), await balanceOf(bob), await balanceOf(eve)];
    const expiry = Math.floor(Date.now() / 1000) + 600;
    const [capability] = await run(eve, { op: 'grant', grantee: ann.id, service: bobs, limit: 100, expiry });
    const [number] = await run(ann, { op: 'invoke', service: bobs, amount: 80, capability });
    const received = await shardAt(2).receivedMessage(0, number, 5000);
    expect([received?.kind, received?.status]).toEqual(['call', 'ok']);
    const order = received!.value;
    await run(bob, { op: 'respond', escrow: await escrowOf(order, 1), price: 30, result: 'fulfilled' });
    await until('the report', async () => (await statusOf(order)) === 'fulfilled');
    expect([await balanceOf(ann), await balanceOf(bob), await balanceOf(eve)]).toEqual([before, had + 30, paid - 30]);
    expect((await shardAt(2).capability(capability))?.used).toBe('30');
  });

  test('an arbiter on a third shard splits what was contested', async () => {
    const [before, had] = [await balanceOf(ann), await balanceOf(bob)];
    const [judged] = await run(bob, service({ arbiter: eve.id, contestSeconds: 600 }));
    const [order] = await run(ann, { op: 'invoke', service: judged, amount: 90 });
    const escrow = await escrowOf(order, 1);
    await run(bob, { op: 'respond', escrow, price: 80, result: 'fulfilled' });
    await until('the answer', async () => (await statusOf(order)) === 'held');
    await run(ann, { op: 'contest', escrow });
    await until('the contest', async () => (await statusOf(escrow)) === 'contested');
    await run(eve, { op: 'rule', escrow, amount: 25 });
    await until('the ruling', async () => (await statusOf(order)) === 'fulfilled');
    expect([await balanceOf(ann), await balanceOf(bob)]).toEqual([before - 25, had + 25]);
  });

  test('a call goes on through evictions of every object in it', async () => {
    const before = await balanceOf(ann);
    const orders: number[] = [];
    for (let round = 0; round < 8; round++) {
      const [one] = await run(ann, { op: 'invoke', service: round % 2 === 0 ? bobs : eves, amount: 5 });
      orders.push(one);
      await crash(round % 3);
    }
    for (const [i, order] of orders.entries()) {
      const there = i % 2 === 0 ? 1 : 2;
      const escrow = await escrowOf(order, there);
      await run(there === 1 ? bob : eve, { op: 'respond', escrow, price: 5, result: 'fulfilled' });
      await crash((i + 1) % 3);
    }
    for (const order of orders) await until('a report', async () => (await statusOf(order)) === 'fulfilled');
    expect(await balanceOf(ann)).toBe(before - 8 * 5);
  });
});

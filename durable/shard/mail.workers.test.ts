/** Messages between shard objects: every operation that crosses works as inside one shard, whatever happens to the objects meanwhile. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { beforeAll, describe, expect, test } from 'vitest';
import { serialOf } from '../../protocol/ids.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { isFailure } from './api.ts';
import {
  type TestAgent,
  balanceOf,
  escrowOf,
  registerAgents,
  run,
  service,
  shardAt,
  signing,
  statusOf,
  stubAt,
  until,
} from './testing.ts';

const [shard, stub, balance, opened] = [shardAt, stubAt, balanceOf, escrowOf];

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

describe('across shards', () => {
  test('a transfer arrives, and one to nobody comes back', async () => {
    const before = await balance(ann);
    await run(ann, { op: 'transfer', to: bob.id, amount: 7 }, { op: 'transfer', to: 256 * 99 + 1, amount: 5 });
    await until('the transfer', async () => (await balance(bob)) === 1_000_007);
    await until('the refund', async () => (await balance(ann)) === before - 7);
    expect((await shard(1).receivedMessage(0, 1, 1000))?.kind).toBe('item');
  });

  test('a call is paid at its price, and the order knows', async () => {
    const [before, had] = [await balance(ann), await balance(bob)];
    const [order] = await run(ann, { op: 'invoke', service: bobs, amount: 100 });
    expect(['sent', 'open']).toContain(await statusOf(order));
    const escrow = await opened(order, 1);
    await run(bob, { op: 'respond', escrow, price: 60, result: 'fulfilled' });
    await until('the report', async () => (await statusOf(order)) === 'fulfilled');
    expect([await balance(ann), await balance(bob)]).toEqual([before - 60, had + 60]);
    // Feedback goes the way of the money.
    await run(ann, { op: 'attest', kind: 'escrow', id: order, score: 5 });
    await until('the rating', async () => (await shard(1).agent(bob.id))?.ratingSum === 5);
  });

  test('a call that waits starts when what it waits for is answered, elsewhere', async () => {
    const [first, second] = await run(
      ann,
      { op: 'invoke', service: bobs, amount: 10 },
      { op: 'invoke', service: eves, amount: 10, back: 1 },
    );
    expect(await statusOf(second)).toBe('waiting');
    await run(bob, { op: 'respond', escrow: await opened(first, 1), price: 10, result: 'fulfilled' });
    await run(eve, { op: 'respond', escrow: await opened(second, 2), price: 10, result: 'fulfilled' });
    await until('the second', async () => (await statusOf(second)) === 'fulfilled');
  });

  test('a workflow pays all of its legs, or none', async () => {
    const legs = [
      { payer: ann.id, service: bobs },
      { payer: ann.id, service: eves },
    ];
    const plan: Interaction[] = [
      { op: 'plan', deadlineSeconds: 600, legs },
      { op: 'invoke', service: bobs, amount: 50, workflow: 0, leg: 0 },
      { op: 'invoke', service: eves, amount: 50, workflow: 0, leg: 1 },
    ];
    const before = await balance(ann);
    const [, one, two] = await run(ann, ...plan);
    await run(bob, { op: 'respond', escrow: await opened(one, 1), price: 50, result: 'fulfilled' });
    await until('the first leg to be held', async () => (await statusOf(one)) === 'held');
    await run(eve, { op: 'respond', escrow: await opened(two, 2), price: 50, result: 'fulfilled' });
    for (const order of [one, two])
      await until('a leg to be paid', async () => (await statusOf(order)) === 'fulfilled');
    expect(await balance(ann)).toBe(before - 100);

    const [workflow, again, never] = await run(ann, ...plan);
    await run(bob, { op: 'respond', escrow: await opened(again, 1), price: 50, result: 'fulfilled' });
    await until('the leg to be held', async () => (await statusOf(again)) === 'held');
    await run(ann, { op: 'abort', workflow });
    await until('the leg to be refunded', async () => (await statusOf(again)) === 'refunded');
    await run(eve, { op: 'respond', escrow: await opened(never, 2), price: 50, result: 'fulfilled' });
    await until('the late leg to be refunded', async () => (await statusOf(never)) === 'refunded');
    expect(await balance(ann)).toBe(before - 100);
  });

  test('a session opens at the peer, pins both keys, and pays out by message', async () => {
    const [before, had] = [await balance(ann), await balance(bob)];
    const [number] = await run(ann, { op: 'open', peer: bob.id, deposit: 500, exitDelay: 60 });
    const received = await shard(1).receivedMessage(0, number, 5000);
    expect([received?.kind, received?.status]).toEqual(['call', 'ok']);
    const session = received!.value;
    const facts = await shard(1).sessionFacts(session);
    expect([facts?.a, facts?.b, facts?.depositA]).toEqual([ann.id, bob.id, 500]);
    expect(facts?.keyA).toEqual(ann.key.publicKey);
    const half = { session, dir: 0 as const, seq: 1, calls: 3, paid: 120, root: new Uint8Array(32).fill(1) };
    const signature = await ann.key.sign(signing.half(half));
    // By its payer, from elsewhere: the signature in the message is checked where the session is.
    const [settled] = await run(ann, { op: 'settle', half, signature });
    expect((await shard(1).receivedMessage(0, settled, 5000))?.status).toBe('ok');
    const close = {
      session,
      paidAB: 120,
      paidBA: 0,
      callsAB: 3,
      callsBA: 0,
      rootAB: half.root,
      rootBA: new Uint8Array(32),
    };
    await run(bob, { op: 'close', close, signature: await ann.key.sign(signing.close(close)) });
    await until('the payout', async () => (await balance(ann)) === before - 120);
    expect(await balance(bob)).toBe(had + 120);
  });

  test('what was sent arrives once, through evictions of either side', async () => {
    const had = await balance(eve);
    for (let round = 0; round < 6; round++) {
      const bundles = await Promise.all(
        Array.from({ length: 4 }, () =>
          ann.bundle(Array.from({ length: 8 }, () => ({ op: 'transfer' as const, to: eve.id, amount: 1 }))),
        ),
      );
      const results = await ann.submit(...bundles);
      expect(results.every((result) => !isFailure(result))).toBe(true);
      await evictDurableObject(stub(round % 2 === 0 ? 0 : 2));
      // Whoever was put to sleep is woken by its alarm; here by a question.
      await shard(0).status();
    }
    await until('all of it', async () => (await balance(eve)) === had + 6 * 32);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await balance(eve)).toBe(had + 6 * 32);
    // All acknowledged: nothing is kept any more.
    await until('the acks', () =>
      runInDurableObject(stub(0), (_, { storage }) =>
        Promise.resolve([...storage.sql.exec('SELECT 1 FROM parcels WHERE peer = 2')].length === 0),
      ),
    );
  });

  test('nobody but a shard, and nothing out of order, is taken', async () => {
    const code = (answer: object): string => (isFailure(answer) ? answer.error.code : 'ok');
    expect(code(await shard(1).deliver(1, 0, 1, []))).toBe('wrong_shard');
    expect(code(await shard(1).deliver(7, 0, 1, []))).toBe('wrong_shard');
    expect(code(await shard(1).deliver(0, 0, 1, [new Uint8Array(5000)]))).toBe('malformed');
    const standing = await shard(1).deliver(0, 0, 1, []);
    if (isFailure(standing)) throw new Error(standing.error.detail);
    const { received, epoch } = standing;
    expect(epoch).toBe(0);
    expect(code(await shard(1).deliver(0, Number.NaN, 1, []))).toBe('malformed');
    expect(code(await shard(1).deliver(0, 0, 0, []))).toBe('malformed');
    const before = (await shard(1).status()).seq;
    const rubbish = [new Uint8Array(9)];
    expect(await shard(1).deliver(0, 0, received + 2, rubbish)).toEqual({ received, epoch });
    expect(await shard(1).deliver(0, 0, 1, rubbish)).toEqual({ received, epoch });
    expect(await shard(1).deliver(0, 99, received + 1, rubbish)).toEqual({ received, epoch, later: true });
    expect((await shard(1).status()).seq).toBe(before);
    expect(serialOf(bobs)).toBeGreaterThan(0);
  });
});

/** Escrows, orders and messages over three shards, as clients ask for them. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Escrow, Head, META_HEAD, Region, cellFromJson } from '../../protocol/cells.ts';
import { formatId, makeId, parseId } from '../../protocol/ids.ts';
import { Machine } from '../../protocol/machine.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';
import { ShardTrie } from '../../protocol/trie.ts';
import { listEscrows } from '../../durable/shard/calls.ts';
import { isFailure } from '../../durable/shard/api.ts';
import { type TestAgent, registerAgents, signing } from '../../durable/shard/testing.ts';
import { call, getJson, problemOf } from './testing.ts';

type Json = Record<string, unknown>;

let ann: TestAgent;
let bob: TestAgent;
let cyd: TestAgent;
/** Bob's on shard 1, cyd's on shard 0. */
let far: number;
let near: number;

/** The values that interactions made; throws unless all went well. */
async function run(agent: TestAgent, ...interactions: Interaction[]): Promise<number[]> {
  const [result] = await agent.submit(await agent.bundle(interactions));
  if (isFailure(result)) throw new Error(result.error.detail);
  const { outcomes } = result.receipt;
  expect(outcomes.map(({ status }) => STATUSES[status])).toEqual(outcomes.map(() => 'ok'));
  return outcomes.slice(1).map(({ value }) => value);
}
const publish: Interaction = {
  op: 'publish',
  service: 0,
  active: true,
  ceiling: 100,
  deadlineSeconds: 600,
  arbiter: 0,
  contestSeconds: 0,
  metadataHash: new Uint8Array(32),
};
const invoke = (service: number, more: Partial<Interaction> = {}): Interaction =>
  ({ op: 'invoke', service, amount: 10, ...more }) as Interaction;
const list = (query: string) => getJson<{ escrows: Json[]; next?: string; upTo?: string }>(`/escrows?${query}`);
const idsOf = ({ escrows }: { escrows: Json[] }): unknown[] => escrows.map(({ id }) => id);

beforeAll(async () => {
  [ann, cyd] = await registerAgents(2);
  [bob] = await registerAgents(1, 1_000_000, 1);
  [near] = await run(cyd, publish);
  [far] = await run(bob, publish);
});

describe('orders', () => {
  test('answer with the escrow they opened, as soon as there is one, and it with them', async () => {
    const [order] = await run(ann, invoke(far));
    const answer = await getJson<Json & { escrow: Json }>(`/escrows/${formatId(order)}?wait=5000`);
    expect(answer).toMatchObject({ id: formatId(order), payer: formatId(ann.id), status: 'sent' });
    const { escrow } = answer;
    expect(escrow).toMatchObject({ order: formatId(order), payee: formatId(bob.id), amount: '10', status: 'open' });
    expect(await getJson(`/escrows/${String(escrow.id)}`)).toMatchObject({
      order: formatId(order),
      link: formatId(order),
    });
    await run(bob, { op: 'respond', escrow: parseId(String(escrow.id)), price: 4, result: 'fulfilled' });
    await expect
      .poll(() => getJson(`/escrows/${formatId(order)}`))
      .toMatchObject({
        status: 'fulfilled',
        paid: '4',
        link: escrow.id,
        escrow: { id: escrow.id, status: 'fulfilled' },
      });
  });

  test('say without waiting on that nothing came of it, or nothing yet', async () => {
    const [[refused], [first, second]] = [
      await run(ann, { ...invoke(far), amount: 101 } as Interaction),
      await run(ann, invoke(near), invoke(far, { back: 1 })),
    ];
    const started = Date.now();
    const answer = await getJson(`/escrows/${formatId(refused)}?wait=10000`);
    expect(answer).not.toHaveProperty('escrow');
    expect(await getJson(`/escrows/${formatId(second)}?wait=10000`)).toMatchObject({
      status: 'waiting',
      link: formatId(first),
    });
    expect(Date.now() - started).toBeLessThan(5000);
    await expect.poll(() => getJson(`/escrows/${formatId(refused)}`)).toMatchObject({ status: 'refunded', link: null });
  });

  test('refuse what is no time to wait', async () => {
    expect(await problemOf(await call('/escrows/0:1?wait=soon'))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await call('/escrows/0:99999?wait=10000'))).toMatchObject({ code: 'unknown_escrow' });
  });
});

describe('lists', () => {
  test('of a payer, of a payee, of a workflow, by status, page by page', async () => {
    const [payer] = await registerAgents(1);
    const [workflow, one, , three] = await run(
      payer,
      { op: 'plan', deadlineSeconds: 600, legs: [{ payer: payer.id, service: near }] },
      invoke(near),
      invoke(far),
      invoke(near, { workflow: 0, leg: 0 }),
    );
    const [waiting] = await run(payer, invoke(near, { after: one }));
    const all = idsOf(await list(`payer=${formatId(payer.id)}`));
    expect(all.length).toBe(4);
    const seen: unknown[] = [];
    for (let after = ''; ;) {
      const page = await list(`payer=${formatId(payer.id)}&limit=1${after}`);
      seen.push(...idsOf(page));
      if (page.next === undefined) break;
      after = `&after=${page.next}`;
    }
    expect(seen).toEqual(all);
    expect(idsOf(await list(`workflow=${formatId(workflow)}`))).toEqual([formatId(three)]);
    const mine = `payee=${formatId(cyd.id)}&status=open,waiting&limit=100`;
    const toCyd = await list(mine);
    // What waits has no payee yet; it is the service's provider who may be interested.
    expect(idsOf(toCyd)).toEqual(expect.arrayContaining([formatId(one), formatId(waiting)]));
    expect(await list(`${mine}&after=${String(toCyd.upTo)}`)).toEqual({ escrows: [], upTo: toCyd.upTo });
    const orders = await list(`payee=${formatId(bob.id)}&limit=100`);
    expect(orders.escrows.every(({ id, order }) => String(id).startsWith('1:') && order !== undefined)).toBe(true);
    expect(await problemOf(await call('/escrows?status=open,lost'))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await call('/escrows?payer=9:1'))).toMatchObject({ code: 'wrong_shard' });
    const { workflows } = await getJson<{ workflows: Json[] }>(`/workflows?planner=${formatId(payer.id)}`);
    expect(workflows.map(({ id }) => id)).toEqual([formatId(workflow)]);
    expect(await getJson(`/workflows?planner=${formatId(bob.id)}`)).toEqual({ workflows: [] });
  });

  test('a page looks through so many records and no more', () => {
    const trie = new ShardTrie();
    const machine = new Machine(0, trie, signing, () => true, 1);
    machine.put(trie.make(Region.meta, META_HEAD), cellFromJson(Head, { escrows: '200000' }));
    const fields = { serial: '150000', payer: formatId(ann.id), service: formatId(near) };
    machine.put(trie.make(Region.escrow, 150_000), cellFromJson(Escrow, fields));
    const pages: [number, number | undefined][] = [];
    for (let after: number | undefined = 0; after !== undefined;) {
      const page = listEscrows(machine, { payer: ann.id, after });
      pages.push([page.items.length, page.next]);
      after = page.next;
    }
    expect(pages).toEqual([
      [0, 65_536],
      [0, 131_072],
      [1, 196_608],
      [0, undefined],
    ]);
  });
});

describe('messages', () => {
  test('are followed from their number to what they came to', async () => {
    const [number] = await run(ann, { op: 'open', peer: bob.id, deposit: 500, exitDelay: 60 });
    const path = `/messages/0/1/${number}`;
    const found = await getJson(`${path}?wait=5000`);
    expect(found).toMatchObject({
      from: 0,
      to: 1,
      number: String(number),
      kind: 'call',
      state: 'received',
      status: 'ok',
    });
    const session = formatId(Number(found.value));
    expect(await getJson(`/sessions/${session}`)).toMatchObject({
      a: formatId(ann.id),
      b: formatId(bob.id),
      depositA: '500',
    });
    const [shard, seq] = String(found.place).split(':');
    expect(shard).toBe('1');
    const { steps } = await getJson<{ steps: Json[] }>(`/shards/1/frames/${seq}`);
    expect(steps).toEqual([{ status: 'ok', value: found.value }]);
    const [refused] = await run(ann, { op: 'open', peer: makeId(1, 99), deposit: 500, exitDelay: 60 });
    expect(await getJson(`/messages/0/1/${refused}?wait=5000`)).toMatchObject({ status: 'unknown_agent', value: '0' });
  });

  test('nobody waits for one that was never sent', async () => {
    const started = Date.now();
    for (const path of ['/messages/0/1/99999', '/messages/0/0/1', '/messages/0/1/0'])
      expect(await problemOf(await call(`${path}?wait=10000`))).toMatchObject({ code: 'not_found' });
    expect(await problemOf(await call('/messages/0/9/1'))).toMatchObject({ code: 'wrong_shard' });
    expect(await problemOf(await call('/messages/0/1/x'))).toMatchObject({ code: 'malformed' });
    expect(Date.now() - started).toBeLessThan(5000);
  });
});

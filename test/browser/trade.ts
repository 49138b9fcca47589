/** Trade across two shards for the browser to look at: a paid call, a workflow under way and one decided, and calls that wait for calls. */
import { Agent } from '../../local/agents.ts';
import { until } from '../../local/process.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { Writer, unhex, utf8 } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { sha } from '../../protocol/hash.ts';
import { formatId, parseId } from '../../protocol/ids.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import type { TestNetwork } from '../support/stack.ts';

const DEPOSIT = 1_000_000;
const MINTED = 10_000_000n;
/** A name as an attacker would write it. */
export const EVIL = '<img src=x onerror="window.pwned=1">';

export interface Trade {
  /** Calls, on shard 0. */
  readonly buyer: Agent;
  /** Provides, on shard 0 and on shard 1. */
  readonly near: Agent;
  readonly far: Agent;
  readonly nearService: string;
  readonly farService: string;
  /** An order on shard 0 that was fulfilled on shard 1, and its escrow there. */
  readonly order: string;
  readonly escrow: string;
  /** One leg done, one not; and all done. */
  readonly workflow: string;
  readonly committed: string;
  /** Orders and escrows that hang together: the first is open, all others wait. */
  readonly held: readonly string[];
  readonly capability: string;
  /** A chunk with several levels, and several bundles in each. */
  readonly wide: { readonly shard: number; readonly chunk: number };
  /** Answers the first call of the held graph. */
  answer(): Promise<void>;
  /** A call across shards, paid. Returns the order. */
  call(): Promise<string>;
}

interface EscrowJson {
  readonly id: string;
  readonly status: string;
  readonly escrow?: { readonly id: string };
}

export async function trade(network: TestNetwork): Promise<Trade> {
  const { gateway, l1, dir } = network;
  const [buyer, near, far] = await Promise.all(['buyer', 'near', 'far'].map((name) => Agent.create(name, dir)));
  await Promise.all([buyer, near, far].map((agent) => agent.registerAtL1(l1, MINTED, DEPOSIT, agent === far ? 1 : 0)));
  await Promise.all([buyer, near, far].map((agent) => agent.known(gateway)));

  /** The ids or numbers that interactions made. */
  const run = async (agent: Agent, ...interactions: Interaction[]): Promise<string[]> =>
    (await agent.submit(gateway, l1, ...interactions)).outcomes.slice(1).map(({ value }) => formatId(Number(value)));
  const escrowOf = (order: string): Promise<string> =>
    until(
      `the escrow of ${order}`,
      async () => (await gateway.json<EscrowJson>(`/escrows/${order}?wait=1000`)).escrow?.id,
      { timeoutMs: 20_000, everyMs: 100 },
    );
  const reaches = (id: string, status: string): Promise<boolean> =>
    until(`${id} to be ${status}`, async () => (await gateway.json<EscrowJson>(`/escrows/${id}`)).status === status, {
      timeoutMs: 20_000,
      everyMs: 100,
    });
  const publish = async (agent: Agent, name: string): Promise<string> => {
    const document = utf8(JSON.stringify({ name, description: EVIL, routes: [] }));
    const terms = { active: true, ceiling: 10_000, deadlineSeconds: 900, arbiter: 0, contestSeconds: 0 };
    const [id] = await run(agent, { op: 'publish', service: 0, ...terms, metadataHash: sha(document) });
    const headers = { 'content-type': 'application/json' };
    await gateway.json(`/services/${id}/metadata`, { method: 'PUT', headers, body: document as BodyInit });
    return id;
  };
  const invoke = (service: string, more: object = {}): Interaction => ({
    op: 'invoke',
    service: parseId(service),
    amount: 100,
    ...more,
  });
  const respond = (agent: Agent, escrow: string, price = 60): Promise<string[]> =>
    run(agent, { op: 'respond', escrow: parseId(escrow), price, result: 'fulfilled' });

  const [nearService, farService] = await Promise.all([publish(near, EVIL), publish(far, 'Far archive')]);
  const call = async (): Promise<string> => {
    const [order] = await run(buyer, invoke(farService));
    await respond(far, await escrowOf(order));
    await reaches(order, 'fulfilled');
    return order;
  };
  const order = await call();
  await run(buyer, { op: 'attest', kind: 'escrow', id: parseId(order), score: 4 }, { op: 'stake', amount: 5000 });

  const legs = [farService, nearService].map((service) => ({ payer: parseId(buyer.id), service: parseId(service) }));
  const plan: Interaction[] = [
    { op: 'plan', deadlineSeconds: 1800, legs },
    invoke(farService, { workflow: 0, leg: 0 }),
    invoke(nearService, { workflow: 0, leg: 1 }),
  ];
  const [committed, one, two] = await run(buyer, ...plan);
  await respond(far, await escrowOf(one));
  await respond(near, two);
  await reaches(one, 'fulfilled');
  const [workflow, , done] = await run(buyer, ...plan);
  await respond(near, done);

  const held = await run(
    buyer,
    invoke(farService),
    invoke(nearService, { back: 1 }),
    invoke(nearService, { back: 2 }),
    invoke(farService, { back: 2 }),
    invoke(nearService, { back: 1 }),
  );
  const [capability] = await run(buyer, {
    op: 'grant',
    grantee: parseId(near.id),
    service: parseId(farService),
    limit: 500,
    expiry: 0xffffffff,
  });
  /** Bundles of six agents that come together: a chunk in which much could run at once, and some could not. */
  const wide = async (): Promise<Trade['wide']> => {
    const crowd = await Promise.all(Array.from({ length: 6 }, (_, i) => Agent.create(`crowd${i}`, dir)));
    const owner = unhex(buyer.owner.address, 20);
    const ids = await run(
      buyer,
      ...crowd.map(({ key }): Interaction => ({ op: 'register', owner, key: key.publicKey, amount: 5000 })),
    );
    const signing = new Signing({ chainId: l1.chainId, root: l1.root });
    const expiry = Math.floor(Date.now() / 1000) + 300;
    const bundles = await Promise.all(
      crowd.map(({ key }, i) =>
        signBundle(key, signing, { actor: parseId(ids[i]), nonce: 0, expiry }, [
          invoke(nearService),
          { op: 'transfer', to: parseId(ids[(i + 1) % 3]), amount: 1 },
          i % 2 ? { op: 'transfer', to: parseId(far.id), amount: 1 } : invoke(farService, { back: 1 }),
          // Refused: there is not so much.
          { op: 'transfer', to: parseId(near.id), amount: 1_000_000 },
        ]),
      ),
    );
    const writer = new Writer();
    for (const bundle of bundles) writer.u16(bundle.length).bytes(bundle);
    const { results } = await gateway.json<{ results: { receipt: { seq: string } }[] }>('/bundles', {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.agnt2.bundles' },
      body: writer.finish() as BodyInit,
    });
    const { chunk } = await gateway.json<{ chunk: number }>(`/shards/0/frames/${results[0].receipt.seq}`);
    return { shard: 0, chunk };
  };
  return {
    buyer,
    near,
    far,
    nearService,
    farService,
    order,
    escrow: await escrowOf(order),
    workflow,
    committed,
    held,
    capability,
    wide: await wide(),
    answer: async () => void (await respond(far, await escrowOf(held[0]))),
    call,
  };
}

import { beforeAll, describe, expect, test } from 'vitest';
import { isFailure, shardStub } from '../../durable/shard/api.ts';
import { type TestAgent, registerAgents, testEnv } from '../../durable/shard/testing.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { call, getJson, problemOf } from './testing.ts';

interface Edge {
  shard: number;
  chunk: number;
  why: string;
  first?: string;
  number?: string;
}
interface ChunkGraphJson {
  levels: number;
  steps: { frame: number; index: number; op: string; level: number; cells: number[] }[];
  dependsOn: Edge[];
  neededBy: Edge[];
  links: { seq: string; kind: string; peer: number; number: string }[];
}
interface NodeJson {
  shard: number;
  number: number;
  sent: { peer: number; first: string; last: string }[];
  received: { peer: number; first: string; last: string }[];
}

const shard = (n: number) => shardStub(testEnv.SHARD, n);
const graphOf = (at: number, chunk: number) => getJson<ChunkGraphJson>(`/shards/${at}/chunks/${chunk}/graph`);

let ann: TestAgent;
let abe: TestAgent;
let bob: TestAgent;

/** Runs one bundle; the chunk it is in. */
async function run(agent: TestAgent, ...interactions: Interaction[]): Promise<number> {
  const [result] = await agent.submit(await agent.bundle(interactions));
  if (isFailure(result)) throw new Error(result.error.detail);
  return (await shard(agent.id % 256).frame(result.receipt.receipt.seq))!.chunk;
}

beforeAll(async () => {
  [ann, abe] = await registerAgents(2, 1_000_000, 0);
  [bob] = await registerAgents(1, 1_000_000, 1);
});

describe('the graph of a chunk', () => {
  test('has a level for what must wait, and names the cells', async () => {
    const transfer = (to: TestAgent): Interaction => ({ op: 'transfer', to: to.id, amount: 1 });
    const { levels, steps, dependsOn } = await graphOf(0, await run(ann, transfer(abe), transfer(abe)));
    const own = steps.filter(({ op }) => op !== 'tick');
    expect(own.map(({ op }) => op)).toEqual(['opening', 'transfer', 'transfer']);
    // All three move the balance of one agent.
    expect(own.map(({ level }) => level)).toEqual([levels - 2, levels - 1, levels]);
    expect(own[1].cells).toContain(2 ** 20 + Math.floor(abe.id / 256));
    expect(dependsOn[0]).toMatchObject({ shard: 0, why: 'log' });
  });

  test('leads to the chunk that sent a message, and to the one that received it', async () => {
    const { received } = await shard(1).standing();
    const first = received[0] + 1;
    const chunk = await run(
      ann,
      ...Array.from({ length: 3 }, () => ({ op: 'transfer' as const, to: bob.id, amount: 1 })),
    );
    expect((await shard(1).receivedMessage(0, first + 2, 5000))?.status).toBe('ok');
    const there = (await shard(1).receivedIn(0, first))!;
    expect((await graphOf(0, chunk)).neededBy).toContainEqual({
      shard: 1,
      chunk: there.chunk,
      why: 'message',
      first: String(first),
      number: String(first + 2),
    });
    const { dependsOn, links } = await graphOf(1, there.chunk);
    expect(dependsOn).toContainEqual({
      shard: 0,
      chunk,
      why: 'message',
      first: String(first),
      number: String(first + 2),
    });
    expect(links.filter(({ kind }) => kind === 'received').map(({ number }) => Number(number))).toEqual([
      first,
      first + 1,
      first + 2,
    ]);
    const { chunks } = await getJson<{ chunks: NodeJson[] }>('/graph?limit=10');
    const sender = chunks.find((each) => each.shard === 0 && each.number === chunk);
    expect(sender?.sent).toEqual([{ peer: 1, first: String(first), last: String(first + 2) }]);
    const [only] = (await getJson<{ chunks: NodeJson[] }>(`/graph?shard=1&to=${there.chunk}&limit=1`)).chunks;
    expect(only.received).toEqual([{ peer: 0, first: String(first), last: String(first + 2) }]);
  });

  test('refuses what is not there', async () => {
    expect(await problemOf(await call('/shards/0/chunks/99999/graph'))).toMatchObject({ code: 'not_found' });
    expect(await problemOf(await call('/shards/7/chunks/0/graph'))).toMatchObject({ code: 'wrong_shard' });
    expect(await problemOf(await call('/graph?to=3'))).toMatchObject({ code: 'malformed' });
  });
});

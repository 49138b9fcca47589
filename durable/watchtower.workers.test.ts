/** The watchtower over real shards and session objects: what was signed reaches the chain before an exit ends, whoever is offline. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { beforeAll, describe, expect, test } from 'vitest';
import { Writer, unhex } from '../protocol/bytes.ts';
import type { Half } from '../protocol/half.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { encodeInboxItem } from '../protocol/inbox.ts';
import { MachineKey } from '../protocol/keys.ts';
import { encodeInteraction } from '../protocol/ops/index.ts';
import { encodeHello } from '../protocol/packet.ts';
import { runTower } from '../workers/settlement/tower.ts';
import type { SessionRpc } from './session.ts';
import { isFailure } from './shard/api.ts';
import {
  type TestAgent,
  type TestEnv,
  balanceOf,
  registerAgents,
  run,
  shard0,
  shardAt,
  signing,
  testEnv,
  until,
} from './shard/testing.ts';
import { watchtowerStub } from './watchtower/api.ts';

const env = testEnv as TestEnv & {
  SHARDS: string;
  WATCHTOWER: DurableObjectNamespace;
  WATCHTOWER_KEY: `0x${string}`;
};
const tower = watchtowerStub(env.WATCHTOWER);
const DEPOSIT = 1000;
/** Seconds. */
const EXIT_DELAY = 2;
const silent = (): void => {};

/** The tower's agent is the deployment's first. */
beforeAll(async () => {
  const { publicKey } = await MachineKey.import(unhex(env.WATCHTOWER_KEY, 32));
  const bytes = encodeInboxItem({
    kind: 'register',
    shard: 0,
    owner: new Uint8Array(20).fill(9),
    key: publicKey,
    amount: 0,
  });
  const { inboxCursor: index } = await shard0().head();
  const answer = await shard0().inbox([{ index, bytes }]);
  if (isFailure(answer)) throw new Error(answer.error.detail);
});

const stubOf = (session: number): DurableObjectStub & SessionRpc =>
  env.SESSION.getByName(formatId(session)) as unknown as DurableObjectStub & SessionRpc;

const halfOf = (session: number, over: Partial<Half> = {}): Half => ({
  session,
  dir: 0,
  seq: 1,
  calls: 7,
  paid: 300,
  root: new Uint8Array(32).fill(1),
  ...over,
});

/** Sessions of `a` with `b`, their objects configured as the gateway does. */
async function open(a: TestAgent, b: TestAgent, count = 1): Promise<number[]> {
  const opens = Array.from(
    { length: count },
    () => ({ op: 'open', peer: b.id, deposit: DEPOSIT, exitDelay: EXIT_DELAY }) as const,
  );
  const ids = await run(a, ...opens);
  for (const id of ids) {
    const facts = await shardAt(shardOf(id)).sessionFacts(id);
    await stubOf(id).configure({
      ...facts!,
      domain: { chainId: Number(env.CHAIN_ID), root: env.ROOT_ADDRESS as `0x${string}` },
    });
  }
  return ids;
}

/** A party shows its session's object what was signed, and goes. */
async function show(session: number, party: 'a' | 'b', ...signed: [Half, TestAgent][]): Promise<void> {
  const stub = stubOf(session);
  const response = await stub.fetch('https://do/socket', { headers: { upgrade: 'websocket', 'agnt2-party': party } });
  const ws = response.webSocket!;
  ws.accept();
  const halves = await Promise.all(
    signed.map(async ([half, payer]) => ({ half, payer: await payer.key.sign(signing.half(half)) })),
  );
  ws.send(encodeHello({ halves, credit: 0 }));
  await until('the halves', async () => (await stub.live()).halves.length >= signed.length);
  ws.close(1000, 'gone');
}

const paidIn = async (session: number): Promise<number[]> => {
  const facts = await shardAt(shardOf(session)).sessionFacts(session);
  return [facts!.paidAB, facts!.paidBA];
};

async function finalize(agent: TestAgent, session: number): Promise<void> {
  const home = shardAt(shardOf(session));
  const { exitAt } = (await home.sessionFacts(session))!;
  await until('the exit to end', async () => Date.now() / 1000 > exitAt + 1);
  await home.tickIfDue(0);
  await run(agent, { op: 'finalize', session });
}

describe('Watchtower', () => {
  test('who is offline is paid, though the other leaves with nothing: by the alarm, after the object was evicted', async () => {
    const [a, b] = await registerAgents(2, 10_000);
    const [session] = await open(a, b);
    await show(session, 'a', [halfOf(session), a], [halfOf(session, { dir: 1, paid: 40 }), b]);
    const stub = stubOf(session);
    await evictDurableObject(stub);
    // While it is open there is nothing to answer.
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await paidIn(session)).toEqual([0, 0]);
    await run(a, { op: 'exit', session });
    await evictDurableObject(stub);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await paidIn(session)).toEqual([300, 40]);
    // One more look sees that all is done.
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await runDurableObjectAlarm(stub)).toBe(false);
    await finalize(a, session);
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([10_000 - 260, 10_000 + 260]);
  });

  test('a half that comes while somebody leaves is settled too, and an older one again is no news', async () => {
    const [a, b] = await registerAgents(2, 10_000);
    const [session] = await open(a, b);
    await show(session, 'a', [halfOf(session), a]);
    // Forced at L1, by the owner.
    const writer = new Writer();
    encodeInteraction(writer, { op: 'exit', session });
    const act = { kind: 'act', owner: a.owner, agent: a.id, interaction: writer.finish() } as const;
    await shard0().inbox([{ index: (await shard0().head()).inboxCursor, bytes: encodeInboxItem(act) }]);
    await runTower(env, silent);
    expect(await paidIn(session)).toEqual([300, 0]);
    await show(session, 'a', [halfOf(session, { seq: 2, calls: 9, paid: 450 }), a]);
    expect(await until('an alarm', () => runDurableObjectAlarm(stubOf(session)))).toBe(true);
    expect(await paidIn(session)).toEqual([450, 0]);
    const old = {
      half: halfOf(session, { paid: 5 }),
      signature: await a.key.sign(signing.half(halfOf(session, { paid: 5 }))),
    };
    expect(await tower.answer([old])).toEqual(['stale_half']);
    expect(await paidIn(session)).toEqual([450, 0]);
  });

  test('many sessions at once by the cron, and poisoned ones among them hold up nobody', async () => {
    const [a, b] = await registerAgents(2, 1_000_000);
    const sessions = await open(a, b, 48);
    for (const [i, session] of sessions.entries()) await show(session, 'a', [halfOf(session, { paid: 100 + i }), a]);
    const [forged, broken] = [sessions[3], sessions[17]];
    const spoil = async (session: number, column: string): Promise<void> => {
      await runInDurableObject(stubOf(session), (_, { storage }) => {
        storage.sql.exec(`UPDATE half SET ${column} = ?`, new Uint8Array(column === 'payer' ? 64 : 5).fill(3).buffer);
      });
      await evictDurableObject(stubOf(session));
    };
    await spoil(forged, 'payer');
    await spoil(broken, 'record');
    await run(a, ...sessions.map((session) => ({ op: 'exit', session }) as const));
    const events: [string, unknown][] = [];
    await runTower(env, (event, fields) => events.push([event, fields?.answer ?? fields?.session]));
    for (const [i, session] of sessions.entries())
      expect([session, ...(await paidIn(session))]).toEqual([
        session,
        [forged, broken].includes(session) ? 0 : 100 + i,
        0,
      ]);
    const tally = (answer: string): number => events.filter(([, what]) => what === answer).length;
    expect([tally('ok'), tally('bad_signature')]).toEqual([46, 1]);
    expect(events).toContainEqual(['tower_failed', formatId(broken)]);
    // Idempotent: what is done is not done again, and what can't be settled isn't tried.
    const { seq } = await shard0().head();
    events.length = 0;
    await runTower(env, (event, fields) => events.push([event, fields?.answer ?? fields?.session]));
    expect(events.filter(([event]) => event === 'tower')).toEqual([['tower', 'bad_signature']]);
    expect((await shard0().head()).seq).toBe(seq);
  }, 60_000);

  test('a session of another shard, and what no bundle can hold', async () => {
    const [a] = await registerAgents(1, 10_000, 1);
    const [b] = await registerAgents(1, 10_000, 2);
    await run(a, { op: 'open', peer: b.id, deposit: DEPOSIT, exitDelay: EXIT_DELAY });
    const session = await until(
      'the session',
      async () => (await shardAt(2).sessions({ agent: a.id })).items[0] && 256 + 2,
    );
    const half = halfOf(session, { dir: 0, paid: 77 });
    const row = { half, signature: await a.key.sign(signing.half(half)) };
    const bad = { ...row, half: { ...half, dir: 1 as const, paid: -1 } };
    const nowhere = { ...row, half: { ...half, session: 256 + 200 } };
    expect(await tower.answer([bad, row, nowhere])).toEqual(['malformed', 'sent', 'malformed']);
    await until('the settle', async () => (await paidIn(session))[0] === 77);
  });

  test('another who uses the same agent costs it a nonce and nothing else', async () => {
    const key = await MachineKey.import(unhex(env.WATCHTOWER_KEY, 32));
    const { TestAgent } = await import('./shard/testing.ts');
    const double = new TestAgent(256, key, new Uint8Array(20));
    const [a, b] = await registerAgents(2, 10_000);
    const [session] = await open(a, b);
    const row = async (seq: number): Promise<Parameters<typeof tower.answer>[0][number]> => {
      const half = halfOf(session, { seq, calls: seq, paid: seq });
      return { half, signature: await a.key.sign(signing.half(half)) };
    };
    expect(await tower.answer([await row(1)])).toEqual(['ok']);
    double.nonce = Number((await shard0().agent(256))!.nonce);
    await run(double, { op: 'transfer', to: double.id, amount: 0 });
    expect(await tower.answer([await row(2)])).toEqual(['ok']);
    expect(await paidIn(session)).toEqual([2, 0]);
  });
});

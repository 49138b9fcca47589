import { afterEach, beforeEach, expect, test } from 'vitest';
import { signBundle } from '../protocol/bundle.ts';
import { Status } from '../protocol/status.ts';
import { Core } from './core.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';
import { Wallet } from './wallet.ts';

let gateway: TestGateway;
let alice: TestAgent;
let bob: TestAgent;
let wallet: Wallet;

const walletOf = (agent: TestAgent, more = {}): Wallet =>
  new Wallet({
    core: new Core(gateway.url),
    key: agent.key,
    signing: gateway.signing,
    agent: agent.id,
    sequencerKey: gateway.sequencerKey,
    firstSeq: gateway.engine.seq,
    retryMs: 5,
    ...more,
  });

beforeEach(async () => {
  gateway = await TestGateway.start();
  alice = await gateway.agent(1000);
  bob = await gateway.agent(0);
  wallet = walletOf(alice);
});
afterEach(() => gateway.stop());

const pay = (amount: number) => ({ op: 'transfer', to: bob.id, amount }) as const;
const nonceOf = async (): Promise<number> => (await new Core(gateway.url).agent(alice.id)).nonce;

test('many at once go in order, few requests, each with its own receipt', async () => {
  const all = await Promise.all(Array.from({ length: 100 }, () => wallet.submit([pay(1)])));
  expect(new Set(all.map(({ seq }) => seq)).size).toBe(100);
  expect(gateway.balance(bob)).toBe(100);
  expect(await nonceOf()).toBe(100);
  expect(gateway.requests.filter((r) => r.startsWith('POST /bundles')).length).toBeLessThanOrEqual(3);
});

test('an interaction that fails is an outcome; submitOne makes it an error by its status', async () => {
  const { outcomes } = await wallet.submit([pay(5000), pay(10)]);
  expect(outcomes.map(({ status }) => status)).toEqual([Status.insufficient_balance, Status.ok]);
  await expect(wallet.submitOne(pay(5000))).rejects.toMatchObject({ code: 'insufficient_balance' });
});

test.each([true, false])(
  'an answer that is lost is not paid twice (gateway knows replays: %s)',
  async (knowsReplays) => {
    gateway.faults.knowsReplays = knowsReplays;
    await wallet.submit([pay(1)]);
    gateway.faults.loseAnswers = 2;
    const both = await Promise.all([wallet.submit([pay(10)]), wallet.submit([pay(20)])]);
    expect(both.every(({ outcomes }) => outcomes[0].status === Status.ok)).toBe(true);
    gateway.faults.loseAnswers = 1;
    await Promise.all(Array.from({ length: 5 }, () => wallet.submit([pay(100)])));
    await wallet.submit([pay(1)]);
    expect(gateway.balance(bob)).toBe(532);
    expect(await nonceOf()).toBe(9);
  },
);

test('a busy gateway is asked again with the same bytes', async () => {
  gateway.faults.busy = 3;
  await Promise.all([wallet.submit([pay(1)]), wallet.submit([pay(2)])]);
  expect(gateway.balance(bob)).toBe(3);
});

test('a nonce used by another holder of the key is found out and the bundle signed anew', async () => {
  await wallet.submit([pay(1)]);
  const foreign = await signBundle(alice.key, gateway.signing, { actor: alice.id, nonce: 1, expiry: 4e9 }, [pay(7)]);
  await gateway.submit(foreign);
  await Promise.all([wallet.submit([pay(10)]), wallet.submit([pay(20)])]);
  expect(gateway.balance(bob)).toBe(38);
  expect(await nonceOf()).toBe(4);
});

test('one bad bundle in the middle rejects alone', async () => {
  const results = await Promise.allSettled([wallet.submit([pay(1)]), wallet.submit([]), wallet.submit([pay(2)])]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(gateway.balance(bob)).toBe(3);
});

test('an expired bundle rejects with its code, and the next goes through', async () => {
  const late = walletOf(alice, { now: () => Date.now() - 1_000_000 });
  await expect(late.submit([pay(1)])).rejects.toMatchObject({ code: 'expired' });
  await wallet.submit([pay(2)]);
  expect(gateway.balance(bob)).toBe(2);
});

test('a receipt the pinned sequencer did not sign is no receipt', async () => {
  gateway.faults.forgeReceipts = true;
  await expect(wallet.submit([pay(1)])).rejects.toMatchObject({ code: 'bad_receipt' });
});

test('a gateway that stays away rejects what cannot happen any more', async () => {
  const short = walletOf(alice, { bundleSeconds: -2, retryMs: 1 });
  await short.submit([pay(1)]).catch(() => {});
  gateway.faults.busy = Infinity;
  await expect(short.submit([pay(1)])).rejects.toMatchObject({ code: 'gateway_unavailable' });
  gateway.faults.busy = 0;
  await wallet.submit([pay(2)]);
  expect(gateway.balance(bob)).toBe(2);
});

test('whatever mixture of faults, each submission happens exactly once', async () => {
  for (let round = 0; round < 15; round++) {
    gateway.faults.loseAnswers = round % 3;
    gateway.faults.busy = round % 2;
    gateway.faults.knowsReplays = round % 4 < 2;
    await Promise.all(Array.from({ length: (round % 5) + 1 }, () => wallet.submit([pay(1)])));
  }
  expect(gateway.balance(bob)).toBe(45);
});

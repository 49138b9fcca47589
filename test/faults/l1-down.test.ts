/** L1 goes away, in every way it can, while Core goes on: posting resumes by itself, and nothing is posted twice. FULL=1 waits a real minute. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rootAbi } from '../../contracts/abi.ts';
import { Agent } from '../../local/agents.ts';
import { sleep, until } from '../../local/process.ts';
import { parseId } from '../../protocol/ids.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const OUTAGE_MS = process.env.FULL === '1' ? 60_000 : 8_000;

let net: TestNetwork;
let one: Agent;
let two: Agent;

beforeAll(async () => {
  // Calls to a node that hangs must end well within the outage.
  net = await network({ l1: { window: 3600 }, worker: { vars: { PASS_SECONDS: '4', BATCH_SECONDS: '1' } } });
  [one, two] = await Promise.all(['one', 'two'].map((name) => Agent.create(name, net.dir)));
  await Promise.all([one, two].map((agent) => agent.registerAtL1(net.l1, 1_000_000n, 1_000_000)));
  await Promise.all([one, two].map((agent) => agent.known(net.gateway)));
});
afterAll(() => net?.stop());

const posted = (): Promise<number[]> =>
  net.l1.client
    .getContractEvents({ address: net.root, abi: rootAbi, eventName: 'BatchPosted', fromBlock: 0n, strict: true })
    .then((logs) => logs.map(({ args }) => Number(args.number)));
const transfer = () => one.submit(net.gateway, net.l1, { op: 'transfer', to: parseId(two.id), amount: 1 });

/** Waits until L1 holds all that is worth a batch. */
const caughtUp = (): Promise<unknown> =>
  until('posting to catch up', () => net.gateway.isOnL1(), {
    timeoutMs: 60_000,
    everyMs: 250,
    child: net.worker.child,
  });

/** Every batch stands once, and together they hold every frame once. */
async function expectWhole(): Promise<void> {
  const numbers = await posted();
  expect(numbers).toEqual(numbers.map((_, i) => i + 1));
  let seq = 0;
  for (const number of numbers) {
    // What shard 0 knows of L1 follows a pass later.
    const { ranges } = await until(`batch ${number} to be known as posted`, async () => {
      const batch = await net.gateway.batch(number);
      return batch.l1.state === 'posted' && batch;
    });
    expect(Number(ranges[0].firstSeq)).toBe(seq);
    seq += ranges[0].frames;
  }
}

async function outage(begin: () => Promise<void> | void, end: () => Promise<void> | void): Promise<void> {
  await transfer();
  await begin();
  const until = Date.now() + OUTAGE_MS;
  let sent = 0;
  while (Date.now() < until) {
    await transfer();
    sent += 1;
    await sleep(250);
  }
  expect(sent, 'Core goes on without L1').toBeGreaterThan(5);
  await end();
  await caughtUp();
  await expectWhole();
}

test('a node that hangs', () =>
  outage(
    () => net.l1.pause(),
    () => net.l1.resume(),
  ));

test('a node that went back in time', async () => {
  // Deep enough to undo batches, not the deposits: those need L1_CONFIRMATIONS.
  const now = await net.l1.client.getBlockNumber();
  await until('blocks to go by', async () => (await net.l1.client.getBlockNumber()) > now + 6n);
  await transfer();
  await caughtUp();
  const before = await posted();
  await net.l1.request('anvil_reorg', [6, []]);
  // anvil's clock goes on from the block it went back to; a chain's follows the world's.
  await net.l1.request('anvil_setTime', [Math.floor(Date.now() / 1000)]);
  await transfer();
  await caughtUp();
  await until('the batches to be back', async () => (await posted()).length >= before.length, { timeoutMs: 30_000 });
  await caughtUp();
  await expectWhole();
});

// Last: a node that came back can't undo blocks of its former life.
test('a node that is gone, and comes back', () =>
  outage(
    () => net.l1.stop(),
    () => net.l1.restart(),
  ));

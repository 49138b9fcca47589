/** L1 goes away, in every way it can, while Core goes on: posting resumes by itself, and nothing is posted twice. FULL=1 waits a real minute. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rootAbi } from '../../contracts/abi.ts';
import { Agent } from '../../local/agents.ts';
import { sleep, until } from '../../local/process.ts';
import { parseId } from '../../protocol/ids.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const OUTAGE_MS = process.env.FULL === '1' ? 60_000 : 8_000;

/** A network of its own, on which one agent pays another. */
class Trade {
  readonly net: TestNetwork;
  readonly #from: Agent;
  readonly #to: Agent;

  private constructor(net: TestNetwork, from: Agent, to: Agent) {
    this.net = net;
    this.#from = from;
    this.#to = to;
  }

  static async start(): Promise<Trade> {
    // Calls to a node that hangs must end well within the outage.
    const net = await network({ l1: { window: 3600 }, worker: { vars: { PASS_SECONDS: '4', BATCH_SECONDS: '1' } } });
    const agents = await Promise.all(['one', 'two'].map((name) => Agent.create(name, net.dir)));
    await Promise.all(agents.map((agent) => agent.registerAtL1(net.l1, 1_000_000n, 1_000_000)));
    await Promise.all(agents.map((agent) => agent.known(net.gateway)));
    return new Trade(net, agents[0], agents[1]);
  }

  transfer(): Promise<unknown> {
    return this.#from.submit(this.net.gateway, this.net.l1, { op: 'transfer', to: parseId(this.#to.id), amount: 1 });
  }

  /** The numbers of all batches on L1. */
  async posted(): Promise<number[]> {
    const { client } = this.net.l1;
    const filter = {
      address: this.net.root,
      abi: rootAbi,
      eventName: 'BatchPosted',
      fromBlock: 0n,
      strict: true,
    } as const;
    return (await client.getContractEvents(filter)).map(({ args }) => Number(args.number));
  }

  /** Waits until L1 holds all that is worth a batch. */
  async caughtUp(): Promise<void> {
    const { gateway, worker } = this.net;
    await until('posting to catch up', () => gateway.isOnL1(), {
      timeoutMs: 60_000,
      everyMs: 250,
      child: worker.child,
    });
  }

  /** Every batch stands once, and together they hold every frame once. */
  async expectWhole(): Promise<void> {
    const numbers = await this.posted();
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    let seq = 0;
    for (const number of numbers) {
      // What shard 0 knows of L1 follows a pass later.
      const { ranges } = await until(`batch ${number} to be known as posted`, async () => {
        const batch = await this.net.gateway.batch(number);
        return batch.l1.state === 'posted' && batch;
      });
      expect(Number(ranges[0].firstSeq)).toBe(seq);
      seq += ranges[0].frames;
    }
  }

  async outage(begin: () => Promise<void> | void, end: () => Promise<void> | void): Promise<void> {
    await this.transfer();
    await begin();
    const until = Date.now() + OUTAGE_MS;
    let sent = 0;
    while (Date.now() < until) {
      await this.transfer();
      sent += 1;
      await sleep(250);
    }
    expect(sent, 'Core goes on without L1').toBeGreaterThan(5);
    await end();
    await this.caughtUp();
    await this.expectWhole();
  }
}

let hung: Trade;
let gone: Trade;

beforeAll(async () => {
  [hung, gone] = await Promise.all([Trade.start(), Trade.start()]);
});
afterAll(() => Promise.all([hung?.net.stop(), gone?.net.stop()]));

// Side by side: most of an outage is waiting.
test.concurrent('a node that hangs', () =>
  hung.outage(
    () => hung.net.l1.pause(),
    () => hung.net.l1.resume(),
  ));

test.concurrent('a node that is gone, and comes back', () =>
  gone.outage(
    () => gone.net.l1.stop(),
    () => gone.net.l1.restart(),
  ));

// Not of the node that came back, which can't undo blocks of its former life.
test('a node that went back in time', async () => {
  const { client } = hung.net.l1;
  // Deep enough to undo batches, not the deposits: those need L1_CONFIRMATIONS.
  const now = await client.getBlockNumber();
  await until('blocks to go by', async () => (await client.getBlockNumber()) > now + 6n);
  await hung.transfer();
  await hung.caughtUp();
  const before = await hung.posted();
  await hung.net.l1.request('anvil_reorg', [6, []]);
  // anvil's clock goes on from the block it went back to; a chain's follows the world's.
  await hung.net.l1.request('anvil_setTime', [Math.floor(Date.now() / 1000)]);
  await hung.transfer();
  await hung.caughtUp();
  await until('the batches to be back', async () => (await hung.posted()).length >= before.length, {
    timeoutMs: 30_000,
  });
  await hung.caughtUp();
  await hung.expectWhole();
});

/**
 * A shard for real: signed bundles over HTTP, the gateway's signature check, the Shard object in workerd, its durable log, receipts back and
 * counted, one of each answer verified. Signing and verifying are done before and after the clock runs; the load generator runs on the same machine.
 */
import { cpus } from 'node:os';
import '../../protocol/keccak/install.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { equal } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { decodeReceipt, verifyReceipt } from '../../protocol/receipt.ts';
import { Status } from '../../protocol/status.ts';
import { post, putOff } from './client.ts';
import { type BenchAgent, type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, isShort, median, percentile } from './suite.ts';

const AGENTS = 16;
/** Bundles to a request, requests in flight: one per agent, because an agent's nonces are in order. */
const PER_POST = 8;
/** Requests of each agent in a round, which takes about a second; the first round, in which code gets compiled, does not count. */
const POSTS = 24;
const POSTS_OF_1 = 8;
const ROUNDS = isShort ? 2 : 5;
/** Requests that go one by one, nothing else under way: enough for what happens once in a thousand. */
const IDLE_POSTS = isShort ? 1000 : 2000;

/** A request's body, and the bundles in it. */
interface Prepared {
  readonly body: Uint8Array;
  readonly frames: readonly Uint8Array[];
}

/** `posts` requests of one agent, with `size` transfers to a bundle. */
async function prepare(
  stack: BenchStack,
  agent: BenchAgent,
  posts: number,
  size: number,
  perPost: number,
): Promise<Prepared[]> {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const all: Prepared[] = [];
  for (let p = 0; p < posts; p++) {
    const frames: Uint8Array[] = [];
    for (let b = 0; b < perPost; b++) {
      const interactions = Array.from({ length: size }, (_, i): Interaction => ({
        op: 'transfer',
        to: stack.agents[(i + b + p) % stack.agents.length].id,
        amount: 1 + i,
      }));
      frames.push(
        await signBundle(agent.key, stack.signing, { actor: agent.id, nonce: agent.nonce++, expiry }, interactions),
      );
    }
    all.push({ body: packBundles(frames), frames });
  }
  return all;
}

/** Throws unless the first receipt of each answer is the sequencer's word that all of a bundle went well. */
async function verify(stack: BenchStack, { frames }: Prepared, records: readonly Uint8Array[]): Promise<void> {
  if (records.length === 0) return;
  const signed = decodeReceipt(records[0]);
  const frame = frames.find((one) => equal(keccak(one), signed.receipt.frameHash));
  const isValid = frame && (await verifyReceipt(stack.sequencerKey, stack.signing, signed, frame));
  if (!isValid || signed.outcomes.some(({ status }) => status !== Status.ok))
    throw new Error(`frame ${signed.receipt.seq} has a receipt that says something else`);
}

/** Interactions that the shard has executed. */
async function executed(stack: BenchStack): Promise<number> {
  const answer = (await fetch(`${stack.url}/status`).then((r) => r.json())) as { shards: { interactions: number }[] };
  return Number(answer.shards[0].interactions);
}

/** Bundles a second, and the CPU time of each in microseconds: of workerd (gateway and shard), and of the client beside it. */
interface Rate {
  readonly perSecond: number;
  readonly workerd: number;
  readonly client: number;
}

const ownMicros = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** Every agent sends as fast as its answers come. */
async function throughput(stack: BenchStack, size: number, posts: number, perPost: number): Promise<Rate> {
  const all = await Promise.all(stack.agents.map((agent) => prepare(stack, agent, posts, size, perPost)));
  const before = await executed(stack);
  const answers: { post: Prepared; records: Uint8Array[] }[] = [];
  const cpu = [stack.cpuMicros(), ownMicros()];
  const start = performance.now();
  await Promise.all(
    all.map(async (list) => {
      for (const one of list) answers.push({ post: one, records: await post(stack.url, one.body) });
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  const [workerdMicros, clientMicros] = [stack.cpuMicros() - cpu[0], ownMicros() - cpu[1]];
  const bundles = AGENTS * posts * perPost;
  for (const { post: one, records } of answers) await verify(stack, one, records);
  const ran = (await executed(stack)) - before;
  if (ran !== bundles * size) throw new Error(`${bundles * size} interactions were acknowledged, ${ran} ran`);
  return { perSecond: bundles / seconds, workerd: workerdMicros / bundles, client: clientMicros / bundles };
}

/** Milliseconds from when bundles were due to be sent to having their receipts, at a fixed rate that does not wait for answers. */
async function latencies(
  stack: BenchStack,
  size: number,
  bundlesPerSecond: number,
  seconds: number,
): Promise<number[]> {
  const perAgent = bundlesPerSecond / PER_POST / AGENTS;
  const bodies = await Promise.all(
    stack.agents.map((agent) => prepare(stack, agent, Math.ceil(perAgent * seconds), size, PER_POST)),
  );
  const gapMs = 1000 / perAgent;
  const out: number[] = [];
  const start = performance.now() + 100;
  await Promise.all(
    bodies.map(async (list, a) => {
      // One agent's bundles go in order; when one is late the next leaves at once, and its wait counts from when it was due.
      for (const [i, { body }] of list.entries()) {
        const due = start + (i + a / AGENTS) * gapMs;
        const wait = due - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        await post(stack.url, body);
        out.push(performance.now() - due);
      }
    }),
  );
  return out;
}

/** Requests of one agent, each sent when the one before is answered: what one takes where it waits for no other. */
interface Idle {
  /** Milliseconds of each. */
  readonly waits: readonly number[];
  /** Microseconds of CPU of each, on average: of workerd, and of the client. */
  readonly workerd: number;
  readonly client: number;
}

async function idle(stack: BenchStack): Promise<Idle> {
  const waits: number[] = [];
  const all = await prepare(stack, stack.agents[0], IDLE_POSTS, 64, PER_POST);
  const cpu = [stack.cpuMicros(), ownMicros()];
  for (const { body } of all) {
    const start = performance.now();
    await post(stack.url, body);
    waits.push(performance.now() - start);
  }
  const [workerd, client] = [stack.cpuMicros() - cpu[0], ownMicros() - cpu[1]];
  return { waits, workerd: workerd / IDLE_POSTS, client: client / IDLE_POSTS };
}

/** Interactions a second of several stacks at once, each with a shard and a load of its own. */
async function together(stacks: readonly BenchStack[]): Promise<number> {
  const rates = await Promise.all(stacks.map((stack) => throughput(stack, 64, POSTS, PER_POST)));
  return 64 * rates.reduce((sum, { perSecond }) => sum + perSecond, 0);
}

/** Two shards, each in a process of its own and both under load, against one alone: medians of alternating rounds. */
async function scaling(first: BenchStack, progress: (line: string) => void): Promise<number> {
  const second = await benchStack(AGENTS);
  try {
    await throughput(second, 64, POSTS, PER_POST);
    const [one, two]: number[][] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      one.push(await together([round % 2 === 0 ? first : second]));
      two.push(await together([first, second]));
      progress(`one shard ${Math.round(one.at(-1)!)} interactions/s, two ${Math.round(two.at(-1)!)}`);
    }
    return median(two) / median(one);
  } finally {
    await second.stop();
  }
}

export const suite: Suite = {
  name: 'shard',
  async run(progress) {
    progress('starting L1 and workerd');
    const stack = await benchStack(AGENTS);
    try {
      await throughput(stack, 64, POSTS, PER_POST);
      await throughput(stack, 1, POSTS_OF_1, PER_POST * 4);
      const [many, single]: Rate[][] = [[], []];
      for (let round = 0; round < ROUNDS; round++) {
        many.push(await throughput(stack, 64, POSTS, PER_POST));
        single.push(await throughput(stack, 1, POSTS_OF_1, PER_POST * 4));
        progress(
          `round ${round + 1}: bundles of 64 ${Math.round(64 * many.at(-1)!.perSecond)} interactions/s, of 1 ${Math.round(single.at(-1)!.perSecond)} bundles/s`,
        );
      }
      const middle = (rates: readonly Rate[], of: keyof Rate): number => median(rates.map((rate) => rate[of]));
      const rate = 64 * middle(many, 'perSecond');
      progress(`soft finality at ${Math.round(rate / 2)} interactions/s`);
      const waits = await latencies(stack, 64, rate / 2 / 64, 8);
      const again = putOff();
      const alone = await idle(stack);
      const shardScaling = await scaling(stack, progress);
      return {
        metrics: {
          interactionsPerSecond: rate,
          softFinalityP50Ms: percentile(waits, 50),
          softFinalityP99Ms: percentile(waits, 99),
          softFinalityIdleP10Ms: percentile(alone.waits, 10),
          softFinalityIdleMs: percentile(alone.waits, 50),
          softFinalityIdleP90Ms: percentile(alone.waits, 90),
          softFinalityIdleP99Ms: percentile(alone.waits, 99),
          softFinalityIdleP999Ms: percentile(alone.waits, 99.9),
          softFinalityIdleMaxMs: percentile(alone.waits, 100),
          workerdCpuMicrosPerIdleRequest: alone.workerd,
          clientCpuMicrosPerIdleRequest: alone.client,
          signaturesPerSecond: middle(single, 'perSecond'),
          interactionsPerSecondBundlesOf1: middle(single, 'perSecond'),
          workerdCpuMicrosPerBundle: middle(many, 'workerd'),
          workerdCpuMicrosPerBundleOf1: middle(single, 'workerd'),
          clientCpuMicrosPerBundle: middle(many, 'client'),
          shardScaling,
        },
        notes: {
          interactionsPerSecond: `${again} requests were put off and sent again, their waits counted`,
          softFinalityIdleMs: `median; of ${PER_POST} bundles in a request, one request at a time, ${IDLE_POSTS} of them`,
          workerdCpuMicrosPerBundle: 'gateway and shard, in one thread of one process',
          shardScaling: `two workerd processes with a shard each, loads on both at once, against one of them alone; ${cpus().length} cores carry both shards, their gateways, and the load generator`,
        },
      };
    } finally {
      await stack.stop();
    }
  },
};

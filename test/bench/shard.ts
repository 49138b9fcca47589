/**
 * A shard for real: signed bundles over HTTP, the gateway's signature check, the Shard object in workerd, its durable log, receipts back. Signing is done
 * beforehand; the load generator runs on the same machine.
 */
import { cpus } from 'node:os';
import { sleep } from '../../local/process.ts';
import { signBundle } from '../../protocol/bundle.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type BenchAgent, type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, median, percentile } from './suite.ts';

const AGENTS = 16;
/** Bundles to a request, requests in flight: one per agent, because an agent's nonces are in order. */
const PER_POST = 8;
const ROUNDS = 5;
/** Requests that had to be sent again. */
let putOff = 0;

/** `posts` request bodies for one agent, with `size` transfers to a bundle. */
async function prepare(
  stack: BenchStack,
  agent: BenchAgent,
  posts: number,
  size: number,
  perPost: number,
): Promise<Uint8Array[]> {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const bodies: Uint8Array[] = [];
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
    bodies.push(packBundles(frames));
  }
  return bodies;
}

/** Results, or one problem for all. */
interface Answer {
  readonly code: string;
  readonly results?: readonly { readonly error?: { readonly code: string } }[];
}

/** Posts until every bundle has its receipt: what a busy shard puts off is sent again when it says, as any client would. */
export async function post(url: string, body: Uint8Array): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/bundles`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.agnt2.bundles' },
      body: body as BodyInit,
    });
    const { code, results = [{ error: { code } }] } = (await response.json()) as Answer;
    const codes = new Set(results.flatMap(({ error }) => error?.code ?? []));
    if (response.ok && codes.size === 0) return;
    // Behind one that is put off, the others of its agent have a nonce too far; before it, they are done.
    const again = codes.has('overloaded') || codes.has('replayed');
    if (![...codes].every((code) => ['overloaded', 'bad_nonce', 'replayed'].includes(code)) || !again)
      throw new Error(`a bundle was refused: ${response.status} ${[...codes].join(', ')}`);
    if (codes.size === 1 && codes.has('replayed')) return;
    putOff += 1;
    await sleep(1000 * Number(response.headers.get('retry-after') ?? 0));
  }
}

/** Bundles a second with every agent sending as fast as its answers come. */
async function throughput(stack: BenchStack, size: number, posts: number, perPost: number): Promise<number> {
  const bodies = await Promise.all(stack.agents.map((agent) => prepare(stack, agent, posts, size, perPost)));
  const start = performance.now();
  await Promise.all(
    bodies.map(async (list) => {
      for (const body of list) await post(stack.url, body);
    }),
  );
  return (AGENTS * posts * perPost) / ((performance.now() - start) / 1000);
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
      for (const [i, body] of list.entries()) {
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

/** Interactions a second of several stacks at once, each with a shard and a load of its own. */
async function together(stacks: readonly BenchStack[]): Promise<number> {
  const rates = await Promise.all(stacks.map((stack) => throughput(stack, 64, 8, PER_POST)));
  return 64 * rates.reduce((sum, rate) => sum + rate, 0);
}

/** Two shards, each in a process of its own and both under load, against one alone: medians of alternating rounds. */
async function scaling(first: BenchStack, progress: (line: string) => void): Promise<number> {
  const second = await benchStack(AGENTS);
  try {
    await throughput(second, 64, 4, PER_POST);
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
      await throughput(stack, 64, 4, PER_POST);
      const rates: number[] = [];
      const single: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        rates.push(await together([stack]));
        single.push(await throughput(stack, 1, 8, PER_POST * 4));
        progress(
          `round ${round + 1}: bundles of 64 ${Math.round(rates.at(-1)!)} interactions/s, of 1 ${Math.round(single.at(-1)!)} bundles/s`,
        );
      }
      const rate = median(rates);
      progress(`soft finality at ${Math.round(rate / 2)} interactions/s`);
      const waits = await latencies(stack, 64, rate / 2 / 64, 8);
      const again = putOff;
      const shardScaling = await scaling(stack, progress);
      return {
        metrics: {
          interactionsPerSecond: rate,
          softFinalityP50Ms: percentile(waits, 50),
          softFinalityP99Ms: percentile(waits, 99),
          signaturesPerSecond: median(single),
          interactionsPerSecondBundlesOf1: median(single),
          shardScaling,
        },
        notes: {
          interactionsPerSecond: `${again} requests were put off and sent again, their waits counted`,
          shardScaling: `two workerd processes with a shard each, loads on both at once, against one of them alone; ${cpus().length} cores carry both shards, their gateways and proxies, and the load generator`,
        },
      };
    } finally {
      await stack.stop();
    }
  },
};

/**
 * A shard for real: signed bundles over HTTP, the gateway's signature check, the Shard object in workerd, its durable log, receipts back. Signing is done
 * beforehand; the load generator runs on the same machine.
 */
import { signBundle } from '../../protocol/bundle.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type BenchAgent, type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, median, percentile } from './suite.ts';

const AGENTS = 16;
/** Bundles to a request, requests in flight: one per agent, because an agent's nonces are in order. */
const PER_POST = 8;
const ROUNDS = 5;

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

async function post(url: string, body: Uint8Array): Promise<void> {
  const response = await fetch(`${url}/bundles`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.agnt2.bundles' },
    body: body as BodyInit,
  });
  const { results } = (await response.json()) as { results?: { receipt?: unknown; error?: { code: string } }[] };
  const refused = results?.find((result) => !result.receipt);
  if (!response.ok || !results || refused)
    throw new Error(`a bundle was refused: ${response.status} ${JSON.stringify(refused)}`);
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
        rates.push(64 * (await throughput(stack, 64, 8, PER_POST)));
        single.push(await throughput(stack, 1, 8, PER_POST * 4));
        progress(
          `round ${round + 1}: bundles of 64 ${Math.round(rates.at(-1)!)} interactions/s, of 1 ${Math.round(single.at(-1)!)} bundles/s`,
        );
      }
      const rate = median(rates);
      progress(`soft finality at ${Math.round(rate / 2)} interactions/s`);
      const waits = await latencies(stack, 64, rate / 2 / 64, 8);
      return {
        metrics: {
          interactionsPerSecond: rate,
          softFinalityP50Ms: percentile(waits, 50),
          softFinalityP99Ms: percentile(waits, 99),
          signaturesPerSecond: median(single),
          interactionsPerSecondBundlesOf1: median(single),
          shardScaling: null,
        },
        notes: { shardScaling: 'agents live on shard 0 until messages cross shards' },
      };
    } finally {
      await stack.stop();
    }
  },
};

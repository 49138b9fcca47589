/**
 * A shard with a million interactions in its log and 2^19 live cells, killed and started again: how long until it answers, and how much memory it
 * takes. Half of the interactions are calls that stay open, a cell each; the others are transfers. `BENCH_SCALE=0.1` does with a tenth of both.
 */
import { signBundle } from '../../protocol/bundle.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { post } from './shard.ts';
import { type BenchAgent, type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, median } from './suite.ts';

const AGENTS = 16;
const BUNDLE = 256;
const BUNDLES_A_POST = 4;
const CELLS = Math.round(2 ** 19 * Number(process.env.BENCH_SCALE ?? 1));
const RUNS = 3;
/** So long that none ends meanwhile, so short that it costs a call no more. */
const DEADLINE_SECONDS = 3599;

async function bodies(
  stack: BenchStack,
  agent: BenchAgent,
  posts: number,
  interaction: (i: number) => Interaction,
): Promise<Uint8Array[]> {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const out: Uint8Array[] = [];
  for (let p = 0; p < posts; p++) {
    const frames: Uint8Array[] = [];
    for (let b = 0; b < BUNDLES_A_POST; b++) {
      const interactions = Array.from({ length: BUNDLE }, (_, i) => interaction(i));
      frames.push(
        await signBundle(agent.key, stack.signing, { actor: agent.id, nonce: agent.nonce++, expiry }, interactions),
      );
    }
    out.push(packBundles(frames));
  }
  return out;
}

/** As many interactions as there are to be cells, shared among the agents. */
async function run(
  stack: BenchStack,
  agents: readonly BenchAgent[],
  interaction: (i: number) => Interaction,
): Promise<void> {
  const posts = Math.ceil(CELLS / agents.length / BUNDLE / BUNDLES_A_POST);
  await Promise.all(
    agents.map(async (agent) => {
      for (const body of await bodies(stack, agent, posts, interaction)) await post(stack.url, body);
    }),
  );
}

export const suite: Suite = {
  name: 'restart',
  async run(progress) {
    progress('starting L1 and workerd');
    const stack = await benchStack(AGENTS);
    try {
      const empty: number[] = [];
      for (let i = 0; i < RUNS; i++) empty.push(await stack.restart());
      const emptyBytes = stack.memoryBytes();
      const [provider, ...callers] = stack.agents;
      const metadataHash = new Uint8Array(32);
      const terms = { active: true, ceiling: 1, deadlineSeconds: DEADLINE_SECONDS, arbiter: 0, contestSeconds: 0 };
      const publish = [{ op: 'publish', service: 0, ...terms, metadataHash } as const];
      const head = { actor: provider.id, nonce: provider.nonce++, expiry: Math.floor(Date.now() / 1000) + 3600 };
      await post(stack.url, packBundles([await signBundle(provider.key, stack.signing, head, publish)]));
      // The first service of shard 0.
      const service = 256;
      progress(`${CELLS} calls that stay open`);
      await run(stack, callers, () => ({ op: 'invoke', service, amount: 1 }));
      progress(`${CELLS} transfers`);
      await run(stack, stack.agents, (i) => ({ op: 'transfer', to: stack.agents[i % AGENTS].id, amount: 1 }));
      const seconds: number[] = [];
      const bytes: number[] = [];
      for (let i = 0; i < RUNS; i++) {
        seconds.push(await stack.restart());
        bytes.push(stack.memoryBytes() - emptyBytes);
        progress(
          `restart in ${seconds.at(-1)!.toFixed(2)} s, ${Math.round(bytes.at(-1)! / 2 ** 20)} MiB more than empty`,
        );
      }
      return {
        metrics: {
          restartSeconds: median(seconds) - median(empty),
          emptyRestartSeconds: median(empty),
          heapBytesAt2p19Cells: median(bytes),
        },
        notes: {
          restartSeconds: `${2 * CELLS} interactions in the log, ${CELLS} open calls; from starting wrangler until the shard answers, less emptyRestartSeconds that the same takes with an empty shard`,
          heapBytesAt2p19Cells:
            'resident memory of workerd right after such a restart, less that of one with an empty shard: the whole process, with garbage and SQLite’s cache, so more than the isolate’s heap',
        },
      };
    } finally {
      await stack.stop();
    }
  },
};

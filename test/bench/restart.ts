/**
 * A shard with a million interactions in its log and 2^19 live cells: how much memory its isolate takes, under load, after it, and once it was killed
 * and started again; and how long that takes until it answers. The cells are calls, half of them open and half waiting for one that is. The load is as many
 * transfers, then calls that are answered while others come. `BENCH_SCALE=0.1` does with a tenth of all.
 */
import { signBundle } from '../../protocol/bundle.ts';
import { makeId } from '../../protocol/ids.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { post } from './client.ts';
import { Isolate, type IsolateMemory, most, totalOf, watch } from './isolate.ts';
import { type BenchAgent, type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, median } from './suite.ts';

const AGENTS = 16;
const BUNDLE = 256;
const BUNDLES_A_POST = 4;
const CELLS = Math.round(2 ** 19 * Number(process.env.BENCH_SCALE ?? 1));
const RUNS = 3;
/** Calls answered, and as many made anew, in parts of all there are. */
const ANSWERED = 1 / 8;
/** So long that none ends meanwhile, so short that it costs a call no more. */
const DEADLINE_SECONDS = 3599;

async function body(
  stack: BenchStack,
  agent: BenchAgent,
  interaction: (i: number) => Interaction,
): Promise<Uint8Array> {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const frames: Uint8Array[] = [];
  for (let b = 0; b < BUNDLES_A_POST; b++) {
    const interactions = Array.from({ length: BUNDLE }, (_, i) => interaction(i));
    frames.push(
      await signBundle(agent.key, stack.signing, { actor: agent.id, nonce: agent.nonce++, expiry }, interactions),
    );
  }
  return packBundles(frames);
}

/** So many interactions, shared among the agents. */
async function run(
  stack: BenchStack,
  agents: readonly BenchAgent[],
  count: number,
  interaction: (i: number) => Interaction,
): Promise<void> {
  const posts = Math.ceil(count / agents.length / BUNDLE / BUNDLES_A_POST);
  await Promise.all(
    agents.map(async (agent) => {
      for (let p = 0; p < posts; p++) await post(stack.url, await body(stack, agent, interaction));
    }),
  );
}

interface ShardJson {
  readonly agents: number;
  readonly services: number;
  readonly balances: string;
}

/** Cells of agents, keys, services and calls that are not done: each of those holds a base unit. */
async function liveCells(stack: BenchStack, funds: number): Promise<number> {
  const { agents, services, balances } = await status(stack);
  return funds - Number(balances) + 2 * agents + services;
}

async function status(stack: BenchStack): Promise<ShardJson> {
  const { shards } = (await (await fetch(`${stack.url}/status`)).json()) as { shards: ShardJson[] };
  return shards[0];
}

const MB = 1e6;
const told = (memory: IsolateMemory): string => {
  const { heap, embedder, buffers, wasm } = memory;
  const parts = [totalOf(memory), heap + embedder, buffers, wasm].map((bytes) => (bytes / MB).toFixed(1));
  return `${parts[0]} MB (heap ${parts[1]}, buffers ${parts[2]}, WebAssembly ${parts[3]})`;
};

export const suite: Suite = {
  name: 'restart',
  async run(progress) {
    progress('starting L1 and workerd');
    const stack = await benchStack(AGENTS);
    try {
      const empty: number[] = [];
      for (let i = 0; i < RUNS; i++) empty.push(await stack.restart());
      const emptyBytes = stack.memoryBytes();
      let isolate = await Isolate.connect();
      const emptyIsolate = await isolate.collected();
      progress(`empty: ${told(emptyIsolate)}`);
      const [provider, ...callers] = stack.agents;
      const funds = Number((await status(stack)).balances);
      const metadataHash = new Uint8Array(32);
      const terms = { active: true, ceiling: 1, deadlineSeconds: DEADLINE_SECONDS, arbiter: 0, contestSeconds: 0 };
      const publish = { op: 'publish', service: 0, ...terms, metadataHash } as const;
      const head = { actor: provider.id, nonce: provider.nonce++, expiry: Math.floor(Date.now() / 1000) + 3600 };
      await post(stack.url, packBundles([await signBundle(provider.key, stack.signing, head, [publish])]));
      // The first service of shard 0.
      const call = { op: 'invoke', service: makeId(0, 1), amount: 1 } as const;
      const invoke = (i: number): Interaction => (i % 2 === 0 ? call : { ...call, back: 1 });
      const transfer = (i: number): Interaction => ({ op: 'transfer', to: stack.agents[i % AGENTS].id, amount: 1 });
      // Every second serial, from the first on, is of a call that was open at once.
      let answered = 0;
      const respond = (): Interaction => {
        const escrow = makeId(0, 1 + 2 * answered++);
        return { op: 'respond', escrow, price: 1, result: 'fulfilled' };
      };
      const count = Math.round(CELLS * ANSWERED);
      const phases: readonly (readonly [string, () => Promise<unknown>])[] = [
        [`${CELLS} calls`, () => run(stack, callers, CELLS, invoke)],
        [`${CELLS} transfers`, () => run(stack, stack.agents, CELLS, transfer)],
        [
          `${count} answers, as many calls and transfers`,
          () =>
            Promise.all([
              run(stack, [provider], count, respond),
              run(stack, callers, 2 * count, (i) => (i % 2 === 0 ? call : transfer(i))),
            ]),
        ],
      ];
      let [live, met] = [emptyIsolate, emptyIsolate];
      let cells = Infinity;
      for (const [i, [name, work]] of phases.entries()) {
        const seen = await watch(isolate, work());
        live = most(live, seen.live);
        met = most(met, seen.met);
        if (i > 0) cells = Math.min(cells, await liveCells(stack, funds));
        progress(
          `${name}: at most ${told(seen.met)}, without garbage ${told(seen.live)}; ${await liveCells(stack, funds)} live cells`,
        );
      }
      let settled = await isolate.collected();
      progress(`settled: ${told(settled)}`);
      const seconds: number[] = [];
      const bytes: number[] = [];
      for (let i = 0; i < RUNS; i++) {
        isolate.close();
        seconds.push(await stack.restart());
        bytes.push(stack.memoryBytes() - emptyBytes);
        isolate = await Isolate.connect();
        // What building it up left behind is still there.
        met = most(met, await isolate.memory());
        settled = most(settled, await isolate.collected());
        progress(
          `restart in ${seconds.at(-1)!.toFixed(2)} s, ${Math.round(bytes.at(-1)! / 2 ** 20)} MiB more than empty; ${told(settled)}`,
        );
      }
      isolate.close();
      return {
        metrics: {
          restartSeconds: median(seconds) - median(empty),
          emptyRestartSeconds: median(empty),
          isolateHeapMb: totalOf(settled) / MB,
          isolateHeapPeakMb: totalOf(met) / MB,
          isolateHeapPeakLiveMb: totalOf(live) / MB,
          isolateHeapEmptyMb: totalOf(emptyIsolate) / MB,
          isolateLiveCells: cells,
          heapBytesAt2p19Cells: median(bytes),
        },
        notes: {
          restartSeconds: `more than ${2 * CELLS} interactions in the log; from starting wrangler until the shard answers, less emptyRestartSeconds that the same takes with an empty shard`,
          isolateHeapMb:
            'all that the isolate of the shard takes after the load, and again after each restart, the most of these, garbage collected: pages of the JavaScript heap, buffers and WebAssembly memories, by workerd’s own inspector; MB of 10^6 bytes. The gateway and all other objects live in the same isolate here',
          isolateHeapPeakMb: `the same at its most, under load or right after a restart, with garbage: ${told(met)}`,
          isolateHeapPeakLiveMb: `the same at its most under load, garbage collected about once a second: ${told(live)}`,
          isolateLiveCells:
            'agents, their keys, services and calls not done, half of them waiting for another: the least of what there was from the first load on',
          heapBytesAt2p19Cells:
            'resident memory of workerd right after such a restart, less that of one with an empty shard: the whole process, with garbage and SQLite’s cache, so more than the isolate’s heap',
        },
      };
    } finally {
      await stack.stop();
    }
  },
};

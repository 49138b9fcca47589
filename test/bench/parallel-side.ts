/** One side of the comparison in parallel.ts, in a thread of its own: the engine, or the executor with one more thread. */
import { parentPort, workerData } from 'node:worker_threads';
import '../../protocol/keccak/install.ts';
import { ParallelExecutor } from '../../local/parallel/executor.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine } from '../../protocol/engine.ts';
import { type PageImage, ShardTrie } from '../../protocol/trie.ts';

export interface SideData {
  readonly threads: number;
  readonly pages: readonly PageImage[];
  /** By lap, by stretch: the frames. */
  readonly laps: readonly (readonly (readonly Uint8Array[])[])[];
}
export interface Lap {
  readonly milliseconds: number;
  /** What it would take if no thread ever had to wait for a core: all that was computed shared evenly, but what this thread computes at least. */
  readonly cpuMilliseconds: number;
  /** After each stretch. */
  readonly roots: readonly Uint8Array[];
}

const { threads, pages, laps } = workerData as SideData;
const signing = new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` });
const verify = (): boolean => true;

function accept(statuses: Uint8Array, first: number, end: number): void {
  for (let i = first; i < end; i++) if (statuses[i] !== 0) throw new Error('the workload must run without a refusal');
}

type Stretch = readonly Uint8Array[];

function one(): (lap: readonly Stretch[]) => Uint8Array[] {
  const trie = new ShardTrie();
  for (const page of pages) trie.load(page);
  trie.root();
  const engine = new Engine(0, signing, { verify, trie });
  return (lap) =>
    lap.map((frames) => {
      for (const frame of frames) accept(engine.statuses, 0, engine.run(engine.seq, frame));
      return trie.root();
    });
}

function several(): (lap: readonly Stretch[]) => Uint8Array[] {
  const executor = new ParallelExecutor(0, signing, { verify, threads });
  executor.load(pages);
  executor.root();
  return (lap) => {
    const roots: Uint8Array[] = [];
    for (const [i, frames] of lap.entries()) {
      executor.run(frames, (_frame, statuses, _values, first, end) => accept(statuses, first, end));
      if (i > 0) roots.push(executor.endRoot());
      executor.beginRoot();
    }
    return [...roots, executor.endRoot()];
  };
}

const run = threads === 1 ? one() : several();
parentPort!.on('message', (i: number) => {
  const start = performance.now();
  const before = process.cpuUsage();
  const own = process.threadCpuUsage();
  const roots = run(laps[i]);
  const milliseconds = performance.now() - start;
  // Nobody else in the process runs meanwhile.
  const all = process.cpuUsage(before);
  const here = process.threadCpuUsage(own);
  const cpuMilliseconds = Math.max((all.user + all.system) / threads, here.user + here.system) / 1000;
  parentPort!.postMessage({ milliseconds, cpuMilliseconds, roots } satisfies Lap);
});
parentPort!.postMessage(null);

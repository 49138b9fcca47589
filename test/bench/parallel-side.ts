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
  readonly stretches: readonly (readonly Uint8Array[])[];
}
export interface Lap {
  readonly milliseconds: number;
  /** Of all threads together: nobody else in the process runs meanwhile. */
  readonly cpuMilliseconds: number;
  readonly root: Uint8Array;
}

const { threads, pages, stretches } = workerData as SideData;
const signing = new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` });
const verify = (): boolean => true;

function accept(statuses: Uint8Array, first: number, end: number): void {
  for (let i = first; i < end; i++) if (statuses[i] !== 0) throw new Error('the workload must run without a refusal');
}

function one(): (frames: readonly Uint8Array[]) => Uint8Array {
  const trie = new ShardTrie();
  for (const page of pages) trie.load(page);
  trie.root();
  const engine = new Engine(0, signing, { verify, trie });
  return (frames) => {
    for (const frame of frames) accept(engine.statuses, 0, engine.run(engine.seq, frame));
    return trie.root();
  };
}

function several(): (frames: readonly Uint8Array[]) => Uint8Array {
  const executor = new ParallelExecutor(0, signing, { verify, threads });
  executor.load(pages);
  executor.root();
  return (frames) => {
    executor.run(frames, (_frame, statuses, _values, first, end) => accept(statuses, first, end));
    return executor.root();
  };
}

const run = threads === 1 ? one() : several();
parentPort!.on('message', (i: number) => {
  const start = performance.now();
  const before = process.cpuUsage();
  const root = run(stretches[i]);
  const { user, system } = process.cpuUsage(before);
  const milliseconds = performance.now() - start;
  parentPort!.postMessage({ milliseconds, cpuMilliseconds: (user + system) / 1000, root } satisfies Lap);
});
parentPort!.postMessage(null);

/** The fuzz on several threads: hands out shares, adds up what they say, and ends them when enough is done. */
import { Worker } from 'node:worker_threads';
import { type Seen, addSeen } from '../reference/differential.ts';
import type { Mismatch } from './fuzz.ts';
import type { Order, Progress, Share } from './worker.ts';

export interface Sum {
  readonly steps: number;
  readonly refused: number;
  readonly longest: number;
  readonly mismatches: readonly Mismatch[];
  readonly seen: Seen;
  readonly telling: readonly (readonly [seed: number, shown: readonly string[]])[];
}

/** Most mismatches to go on with. */
const MOST_MISMATCHES = 50;

/** Runs what the share names, and on until `steps` were executed; `hear` is told how it goes. A thread that fails makes this fail. */
export async function fuzz(
  share: Omit<Share, 'thread' | 'threads'>,
  steps: number,
  threads: number,
  hear: (sum: Omit<Sum, 'seen' | 'telling'>) => void = () => undefined,
): Promise<Sum> {
  const last = new Map<number, Progress>();
  const mismatches: Mismatch[] = [];
  const seen: Seen = new Map();
  const telling: Sum['telling'][number][] = [];
  const sum = () => {
    const all = [...last.values()];
    return {
      steps: all.reduce((total, { steps }) => total + steps, 0),
      refused: all.reduce((total, { refused }) => total + refused, 0),
      longest: Math.max(0, ...all.map(({ longest }) => longest)),
      mismatches,
    };
  };
  const workers: Worker[] = [];
  const work = (thread: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const workerData: Share = { ...share, thread, threads };
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData });
      workers.push(worker);
      worker.on('error', reject);
      worker.on('message', (word: Progress) => {
        last.set(thread, word);
        mismatches.push(...word.mismatches);
        if (word.seen) addSeen(seen, word.seen);
        telling.push(...(word.telling ?? []));
        hear(sum());
        if (word.isDone) resolve();
        const order: Order | null =
          mismatches.length >= MOST_MISMATCHES ? 'stop' : sum().steps >= steps ? 'enough' : null;
        if (order) for (const each of workers) each.postMessage(order);
      });
      worker.on('exit', () => reject(new Error(`thread ${thread} ended before it was done`)));
    });
  await Promise.all(Array.from({ length: threads }, (_, thread) => work(thread)));
  return { ...sum(), seen, telling };
}

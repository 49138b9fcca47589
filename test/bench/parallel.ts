/**
 * Two threads against one: the parallel executor and the serial engine, each on its own copy of one growing state, take the
 * same frames from wire bytes to the same root, in turns. Each side is a thread of its own, so that the compiler sees of
 * each what it would see alone.
 *
 * On a machine that others use too, two threads get no more time than one; what they would come to if they did is told by
 * the time they computed.
 */
import { Worker } from 'node:worker_threads';
import { equal } from '../../protocol/bytes.ts';
import type { PageImage } from '../../protocol/trie.ts';
import type { Lap, SideData } from './parallel-side.ts';
import { median } from './suite.ts';

/** Laps that are not counted: code gets compiled, memory touched for the first time. */
const WARM_UP = 1;

class Side {
  readonly #worker: Worker;

  constructor(workerData: SideData) {
    this.#worker = new Worker(new URL('./parallel-side.ts', import.meta.url), { workerData });
  }
  /** What it says next. An error of its own ends the process. */
  next(): Promise<Lap> {
    return new Promise((resolve) => {
      this.#worker.once('message', resolve);
    });
  }
  run(number: number): Promise<Lap> {
    const lap = this.next();
    this.#worker.postMessage(number);
    return lap;
  }
  close(): Promise<number> {
    return this.#worker.terminate();
  }
}

/** Median of the ratios over laps of some stretches each, with a root after each stretch. Signatures are taken as valid. */
export async function parallelSpeedup(
  pages: readonly PageImage[],
  laps: readonly (readonly (readonly Uint8Array[])[])[],
  progress: (line: string) => void,
): Promise<{ readonly speedup: number; readonly byCpu: number }> {
  const one = new Side({ threads: 1, pages, laps });
  await one.next();
  const two = new Side({ threads: 2, pages, laps });
  await two.next();
  const ratios: number[] = [];
  const cpuRatios: number[] = [];
  for (const i of laps.keys()) {
    const first = i % 2 === 0 ? one : two;
    const results = new Map([[first, await first.run(i)]]);
    const second = first === one ? two : one;
    results.set(second, await second.run(i));
    const [slow, fast] = [results.get(one)!, results.get(two)!];
    if (slow.roots.some((root, j) => !equal(root, fast.roots[j])))
      throw new Error('two threads must come to the root that one comes to');
    progress(`${slow.milliseconds.toFixed(1)} ms on one thread, ${fast.milliseconds.toFixed(1)} ms on two`);
    ratios.push(slow.milliseconds / fast.milliseconds);
    cpuRatios.push(slow.cpuMilliseconds / fast.cpuMilliseconds);
  }
  await Promise.all([one.close(), two.close()]);
  return { speedup: median(ratios.slice(WARM_UP)), byCpu: median(cpuRatios.slice(WARM_UP)) };
}

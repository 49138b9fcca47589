/**
 * Two threads against one: the parallel executor and the serial engine, each on its own copy of one growing state, take the
 * same frames from wire bytes to the same root, in turns.
 */
import { ParallelExecutor } from '../../local/parallel/executor.ts';
import { equal } from '../../protocol/bytes.ts';
import type { Engine } from '../../protocol/engine.ts';
import { median } from './suite.ts';

/** Stretches that are not counted: code gets compiled, memory touched for the first time. */
const WARM_UP = 4;

/** Median of the ratios over stretches, with a root after each. The engine's signatures are taken as valid. */
export async function parallelSpeedup(
  engine: Engine,
  stretches: readonly (readonly Uint8Array[])[],
  progress: (line: string) => void,
): Promise<number> {
  const { signing } = engine.machine;
  const executor = new ParallelExecutor(engine.shard, signing, { verify: () => true, threads: 2 });
  executor.load(engine.trie.takeChanged());
  executor.root();
  const milliseconds = (work: () => Uint8Array): [time: number, root: Uint8Array] => {
    const start = performance.now();
    const root = work();
    return [performance.now() - start, root];
  };
  const ratios = stretches.map((frames, i) => {
    const serial = () =>
      milliseconds(() => {
        for (const frame of frames) accept(engine.statuses, 0, engine.run(engine.seq, frame));
        return engine.trie.root();
      });
    const parallel = () =>
      milliseconds(() => {
        executor.run(frames, (_frame, statuses, _values, first, end) => accept(statuses, first, end));
        return executor.root();
      });
    // Whoever comes second finds what both read in the cache.
    const [two, one] = i % 2 === 0 ? [parallel(), serial()] : [serial(), parallel()].toReversed();
    if (!equal(one[1], two[1])) throw new Error('two threads must come to the root that one comes to');
    progress(`stretch ${i}: ${one[0].toFixed(1)} ms on one thread, ${two[0].toFixed(1)} ms on two`);
    return one[0] / two[0];
  });
  await executor.close();
  return median(ratios.slice(WARM_UP));
}

function accept(statuses: Uint8Array, first: number, end: number): void {
  for (let i = first; i < end; i++) if (statuses[i] !== 0) throw new Error('the workload must run without a refusal');
}

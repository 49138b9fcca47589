/** One more thread of a parallel executor: does its part of each phase. */
import { workerData } from 'node:worker_threads';
import '../../protocol/keccak/install.ts';
import { Lane, SPINS } from './lane.ts';
import { PHASES, Phase, type Shared, Word } from './shared.ts';

const { shared, lane: number } = workerData as { readonly shared: Shared; readonly lane: number };
const { control } = shared;
const lane = new Lane(shared, number);

/** Waits for the phase after `last`. */
function next(last: number): number {
  for (let spins = 0; ; spins++) {
    const phase = Atomics.load(control, Word.phase);
    if (phase !== last) return phase;
    if (spins > SPINS) Atomics.wait(control, Word.phase, last);
  }
}

try {
  for (let phase = next(0); phase % PHASES !== Phase.exit; phase = next(phase)) {
    if (phase % PHASES === Phase.decode) lane.decode(control[Word.limit]);
    else if (phase % PHASES === Phase.execute) lane.execute();
    else lane.trie.hashDirty(control[Word.limit]);
    Atomics.add(control, Word.done, 1);
    Atomics.notify(control, Word.done);
  }
} catch (error) {
  // Nobody waits for this thread any longer; the process hears why.
  Atomics.store(control, Word.failed, 1);
  throw error;
}

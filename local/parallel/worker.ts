/** One more thread of a parallel executor: does its part of each phase. */
import { workerData } from 'node:worker_threads';
import '../../protocol/keccak/install.ts';
import { Lane } from './lane.ts';
import { PHASES, Phase, SPINS, type Shared, Word, fail } from './shared.ts';

const { shared, lane: number } = workerData as { readonly shared: Shared; readonly lane: number };
const { control } = shared;

/** Waits for the phase after `last`. */
function next(last: number): number {
  for (let spins = 0; ; spins++) {
    const phase = Atomics.load(control, Word.phase);
    if (phase !== last) return phase;
    if (spins > SPINS) Atomics.wait(control, Word.phase, last);
  }
}

function work(lane: Lane, phase: number): void {
  if (phase === Phase.decode) lane.decode(control[Word.limit]);
  else if (phase === Phase.execute) lane.execute();
  else if (phase === Phase.hash) lane.trie.hashUnits();
  else throw new Error(`there is no phase ${phase}`);
}

try {
  const lane = new Lane(shared, number);
  for (let phase = next(0); phase % PHASES !== Phase.exit; phase = next(phase)) {
    work(lane, phase % PHASES);
    Atomics.add(control, Word.done, 1);
    Atomics.notify(control, Word.done);
  }
} catch (error) {
  fail(shared, error);
}

/** A thread's share of the differential test: every so manieth trace. Answers with what its traces have seen, or fails as they do. */
import { parentPort, workerData } from 'node:worker_threads';
import '../../protocol/keccak/install.ts';
import { Differential, type Seen } from './differential.ts';

export interface Share {
  readonly first: number;
  readonly step: number;
  readonly end: number;
}

const { first, step, end }: Share = workerData;
const differential = new Differential();
for (let seed = first; seed < end; seed += step)
  differential.run(
    { seed },
    // Now and then a long one.
    (trace) => trace.run(seed % 1000 === 0 ? 300 : 10 + (seed % 31)),
    seed % 100 < 10,
  );
parentPort?.postMessage(differential.seen satisfies Seen);

/** Single queues, simulated and by formula: where the simulator can be held against what is known exactly. */
import { mg1 } from './model.ts';
import { Network } from './network.ts';
import { Draws, type Law, secondMoment } from './random.ts';
import { type Estimate, estimate } from './statistics.ts';

/** Seconds of a mean service: a queue has no scale of its own. */
const SERVICE = 1;
const LOADS = [0.2, 0.4, 0.6, 0.8, 0.9] as const;
const LAWS: readonly Law[] = ['exponential', 'constant', 'bursty'];

export interface QueuePoint {
  readonly law: Law;
  readonly load: number;
  /** Mean sojourn, in mean services: by formula, and as simulated. */
  readonly formula: number;
  readonly simulated: Estimate;
}

/** Sojourns of `jobs` jobs at one station, Poisson arrivals; the first tenth, in which the queue fills, left out. */
export function simulateQueue(seed: number, law: Law, load: number, jobs: number): Float64Array {
  const draws = Draws.of(seed, `${law} ${load}`);
  const network = new Network([1], [0]);
  const began = new Float64Array(jobs);
  const sojourns = new Float64Array(jobs);
  network.after(draws.exponential(SERVICE / load), 0, 0);
  network.run(Infinity, {
    timer(_kind, job) {
      began[job] = network.now;
      network.serve(0, job, draws.of(law, SERVICE));
      if (job + 1 < jobs) network.after(draws.exponential(SERVICE / load), 0, job + 1);
    },
    served: (job) => void (sojourns[job] = network.now - began[job]),
  });
  return sojourns.subarray(Math.floor(jobs / 10));
}

export const queueCurves = (seed: number, jobs: number): QueuePoint[] =>
  LAWS.flatMap((law) =>
    LOADS.map((load) => ({
      law,
      load,
      formula: mg1(load / SERVICE, SERVICE, secondMoment(law)).sojourn,
      simulated: estimate(simulateQueue(seed, law, load, jobs)),
    })),
  );

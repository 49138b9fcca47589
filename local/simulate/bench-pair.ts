/**
 * One pair of a session on this machine, as `npm run bench -- session` has it: two ends and the relay between them, a thread each, on the machine's
 * cores; saturated with calls in flight, then at a steady rate, then far apart.
 */
import { signDelay, stretched } from '../../sidecar/session/window.ts';
import type { CallCosts } from './model.ts';
import { Network } from './network.ts';
import { Draws } from './random.ts';
import { Sample } from './statistics.ts';

const CALLER = 0;
const RELAY = 1;
const CALLEE = 2;
/** Legs of a call, in order: where it is served. */
const LEGS = [CALLER, RELAY, CALLEE, RELAY, CALLER] as const;

/** Timers. */
const ARRIVAL = 0;
const SENT = 1;
const WINDOW = 2;
const LEAST_MS = 1e-6;

export interface PairSetup {
  readonly seed: number;
  readonly costs: CallCosts;
  readonly cores: number;
  /** Seconds that a packet takes from an end to the relay or back, and that its cores know nothing of. */
  readonly hop: number;
  /** Calls always in flight, or calls a second. */
  readonly inFlight?: number;
  readonly rate?: number;
  readonly calls: number;
  readonly window: { readonly ms: number; readonly calls: number };
  readonly credit: number;
  readonly price: number;
  /** Seconds that a signature takes. */
  readonly sign: number;
}

export interface PairRun {
  readonly callsPerSecond: number;
  /** Seconds. */
  readonly sojourn: Sample;
  /** Halves signed, and the most that was unsigned at a time, base units. */
  readonly halves: number;
  readonly exposure: number;
}

export function simulatePair(setup: PairSetup): PairRun {
  const { costs, cores, hop, inFlight, rate, calls, window, credit, price, sign } = setup;
  const draws = Draws.of(setup.seed, 'pair');
  const network = new Network([cores], [0, 0, 0]);
  /** Half of what a call costs an end or the relay is its request's, half its answer's; the callee has it in one piece. */
  const service = [costs.caller / 2, costs.relay / 2, costs.callee, costs.relay / 2, costs.caller / 2];
  const legs = new Uint8Array(calls);
  const began = new Float64Array(calls);
  const sojourn = new Sample();
  let started = 0;
  let done = 0;
  let exposure = 0;
  let halves = 0;
  let signed = 0;
  let lastHalf = -Infinity;
  let isDue = false;

  const start = (): void => {
    const job = started++;
    began[job] = network.now;
    network.serve(CALLER, job, draws.of('exponential', service[0]));
  };
  /** The payer signs when its own rule says so. */
  const look = (): void => {
    const unsigned = { calls: done - signed, value: (done - signed) * price };
    exposure = Math.max(exposure, unsigned.value);
    const rule = { ms: stretched(window.ms, sign * 1000), calls: window.calls };
    const delay = signDelay(rule, unsigned, credit, (network.now - lastHalf) * 1000);
    if (delay === Infinity || (isDue && delay > LEAST_MS)) return;
    // A rest below the clock's own step is none.
    if (delay > LEAST_MS) {
      isDue = true;
      network.after(delay / 1000, WINDOW);
      return;
    }
    signed = done;
    lastHalf = network.now;
    halves += 1;
  };

  if (inFlight !== undefined) for (let i = 0; i < Math.min(inFlight, calls); i++) start();
  else network.after(0, ARRIVAL);
  network.run(Infinity, {
    served(job, station) {
      const leg = legs[job]++;
      if (leg === LEGS.length - 1) {
        done += 1;
        sojourn.add(network.now - began[job]);
        look();
        if (inFlight !== undefined && started < calls) start();
      } else if (station === RELAY || LEGS[leg + 1] === RELAY) network.after(hop, SENT, job);
    },
    timer(kind, job) {
      if (kind === ARRIVAL) {
        start();
        if (started < calls) network.after(1 / rate!, ARRIVAL);
      } else if (kind === SENT) network.serve(LEGS[legs[job]], job, draws.of('exponential', service[legs[job]]));
      else {
        isDue = false;
        look();
      }
    },
  });
  return { callsPerSecond: done / network.now, sojourn, halves, exposure };
}

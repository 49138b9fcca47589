/**
 * Sessions for real: both endpoints with their stores on disk, through the Session object in workerd. 256-byte requests and responses, halves signed by
 * window; the payees run in a thread of their own, everything on this machine.
 */
import { MachineKey } from '../../protocol/keys.ts';
import type { SessionEndpoint } from '../../sidecar/session/index.ts';
import { callOnce } from './session-end.ts';
import { Bench, type Cost, IN_FLIGHT, type Pair, costOf, saturate } from './session-pairs.ts';
import { benchStack } from './stack.ts';
import { type Findings, type Suite, isShort, median, percentile } from './suite.ts';
import { x402Note, x402Rates } from './x402.ts';

const ROUNDS = isShort ? 2 : 5;
/** How many pairs the cost of a call is measured with, and calls that a round measures. */
const PAIRS = [1, 8, 64] as const;
const ROUND_CALLS = 40_960;
const WARM_UP_CALLS = 200;
/** Calls one after the other, as a session makes them that calls rarely. */
const SPARSE_CALLS = 1000;
const COST_ROUNDS = 5;
/** Of each of the pairs, the one as the 64; or of all together. */
const COST_IN_FLIGHT = 512;

/** Milliseconds from when each call was due, at a steady rate. */
async function steady(caller: SessionEndpoint, callsPerSecond: number, seconds: number): Promise<number[]> {
  const out: number[] = [];
  const calls: Promise<void>[] = [];
  const start = performance.now();
  for (let i = 0; i < callsPerSecond * seconds; i++) {
    const due = start + (i * 1000) / callsPerSecond;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    calls.push(callOnce(caller).then(() => void out.push(performance.now() - due)));
  }
  await Promise.all(calls);
  return out;
}

export const suite: Suite = {
  name: 'session',
  async run(progress): Promise<Findings> {
    progress('starting L1 and workerd');
    const secrets = [MachineKey.randomSecret(), MachineKey.randomSecret()];
    const stack = await benchStack(2, secrets);
    const bench = new Bench(stack, secrets);
    try {
      const one = await bench.pairs(1);
      const { caller } = one[0];
      await saturate(one, 5_000);
      const rates: number[] = [];
      const before = { ...caller.counters };
      const [cpu, relayCpu] = [process.cpuUsage(), stack.cpuMicros()];
      for (let round = 0; round < ROUNDS; round++) {
        rates.push(await saturate(one, 10_000));
        progress(`one pair, round ${round + 1}: ${Math.round(rates.at(-1)!)} calls/s`);
      }
      const after = { ...caller.counters };
      const relayMicros = stack.cpuMicros() - relayCpu;
      const { user, system } = process.cpuUsage(cpu);
      const packets = after.packetsOut - before.packetsOut + after.packetsIn - before.packetsIn;
      const bytes = after.bytesOut - before.bytesOut + after.bytesIn - before.bytesIn;
      const calls = after.callsOut - before.callsOut;
      const waits = await steady(caller, 1000, 5);
      const windows = caller.counters.windowsOut;
      const [sparseCpu, sparseRelay] = [process.cpuUsage(), stack.cpuMicros()];
      for (let call = 0; call < SPARSE_CALLS; call++) await callOnce(caller);
      const sparse = process.cpuUsage(sparseCpu);
      const sparseRelayMicros = stack.cpuMicros() - sparseRelay;
      const sparseHalves = caller.counters.windowsOut - windows;
      await bench.release(one);
      progress('40 ms of emulated round trip');
      const far = await bench.pairs(1, { delayMs: 20 });
      const farWaits = await steady(far[0].caller, 200, 4);
      await bench.release(far);
      const onePair = {
        callsPerSecond: median(rates),
        callsPerPacket: calls / (packets / 2),
        p50Ms: percentile(waits, 50),
        p99Ms: percentile(waits, 99),
        farP50Ms: percentile(farWaits, 50),
        endsMicrosPerCall: (user + system) / calls,
        relayMicrosPerCall: relayMicros / calls,
        endsMicrosPerCallSparse: (sparse.user + sparse.system) / SPARSE_CALLS,
        relayMicrosPerCallSparse: sparseRelayMicros / SPARSE_CALLS,
        halvesPerCallSparse: sparseHalves / SPARSE_CALLS,
      };
      if (isShort) return { metrics: onePair };
      progress('over links of their own');
      const linked = await bench.pairs(1, { direct: true });
      await saturate(linked, 2_000);
      const relayed = linked[0].caller.counters.windowsOut;
      const direct: number[] = [];
      for (let round = 0; round < 3; round++) direct.push(await saturate(linked, 10_000));
      progress(
        `over a link: ${Math.round(median(direct))} calls/s, ${linked[0].caller.counters.windowsOut - relayed} halves`,
      );
      await bench.release(linked);
      progress('a signature per call');
      const strict = await bench.pairs(1, { windowCalls: 1 });
      const perCall: number[] = [];
      for (let round = 0; round < 3; round++) {
        // Until the last of them is signed, and its receipt is here.
        const start = performance.now();
        await saturate(strict, 2_000);
        await strict[0].caller.flush();
        perCall.push(2_000 / ((performance.now() - start) / 1000));
      }
      await bench.release(strict);
      const sets = new Map<number, { pairs: Pair[]; each: Cost[]; shared: Cost[] }>();
      for (const count of PAIRS) {
        const pairs = await bench.pairs(count);
        await saturate(pairs, WARM_UP_CALLS);
        sets.set(count, { pairs, each: [], shared: [] });
      }
      // In turns: what else the machine does falls on all of them.
      for (let round = 0; round < COST_ROUNDS; round++) {
        for (const [count, { pairs, each, shared }] of sets) {
          each.push(await costOf(stack, pairs, ROUND_CALLS, COST_IN_FLIGHT));
          shared.push(await costOf(stack, pairs, ROUND_CALLS, COST_IN_FLIGHT / count));
          const [{ rate, micros }, together] = [each.at(-1)!, shared.at(-1)!];
          progress(
            `${count} pairs: ${Math.round(rate)} calls/s, ${micros.toFixed(1)} µs of CPU for one; with ${COST_IN_FLIGHT} in flight in all: ${together.micros.toFixed(1)} µs`,
          );
        }
      }
      const medianOf = (count: number, what: keyof Cost): number =>
        median(sets.get(count)!.each.map((cost) => cost[what]));
      const ratios = (count: number, load: 'each' | 'shared'): number[] =>
        sets.get(count)![load].map(({ micros }, round) => micros / sets.get(1)![load][round].micros);
      await bench.release([...sets.values()].flatMap(({ pairs }) => pairs));
      const bare = await bench.bareFrames(
        Math.round(bytes / packets),
        Math.max(2, Math.round((IN_FLIGHT * packets) / calls / 2)),
        4,
      );
      progress('idle sessions');
      const idle = await bench.idle();
      progress('the official x402 packages');
      const x402 = await x402Rates(stack.l1, progress);
      const rate = typeof x402 === 'string' ? null : x402;
      return {
        metrics: {
          ...onePair,
          callsPerSecondSignedEach: median(perCall),
          directCallsPerSecond: median(direct),
          // What the relay spends on a bare frame of the same size, over what it spends on a packet of calls with all that
          // goes with it: halves and receipts verified and kept.
          relayEfficiency: bare.relayMicros / (relayMicros / packets),
          // How much more the relay could pass: the ends are what is busy.
          relayHeadroom: bare.rate / ((packets / calls) * median(rates)),
          aggregate1: medianOf(1, 'rate'),
          aggregate8: medianOf(8, 'rate'),
          aggregate64: medianOf(64, 'rate'),
          microsPerCall1: medianOf(1, 'micros'),
          microsPerCall8: medianOf(8, 'micros'),
          microsPerCall64: medianOf(64, 'micros'),
          costPerCall8Vs1: median(ratios(8, 'each')),
          costPerCall64Vs1: median(ratios(64, 'each')),
          costPerCall8Vs1SameTotal: median(ratios(8, 'shared')),
          costPerCall64Vs1SameTotal: median(ratios(64, 'shared')),
          x402ExactCallsPerSecond: rate?.exact ?? null,
          x402BatchCallsPerSecond: rate?.batch ?? null,
          vsX402: rate === null ? null : median(rates) / Math.max(rate.exact, rate.batch),
          idleSessionRelayKb: idle.relay,
          idleSessionRelayProcessKb: idle.relayProcess,
          idleSessionSidecarKb: idle.sidecar,
        },
        notes: {
          vsX402: typeof x402 === 'string' ? x402 : x402Note(x402),
          relayMicrosPerCallSparse: 'calls one after the other, each in packets of its own; halves included',
          directCallsPerSecond: 'calls over a WebSocket between the two sidecars, halves through the relay as well',
          costPerCall64Vs1: `CPU time of all processes for a call, each pair with ${COST_IN_FLIGHT} calls in flight, as the one; in turns with the one, the median of ${COST_ROUNDS} such ratios`,
          costPerCall64Vs1SameTotal: `the same with ${COST_IN_FLIGHT} calls in flight over all pairs together: packets hold fewer calls, the more pairs there are`,
          idleSessionRelayKb:
            'live JavaScript, buffers and objects of the runtime in the isolate, for one more session that sleeps',
          idleSessionRelayProcessKb: 'resident memory of workerd, for one more session that sleeps',
          idleSessionSidecarKb: "JavaScript of the caller's end of one more session; SQLite's own memory apart",
        },
      };
    } finally {
      await bench.stop();
      await stack.stop();
    }
  },
};

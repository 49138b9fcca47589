/** The rows of the paper's table: where each figure comes from. */
import { type Calibration, figureOr, isCrowded } from './calibration.ts';
import { simulatePair } from './bench-pair.ts';
import { TIMER_SECONDS, simulateScaling, simulateShard } from './bench-shard.ts';
import { MEASURED_BUNDLE, type Mode, type ModeCost } from './cost.ts';
import { roundsOf } from './hostile.ts';
import { BUSY_CHUNK, FAR_SECONDS, type Inputs, MACHINE_AGENTS, PER_REQUEST } from './inputs.ts';
import { mm1, pacedPercentile, pairRate } from './model.ts';
import { meanExcess, quantile } from './quantiles.ts';
import type { ScalePoint } from './study.ts';
import { type JudgedRow, type Row, judge } from './table.ts';

/** Steps of the dispute that is measured. */
const DISPUTE_STEPS = 16_384;
/** Requests of the simulated steady load: ten times the bench's, so that what is rare is there as often as it should. */
const STEADY_REQUESTS = 16_000;

const ms = (seconds: number): number => seconds * 1000;
const fixed = (value: number, digits = 2): string => value.toFixed(digits);

/** What of a difference no station of the simulation accounts for, computed from the row; and whether the suite was measured beside other work. */
function besides({ suites }: Calibration, suite: string): (what: string) => (row: Row) => string {
  const crowd = isCrowded(suites[suite])
    ? `; and other work shared the cores while it was measured (${suites[suite].load} of ${suites[suite].machine.cores} busy before)`
    : '';
  return (what) =>
    ({ simulated, measured, unit }) =>
      `${fixed(Math.abs(measured! - simulated!))} ${unit} ${measured! > simulated! ? 'more' : 'less'} than the simulation has stations for: ${what}${crowd}`;
}

export function pairRows(inputs: Inputs, calibration: Calibration, seed: number, quick: boolean): JudgedRow[] {
  const { pair: call, cores, hop, sign } = inputs;
  const common = { seed, costs: call, cores, window: { ms: 20, calls: 256 }, credit: 100_000, price: 1, sign };
  const busy = simulatePair({ ...common, hop: 0, inFlight: 1024, calls: quick ? 20_000 : 60_000 });
  const steady = simulatePair({ ...common, hop, rate: 1000, calls: 5000 });
  const far = simulatePair({ ...common, hop: hop + FAR_SECONDS / 4, rate: 200, calls: 800 });
  const of = (name: string): number | null => figureOr(calibration, 'session', name);
  const beside = besides(calibration, 'session');
  const each = call.caller + call.relay + call.callee;
  // At a thousand calls a second each thread is an M/M/1 of its own.
  const queueing = mm1(1000, call.caller).sojourn + mm1(1000, call.relay).sojourn + mm1(1000, call.callee).sojourn;
  return [
    judge(
      {
        name: 'Layer Top: calls of one pair',
        unit: 'calls/s',
        paper: '1,200',
        target: '1,000–5,000',
        model: pairRate(call, cores),
        simulated: busy.callsPerSecond,
        measured: of('callsPerSecond'),
        note: `bounded by the busiest thread (${fixed(1e6 * call.caller, 1)} µs a call) and by ${cores} cores over ${fixed(1e6 * each, 1)} µs; saturated, 1,024 calls in flight`,
      },
      beside('turns of event loops, garbage, the disk'),
    ),
    judge(
      {
        name: 'Layer Top: median latency',
        unit: 'ms',
        paper: '80',
        target: '< 100',
        model: ms(4 * hop + queueing),
        simulated: ms(steady.sojourn.at(0.5)),
        measured: of('p50Ms'),
        note: `at 1,000 calls/s through a relay; what the way costs (${fixed(ms(hop), 3)} ms a hop) is taken from the far pair, so this row is a prediction`,
      },
      beside('timers and the disk'),
    ),
    judge({
      name: 'Layer Top: median latency, 40 ms away',
      unit: 'ms',
      paper: '80',
      target: '< 100',
      model: ms(FAR_SECONDS + 4 * hop + each),
      simulated: ms(far.sojourn.at(0.5)),
      measured: of('farP50Ms'),
      note: 'calibrates the row above, so its own agreement proves only that the way is modelled as it is measured',
    }),
  ];
}

export function aggregateRow({ agents, model, run }: ScalePoint, calibration: Calibration): JudgedRow {
  return judge({
    name: `Layer Top: aggregate of ${agents.toLocaleString('en')} agents`,
    unit: 'calls/s',
    paper: '–',
    target: '> 10,000,000',
    model,
    simulated: run.callsPerSecond,
    measured: null,
    note: `as many machines as agents; all pairs of this one machine do ${Math.round(figureOr(calibration, 'session', 'aggregate64') ?? figureOr(calibration, 'session', 'callsPerSecond') ?? 0).toLocaleString('en')} calls/s`,
  });
}

/** Bundles a second of so many shards, each with a thread of its own, that share cores with one client. */
function shardRate({ bundle, client, cores, shard }: Inputs, shards: number): number {
  const thread = bundle + meanExcess(shard.commit, 0) / BUSY_CHUNK;
  return Math.min(shards / thread, 1 / client, cores / (bundle + client));
}

export function shardRows(inputs: Inputs, calibration: Calibration, seed: number): JudgedRow[] {
  const { client, cores, shard: costs } = inputs;
  const of = (name: string): number | null => figureOr(calibration, 'shard', name);
  const beside = besides(calibration, 'shard');
  const rate = of('interactionsPerSecond');
  const setup = {
    seed,
    agents: MACHINE_AGENTS,
    perRequest: PER_REQUEST,
    interactions: MEASURED_BUNDLE,
    cores,
    costs,
    client,
  };
  const [one, two] = [shardRate(inputs, 1), shardRate(inputs, 2)];
  const half = (rate ?? MEASURED_BUNDLE * one) / 2 / MEASURED_BUNDLE;
  const busy = simulateScaling(setup, 1);
  const paired = simulateScaling(setup, 2);
  const waits = simulateShard({ ...setup, requests: STEADY_REQUESTS, rate: half });
  const paced = { gap: PER_REQUEST / half, alone: costs.idle, shared: PER_REQUEST * inputs.bundle };
  const steady = (p: number): number => ms(TIMER_SECONDS / 2 + pacedPercentile(paced, p));
  const [typical, worst] = [0.5, 1].map((share) => fixed(ms(quantile(costs.commit, share))));
  return [
    judge(
      {
        name: 'Layer Core: one shard, end to end',
        unit: 'interactions/s',
        paper: '120,000',
        target: '300,000–500,000',
        model: MEASURED_BUNDLE * one,
        simulated: MEASURED_BUNDLE * busy,
        measured: rate,
        note: `HTTP, signature, durable log and receipt included, the load generator on the same ${cores} cores; the state transition alone does ${Math.round(inputs.engine).toLocaleString('en')} interactions/s on one`,
      },
      beside('turns of event loops, garbage, whatever else the cores do'),
    ),
    judge(
      {
        name: 'Layer Core: two shards over one',
        unit: '×',
        paper: '–',
        target: 'linear in cores',
        model: two / one,
        simulated: paired / busy,
        measured: of('shardScaling'),
        note: `${cores} cores carry both shards and the load`,
      },
      beside('what one shard alone leaves of the cores'),
    ),
    judge(
      {
        name: 'Layer Core: soft finality, median',
        unit: 'ms',
        paper: '1,100',
        target: '500–2,000',
        model: steady(0.5),
        simulated: ms(waits.at(0.5)),
        measured: of('softFinalityP50Ms'),
        note: `at half the shard’s rate, ${PER_REQUEST} bundles of 64 to a request, at even distances: each is a chunk of its own, for whose commit to disk the thread waits ${typical} ms in the median, as measured on an idle shard`,
      },
      beside('what the same requests did not take on an idle shard'),
    ),
    judge(
      {
        name: 'Layer Core: soft finality, p99',
        unit: 'ms',
        paper: '–',
        target: '< 2,000',
        model: steady(0.99),
        simulated: ms(waits.at(0.99)),
        measured: of('softFinalityP99Ms'),
        note: `a chunk that stalls keeps those behind it waiting; the longest of an idle shard took ${worst} ms more than its work`,
      },
      beside('stalls (the disk, garbage, other people on the machine) that an idle shard had more or fewer of'),
    ),
  ];
}

export function disputeRow(calibration: Calibration): JudgedRow {
  // By the widest cut that L1 allows, and by the product's own way to cut a stretch.
  return judge({
    name: `Layer Root: reveals of a dispute over ${DISPUTE_STEPS.toLocaleString('en')} steps`,
    unit: 'rounds',
    paper: '–',
    target: '2',
    model: Math.ceil(Math.log(DISPUTE_STEPS) / Math.log(128)),
    simulated: roundsOf(DISPUTE_STEPS),
    measured: figureOr(calibration, 'dispute', 'rounds'),
    note: '128 parts to a reveal',
  });
}

export const restRows = (calibration: Calibration): JudgedRow[] => {
  const alone = (
    name: string,
    unit: string,
    paper: string,
    target: string,
    measured: number | null,
    note: string,
  ): JudgedRow => judge({ name, unit, paper, target, model: null, simulated: null, measured, note });
  const inProcess = figureOr(calibration, 'sidecar', 'pathUs');
  const endToEnd = figureOr(calibration, 'da', 'committeeInteractionsPerSecond');
  return [
    alone(
      'Layer Core: the state transition alone',
      'interactions/s',
      '120,000',
      '300,000–500,000',
      figureOr(calibration, 'core', 'interactionsPerSecond'),
      'one thread, from wire bytes to roots, 2^17 agents; what the paper’s prototype processed in batches',
    ),
    alone(
      'Layer Root: verification of a step',
      'ms',
      '< 200',
      '< 500',
      figureOr(calibration, 'dispute', 'verifyMs'),
      'an eth_call of one step, by HTTP',
    ),
    alone(
      'Layer Root: from the lie to the slash',
      's',
      '–',
      '–',
      figureOr(calibration, 'dispute', 'catchSeconds'),
      'a block for each move at once; on L1 each waits for its block',
    ),
    alone(
      'Sidecar: on the request’s path',
      'µs',
      '< 5',
      '–',
      figureOr(calibration, 'sidecar', 'onPathUs'),
      `two sidecars with signing and metering on, less the same off${inProcess === null ? '' : `; ${fixed(inProcess, 1)} µs where both are in one process with no socket between them`}`,
    ),
    alone(
      'Data availability: a committee of 16 on this machine',
      'interactions/s',
      '–',
      '–',
      endToEnd,
      'from data to columns that all members in one workerd have on disk and signed for; sequencer, members and L1 share the machine',
    ),
  ];
};

const DA_METRIC: Readonly<Record<Mode, string>> = {
  calldata: 'interactionsPerSecondAtCalldata',
  blob: 'interactionsPerSecondAtBlobs',
  committee: 'interactionsPerSecondAtCommittee',
};

export const daRow = (
  mode: Mode,
  { interactionsPerSecond }: ModeCost,
  simulated: number,
  calibration: Calibration,
): JudgedRow =>
  judge({
    name: `Data availability: ${mode}`,
    unit: 'interactions/s',
    paper: '10,000–100,000',
    target: '> 10,000,000',
    model: interactionsPerSecond,
    simulated,
    measured: figureOr(calibration, 'da', DA_METRIC[mode]),
    note: { calldata: 'all of L1’s gas', blob: 'all of L1’s blobs', committee: 'one poster with 1 Gbit/s' }[mode],
  });

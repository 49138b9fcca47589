/** Everything that a report shows, run in order: the same options and calibration give the same study, but for what is measured on anvil while it runs. */
import { MESSAGE_WORK } from '../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../durable/shard/prices.ts';
import type { Calibration } from './calibration.ts';
import type { CoreRun } from './core/setup.ts';
import { simulateCore } from './core/world.ts';
import { MODES, type Mode, type ModeCost, costs, defaults } from './cost.ts';
import { batchesOf } from './da.ts';
import { type Lie, type OldHalves, type Withheld, lies, oldHalves, withheld } from './hostile.ts';
import { type Inputs, inputsOf } from './inputs.ts';
import { money } from './ledger.ts';
import { binding, coreCapacity, limits, mg1 } from './model.ts';
import { type PathStep, type Trade, pathTo, sparseCosts } from './path.ts';
import { type PopulationRun, type PopulationSetup, simulatePopulation } from './population.ts';
import { type QueuePoint, queueCurves } from './queues.ts';
import { type Comparison, compare } from './rollup/comparison.ts';
import { aggregateRow, daRow, disputeRow, pairRows, restRows, shardRows } from './rows.ts';
import type { JudgedRow } from './table.ts';

export interface Options {
  /** The largest population. */
  readonly agents: number;
  readonly seed: number;
  readonly quick: boolean;
  /** Folder for anvil's state; without, the rollup's side is left out. */
  readonly anvil?: string;
}

export type Progress = (done: number, total: number, what: string) => void;

export interface ScalePoint {
  readonly agents: number;
  readonly relays: number;
  readonly model: number;
  readonly modelLatency: number;
  readonly run: Omit<PopulationRun, 'latency'> & { readonly p50: number; readonly p99: number; readonly mean: number };
}

export interface CorePoint {
  readonly shards: number;
  readonly cross: number;
  readonly model: number;
  readonly simulated: number;
  readonly finalityP50: number;
  readonly nearP50: number;
  readonly farP50: number;
  readonly interactions: number;
  readonly messages: number;
  readonly batches: number;
  readonly deposited: number;
  readonly held: number;
}

export interface Study {
  readonly options: Options;
  readonly calibration: Calibration;
  readonly inputs: Inputs;
  readonly trade: Trade;
  readonly table: readonly JudgedRow[];
  readonly queues: readonly QueuePoint[];
  readonly scale: readonly ScalePoint[];
  readonly hard: readonly { readonly name: string; readonly point: ScalePoint }[];
  readonly core: readonly CorePoint[];
  readonly path: readonly PathStep[];
  readonly costs: Readonly<Record<Mode, ModeCost>>;
  readonly hostile: {
    readonly credit: number;
    readonly oldHalves: OldHalves;
    readonly withheld: readonly Withheld[];
    readonly lies: readonly Lie[];
  };
  readonly comparison: Comparison | null;
}

/** Of each agent: ten calls a second, half a second between halves. */
const RATE = 10;
const WINDOW_SECONDS = 0.5;
/** How busy relay threads are meant to be: what is left is for uneven sessions, and for more of them. */
const RELAY_UTILISATION = 0.6;
const LATENCY = 0.01;
const CROSS = 0.1;
const CREDIT = 1000;
const COMMITTEE = { n: 16, k: 6 };
const QUORUM = 11;

/** Relay threads for so many agents: by what a call costs a relay, as measured. */
const relaysFor = (inputs: Inputs, agents: number): number =>
  Math.max(1, Math.ceil((agents * RATE * sparseCosts(inputs, RATE, WINDOW_SECONDS).relay) / RELAY_UTILISATION));

const populationSetup = (inputs: Inputs, seed: number, agents: number, seconds: number): PopulationSetup => ({
  seed,
  agents,
  rate: RATE,
  seconds,
  warmUp: seconds / 2,
  relays: relaysFor(inputs, agents),
  end: inputs.end,
  packet: inputs.packet,
  sign: inputs.sign,
  verify: inputs.verify,
  latency: LATENCY,
  latencySigma: 0.5,
  loss: 0.001,
  resend: 0.2,
  speedSigma: 0.4,
  windowMs: WINDOW_SECONDS * 1000,
  windowCalls: 256,
  credit: CREDIT,
  price: 10,
  deposit: 1_000_000,
  silent: 0,
});

/** One population, beside what the model says of it. */
export function scalePoint(inputs: Inputs, setup: PopulationSetup): ScalePoint {
  const { latency, ...run } = simulatePopulation(setup);
  const { agents, relays, rate } = setup;
  const call = sparseCosts(inputs, rate, setup.windowMs / 1000);
  const fleet = { pairs: agents, endCores: agents, relayCores: relays, shards: 1, cross: 0, daRate: Infinity };
  // Core's share is another part's matter.
  const demand = { perPair: rate, costs: call, shardRate: Infinity, crossCost: 1, corePerCall: 1 };
  const { rate: model } = binding(limits(fleet, demand));
  const relay = mg1((2 * rate * agents) / relays, call.relay / 2, 1.5);
  const ways = 4 * (setup.latency + (setup.loss / (1 - setup.loss)) * setup.resend);
  return {
    agents,
    relays,
    model,
    modelLatency: ways + call.caller + call.callee + 2 * Math.min(relay.sojourn, setup.seconds),
    run: { ...run, p50: latency.at(0.5), p99: latency.at(0.99), mean: latency.mean },
  };
}

async function corePoint(
  inputs: Inputs,
  seed: number,
  shards: number,
  cross: number,
  seconds: number,
): Promise<{ point: CorePoint; run: CoreRun }> {
  const bundle = 8;
  const run = await simulateCore({
    seed,
    shards,
    agents: 24 * shards,
    bundles: 16 * shards,
    bundle,
    cross,
    seconds,
    batchSeconds: seconds / 4,
    bundleOf64: inputs.bundle,
    chunk: inputs.shard.chunk,
    commit: inputs.shard.commit,
    latency: 0.005,
    loss: 0.01,
    resend: 0.2,
    app: 0.02,
  });
  // Bundles of this size, the answers one to a bundle, as they came out.
  const each = run.workLocal / run.interactions;
  const rate = (64 / inputs.bundle) * ((BUNDLE_WORK + 64 * INTERACTION_WORK) / 64 / each);
  const share = run.crossing / run.interactions;
  const per = run.crossing === 0 ? 0 : (run.messages + run.acks) / run.crossing;
  const { deposited, held } = money(run);
  return {
    run,
    point: {
      shards,
      cross,
      model: coreCapacity(shards, rate, share, 1 + (per * MESSAGE_WORK) / each),
      simulated: run.capacity,
      finalityP50: run.finality.at(0.5),
      nearP50: run.nearCall.at(0.5),
      farP50: run.farCall.at(0.5),
      interactions: run.interactions,
      messages: run.messages,
      batches: run.batches.length,
      deposited,
      held,
    },
  };
}

export async function study(options: Options, calibration: Calibration, progress: Progress): Promise<Study> {
  const { agents, seed, quick } = options;
  const inputs = inputsOf(calibration);
  const stages = 9;
  let done = 0;
  const stage = (what: string): void => progress(done++, stages, what);

  stage('queues against their formulas');
  const queues = queueCurves(seed, quick ? 20_000 : 100_000);

  stage('a pair and a shard, as the benches have them');
  const pair = pairRows(inputs, calibration, seed, quick);
  const shard = shardRows(inputs, calibration, seed);

  stage('populations of agents');
  const scale: ScalePoint[] = [];
  for (let size = 10; size <= agents; size *= 10) {
    progress(done, stages, `${size.toLocaleString('en')} agents`);
    // Small ones for longer, so that there is as much to count.
    const seconds = size >= 1e6 ? 0.24 : size >= 1e5 ? 1 : 4;
    scale.push(scalePoint(inputs, populationSetup(inputs, seed, size, seconds)));
  }
  stage('loss, partitions, payers that never sign');
  const hard = hardships(inputs, seed, Math.min(agents, quick ? 1000 : 10_000));

  stage('shards, messages, batches');
  const core: CorePoint[] = [];
  let last: CoreRun | null = null;
  for (const shards of quick ? [1, 2] : [1, 2, 4, 8]) {
    for (const cross of shards === 1 ? [0] : [0.1, 0.5]) {
      const { point, run } = await corePoint(inputs, seed, shards, cross, quick ? 4 : 8);
      core.push(point);
      if (cross === CROSS) last = run;
    }
  }

  stage('liars');
  const hostile = {
    credit: CREDIT,
    oldHalves: oldHalves(seed, quick ? 100 : 400, 1200),
    withheld: withheld(last!.batches[0].records, COMMITTEE, QUORUM, seed),
    lies: await lies(last!, inputs.engine, seed),
  };

  stage('data availability and costs');
  const prices = defaults(inputs);
  const cost = costs(prices);
  const da = batchesOf(seed, prices);
  const far = core.filter(({ cross }) => cross > 0);
  const perCross =
    far.reduce((sum, { messages }) => sum + messages, 0) /
    far.reduce((sum, { interactions, cross }) => sum + interactions * cross, 0);
  const trade: Trade = {
    perPair: RATE,
    windowSeconds: WINDOW_SECONDS,
    cross: CROSS,
    crossCost: 1 + (2 * perCross * MESSAGE_WORK) / (INTERACTION_WORK + BUNDLE_WORK / 64),
    perSession: 3,
  };
  const path = pathTo(inputs, trade, cost);

  stage('the rollup');
  const comparison =
    options.anvil === undefined ? null : await compare(options.anvil, (what) => progress(done, stages, what));
  stage('writing');
  const table = [
    ...pair,
    aggregateRow(scale.at(-1)!, calibration),
    ...shard,
    disputeRow(calibration),
    ...restRows(calibration),
    ...MODES.map((mode) => daRow(mode, cost[mode], da[mode], calibration)),
  ];
  return {
    options,
    calibration,
    inputs,
    trade,
    table,
    queues,
    scale,
    hard,
    core,
    path,
    costs: cost,
    hostile,
    comparison,
  };
}

function hardships(inputs: Inputs, seed: number, agents: number): { name: string; point: ScalePoint }[] {
  const base = populationSetup(inputs, seed, agents, 4);
  const cases: readonly (readonly [string, Partial<PopulationSetup>])[] = [
    ['none', {}],
    ['2 % of packets lost', { loss: 0.02 }],
    ['machines of very unlike speed', { speedSigma: 1.2 }],
    ['50 ms to the relay', { latency: 0.05 }],
    ['a tenth cut off for half a second', { partition: { from: 2.5, to: 3, share: 0.1 } }],
    ['a tenth of the payers never sign', { silent: 0.1, seconds: 14, warmUp: 2 }],
    ['relays a fifth as many', { relays: Math.max(1, Math.ceil(base.relays / 5)) }],
  ];
  return cases.map(([name, more]) => ({ name, point: scalePoint(inputs, { ...base, ...more }) }));
}

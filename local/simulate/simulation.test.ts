import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { beforeAll, expect, test } from 'vitest';
import { readCalibration } from './calibration.ts';
import type { CoreRun, CoreSetup } from './core/setup.ts';
import { simulateCore } from './core/world.ts';
import { lies, oldHalves, roundsOf, withheld } from './hostile.ts';
import { inputsOf } from './inputs.ts';
import { money } from './ledger.ts';
import { halvesPerSecond, pathTo, TARGET } from './path.ts';
import { costs, defaults } from './cost.ts';
import { type PopulationSetup, simulatePopulation } from './population.ts';
import { queueCurves } from './queues.ts';
import { html } from './report/html.ts';
import { csv } from './report/rows.ts';
import { study } from './study.ts';

const POPULATION: PopulationSetup = {
  seed: 5,
  agents: 500,
  rate: 10,
  seconds: 6,
  warmUp: 1,
  relays: 2,
  end: 1e-4,
  packet: 1e-5,
  sign: 1e-4,
  verify: 1e-4,
  latency: 0.01,
  latencySigma: 0.5,
  loss: 0.001,
  resend: 0.2,
  speedSigma: 0.4,
  windowMs: 500,
  windowCalls: 256,
  credit: 300,
  price: 10,
  deposit: 10_000,
  silent: 0,
};
const CORE: CoreSetup = {
  seed: 5,
  shards: 3,
  agents: 30,
  bundles: 30,
  bundle: 6,
  cross: 0.3,
  seconds: 5,
  batchSeconds: 1.5,
  bundleOf64: 4e-4,
  chunk: 3e-4,
  commit: [
    [0.5, 1e-3],
    [1, 5e-3],
  ],
  latency: 0.005,
  loss: 0.02,
  resend: 0.2,
  app: 0.02,
  partition: { from: 1.2, to: 2.4 },
};

let core: CoreRun;
beforeAll(async () => {
  core = await simulateCore(CORE);
});

test('a population does what it is asked, from a seed', () => {
  const run = simulatePopulation(POPULATION);
  expect(Math.abs(run.callsPerSecond / (POPULATION.agents * POPULATION.rate) - 1)).toBeLessThan(0.05);
  expect(run.refused).toBe(0);
  expect(run.paidOut).toBe(run.deposits);
  const per = halvesPerSecond(POPULATION.rate, POPULATION.windowMs / 1000) * POPULATION.agents;
  expect(Math.abs(run.halvesPerSecond / per - 1)).toBeLessThan(0.1);
  expect(simulatePopulation(POPULATION)).toEqual(run);
  expect(simulatePopulation({ ...POPULATION, seed: 6 })).not.toEqual(run);
});

test('relays with too much to do are what binds', () => {
  const run = simulatePopulation({ ...POPULATION, relays: 1, packet: 1e-4 });
  expect(run.relayLoad).toBeGreaterThan(0.99);
  expect(run.callsPerSecond).toBeLessThan(0.9 * run.offered);
});

test('payers that never sign get no more than the credit, whatever the net does', () => {
  for (const more of [{}, { loss: 0.05 }, { partition: { from: 2, to: 4, share: 0.5 } }, { credit: 70 }]) {
    const setup = { ...POPULATION, silent: 0.3, ...more };
    const run = simulatePopulation(setup);
    expect(run.refused).toBeGreaterThan(0);
    expect(run.takenMost).toBeLessThanOrEqual(setup.credit);
    // They do get that.
    expect(run.takenMost).toBeGreaterThan(setup.credit - setup.price);
    expect(run.exposureMost).toBeLessThanOrEqual(setup.credit);
    expect(run.paidOut).toBe(run.deposits);
  }
});

test('shards in simulated time keep all money, and what they posted gives their state', async () => {
  expect(core.messages).toBeGreaterThan(50);
  expect(core.farCall.count).toBeGreaterThan(20);
  const { deposited, held } = money(core);
  expect(held).toBe(deposited);
  const told = await lies(core, 1e6, 1);
  expect(told.filter(({ what }) => what === 'none').every(({ caught }) => !caught)).toBe(true);
  const wrong = told.filter(({ what }) => what !== 'none');
  expect(wrong.length).toBeGreaterThanOrEqual(2 * core.batches.length - 1);
  expect(wrong.every(({ caught }) => caught)).toBe(true);
  const again = await simulateCore(CORE);
  expect(again.batches.map(({ record }) => record.hash)).toEqual(core.batches.map(({ record }) => record.hash));
});

test('a partition makes calls abroad wait, not those at home', async () => {
  const whole = await simulateCore({ ...CORE, partition: undefined });
  expect(core.farCall.at(0.95)).toBeGreaterThan(2 * whole.farCall.at(0.95));
  expect(core.nearCall.at(0.95)).toBeLessThan(1.5 * whole.nearCall.at(0.95));
});

test('an old half takes nothing from who watches, and something from who does not', () => {
  const met = oldHalves(3, 100, 1800);
  expect(met.takenWatched).toBe(0);
  expect(met.takenUnwatched).toBeGreaterThan(0);
  expect(met.after).toBe(met.before);
  expect(met.watched).toBeGreaterThan(50);
});

test('a committee keeps data while no more than q − k of those that signed lie', () => {
  const [n, k, q] = [9, 3, 6];
  for (const { dead, lying, mode, restored } of withheld(core.batches[0].records, { n, k }, q, 1)) {
    expect(mode).toBe(dead <= n - q ? 'committee' : 'blob');
    if (mode === 'committee' && lying <= q - k) expect(restored).toBe(true);
    expect(restored).toBe(n - dead - lying >= k);
  }
});

test('a dispute takes as many reveals as its steps have digits to base 128', () => {
  expect([1, 2, 128, 129, 16_384, 16_385, 2_097_152].map(roundsOf)).toEqual([0, 1, 1, 2, 2, 3, 3]);
});

test('the path gets there, and something else binds after each step', () => {
  const inputs = inputsOf(readCalibration());
  const trade = { perPair: 10, windowSeconds: 0.5, cross: 0.1, crossCost: 5, perSession: 3 };
  const steps = pathTo(inputs, trade, costs(defaults(inputs)));
  expect(steps.at(-1)!.rate).toBeGreaterThanOrEqual(TARGET);
  for (const [i, { rate, limits, binds }] of steps.entries()) {
    expect(rate).toBe(Math.min(...Object.values(limits)));
    expect(limits[binds]).toBe(rate);
    if (i > 0) expect(rate).toBeGreaterThanOrEqual(steps[i - 1].rate * (1 - 1e-9));
  }
  expect(new Set(steps.map(({ binds }) => binds)).size).toBeGreaterThan(3);
});

test('the same seed writes the same report', async () => {
  const options = { agents: 10, seed: 9, quick: true };
  const [one, two] = [
    await study(options, readCalibration(), () => {}),
    await study(options, readCalibration(), () => {}),
  ];
  expect(html(one)).toBe(html(two));
  expect(csv(one)).toBe(csv(two));
  expect(JSON.stringify(one)).toBe(JSON.stringify(two));
  // Anything that chance decides has a seed of its own.
  expect(csv({ ...one, queues: queueCurves(10, 1000) })).not.toBe(csv({ ...one, queues: queueCurves(9, 1000) }));
  for (const { deposited, held } of one.core) expect(held).toBe(deposited);
}, 60_000);

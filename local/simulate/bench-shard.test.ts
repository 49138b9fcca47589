import { expect, test } from 'vitest';
import { simulateScaling, simulateShard } from './bench-shard.ts';
import { pacedPercentile } from './model.ts';
import { type Quantiles, meanExcess, quantile, shareAbove, shifted } from './quantiles.ts';
import { Draws } from './random.ts';

const [BUNDLE, CHUNK, CLIENT, PER_REQUEST] = [380e-6, 500e-6, 45e-6, 8];

/** A shard whose request, alone, takes so many milliseconds at the shares 0.1, 0.5, 0.9, 0.99, 0.999 and 1. */
function setupOf(...millis: readonly number[]) {
  const idle: Quantiles = [0.1, 0.5, 0.9, 0.99, 0.999, 1].map((share, i) => [share, millis[i] / 1000]);
  const commit = shifted(idle, -(PER_REQUEST * (BUNDLE + CLIENT) + CHUNK));
  const costs = { bundle: BUNDLE, chunk: CHUNK, commit, idle };
  return { seed: 3, agents: 16, perRequest: PER_REQUEST, interactions: 64, cores: 2, costs, client: CLIENT };
}

test('quantiles give what they were taken of', () => {
  const of: Quantiles = [
    [0.2, 1],
    [0.5, 2],
    [1, 6],
  ];
  expect([0, 0.2, 0.35, 0.5, 0.75, 1].map((share) => quantile(of, share))).toEqual([1, 1, 1.5, 2, 4, 6]);
  const draws = new Draws(1);
  const values = Array.from({ length: 100_000 }, () => quantile(of, draws.next()));
  for (const least of [0, 1.2, 2, 5, 7]) {
    const excess = values.reduce((sum, value) => sum + Math.max(0, value - least), 0) / values.length;
    expect(Math.abs(meanExcess(of, least) - excess)).toBeLessThan(0.02);
    const above = values.filter((value) => value > least).length / values.length;
    expect(Math.abs(shareAbove(of, least) - above)).toBeLessThan(0.01);
  }
});

test('evenly paced requests wait for stalls alone, as the model says', () => {
  const rate = 1100;
  for (const setup of [
    setupOf(4.6, 5.3, 6.5, 12, 80, 110),
    setupOf(4.6, 5.3, 6, 7, 8, 40),
    setupOf(5, 5.5, 6, 7, 60, 200),
  ]) {
    const run = simulateShard({ ...setup, requests: 16_000, rate });
    const paced = { gap: PER_REQUEST / rate, alone: setup.costs.idle, shared: PER_REQUEST * BUNDLE };
    for (const share of [0.5, 0.99])
      expect(Math.abs(run.at(share) / (0.0005 + pacedPercentile(paced, share)) - 1)).toBeLessThan(0.2);
    // Nobody is faster than alone.
    expect(run.at(0.01)).toBeGreaterThan(0.9 * setup.costs.idle[0][1]);
  }
  const { costs } = setupOf(4, 5, 6, 7, 8, 9);
  expect(pacedPercentile({ gap: 0.003, alone: costs.idle, shared: 0.003 }, 0.5)).toBe(Infinity);
});

test('a busy shard shares a commit among many, and leaves its core meanwhile', () => {
  const quick = setupOf(4, 4.2, 4.4, 5, 6, 7);
  const slow = setupOf(14, 14.2, 14.4, 15, 16, 17);
  const one = simulateScaling(quick, 1);
  // Alone, each request would take fourteen milliseconds: 570 bundles a second.
  expect(simulateScaling(slow, 1)).toBeGreaterThan(2 * (PER_REQUEST / 0.0142));
  expect(simulateScaling(slow, 1)).toBeLessThan(0.9 * one);
  expect(simulateScaling(quick, 2)).toBeGreaterThan(1.6 * one);
  expect(simulateScaling(quick, 2)).toBeLessThan(2 / (BUNDLE + CLIENT));
});

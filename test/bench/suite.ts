/** What every benchmark shares: medians, a table for people, one JSON line for programs. Benches measure; they never judge. */
import { cpus, totalmem } from 'node:os';

/** A figure, or null with the reason in `notes` when what it measures can't run here. */
export type Metric = number | null;

export interface Findings {
  metrics: Record<string, Metric>;
  notes?: Record<string, string>;
}

export interface Suite {
  readonly name: string;
  /** `progress` prints to stderr. */
  run(progress: (line: string) => void): Promise<Findings>;
}

/** `--short`: fewer rounds, and only what `npm run simulate -- --calibrate` reads. Metrics left out are not measured, not zero. */
export const isShort: boolean = process.argv.includes('--short');

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))];
}

/** How much more each next value is: the slope of the line with the least squares. */
export function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  let [up, along] = [0, 0];
  for (const [i, value] of values.entries()) {
    up += (i - middle) * value;
    along += (i - middle) ** 2;
  }
  return up / along;
}

export const machine = () => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
});

/** Three significant digits are all that a noisy machine gives. */
export const round = (value: number): number => (Number.isFinite(value) ? Number(value.toPrecision(4)) : value);

/** Deterministic stream of 32-bit numbers, so that both sides of a comparison do the same work. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

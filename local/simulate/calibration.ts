/**
 * What was measured: the metrics of `npm run bench`, by suite, each with its date, commit, machine and command. The one in `calibration.json` is
 * committed and used unless another is named; the report says which was used. A suite's figures are all of one run: none is kept from an older one.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { inRepository } from '../paths.ts';

/** A figure by its name; null where it could not be measured. */
export type Metrics = Readonly<Record<string, number | null>>;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly node: string;
}

/** One suite's figures, and where they come from. */
export interface Measured {
  /** ISO date and time at which it ended. */
  readonly date: string;
  /** What was checked out, `-dirty` when files differed from it; null where git says nothing. */
  readonly commit: string | null;
  /** What was run. */
  readonly command: string;
  readonly machine: Machine;
  /** Cores that other work kept busy in the second before; null when nobody looked. */
  readonly load: number | null;
  readonly metrics: Metrics;
}

export interface Calibration {
  /** By bench suite; `signatures` is of signatures.ts. */
  readonly suites: Readonly<Record<string, Measured>>;
}

export const STORED_CALIBRATION: string = inRepository('local', 'simulate', 'calibration.json');

/** A figure that the simulation can't do without. Throws when the calibration lacks it. */
export function figure(calibration: Calibration, suite: string, name: string): number {
  const value = figureOr(calibration, suite, name);
  if (value === null || !Number.isFinite(value))
    throw new Error(`the calibration has no ${suite}.${name}: run with --calibrate, or name a whole calibration`);
  return value;
}

/** A figure that may be missing. */
export const figureOr = ({ suites }: Calibration, suite: string, name: string): number | null =>
  suites[suite]?.metrics[name] ?? null;

/** Whose processors the figures are of: those of the suites that pairs and shards are held against. */
export const machineOf = ({ suites }: Calibration): Machine => suites.session.machine;

/** Share of a machine that other work may take before it tells. */
const CROWDED = 0.2;

/** Whether a machine had other work when a suite was measured: then times by the clock are worse than the product's. */
export const isCrowded = ({ load, machine }: Measured): boolean => load !== null && load > CROWDED * machine.cores;

/** What is checked out, as provenance has it. */
export function commitAtHand(): string | null {
  try {
    const args = ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'];
    return execFileSync('git', args, { cwd: inRepository(), encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return null;
  }
}

/** A line as `npm run bench -- SUITE --json` prints it. */
export interface BenchLine {
  readonly suite: string;
  readonly metrics: Metrics;
  readonly machine: Machine;
  readonly date: string;
  readonly command: string;
}

export const isBenchLine = (line: string): boolean => line.startsWith('{"suite"');

/** Figures of one suite take the place of all that were known of it. */
export const withSuite = ({ suites }: Calibration, suite: string, measured: Measured): Calibration => ({
  suites: { ...suites, [suite]: measured },
});

/**
 * Reads a calibration: the stored one, or a file that is one, or a file of lines as `npm run bench -- SUITE --json` prints them, whose suites take the
 * place of the stored ones.
 */
export function readCalibration(path: string = STORED_CALIBRATION): Calibration {
  const text = readFileSync(path, 'utf8');
  const whole = parsed(text) as Partial<Calibration> | null;
  if (whole?.suites !== undefined) return { suites: whole.suites };
  const lines = text
    .split('\n')
    .filter(isBenchLine)
    .map((line) => JSON.parse(line) as BenchLine);
  if (lines.length === 0)
    throw new Error(`${path} is neither a calibration nor the output of npm run bench -- … --json`);
  return lines.reduce<Calibration>(
    (calibration, { suite, date, command, machine, metrics }) =>
      withSuite(calibration, suite, { date, commit: null, command, machine, load: null, metrics }),
    readCalibration(),
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One line of words: when and on what it was measured. */
export function sourceOf({ suites }: Calibration): string {
  const all = Object.values(suites);
  const several = (values: readonly string[]): string => [...new Set(values)].join(', ');
  const dates = all.map(({ date }) => date.slice(0, 10)).toSorted();
  const span = dates[0] === dates.at(-1) ? dates[0] : `${dates[0]} to ${dates.at(-1)}`;
  const machines = several(all.map(({ machine: { cpu, cores, node } }) => `${cpu}, ${cores} cores, Node ${node}`));
  return `${span}, on ${machines}, at commit ${several(all.map(({ commit }) => commit ?? 'unknown'))}`;
}

/** Measures the machine at hand: the short forms of the benches, one after the other, each a process of its own. What one measured is kept whatever becomes of the next. */
import { spawn } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { inRepository } from '../paths.ts';
import { sleep } from '../process.ts';
import {
  type BenchLine,
  type Calibration,
  type Measured,
  commitAtHand,
  isBenchLine,
  machineOf,
  withSuite,
} from './calibration.ts';
import { NEEDED } from './inputs.ts';
import { measureSignatures } from './signatures.ts';
import type { Progress } from './study.ts';

/** In the order of their running. */
export const SUITES = ['core', 'shard', 'session', 'sidecar', 'da', 'dispute', 'signatures'] as const;
export type SuiteName = (typeof SUITES)[number];

/** A suite that takes longer has failed. */
const SUITE_SECONDS = 300;

export interface Calibrated {
  readonly calibration: Calibration;
  /** Suites that did not come to their end, and why; their figures are those of `before`. */
  readonly failed: readonly { readonly suite: SuiteName; readonly why: string }[];
}

/**
 * Runs suites and puts what they say in the place of what `before` has of them.
 * @param path written after each suite
 */
export async function calibrate(
  before: Calibration,
  suites: readonly SuiteName[],
  path: string,
  progress: Progress,
): Promise<Calibrated> {
  // Once: writing a calibration that is committed changes what git says.
  const commit = commitAtHand();
  const failed: { suite: SuiteName; why: string }[] = [];
  let calibration = before;
  for (const [i, suite] of suites.entries()) {
    const say = (what: string): void => progress(i, suites.length, `bench ${suite}: ${what}`);
    say('starting');
    const load = await busyCores();
    try {
      const measured = suite === 'signatures' ? await signatures(before) : await runBench(suite, say);
      const lacks = (NEEDED as Record<string, readonly string[]>)[suite]?.find(
        (name) => !Number.isFinite(measured.metrics[name] ?? NaN),
      );
      if (lacks !== undefined) throw new Error(`it says nothing of ${lacks}`);
      calibration = withSuite(calibration, suite, { ...measured, commit, load });
      store(path, calibration);
    } catch (error) {
      failed.push({ suite, why: (error as Error).message });
      say(`failed: ${(error as Error).message}`);
    }
  }
  return { calibration, failed };
}

/** Milliseconds that all cores together have worked since the machine started. */
const worked = (): number =>
  cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);

/** How many cores are busy, over a second in which this process does nothing. */
async function busyCores(): Promise<number> {
  const [before, start] = [worked(), performance.now()];
  await sleep(1000);
  return Number(((worked() - before) / (performance.now() - start)).toFixed(2));
}

/** Whole or not at all. */
function store(path: string, calibration: Calibration): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(calibration, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

type Found = Omit<Measured, 'commit' | 'load'>;

async function signatures(before: Calibration): Promise<Found> {
  const metrics = await measureSignatures();
  const machine = { ...machineOf(before), node: process.version };
  return { date: new Date().toISOString(), command: 'local/simulate/signatures.ts', machine, metrics };
}

/** Throws when the bench does not end well, or not in time. */
async function runBench(suite: string, say: (line: string) => void): Promise<Found> {
  const args = [inRepository('test', 'bench', 'run.ts'), suite, '--json', '--short'];
  // A group of its own, so that nothing of it outlives its time.
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const end = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Nothing is left of it.
    }
  };
  process.once('exit', end);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, SUITE_SECONDS * 1000);
  let said = '';
  createInterface({ input: child.stderr }).on('line', (line) => {
    say(line);
    // A stack is behind its error's own line.
    if (/^\w*Error\b/.test(line) || !said.includes('Error')) said = line;
  });
  let found: Found | null = null;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!isBenchLine(line)) return;
    const { metrics, machine, date, command } = JSON.parse(line) as BenchLine;
    found = { date, command, machine, metrics };
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  process.removeListener('exit', end);
  end();
  if (isLate) throw new Error(`not done after ${SUITE_SECONDS} s`);
  if (code !== 0 || found === null) throw new Error(`ended with ${code}: ${said}`);
  return found;
}

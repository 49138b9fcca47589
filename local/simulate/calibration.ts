/**
 * What was measured: the metrics of `npm run bench`, by suite, with their date and machine. The one in `calibration.json` is committed and used unless
 * another is named; the report says which it was.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { inRepository } from '../paths.ts';
import { measureSignatures } from './signatures.ts';

/** A figure by its name; null where it could not be measured. */
export type Metrics = Readonly<Record<string, number | null>>;

export interface Calibration {
  /** ISO date of the measurements. */
  readonly date: string;
  /** Where the figures come from, in words. */
  readonly source: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGb: number; readonly node: string };
  /** By bench suite; `signatures` is of signatures.ts. */
  readonly suites: Readonly<Record<string, Metrics>>;
}

const STORED = inRepository('local', 'simulate', 'calibration.json');
/** What `--calibrate` runs, in their short forms. */
const SUITES = ['core', 'shard', 'session', 'sidecar', 'da', 'dispute'] as const;

/** A figure that the simulation can't do without. Throws when the calibration lacks it. */
export function figure({ suites, source }: Calibration, suite: string, name: string): number {
  const value = suites[suite]?.[name];
  if (value === null || value === undefined || !Number.isFinite(value))
    throw new Error(`${source} has no ${suite}.${name}: run with --calibrate, or name a whole calibration`);
  return value;
}

/** A figure that may be missing. */
export const figureOr = ({ suites }: Calibration, suite: string, name: string): number | null =>
  suites[suite]?.[name] ?? null;

interface BenchLine {
  readonly suite: string;
  readonly metrics: Metrics;
  readonly machine: Calibration['machine'];
}

/**
 * Reads a calibration: the stored one, or a file that is one, or a file of lines as `npm run bench -- SUITE --json` prints them, whose metrics take the
 * place of the stored ones.
 */
export function readCalibration(path?: string): Calibration {
  const stored = JSON.parse(readFileSync(STORED, 'utf8')) as Calibration;
  if (path === undefined) return stored;
  const text = readFileSync(path, 'utf8');
  try {
    const whole = JSON.parse(text) as Partial<Calibration>;
    if (whole.suites !== undefined) return { ...stored, ...whole } as Calibration;
  } catch {
    // Lines, then.
  }
  const lines = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as BenchLine);
  if (lines.length === 0)
    throw new Error(`${path} is neither a calibration nor the output of npm run bench -- … --json`);
  return merge(stored, lines, `${path}, and what it lacks from ${stored.source}`);
}

const merge = (stored: Calibration, lines: readonly BenchLine[], source: string): Calibration => ({
  date: new Date().toISOString().slice(0, 10),
  source,
  machine: lines[0].machine,
  suites: {
    ...stored.suites,
    // Short forms leave metrics out: those stay as they were.
    ...Object.fromEntries(
      lines.map(({ suite, metrics }) => [
        suite,
        {
          ...stored.suites[suite],
          ...Object.fromEntries(Object.entries(metrics).filter(([, value]) => value !== null)),
        },
      ]),
    ),
  },
});

/** Runs the short forms of the benches, one after the other, and takes what they print. A suite that fails keeps its stored figures. */
export async function calibrate(progress: (done: number, total: number, what: string) => void): Promise<Calibration> {
  const stored = readCalibration();
  const lines: BenchLine[] = [];
  const failed: string[] = [];
  for (const [i, suite] of SUITES.entries()) {
    progress(i, SUITES.length + 1, `bench ${suite}`);
    const line = await runBench(suite, (what) => progress(i, SUITES.length + 1, `bench ${suite}: ${what}`));
    if (line) lines.push(line);
    else failed.push(suite);
  }
  progress(SUITES.length, SUITES.length + 1, 'signatures');
  if (lines.length === 0) throw new Error('no bench ran to its end');
  lines.push({ suite: 'signatures', metrics: await measureSignatures(), machine: lines[0].machine });
  const lacks =
    failed.length === 0
      ? ''
      : `; ${failed.join(', ')} failed and ${failed.length > 1 ? 'are' : 'is'} of ${stored.date}`;
  return merge(stored, lines, `short benches of this run${lacks}`);
}

async function runBench(suite: string, say: (line: string) => void): Promise<BenchLine | null> {
  const child = spawn(process.execPath, [inRepository('test', 'bench', 'run.ts'), suite, '--json', '--short'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  createInterface({ input: child.stderr }).on('line', say);
  let last: BenchLine | null = null;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{"suite"')) last = JSON.parse(line) as BenchLine;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  return code === 0 ? last : null;
}

/**
 * `npm run simulate`: the paper's analytical model, a simulation of the real protocol, and what was measured, side by side. Writes a page, CSV and JSON, and
 * prints the table. Exit code 0; 1 when something failed, a bench of the calibration too; 2 for wrong arguments.
 *
 *     --agents N          the largest population (a power of ten up to 1,000,000)
 *     --seed N            what all chance follows from (1)
 *     --quick             small populations and short runs, a few seconds
 *     --no-rollup         without the rollup's side, which starts an anvil
 *     --calibrate         measures this machine first, by the short forms of the benches, and goes by that
 *     --suites A,B        of these only those; the others' figures stay as they are
 *     --calibration FILE  a calibration, or what `npm run bench -- … --json` printed; with --calibrate, where the new figures go (DIR/calibration.json)
 *     --out DIR           where to write (.agnt2/simulate)
 *     --json              prints the study as one JSON object
 */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { inRepository, newRun } from '../paths.ts';
import { SUITES, type SuiteName, calibrate } from './calibrate.ts';
import { type Calibration, readCalibration } from './calibration.ts';
import { html } from './report/html.ts';
import { csv } from './report/rows.ts';
import { short } from './report/plot.ts';
import { type Progress, type Study, study } from './study.ts';

const MOST_AGENTS = 1_000_000;
const QUICK_AGENTS = 1000;

class UsageError extends Error {}

interface Arguments {
  readonly agents: number;
  readonly seed: number;
  readonly quick: boolean;
  readonly rollup: boolean;
  /** Suites to be run first. */
  readonly calibrate: readonly SuiteName[];
  readonly calibration: string | undefined;
  readonly out: string;
  readonly json: boolean;
}

function readArguments(argv: readonly string[]): Arguments {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        agents: { type: 'string' },
        seed: { type: 'string', default: '1' },
        quick: { type: 'boolean', default: false },
        'no-rollup': { type: 'boolean', default: false },
        calibrate: { type: 'boolean', default: false },
        suites: { type: 'string' },
        calibration: { type: 'string' },
        out: { type: 'string', default: inRepository('.agnt2', 'simulate') },
        json: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
  const whole = (name: string, text: string, least: number, most: number): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new UsageError(
        `--${name} is a whole number from ${least} to ${most.toLocaleString('en')}, not ${JSON.stringify(text)}`,
      );
    return value;
  };
  const quick = values.quick === true;
  const suites = values.suites === undefined ? SUITES : (values.suites as string).split(',');
  const unknown = suites.find((name) => !(SUITES as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--suites are of ${SUITES.join(', ')}, not ${JSON.stringify(unknown)}`);
  if (values.suites !== undefined && values.calibrate !== true) throw new UsageError('--suites goes with --calibrate');
  return {
    agents: whole(
      'agents',
      (values.agents as string | undefined) ?? String(quick ? QUICK_AGENTS : MOST_AGENTS),
      10,
      MOST_AGENTS,
    ),
    seed: whole('seed', values.seed as string, 0, 2 ** 32 - 1),
    quick,
    rollup: values['no-rollup'] !== true,
    calibrate: values.calibrate === true ? (suites as SuiteName[]) : [],
    calibration: values.calibration as string | undefined,
    out: resolve(values.out as string),
    json: values.json === true,
  };
}

/** A bar on a terminal, a line for each new stage elsewhere. */
function progressBar(out: NodeJS.WriteStream): Progress {
  const started = Date.now();
  const width = 24;
  let last = '';
  return (done, total, what) => {
    const filled = Math.round((width * done) / total);
    const bar = `${'█'.repeat(filled)}${'░'.repeat(width - filled)}`;
    const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(4);
    if (out.isTTY) out.write(`\r\x1b[K${seconds} s ${bar} ${what}`.slice(0, (out.columns || 80) + 4));
    else if (what !== last) out.write(`${seconds} s ${bar} ${what}\n`);
    last = what;
  };
}

/** The table for people. */
export function lines({ table }: Study): string[] {
  const number = (value: number | null): string => (value === null ? '–' : short(value));
  const rows = table.map(({ name, unit, paper, target, model, simulated, measured, agrees }) => [
    name,
    paper,
    target,
    number(model),
    number(simulated),
    number(measured),
    unit,
    agrees === null ? '' : agrees ? 'agree' : 'differ',
  ]);
  const all = [['', 'paper', 'target', 'model', 'simulated', 'measured', '', ''], ...rows];
  const widths = all[0].map((_, i) => Math.max(...all.map((row) => row[i].length)));
  return all.map((row) =>
    row
      .map((text, i) => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}

/** Runs benches and answers the calibration with their figures, which is written as they come. */
async function measured(
  suites: readonly SuiteName[],
  path: string | undefined,
  out: string,
  progress: Progress,
): Promise<Calibration> {
  const target = resolve(path ?? join(out, 'calibration.json'));
  mkdirSync(dirname(target), { recursive: true });
  const before = readCalibration(existsSync(target) ? target : undefined);
  const { calibration, failed } = await calibrate(before, suites, target, progress);
  process.stderr.write('\n');
  for (const { suite, why } of failed) {
    process.stderr.write(`bench ${suite} failed, its figures are of ${before.suites[suite].date}: ${why}\n`);
    process.exitCode = 1;
  }
  process.stderr.write(`${target}\n`);
  return calibration;
}

/** Runs a study and writes it. */
async function main(argv: readonly string[]): Promise<void> {
  const { agents, seed, quick, rollup, calibrate: suites, calibration: path, out, json } = readArguments(argv);
  const progress = progressBar(process.stderr);
  mkdirSync(out, { recursive: true });
  const calibration = suites.length === 0 ? readCalibration(path) : await measured(suites, path, out, progress);
  const result = await study({ agents, seed, quick, anvil: rollup ? newRun() : undefined }, calibration, progress);
  process.stderr.write('\n');
  const { anvil: _, ...options } = result.options;
  const written = { ...result, options };
  writeFileSync(join(out, 'report.html'), html(result));
  writeFileSync(join(out, 'report.csv'), csv(result));
  writeFileSync(join(out, 'report.json'), `${JSON.stringify(written, null, 1)}\n`);
  if (json) console.log(JSON.stringify(written));
  else {
    for (const line of lines(result)) console.log(line);
    console.log(`\n${join(out, 'report.html')}`);
  }
}

try {
  await main(process.argv.slice(2));
  process.exit();
} catch (error) {
  process.stderr.write(
    `\n${error instanceof UsageError ? `${error.message}; local/simulate/main.ts says what there is` : String((error as Error).stack)}\n`,
  );
  process.exit(error instanceof UsageError ? 2 : 1);
}

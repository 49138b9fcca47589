/**
 * `npm run fuzz -- [steps] [--seed n] [--threads n] [--hardfork prague]`: random and hand-made steps on engine, reference and L1's
 * `Step`, all of which must agree. Says every ten seconds how far it is; ends with what was executed how often, and 1 if anything differed.
 *
 * `npm run fuzz -- --da [inputs] [--seed n]`: everything that reads what a stranger may send of a batch's data (da.ts).
 *
 * `npm run fuzz -- --cover [steps]`: finds the seeds that together show everything (seeds.json), by the reference alone.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { REACHABLE } from '../reference/coverage.ts';
import { fuzz } from './crowd.ts';
import { type Hardfork, compile } from './evm.ts';
import type { Mismatch } from './fuzz.ts';
import { table } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '0' },
    threads: { type: 'string', default: String(availableParallelism()) },
    hardfork: { type: 'string', default: 'osaka' },
    cover: { type: 'boolean', default: false },
    da: { type: 'boolean', default: false },
  },
});
const wanted = Number(positionals[0] ?? 1_000_000);
const firstSeed = Number(values.seed);
const startedAt = performance.now();
const seconds = (): number => (performance.now() - startedAt) / 1000;
let saidAt = 0;
let told = 0;

function tell({ where, what, step }: Mismatch): void {
  console.log(`MISMATCH ${where}: ${what}`);
  if (step) console.log(`  shard ${step.shard} #${step.seq} step ${step.index}: ${step.frame}`);
}

if (values.da) {
  await import('../../protocol/da/install.ts');
  await import('../../protocol/keccak/install.ts');
  const { fuzzDa } = await import('./da.ts');
  const { inputs, seen, failures, longestMs, rssMb } = await fuzzDa(wanted, firstSeed, (sofar, failed) =>
    console.log(
      `${seconds().toFixed(0).padStart(6)} s  ${sofar.toLocaleString('en').padStart(10)} inputs  ${failed} failures`,
    ),
  );
  for (const failure of failures) console.log(`FAILURE ${failure}`);
  for (const [what, count] of [...seen].toSorted())
    console.log(`${what.padEnd(28)} ${count.toLocaleString('en').padStart(10)}`);
  console.log(
    `${inputs.toLocaleString('en')} inputs in ${seconds().toFixed(0)} s, ${failures.length} failures; longest ${longestMs.toFixed(0)} ms; ${rssMb.toFixed(0)} MB resident at the end`,
  );
  process.exit(failures.length > 0 ? 1 : 0);
}

const bytecodes = values.cover ? null : compile();
console.log(
  `${wanted.toLocaleString('en')} steps from seed ${firstSeed} on, ${values.threads} threads, ${values.cover ? 'no EVM' : values.hardfork}`,
);
const hardfork = values.hardfork as Hardfork;
const sum = await fuzz(
  { bytecodes, hardfork, seeds: [], firstSeed, situations: !values.cover },
  wanted,
  Number(values.threads),
  ({ steps, mismatches }) => {
    for (const mismatch of mismatches.slice(told)) tell(mismatch);
    told = mismatches.length;
    if (seconds() - saidAt < 10) return;
    saidAt = seconds();
    const rate = Math.round(steps / seconds());
    console.log(
      `${saidAt.toFixed(0).padStart(6)} s  ${steps.toLocaleString('en').padStart(10)} steps  ${rate}/s  ${mismatches.length} mismatches`,
    );
  },
);
const { steps, refused, longest, mismatches, seen, telling } = sum;

console.log(table(seen));
const missed = REACHABLE.filter((step) => !seen.has(step));
console.log(
  `${seen.size} kinds of outcome, ${missed.length} of ${REACHABLE.length} known ones not seen${missed.length > 0 ? `: ${missed.slice(0, 12).join(', ')}` : ''}`,
);
console.log(
  `${steps.toLocaleString('en')} steps in ${seconds().toFixed(0)} s (${Math.round(steps / seconds())}/s), ${mismatches.length} mismatches; ` +
    `${refused.toLocaleString('en')} bad witnesses refused; longest witness ${longest} bytes`,
);
if (values.cover) {
  const needed = new Set(REACHABLE);
  const seeds: number[] = [];
  for (;;) {
    // Always the one that shows most of what is still needed.
    const worth = telling.map(([seed, shown]) => [seed, shown.filter((step) => needed.has(step))] as const);
    const [seed, shown] = worth.reduce((best, each) => (each[1].length > best[1].length ? each : best), [-1, []]);
    if (shown.length === 0) break;
    seeds.push(seed);
    for (const step of shown) needed.delete(step);
  }
  writeFileSync(new URL('seeds.json', import.meta.url), `${JSON.stringify(seeds.toSorted((a, b) => a - b))}\n`);
  console.log(`${seeds.length} seeds written`);
}
process.exitCode = mismatches.length > 0 ? 1 : 0;

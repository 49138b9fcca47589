/** `npm run bench -- <suite> [--json] [--short]`: prints a table, and with `--json` one line `{"suite", "metrics", "notes", "machine", "date", "command"}`. */
import { type Suite, isShort, machine, round } from './suite.ts';

const SUITES: Record<string, () => Promise<{ suite: Suite }>> = {
  core: () => import('./core.ts'),
  shard: () => import('./shard.ts'),
  restart: () => import('./restart.ts'),
  session: () => import('./session.ts'),
  sidecar: () => import('./sidecar.ts'),
  dispute: () => import('./dispute.ts'),
  da: () => import('./da.ts'),
  signer: () => import('./signer.ts'),
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const name = args.find((arg) => !arg.startsWith('-'));
if (!name || !SUITES[name]) {
  console.error(`usage: npm run bench -- <${Object.keys(SUITES).join('|')}> [--json] [--short]`);
  process.exit(2);
}

const { suite } = await SUITES[name]();
const { metrics, notes = {} } = await suite.run((line) => console.error(line));
const rounded = Object.fromEntries(
  Object.entries(metrics).map(([key, value]) => [key, value === null ? null : round(value)]),
);
const width = Math.max(...Object.keys(rounded).map((key) => key.length));
for (const [key, value] of Object.entries(rounded)) {
  console.error(
    `${key.padEnd(width)}  ${value === null ? `– (${notes[key] ?? 'not measured'})` : value.toLocaleString('en', { maximumSignificantDigits: 4 })}`,
  );
}
if (json) {
  const command = `npm run bench -- ${name}${isShort ? ' --short' : ''}`;
  const date = new Date().toISOString();
  console.log(JSON.stringify({ suite: name, metrics: rounded, notes, machine: machine(), date, command }));
}
process.exit(0);

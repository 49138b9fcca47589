/** `npm test`: every suite there is, contracts and TypeScript, and one line that sums them up. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** What took how long, in seconds: a whole part, or one file of it. */
const times: { what: string; seconds: number }[] = [];

async function timed<T>(what: string, work: Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work;
  times.push({ what, seconds: (performance.now() - began) / 1000 });
  return result;
}

/** Runs a tool of node_modules with its output shown; answers its exit code and what it printed. */
function run(
  command: string,
  args: readonly string[],
  cwd = '.',
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number; output: string }> {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
    process.stdout.write(data);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

async function contracts(): Promise<Counts> {
  const { code, output } = await run(
    'forge',
    ['test'],
    'contracts',
    process.env.CI ? { FOUNDRY_PROFILE: 'ci', ...process.env } : process.env,
  );
  const sum = /(\d+) tests passed, (\d+) failed, (\d+) skipped/.exec(output);
  const counts = { passed: Number(sum?.[1] ?? 0), failed: Number(sum?.[2] ?? 0), skipped: Number(sum?.[3] ?? 0) };
  // A build that fails counts nothing; it must not look like a success.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

async function typescript(args: readonly string[]): Promise<Counts> {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-test-'));
  const report = join(dir, 'report.json');
  const { code } = await run('vitest', [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...args,
  ]);
  let counts = { passed: 0, failed: code === 0 ? 0 : 1, skipped: 0 };
  try {
    const json = JSON.parse(readFileSync(report, 'utf8'));
    for (const { name, startTime, endTime } of json.testResults)
      times.push({ what: relative('.', name), seconds: (endTime - startTime) / 1000 });
    counts = {
      passed: json.numPassedTests,
      failed: json.numFailedTests,
      skipped: json.numPendingTests + json.numTodoTests,
    };
    if (code !== 0 && counts.failed === 0) counts.failed = 1;
  } catch {
    // Without a report only the exit code speaks, and it already did.
  }
  rmSync(dir, { recursive: true, force: true });
  return counts;
}

const args = process.argv.slice(2);
const results = [
  await timed('contracts', contracts()),
  // Side by side: the proofs mostly wait, for an L1 of their own.
  ...(await Promise.all([
    timed('node and workers', typescript(['--project', 'node', '--project', 'workers', ...args])),
    timed('proofs', typescript(['--project', 'proofs', ...args])),
  ])),
  // By themselves: they bring up whole stacks and kill them.
  await timed('e2e', typescript(['--project', 'e2e', ...args])),
];
times.sort((a, b) => b.seconds - a.seconds);
console.log('\nWhat took longest, in seconds:');
for (const { what, seconds } of times.slice(0, 30)) console.log(`${seconds.toFixed(0).padStart(6)}  ${what}`);
const total = (key: keyof Counts): number => results.reduce((sum, counts) => sum + counts[key], 0);
console.log(`\n${total('passed')} passed, ${total('failed')} failed, ${total('skipped')} skipped`);
process.exitCode = total('failed') > 0 ? 1 : 0;

/** `npm start -- --once --json`, as a user runs it. */
import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { inRepository } from '../../local/paths.ts';

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const runStart = (...args: string[]): Promise<Run> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [inRepository('local', 'start.ts'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (err += data.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });

test('the whole scenario runs, and all money reconciles', async () => {
  const { code, out, err } = await runStart('--once', '--json');
  const result = JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
  expect(result, err.slice(-4000)).toMatchObject({ ok: true, reconciled: true });
  expect(code).toBe(0);
  expect(result.agents).toBeGreaterThanOrEqual(5);
  expect(result.coreCalls).toBeGreaterThanOrEqual(10);
  expect(result.sessionCalls).toBeGreaterThanOrEqual(1000);
  // One that all legs of were paid, one that was given up.
  expect(result.workflows).toBe(2);
  expect(result.messages).toBeGreaterThanOrEqual(20);
  expect(result.batches).toBeGreaterThanOrEqual(2);
  expect(result.withdrawals).toBeGreaterThanOrEqual(1);
  expect(result.seconds).toBeLessThan(240);
}, 300_000);

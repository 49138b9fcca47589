/** The README's commands, as they stand; only the money comes from a sponsor, where there is no L1. */
import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, agnt2, begin, setUp } from '../../sidecar/cli/testing.ts';
import { TestGateway } from '../../sidecar/testing/gateway.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
let gateway: TestGateway;
let running: Running | null = null;

beforeAll(async () => {
  gateway = await TestGateway.start();
});
afterAll(async () => {
  running?.child.kill('SIGTERM');
  await running?.ended;
  gateway.stop();
});

test('from nothing to a paid call in four commands', { timeout: 120_000 }, async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'agnt2-http-'));
  cpSync(here, cwd, { recursive: true });
  const sponsor = join(setUp(gateway, await gateway.agent(10_000)), 'agnt2.json');
  const blocks = [...readFileSync(join(here, 'README.md'), 'utf8').matchAll(/```sh\n(.*?)```/gs)].map(
    ([, text]) => text,
  );
  const commands = blocks.join('').trim().split('\n');
  expect(commands).toHaveLength(4);
  for (const command of commands) {
    const given = command.split(' ');
    expect(given.slice(0, 2)).toEqual(['npx', 'agnt2']);
    const args = given
      .slice(2)
      .flatMap((word) =>
        word === '--local' ? ['--sponsor', sponsor, '--deposit', '1000', '--gateway', gateway.url] : [word],
      );
    const env = { PATH: `${join(process.execPath, '..')}:${process.env.PATH}` };
    if (args[0] === 'run') {
      running = begin(args, { cwd, env });
      await running.said(/the clock is up/);
      continue;
    }
    const { code, stdout, stderr } = await agnt2(args, { cwd, env });
    expect([code, args[0] === 'pay' ? '' : stderr]).toEqual([0, '']);
    if (args[0] !== 'pay') continue;
    expect(JSON.parse(stdout)).toMatchObject({
      now: expect.stringMatching(/^\d{4}-/),
      askedBy: expect.stringMatching(/^0:/),
    });
    expect(stderr).toContain('paid 5 base units');
  }
});

/** The README's commands, as they stand, on a real stack: anvil, and the Session object in workerd between the two programs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inRepository } from '../../local/paths.ts';
import { until } from '../../local/process.ts';
import { agnt2 } from '../../sidecar/cli/testing.ts';
import { type TestNetwork, network } from '../../test/support/stack.ts';

const DEPOSIT = 100_000;
const PAID = 4001 * 2;

let net: TestNetwork;
const cwd = mkdtempSync(join(tmpdir(), 'agnt2-session-'));
const children: ChildProcess[] = [];

beforeAll(async () => {
  net = await network({ worker: { bare: true, cronMs: 250 } });
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await net?.stop();
});

/** A program of the example. */
function program(args: readonly string[]): { child: ChildProcess; said: () => string; ended: Promise<number | null> } {
  const [file, ...rest] = args;
  const child = spawn(process.execPath, [inRepository(file), ...rest, net.url], { cwd });
  children.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, said: () => said, ended };
}

test('two programs trade by a session, prove what was paid, and are paid out', async () => {
  const readme = readFileSync(inRepository('examples', 'session', 'README.md'), 'utf8');
  const commands = [...readme.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, text]) => text.trim().split('\n'));
  const [first, second, payee, payer] = commands.map((command) => command.split(' ').slice(2));
  expect(commands).toHaveLength(4);
  const l1 = ['--l1', net.l1.rpc, '--gateway', net.url, '--deposit', String(DEPOSIT)];
  const registered = await Promise.all([first, second].map((args) => agnt2([...args, ...l1], { cwd })));
  expect(registered.map(({ code }) => code)).toEqual([0, 0]);

  const shop = program(payee);
  const agent = await until('the payee', () => /agent (\d+:\d+) sells/.exec(shop.said())?.[1], { everyMs: 50 });
  const buyer = program(payer.map((word) => (word === '0:7' ? agent : word)));
  const code = await buyer.ended;
  expect(code, buyer.said() + shop.said()).toBe(0);
  expect(buyer.said()).toMatch(/^4000 calls, \d+ a second; 8192 KiB streamed in one more$/m);
  const [, paid, signatures] = /^paid (\d+) base units with (\d+) signatures$/m.exec(buyer.said())!;
  expect(Number(paid)).toBe(PAID);
  expect(Number(signatures)).toBeLessThan(1000);
  for (const call of [0, 4000]) expect(buyer.said()).toContain(`call ${call}: status 200, price 2, signed by both`);

  // What it says of itself, Core says too: closed by both, all of it paid out, the rest of the deposit back.
  const [, id] = /^session (\d+:\d+) is closed$/m.exec(buyer.said())!;
  expect(await net.gateway.session(id)).toMatchObject({ status: 'closed', paidAB: String(PAID), callsAB: '4001' });
  const { agents } = await net.gateway.json<{ agents: { id: string; balance: string }[] }>('/agents');
  expect(agents.map(({ balance }) => Number(balance)).toSorted((a, b) => a - b)).toEqual([
    DEPOSIT - PAID,
    DEPOSIT + PAID,
  ]);

  shop.child.kill('SIGTERM');
  const end = await shop.ended;
  expect(end, shop.said()).toBe(0);
});

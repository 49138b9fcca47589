/** The life of an agent by the command line alone, on a real L1 and a real gateway: from its registration to money that is home again. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Hex } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testTokenAbi } from '../../contracts/abi.ts';
import { parseId } from '../../protocol/ids.ts';
import { until } from '../../local/process.ts';
import { type TestNetwork, network } from '../../test/support/stack.ts';
import { Core } from '../core.ts';
import { freePort } from './ports.ts';
import { type Ran, type Running, agnt2, begin, folder } from './testing.ts';

const SERVER = fileURLToPath(new URL('../../examples/http/server.mjs', import.meta.url));
const DEPOSIT = 1000;

let net: TestNetwork;
const running: Running[] = [];

beforeAll(async () => {
  net = await network();
});
afterAll(async () => {
  for (const { child } of running) child.kill('SIGTERM');
  await Promise.all(running.map(({ ended }) => ended));
  await net?.stop();
});

const said = ({ stdout }: Ran): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;
const codeOf = (ran: Ran): unknown => (said(ran).error as { code: string } | undefined)?.code;
const json = (cwd: string, env: Record<string, string>, ...args: string[]): Promise<Ran> =>
  agnt2([...args, '--json'], { cwd, env });

/** An account with gas and tokens, as an owner comes with. */
async function owner(units: number): Promise<Hex> {
  const key = generatePrivateKey();
  const account = privateKeyToAccount(key);
  await net.l1.fund(account.address);
  const args = [account.address, BigInt(units)] as const;
  await net.l1.write(account, { address: net.token, abi: testTokenAbi, functionName: 'mint', args });
  return key;
}

// Every command is a process, and L1 pays when a batch is final: most of a minute.
test.runIf(process.env.LONG === '1')(
  'init, run, pay, session, status, logs, deposit and withdraw, each as its owner types it',
  { timeout: 900_000 },
  async () => {
    const [shop, client, failed] = [folder(), folder(), folder()];
    const l1 = ['--l1', net.l1.rpc];
    const init = ['init', '--gateway', net.url, '--deposit', String(DEPOSIT), ...l1];
    expect(codeOf(await json(failed, {}, ...init))).toBe('no_owner_key');
    const OWNER_KEY = await owner(DEPOSIT + 500);
    const { address } = privateKeyToAccount(OWNER_KEY);
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    expect(codeOf(await json(failed, { OWNER_KEY }, ...init.slice(0, -1), nowhere))).toBe('l1_unreachable');
    const poor = { OWNER_KEY: await owner(DEPOSIT - 1) };
    expect(codeOf(await json(failed, poor, ...init))).toBe('insufficient_tokens');

    const [seller, buyer] = await Promise.all([
      json(shop, { OWNER_KEY }, ...init, '--name', 'clock', '--price', '5'),
      json(client, {}, ...init, '--local', '--name', 'reader'),
    ]);
    expect([seller.code, buyer.code], seller.stdout + buyer.stdout).toEqual([0, 0]);
    expect(said(seller)).toMatchObject({ registered: true, balance: String(DEPOSIT), owner: address.toLowerCase() });
    expect(said(seller).ownerKey).toBe(undefined);
    expect(said(buyer).ownerKey).toMatch(/^0x[0-9a-f]{64}$/);

    // Both were made when nobody listened: they would take the same ports. The buyer's sidecar opens sessions when it is told to.
    const config = join(client, 'agnt2.json');
    const ports = { listen: `127.0.0.1:${await freePort()}`, admin: `127.0.0.1:${await freePort()}` };
    const written = JSON.parse(readFileSync(config, 'utf8')) as Record<string, unknown>;
    writeFileSync(config, JSON.stringify({ ...written, ...ports, session: { auto: false, deposit: '200' } }));
    const started = [
      begin(['run', '--', process.execPath, SERVER], { cwd: shop }),
      begin(['sidecar'], { cwd: client }),
    ];
    running.push(...started);
    await started[0].said(/the clock is up/);
    // It serves nothing, so it has no socket that could be online.
    await started[1].said(/"event":"ready"/);
    expect(said(await json(shop, {}, 'status'))).toMatchObject({
      agent: said(seller).agent,
      name: 'clock',
      balance: '1000',
    });

    const pay = (): Promise<Ran> => json(client, {}, 'pay', 'http://clock.agnt2/now');
    expect(said(await pay())).toMatchObject({ ok: true, status: 200, price: '5' });
    expect((await json(client, {}, 'session', 'open', 'clock')).code).toBe(0);
    expect(said(await pay())).toMatchObject({ ok: true, price: '5' });
    const { sessions } = said(await json(client, {}, 'session', 'list')) as { sessions: { session: string }[] };
    expect(sessions).toMatchObject([{ peer: said(seller).agent, role: 'a', state: 'ready', pays: 5, earns: 0 }]);
    expect((await json(client, {}, 'session', 'close', sessions[0].session)).code).toBe(0);
    const balance = async (): Promise<number> =>
      (await new Core(net.url).agent(parseId(said(seller).agent as string))).balance;
    await until('the session to be paid out', async () => (await balance()) === 1010, { everyMs: 250 });
    expect((await agnt2(['logs', '-n', '1000'], { cwd: shop })).stdout).toMatch(/ ready /);

    expect(codeOf(await json(shop, {}, 'deposit', '500', ...l1))).toBe('no_owner_key');
    const deposit = await json(shop, { OWNER_KEY }, 'deposit', '500', ...l1);
    expect(said(deposit)).toMatchObject({ ok: true, amount: '500', balanceBefore: '1010' });
    await until('the deposit', async () => (await balance()) === 1510, { timeoutMs: 60_000, everyMs: 250 });

    expect(codeOf(await json(shop, {}, 'withdraw', '9999', ...l1))).toBe('insufficient_balance');
    // Anybody with gas may have L1 pay; it pays the owner.
    const L1_KEY = await owner(0);
    const held = (of: Hex): Promise<bigint> => net.l1.tokenBalance(of);
    const before = await held(address);
    const withdrawn = await json(shop, { L1_KEY }, 'withdraw', '310', '--wait', ...l1);
    expect(said(withdrawn)).toMatchObject({ ok: true, final: true, paid: true, owner: address.toLowerCase() });
    expect((await held(address)) - before).toBe(310n);
    expect(await balance()).toBe(1200);
    const again = said(withdrawn).withdrawal as string;
    expect(codeOf(await json(shop, { L1_KEY }, 'withdraw', '--claim', again, ...l1))).toBe('l1_refused');
  },
);

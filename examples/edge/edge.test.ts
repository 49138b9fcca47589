/** The edge agent in real workerd, by `wrangler dev`, with a gateway and another agent to trade with. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inRepository, packageFile } from '../../local/paths.ts';
import { freePort } from '../../local/ports.ts';
import { type Child, start, until } from '../../local/process.ts';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { readConfig } from '../../sidecar/config.ts';
import { listen } from '../../sidecar/http/server.ts';
import { Sidecar } from '../../sidecar/sidecar.ts';
import { type TestAgent, TestGateway } from '../../sidecar/testing/gateway.ts';

let gateway: TestGateway;
let edge: TestAgent;
let shopkeeper: TestAgent;
let shop: Sidecar;
let app: http.Server;
let worker: Child;
let url: string;
const dir = mkdtempSync(join(tmpdir(), 'agnt2-edge-'));

function spawnWorker(port: number): Child {
  const args = [
    packageFile('wrangler', 'bin', 'wrangler.js'),
    'dev',
    '--ip=127.0.0.1',
    `--port=${port}`,
    '--inspector-port=0',
    `--persist-to=${join(dir, 'state')}`,
    `--env-file=${join(dir, 'env')}`,
    '--show-interactive-dev-session=false',
  ];
  const quiet = {
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    WRANGLER_SEND_METRICS: 'false',
    X_LOCAL_EXPLORER: 'false',
    CI: '1',
  };
  return start({
    name: 'the edge agent',
    command: process.execPath,
    args,
    env: quiet,
    cwd: inRepository('examples', 'edge'),
    log: join(dir, 'worker.log'),
  });
}

const status = async (): Promise<Record<string, unknown>> =>
  (await (await fetch(`${url}/`, { signal: AbortSignal.timeout(10_000) })).json()) as Record<string, unknown>;
const ready = (): Promise<unknown> =>
  until('the edge agent', async () => (await status()).ready === true, {
    timeoutMs: 60_000,
    everyMs: 200,
    child: worker,
  });

beforeAll(async () => {
  gateway = await TestGateway.start();
  edge = await gateway.agent(5000);
  shopkeeper = await gateway.agent(5000);
  app = http.createServer((request, response) => {
    response.setHeader('x-shop', 'open');
    request.pipe(response.writeHead(request.url === '/teapot' ? 418 : 200)).write('x'.repeat(1000));
  });
  const at = `http://127.0.0.1:${await listen(app, { host: '127.0.0.1', port: 0 })}`;
  process.env.AGNT2_MACHINE_KEY = hex(shopkeeper.secret);
  shop = new Sidecar(
    readConfig({
      gateway: gateway.url,
      agent: formatId(shopkeeper.id),
      name: 'shop',
      app: at,
      services: [{ name: 'shop', defaultPrice: 7 }],
      policy: { perDay: '5000' },
      session: { deposit: '500', auto: false },
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir: join(dir, 'shop'),
    }),
  );
  await shop.start();
  const env = { AGNT2_GATEWAY: gateway.url, AGNT2_AGENT: formatId(edge.id), AGNT2_MACHINE_KEY: hex(edge.secret) };
  writeFileSync(
    join(dir, 'env'),
    Object.entries(env)
      .map(([name, value]) => `${name}="${value}"\n`)
      .join(''),
  );
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  worker = spawnWorker(port);
  await ready();
}, 120_000);
afterAll(async () => {
  await worker.stop();
  await shop.stop();
  app.closeAllConnections();
  app.close();
  gateway.stop();
});

const ask = async (path: string): Promise<{ status: number; body: Record<string, unknown> }> => {
  const answer = await fetch(`http://127.0.0.1:${shop.ports.listen}/agents/digest${path}`);
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

/** The shop's operator. */
const admin = async (path: string, method = 'GET'): Promise<unknown> => {
  const answer = await fetch(`http://127.0.0.1:${shop.ports.admin}/admin/sessions${path}`, { method });
  const body: unknown = await answer.json();
  expect(body).not.toHaveProperty('code');
  return body;
};

describe('an edge agent', () => {
  test('sells a call, and buys what it needs for the answer', async () => {
    const [buys, sells] = [gateway.balance(shopkeeper), gateway.balance(edge)];
    const { body } = await ask('/of/shop/page');
    expect(body).toEqual({ for: formatId(shopkeeper.id), by: 'core', status: 200, characters: 1000 });
    await expect.poll(() => gateway.balance(edge), { timeout: 10_000 }).toBe(sells + 3 - 7);
    await expect.poll(() => gateway.balance(shopkeeper), { timeout: 10_000 }).toBe(buys - 3 + 7);
    expect((await ask('/of/shop/teapot')).body).toMatchObject({ status: 418 });
  });

  test('refuses the open Internet what it sells, whatever headers say, and gives what is free', async () => {
    const answer = await fetch(`${url}/of/shop/page`, { headers: { 'agnt2-caller': '0:1', 'agnt2-route': 'core' } });
    expect(answer.status).toBe(402);
    expect(await answer.json()).toMatchObject({ code: 'payment_required', price: '3', agent: 'digest' });
    expect((await fetch(`${url}/%2e%2e/of/shop/page`)).status).toBe(402);
    expect(await status()).toMatchObject({ ready: true, agent: formatId(edge.id), error: null });
  });

  test('pays nothing beyond its own limits, and says so by code', async () => {
    const { body } = await ask('/of/nobody/page');
    expect(body.status).toBe(404);
    expect((await ask('/of/digest/page')).body).toMatchObject({ status: 502 });
  });

  test('holds sessions, and finds them again when its object starts anew', async () => {
    await admin('/digest/open', 'POST');
    const { body } = await ask('/of/shop/page');
    expect(body).toMatchObject({ by: 'session', status: 200 });
    await worker.kill9();
    worker = spawnWorker(Number(new URL(url).port));
    await ready();
    await expect.poll(async () => (await ask('/of/shop/page')).body.by, { timeout: 20_000 }).toBe('session');
    const { sessions } = (await admin('')) as { sessions: { session: string }[] };
    const earned = gateway.balance(edge);
    await admin(`/${sessions[0].session}/close`, 'POST');
    // Both calls that the session carried are paid out when it closes.
    await expect.poll(() => gateway.balance(edge), { timeout: 10_000 }).toBeGreaterThanOrEqual(earned + 2 * 3 - 7);
  });
});

/** Two whole sidecars, two plain apps, one gateway in memory: what users and attackers would do. */
import http, { type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type ChildProcess, spawn } from 'node:child_process';
import net from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { signBundle } from '../protocol/bundle.ts';
import { requestHead } from '../protocol/call.ts';
import { hex } from '../protocol/bytes.ts';
import { formatId } from '../protocol/ids.ts';
import { verifyP256 } from '../protocol/keys.ts';
import { readHalves } from '../local/exit/halves.ts';
import { readConfig } from './config.ts';
import { listen } from './http/server.ts';
import { type Pace, Sidecar } from './sidecar.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-sidecar-'));
let gateway: TestGateway;
let alice: TestAgent;
let bob: TestAgent;
let sidecars: Sidecar[];
let apps: Server[];
let events: { who: string; event: string; [field: string]: unknown }[];
let states = 0;

const PACE: Pace = { retryMs: 20, sessionsMs: 100_000, refundsMs: 100_000, peersTtlMs: 60_000 };

beforeEach(async () => {
  gateway = await TestGateway.start();
  alice = await gateway.agent(10_000);
  bob = await gateway.agent(0);
  sidecars = [];
  apps = [];
  events = [];
});
afterEach(async () => {
  gateway.deadRelays = false;
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  for (const app of apps) {
    app.closeAllConnections();
    app.close();
  }
  gateway.stop();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function eventually(check: () => boolean | Promise<boolean>, what: string, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !(await check()); await sleep(10))
    if (Date.now() > end) throw new Error(`never: ${what}\n${JSON.stringify(events)}`);
}

async function app(listener: RequestListener): Promise<string> {
  const server = http.createServer(listener);
  apps.push(server);
  return `http://127.0.0.1:${await listen(server, { host: '127.0.0.1', port: 0 })}`;
}

async function sidecar(who: string, agent: TestAgent, more: Record<string, unknown> = {}): Promise<Sidecar> {
  const config = readConfig({
    gateway: gateway.url,
    agent: formatId(agent.id),
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    stateDir: join(dir, String(states++)),
    drainSeconds: 5,
    ...more,
  });
  process.env.AGNT2_MACHINE_KEY = hex(agent.secret);
  const made = new Sidecar(config, (event, fields) => events.push({ who, event, ...fields }), PACE);
  sidecars.push(made);
  await made.start();
  return made;
}

const SERVICE = {
  name: 'work',
  routes: [
    { method: 'POST', path: '/run', price: 10 },
    { method: 'GET', path: '/cheap/*', price: 1 },
  ],
  free: ['/free'],
};
const BUDGET = { perDay: 5000, perCall: 1000 };

const callee = async (listener: RequestListener, more: Record<string, unknown> = {}): Promise<Sidecar> => {
  const made = await sidecar('bob', bob, { name: 'bob', app: await app(listener), services: [SERVICE], ...more });
  await eventually(() => made.ready, 'callee ready');
  return made;
};
const caller = (more: Record<string, unknown> = {}): Promise<Sidecar> =>
  sidecar('alice', alice, { policy: BUDGET, ...more });

interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
  code: string | undefined;
}

async function read(message: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString();
  const problem = message.headers['content-type'] === 'application/problem+json';
  return {
    status: message.statusCode!,
    headers: message.headers,
    body,
    code: problem ? (JSON.parse(body) as { code: string }).code : undefined,
  };
}

const request = (port: number, path: string, options: http.RequestOptions = {}, body?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const out = http.request(
      { host: '127.0.0.1', port, path, agent: false, method: body === undefined ? 'GET' : 'POST', ...options },
      (message) => void read(message).then(resolve, reject),
    );
    out.on('error', reject);
    out.end(body);
  });

const echo: RequestListener = async (incoming, response) => {
  const { body } = await read(incoming);
  response.writeHead(200, { 'x-app': 'yes' });
  response.end(
    `${incoming.method} ${incoming.url} ${String(incoming.headers['agnt2-route'])} ${String(incoming.headers['agnt2-caller'])} ${body}`,
  );
};

interface Shown {
  readonly session: string;
  readonly state: string;
  readonly unsigned: { readonly earns: number };
}
const sessionsOf = async ({ ports }: Sidecar): Promise<Shown[]> =>
  (JSON.parse((await request(ports.admin, '/admin/sessions')).body) as { sessions: Shown[] }).sessions;

test('a first call goes through Core by name and through the proxy form, and is paid when answered', async () => {
  await callee(echo);
  const { ports } = await caller();
  const answer = await request(ports.listen, '/agents/bob/run?x=1', { headers: { 'agnt2-caller': '9:9' } }, 'hello');
  expect(answer).toMatchObject({ status: 200, body: `POST /run?x=1 core ${formatId(alice.id)} hello` });
  expect(answer.headers['x-app']).toBe('yes');
  await eventually(() => gateway.balance(bob) === 10, 'payment');
  expect(await request(ports.listen, 'http://bob.agnt2/cheap/x')).toMatchObject({
    body: `GET /cheap/x core ${formatId(alice.id)} `,
  });
  await eventually(() => gateway.balance(bob) === 11, 'second payment');
  expect(gateway.balance(alice)).toBe(10_000 - 11);
  expect(await request(ports.listen, `/agents/${formatId(bob.id)}/free`)).toMatchObject({
    body: 'GET /free free undefined ',
  });
  expect(gateway.balance(alice)).toBe(10_000 - 11);
});

test('the second call opens a session by itself; later calls use it, and closing settles to the unit', async () => {
  const callees = await callee(echo);
  const { ports } = await caller({ session: { deposit: 1000, credit: 500, exitDelay: 600 } });
  for (let i = 0; i < 2; i++) await request(ports.listen, '/agents/bob/run', {}, 'x');
  await eventually(() => events.some(({ who, event }) => who === 'alice' && event === 'session_open'), 'session');
  expect(gateway.balance(alice)).toBe(10_000 - 1000 - 20);
  const routes = await Promise.all(Array.from({ length: 30 }, () => request(ports.listen, '/agents/bob/run', {}, 'x')));
  expect(new Set(routes.map(({ body }) => body))).toEqual(new Set([`POST /run session ${formatId(alice.id)} x`]));
  await eventually(() => gateway.balance(bob) === 20, 'first-contact payments');
  const [{ session }] = (
    JSON.parse((await request(ports.admin, '/admin/sessions')).body) as { sessions: { session: string }[] }
  ).sessions;
  const file = join(dir, 'halves.json');
  await eventually(async () => {
    writeFileSync(file, (await request(ports.admin, '/admin/halves')).body);
    return readHalves(file).some(({ half }) => half.paid === 300);
  }, 'the half over all calls');
  const [{ half, signature }] = readHalves(file);
  expect([half.dir, half.calls, await verifyP256(alice.key.publicKey, gateway.signing.half(half), signature)]).toEqual([
    0,
    30,
    true,
  ]);
  const metrics = (await request(ports.admin, '/metrics')).body;
  for (const [name, value] of [
    ['agnt2_session_calls_out_total', '30'],
    ['agnt2_session_resumes_total', '1'],
    ['agnt2_session_windows_out_total', '[1-9]\\d*'],
    ['agnt2_session_unsigned_pays_units', '0'],
    ['agnt2_session_call_seconds_count', '30'],
    ['agnt2_session_call_seconds_bucket{le="\\+Inf"}', '30'],
  ])
    expect(metrics).toMatch(new RegExp(`^${name} ${value}$`, 'm'));
  expect(await request(ports.admin, `/admin/sessions/${session}/close`, { method: 'POST' })).toMatchObject({
    status: 200,
  });
  // What a session did is counted also when it is over.
  expect((await request(ports.admin, '/metrics')).body).toMatch(/^agnt2_session_calls_out_total 3\d$/m);
  expect((await request(ports.admin, '/admin/halves')).body).toBe('[]');
  expect(gateway.balance(alice)).toBe(10_000 - 320);
  expect(gateway.balance(bob)).toBe(320);
  expect(callees.ready).toBe(true);
  expect((await request(ports.admin, '/metrics')).body).toMatch(/agnt2_calls_out_total\{route="session"\} 30/);
  expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).status).toBe(200);
});

test('the callee calls back through the same session once it has earned something', async () => {
  await callee(echo, { policy: BUDGET, session: { deposit: 0, auto: false, credit: 500 } });
  const bobs = sidecars[0];
  const { ports } = await sidecar('alice', alice, {
    name: 'alice',
    app: await app(echo),
    services: [SERVICE],
    policy: BUDGET,
    session: { deposit: 1000, credit: 500 },
  });
  await request(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  for (let i = 0; i < 3; i++)
    expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).body).toContain('session');
  // Bob pays with what he has earned, once it is signed for.
  await eventually(async () => (await sessionsOf(bobs)).every(({ unsigned }) => unsigned.earns === 0), 'signed for');
  expect(await request(bobs.ports.listen, '/agents/alice/run', {}, 'back')).toMatchObject({
    body: `POST /run session ${formatId(bob.id)} back`,
  });
});

test('SIGTERM order: in-flight calls finish, sessions close together, everything is paid', async () => {
  const [asked, draining] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await callee(async (incoming, response) => {
    await read(incoming);
    asked.resolve();
    await draining.promise;
    response.end('done');
  });
  const alices = await caller({ session: { deposit: 1000, credit: 500 } });
  const { ports } = alices;
  await request(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  const slow = request(ports.listen, '/agents/bob/run', {}, 'x');
  await asked.promise;
  const stopped = alices.stop();
  await eventually(() => events.some(({ who, event }) => who === 'alice' && event === 'draining'), 'draining');
  draining.resolve();
  expect(await slow).toMatchObject({ status: 200, body: 'done' });
  await stopped;
  expect(
    events
      .filter(({ who }) => who === 'alice')
      .map(({ event }) => event)
      .slice(-3),
  ).toEqual(['draining', 'session_closed', 'stopped']);
  expect(gateway.balance(alice) + gateway.balance(bob)).toBe(10_000);
  expect(gateway.balance(bob)).toBe(10);
});

test('both sides stopping at once still close together', async () => {
  const bobs = await callee(echo);
  const alices = await caller({ session: { deposit: 1000, credit: 500 } });
  await request(alices.ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  for (let i = 0; i < 5; i++) await request(alices.ports.listen, '/agents/bob/run', {}, 'x');
  await Promise.all([alices.stop(), bobs.stop()]);
  expect(gateway.balance(bob)).toBe(50);
  expect(gateway.balance(alice)).toBe(9950);
});

test('a peer that is gone: settle what it signed, exit, finalize after the delay', async () => {
  const bobs = await callee(echo, { session: { credit: 500, minExitDelay: 60 } });
  const alices = await caller({ session: { deposit: 1000, credit: 500, exitDelay: 60 } });
  await request(alices.ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  for (let i = 0; i < 5; i++) await request(alices.ports.listen, '/agents/bob/run', {}, 'x');
  await eventually(async () => (await sessionsOf(bobs)).every(({ unsigned }) => unsigned.earns === 0), 'signed for');
  gateway.deadRelays = true;
  gateway.cutSessions();
  await eventually(async () => (await sessionsOf(bobs))[0].state !== 'ready', 'bob has heard');
  const [{ session }] = await sessionsOf(bobs);
  expect(await request(bobs.ports.admin, `/admin/sessions/${session}/close`, { method: 'POST' })).toMatchObject({
    status: 200,
  });
  expect(events.some(({ who, event }) => who === 'bob' && event === 'session_exiting')).toBe(true);
  expect(gateway.balance(bob)).toBe(0);
  await gateway.tick(120);
  const real = Date.now;
  Date.now = () => real() + 120_000;
  try {
    await bobs.sweep();
  } finally {
    Date.now = real;
  }
  expect(gateway.balance(bob)).toBe(50);
  expect(gateway.balance(alice)).toBe(9950);
});

test("the app's failure is refunded: not there, broken off, or a 5xx", async () => {
  await callee((incoming, response) => {
    if (incoming.url === '/run?500') response.writeHead(500).end('no');
    else {
      response.writeHead(200);
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    }
  });
  const { ports } = await caller();
  expect(await request(ports.listen, '/agents/bob/run?500', {}, 'x')).toMatchObject({ status: 500, body: 'no' });
  await expect(request(ports.listen, '/agents/bob/run?cut', {}, 'x')).rejects.toThrow();
  apps[0].closeAllConnections();
  apps[0].close();
  expect(await request(ports.listen, '/agents/bob/run', {}, 'x')).toMatchObject({
    status: 502,
    code: 'app_unavailable',
  });
  await eventually(() => gateway.balance(alice) === 10_000, 'refunds');
  expect([1, 2, 3].map((serial) => gateway.escrowStatus(serial * 256))).toEqual(['refunded', 'refunded', 'refunded']);
});

test("the budget refuses before anything is signed; the app can't argue", async () => {
  await callee(echo);
  const { ports } = await caller({ policy: { perDay: 25, perCall: 10 } });
  expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).status).toBe(200);
  expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).status).toBe(200);
  const frames = gateway.frames.length;
  expect(await request(ports.listen, '/agents/bob/run', { headers: { 'agnt2-budget': '9999' } }, 'x')).toMatchObject({
    status: 402,
    code: 'over_day_cap',
  });
  await sleep(100);
  expect(gateway.frames.length - frames).toBeLessThanOrEqual(1);
});

test('an agent without money gets a 402, an unknown name a 404, a sleeping agent a 503, the Internet a 403', async () => {
  const bobs = await callee(echo);
  const poor = await gateway.agent(3);
  const { ports } = await sidecar('poor', poor, { policy: BUDGET });
  expect(await request(ports.listen, '/agents/bob/run', {}, 'x')).toMatchObject({
    status: 402,
    code: 'insufficient_balance',
  });
  expect(await request(ports.listen, '/agents/nobody/run')).toMatchObject({ status: 404, code: 'unknown_name' });
  expect(await request(ports.listen, 'http://example.com/')).toMatchObject({ status: 403, code: 'egress_denied' });
  expect(await request(ports.listen, '/agents/bob/../admin')).toMatchObject({ status: 400, code: 'bad_target' });
  expect(await request(ports.listen, '/healthz')).toMatchObject({ status: 404, code: 'not_found' });
  expect(await request(bobs.ports.listen, '/agents/bob/run')).toMatchObject({ code: 'self_dealing' });
  await bobs.stop();
  expect(await request(ports.listen, '/agents/bob/cheap/x')).toMatchObject({ status: 503, code: 'agent_offline' });
  expect((await request(ports.listen, '/agents/bob/cheap/x')).headers['retry-after']).toBe('1');
});

test('an escrow nobody answered comes back after its deadline, and the budget with it', async () => {
  const bobs = await callee(echo, { services: [{ ...SERVICE, deadlineSeconds: 30 }] });
  const alices = await caller();
  await request(alices.ports.listen, '/agents/bob/free');
  await bobs.stop();
  expect(await request(alices.ports.listen, '/agents/bob/run', {}, 'x')).toMatchObject({ code: 'agent_offline' });
  expect(gateway.balance(alice)).toBe(9990);
  const status = async () =>
    (JSON.parse((await request(alices.ports.admin, '/admin/status')).body) as { spent: { day: string } }).spent.day;
  expect(await status()).toBe('10');
  await gateway.tick(40);
  const real = Date.now;
  Date.now = () => real() + 40_000;
  try {
    await alices.sweep();
  } finally {
    Date.now = real;
  }
  expect(gateway.balance(alice)).toBe(10_000);
  expect(await status()).toBe('0');
});

test('events and large bodies stream through both routes', async () => {
  let seen: () => void = () => {};
  await callee(async (incoming, response) => {
    let size = 0;
    for await (const chunk of incoming) size += (chunk as Buffer).length;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let i = 0; i < 3; i++) {
      const arrived = new Promise<void>((resolve) => (seen = resolve));
      response.write(`data: ${i} ${size}\n\n`);
      await arrived;
    }
    response.end();
  });
  const { ports } = await caller({ session: { deposit: 1000, credit: 500, afterCalls: 1000 } });
  const options = { host: '127.0.0.1', port: ports.listen, path: '/agents/bob/run', method: 'POST', agent: false };
  const stream = async (): Promise<string[]> => {
    const message = await new Promise<IncomingMessage>((resolve, reject) =>
      http.request(options, resolve).on('error', reject).end(Buffer.alloc(8_000_000)),
    );
    const chunks: string[] = [];
    for await (const chunk of message) {
      chunks.push(String(chunk));
      seen();
    }
    return chunks;
  };
  for (const open of [false, true]) {
    if (open) await request(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
    expect(await stream()).toEqual([0, 1, 2].map((i) => `data: ${i} 8000000\n\n`));
  }
});

test("a caller that hangs up ends the work at the callee's app, on either route", async () => {
  const closed: boolean[] = [];
  await callee((_, response) => {
    response.on('close', () => closed.push(response.writableFinished));
    response.writeHead(200);
    response.write('first');
  });
  const { ports } = await caller({ session: { deposit: 1000, credit: 500, afterCalls: 1000 } });
  for (const open of [false, true]) {
    if (open) await request(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
    await new Promise<void>((resolve) => {
      const out = http.request(
        { host: '127.0.0.1', port: ports.listen, path: '/agents/bob/run', method: 'POST', agent: false },
        (message) => {
          message.on('error', () => {});
          message.once('data', () => {
            out.destroy();
            resolve();
          });
        },
      );
      out.on('error', () => {});
      out.end('x');
    });
    await eventually(() => closed.length === (open ? 2 : 1), 'the app sees the hang-up');
  }
  expect(closed).toEqual([false, false]);
  // What it made the app do is paid.
  await eventually(() => gateway.balance(bob) >= 10, 'payment');
});

test('publishing twice changes nothing; a changed price is a new version, a dropped service goes inactive', async () => {
  const first = await callee(echo);
  const frames = gateway.frames.length;
  await first.stop();
  const second = await callee(echo);
  expect(gateway.frames.length).toBe(frames);
  await second.stop();
  await callee(echo, { services: [{ ...SERVICE, routes: [{ method: 'POST', path: '/run', price: 11 }] }] });
  expect(gateway.frames.length).toBe(frames + 1);
  await sidecars[2].stop();
  await callee(echo, { services: [{ ...SERVICE, name: 'other' }] });
  const { ports } = await caller();
  expect((await request(ports.listen, `/agents/${formatId(bob.id)}/run`, {}, 'x')).status).toBe(200);
});

/** Starting a process takes a while where many start at once. */
const START_MS = 30_000;

test(
  'killed without a word: the next run sends what was owed, and fails what nobody saw the end of',
  { timeout: 4 * START_MS },
  async () => {
    const stateDir = join(dir, 'crash');
    let hang = false;
    const asked = Promise.withResolvers<void>();
    const origin = await app((incoming, response) => {
      if (!hang) return void response.end('ok');
      incoming.resume();
      asked.resolve();
    });
    const config = {
      gateway: gateway.url,
      agent: formatId(bob.id),
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir,
      name: 'bob',
      app: origin,
      services: [SERVICE],
      keyFile: join(dir, 'bob.key'),
    };
    writeFileSync(config.keyFile, hex(bob.secret), { mode: 0o600 });
    writeFileSync(join(dir, 'bob.json'), JSON.stringify(config));
    const run = (): ChildProcess & { lines: string[] } => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), '--config', join(dir, 'bob.json')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const lines: string[] = [];
      child.stdout.on('data', (data) => lines.push(...String(data).split('\n').filter(Boolean)));
      return Object.assign(child, { lines });
    };
    const has = (child: { lines: string[] }, event: string): boolean =>
      child.lines.some((line) => (JSON.parse(line) as { event: string }).event === event);
    const first = run();
    await eventually(() => has(first, 'ready') && has(first, 'online'), 'first run', START_MS);
    const { ports } = await caller();
    hang = true;
    const lost = request(ports.listen, '/agents/bob/run', {}, 'x').catch(() => null);
    await asked.promise;
    hang = false;
    // Its answer is out before the bundle with its respond leaves.
    expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).status).toBe(200);
    first.kill('SIGKILL');
    expect(await lost).toMatchObject({ status: 502, code: 'session_lost' });
    expect(gateway.escrowStatus(256)).toBe('open');
    const second = run();
    await eventually(() => gateway.escrowStatus(256) === 'refunded', 'the hanging call failed', START_MS);
    await eventually(() => gateway.escrowStatus(512) === 'fulfilled', 'the answered call is paid');
    expect(gateway.balance(alice)).toBe(9990);
    await eventually(() => has(second, 'ready'), 'second run', START_MS);
    const exited = new Promise((resolve) => second.on('exit', resolve));
    second.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(has(second, 'stopped')).toBe(true);
  },
);

test('the wrong key, or another network behind the same state, stops the start', async () => {
  const stateDir = join(dir, 'pinned');
  await (await caller({ stateDir })).stop();
  await expect(sidecar('mallory', { ...alice, secret: bob.secret }, {})).rejects.toMatchObject({ code: 'wrong_key' });
  const other = await TestGateway.start();
  try {
    await expect(sidecar('alice', alice, { stateDir, gateway: other.url })).rejects.toMatchObject({
      code: 'network_changed',
    });
  } finally {
    other.stop();
  }
});

test('a deposit that runs out is topped up; meanwhile calls go through Core', async () => {
  await callee(echo);
  const { ports } = await caller({ session: { deposit: 30, credit: 500 } });
  await request(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  const routes: string[] = [];
  for (let i = 0; i < 3; i++) routes.push((await request(ports.listen, '/agents/bob/run', {}, 'x')).body.split(' ')[2]);
  expect(routes).toEqual(['session', 'session', 'session']);
  expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).body).toContain(' core ');
  await eventually(() => events.some(({ event }) => event === 'session_funded'), 'top-up');
  expect((await request(ports.listen, '/agents/bob/run', {}, 'x')).body).toContain(' session ');
  await sidecars[1].stop();
  await eventually(() => gateway.balance(bob) === 50, 'all paid');
  expect(gateway.balance(alice)).toBe(9950);
});

test('concurrent first calls open one session, and all are answered', async () => {
  await callee(echo);
  const { ports } = await caller({ session: { deposit: 1000, credit: 500 } });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => request(ports.listen, '/agents/bob/run', {}, 'x')),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
  await eventually(() => events.some(({ event }) => event === 'session_open'), 'session');
  expect(gateway.engine.machine.sessionExists(512)).toBe(false);
  await sidecars[1].stop();
  await eventually(() => gateway.balance(bob) === 200, 'all paid');
});

test('whatever bytes come to the listener, it answers by code or hangs up, and goes on', async () => {
  await callee(echo);
  const { ports } = await caller();
  const word = fc.oneof(
    fc.constantFrom(
      'GET',
      'POST',
      'http://bob.agnt2/run',
      '/agents/bob/',
      '/agents/0:2/free',
      ' ',
      '\r\n',
      'HTTP/1.1',
      'Host: x',
      'Content-Length: 5',
      'Transfer-Encoding: chunked',
      '\r\n\r\n',
      '0',
      ':',
    ),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 14 }), async (words) => {
      const answer = await new Promise<string>((resolve) => {
        const socket = net.connect(ports.listen, '127.0.0.1', () => socket.end(words.join('')));
        let text = '';
        socket.on('data', (data) => (text += data.toString('latin1')));
        socket.on('error', () => resolve(text));
        socket.on('close', () => resolve(text));
        setTimeout(() => socket.destroy(), 500).unref();
      });
      if (answer !== '' && !answer.startsWith('HTTP/1.1 200 ')) {
        expect(answer).toMatch(/^HTTP\/1\.1 (?:400|402|403|404|501) [^]*"code":"[a-z_]+"/);
      }
      expect(answer).not.toMatch(/"code":"internal"|sidecar\/|\.ts/);
    }),
    { numRuns: 150 },
  );
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: fc.constantFrom(...'/.%2ef5c\\?#:@a&=;0'), maxLength: 20 }), async (tail) => {
      const { status, code } = await request(ports.listen, `/agents/bob/cheap/${tail}`);
      if (code === undefined) expect(status).toBe(200);
      else expect(['bad_target', 'over_day_cap', 'bad_request']).toContain(code);
    }),
    { numRuns: 60 },
  );
  expect((await request(ports.listen, '/agents/bob/free')).status).toBe(200);
});

test('a session whose close we signed never serves again, also after a restart', async () => {
  const stateDir = join(dir, 'signed-close');
  const bobs = await callee(echo, { stateDir, session: { credit: 500, minExitDelay: 60 } });
  const alices = await caller({ session: { deposit: 1000, credit: 500, exitDelay: 60 } });
  await request(alices.ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  await request(alices.ports.listen, '/agents/bob/run', {}, 'x');
  // Bob signs the close, and nobody can bring it on chain yet.
  gateway.faults.refuseOps = ['close', 'exit'];
  expect((await request(alices.ports.admin, '/admin/sessions/0:1/close', { method: 'POST' })).code).toBe('forbidden');
  expect(await request(alices.ports.listen, '/agents/bob/.agnt2/close', { method: 'POST' })).toMatchObject({
    code: 'bad_target',
  });
  gateway.deadRelays = true;
  await bobs.stop();
  gateway.deadRelays = false;
  await callee(echo, { stateDir });
  const { port } = new URL(gateway.url);
  const headers = { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': '0:1' };
  const answer = await request(Number(port), `/agents/${formatId(bob.id)}/calls`, { method: 'POST', headers }, '');
  expect(answer.code).toBe('session_draining');
  expect(gateway.engine.machine.sessionExists(256)).toBe(true);
  gateway.faults.refuseOps = [];
  await sidecars[1].stop();
  await eventually(
    () => gateway.balance(bob) === 10 || events.some(({ event }) => event === 'session_exiting'),
    'left',
  );
});

// ---- what a dishonest caller may try, by talking to the gateway itself ----

async function invoke(
  payer: TestAgent,
  service: number,
  amount: number,
  method: string,
  target: string,
  nonce: number,
): Promise<{ escrow: string; frame: string }> {
  const frame = await signBundle(
    payer.key,
    gateway.signing,
    { actor: payer.id, nonce, expiry: 4e9 },
    [{ op: 'invoke', service, amount }],
    [requestHead(method, target)],
  );
  const result = (await gateway.submit(frame)) as { receipt: { seq: string; outcomes: { value: string }[] } };
  return { escrow: formatId(Number(result.receipt.outcomes[1].value)), frame: `0:${result.receipt.seq}` };
}

test('escrows are checked: whose, how much, for what, how often', async () => {
  let served = 0;
  await callee(async (incoming, response) => {
    await read(incoming);
    served += 1;
    response.end('ok');
  });
  const carol = await gateway.agent(0);
  const carols = await sidecar('carol', carol, { name: 'carol', app: await app(echo), services: [SERVICE] });
  await eventually(() => carols.ready, 'carol');
  const [bobService, carolService] = [256, 512];
  const { port } = new URL(gateway.url);
  const contact = (
    claim: { escrow?: string; frame?: string; index?: string },
    method = 'POST',
    target = '/run',
  ): Promise<Answer> => {
    const headers: Record<string, string> = { 'agnt2-method': method, 'agnt2-target': target };
    for (const [name, value] of Object.entries(claim)) headers[`agnt2-${name}`] = value;
    return request(Number(port), `/agents/${formatId(bob.id)}/calls`, { method: 'POST', headers }, 'x');
  };
  const good = await invoke(alice, bobService, 10, 'POST', '/run', 0);
  const others = await invoke(alice, carolService, 10, 'POST', '/run', 1);
  const small = await invoke(alice, bobService, 9, 'POST', '/run', 2);
  const cheap = await invoke(alice, bobService, 10, 'GET', '/cheap/x', 3);
  const again = await invoke(alice, bobService, 10, 'POST', '/run', 4);
  const tries: [string, Promise<Answer>][] = [
    ['payment_required', contact({})],
    ['payment_required', contact({ escrow: good.escrow })],
    ['payment_required', contact({ escrow: 'nonsense', frame: good.frame })],
    ['unknown_escrow', contact({ escrow: '0:999', frame: good.frame })],
    ['frame_mismatch', contact({ escrow: good.escrow, frame: others.frame })],
    ['frame_mismatch', contact({ ...good, index: '1' })],
    ['frame_mismatch', contact({ ...others })],
    ['escrow_too_small', contact({ ...small })],
    ['frame_mismatch', contact({ ...cheap })],
    ['bad_target', contact({ ...good }, 'POST', '/%72un')],
    ['bad_target', contact({ ...good }, 'POST', '/x/../run')],
    ['frame_mismatch', contact({ ...good }, 'PUT', '/run')],
  ];
  for (const [code, answer] of tries) expect((await answer).code).toBe(code);
  expect(served).toBe(0);
  const both = await Promise.all([contact(good), contact(good)]);
  expect(both.map(({ code, status }) => code ?? status).toSorted()).toEqual([200, 'escrow_used']);
  await eventually(() => gateway.balance(bob) === 10, 'paid once');
  expect((await contact(good)).code).toMatch(/escrow_not_open|escrow_used/);
  gateway.faults.forgeReceipts = true;
  const forged = await invoke(alice, bobService, 10, 'POST', '/run', 5);
  gateway.faults.forgeReceipts = false;
  expect((await contact(forged)).code).toBe('frame_mismatch');
  expect((await contact(again)).status).toBe(200);
  expect(served).toBe(2);
});

test('sessions with too short an exit or of strangers are not joined', async () => {
  await callee(echo, { session: { minExitDelay: 1000, minDeposit: 50, credit: 10 } });
  const short = await caller({ session: { deposit: 100, exitDelay: 999 } });
  const answer = await request(short.ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
  expect(answer.code).toBe('bad_duration');
  await eventually(
    () => events.some(({ who, event }) => who === 'alice' && event === 'session_exiting'),
    'it leaves what nobody joined',
  );
  const { port } = new URL(gateway.url);
  const headers = { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': '0:77' };
  expect(
    await request(Number(port), `/agents/${formatId(bob.id)}/calls`, { method: 'POST', headers }, ''),
  ).toMatchObject({ code: 'unknown_session' });
});

test('the admin port answers health, and no browser', async () => {
  const { ports } = await caller();
  expect((await request(ports.admin, '/healthz')).status).toBe(200);
  expect((await request(ports.admin, '/readyz')).status).toBe(200);
  expect(await request(ports.admin, '/metrics', { headers: { origin: 'http://evil' } })).toMatchObject({ status: 403 });
  expect(await request(ports.admin, '/admin/sessions/0:1/close', { method: 'POST' })).toMatchObject({
    code: 'unknown_session',
  });
  expect(await request(ports.listen, '/admin/status')).toMatchObject({ code: 'not_found' });
});

test('everything is cleaned up', () => rmSync(dir, { recursive: true, force: true }));

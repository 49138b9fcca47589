/** A sidecar as an operator has it: a process that is told to stop, configs that change under it, and logs that keep secrets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hex } from '../protocol/bytes.ts';
import { formatId } from '../protocol/ids.ts';
import { readConfig } from './config.ts';
import { follow } from './reload.ts';
import { Pair, ask, eventually, viaProxy } from './testing/pair.ts';
import { WORK } from './testing/refusals.ts';

let pair: Pair;
let children: ChildProcess[] = [];
beforeEach(async () => {
  pair = await Pair.start({ peersTtlMs: 50 });
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await pair.stop();
});

const CANARY = 'canary-5up3r-s3cr3t';

/** Every byte under a directory. */
const bytesUnder = (dir: string): { file: string; bytes: Buffer }[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => join(dir, name))
    .filter((file) => statSync(file).isFile())
    .map((file) => ({ file, bytes: readFileSync(file) }));

test('secrets put everywhere come out nowhere: not in logs, metrics, traces, state or on chain; SIGTERM ends it all in good order', async () => {
  let slow = (): void => {};
  await pair.bob((request, response) => {
    request.resume();
    response.setHeader('set-cookie', `session=${CANARY}`);
    const answer = (): void => void response.end(`you said ${CANARY}`);
    if (request.url?.startsWith('/run?slow') === true) slow = answer;
    else request.on('end', answer);
  });
  const spans: string[] = [];
  const collector = http.createServer((request, response) => {
    request.on('data', (chunk) => spans.push(String(chunk)));
    request.on('end', () => response.end('{}'));
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const agent = await pair.gateway.agent(10_000);
  const stateDir = join(pair.dir, 'canary');
  const keyFile = join(pair.dir, 'canary.key');
  writeFileSync(keyFile, hex(agent.secret), { mode: 0o600 });
  const file = join(pair.dir, 'canary.json');
  writeFileSync(
    file,
    JSON.stringify({
      gateway: pair.gateway.url,
      agent: formatId(agent.id),
      keyFile,
      stateDir,
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      policy: { perDay: 1000, perCall: 10 },
      session: { deposit: 500, exitDelay: 600 },
      accessLog: true,
    }),
  );
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), '--config', file], {
    env: {
      PATH: process.env.PATH,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=${CANARY}`,
    },
  });
  children.push(child);
  let log = '';
  child.stdout.on('data', (chunk) => (log += String(chunk)));
  child.stderr.on('data', (chunk) => (log += String(chunk)));
  const lines = (): Record<string, unknown>[] =>
    log
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  await eventually(() => log.includes('"event":"ready"'), 'the process is ready', 25_000);
  const { listen, admin } = lines().find(({ event }) => event === 'ready') as { listen: number; admin: number };

  const headers = {
    authorization: `Bearer ${CANARY}`,
    cookie: `a=${CANARY}`,
    'x-api-key': CANARY,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: `v=${CANARY}`,
    baggage: `k=${CANARY}`,
    host: 'bob.agnt2',
  };
  const call = (url: string) => ask(listen, url, { headers }, CANARY);
  expect((await call(`http://bob.agnt2/run?token=${CANARY}`)).body).toContain(CANARY);
  await ask(admin, '/admin/sessions/bob/open', { method: 'POST', headers });
  expect((await call(`http://bob.agnt2/run?token=${CANARY}`)).status).toBe(200);
  expect((await call(`http://bob.agnt2/free?${CANARY}`)).status).toBe(200);
  // Refused, and by every reader there is.
  await call(`http://bob.agnt2/../x?${CANARY}`);
  await ask(listen, `http://user:${CANARY}@other.example/?${CANARY}`, {
    headers: { ...headers, host: 'other.example' },
  });
  await ask(listen, `http://other.example/?${CANARY}`, { headers: { ...headers, host: 'other.example' } });
  await ask(listen, `http://nobody.agnt2/?${CANARY}`, { headers: { ...headers, host: 'nobody.agnt2' } });
  for (const bad of [
    `GET / HTTP/1.1\r\nHost: x\r\nX: ${CANARY}\r\n bad\r\n\r\n`,
    `CONNECT x:443 HTTP/1.1\r\nX: ${CANARY}\r\n\r\n`,
  ])
    await new Promise((resolve) => {
      const socket = net.connect(listen, '127.0.0.1', () => socket.end(bad));
      socket
        .resume()
        .on('close', resolve)
        .on('error', () => {});
    });
  await ask(admin, `/admin/approvals/${CANARY}/grant`, { method: 'POST', headers });
  // Its config file changes under it: a bad one by nothing, a good one by what it says.
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...config, colour: CANARY }));
  child.kill('SIGHUP');
  await eventually(() => log.includes('"event":"reload_refused"'), 'the bad config is refused');
  writeFileSync(file, JSON.stringify({ ...config, policy: { perDay: 900, perCall: 10 } }));
  await eventually(() => log.includes('"event":"reloaded"'), 'the good config is taken');
  const metrics = (await ask(admin, '/metrics')).body;
  const token = readFileSync(join(stateDir, 'admin-token'), 'utf8');

  const last = call(`http://bob.agnt2/run?slow&${CANARY}`);
  const answered = { yet: false };
  void last.then(() => (answered.yet = true));
  await eventually(async () => (await ask(admin, '/metrics')).body.includes('agnt2_in_flight_out 1'), 'the slow call');
  const exited = new Promise((resolve) => child.on('exit', resolve));
  child.kill('SIGTERM');
  await eventually(() => log.includes('"event":"draining"'), 'draining');
  expect(JSON.parse((await ask(admin, '/readyz')).body)).toEqual({ ready: false, reason: 'draining' });
  await expect(ask(listen, 'http://bob.agnt2/free', { headers })).rejects.toThrow();
  expect(answered.yet).toBe(false);
  slow();
  expect((await last).status).toBe(200);
  expect(await exited).toBe(0);
  expect(log).toContain('"event":"stopped"');
  // Three paid calls, the last of them answered after SIGTERM; the session closed to the unit, the rest of its deposit is back.
  await eventually(() => pair.gateway.balance(agent) === 10_000 - 30, 'the session is settled');

  const paths = lines().flatMap(({ event, path, route, price, code }) =>
    event === 'access' ? [[path, route, price, code]] : [],
  );
  expect(paths).toContainEqual(['/run', 'core', '10', undefined]);
  expect(paths.filter(([path, route]) => path === '/run' && route === 'session')).toHaveLength(2);
  expect(paths).toContainEqual(['', '', '0', 'egress_denied']);
  const traces = spans.join('');
  expect(traces).toContain('"parentSpanId":"b7ad6b7169203331"');
  expect(metrics).toMatch(/agnt2_refusals_total\{code="egress_denied"\} 1/);

  const key = Buffer.from(agent.secret);
  const places: { where: string; bytes: Buffer }[] = [
    { where: 'the log', bytes: Buffer.from(log) },
    { where: 'metrics', bytes: Buffer.from(metrics) },
    { where: 'traces', bytes: Buffer.from(traces) },
    { where: 'urls at the gateway', bytes: Buffer.from(pair.gateway.requests.join('\n')) },
    ...pair.gateway.frames.map(({ bytes }) => ({ where: 'the chain', bytes: Buffer.from(bytes) })),
    ...bytesUnder(stateDir)
      .filter(({ file }) => !file.endsWith('admin-token'))
      .map(({ file, bytes }) => ({ where: file, bytes })),
  ];
  expect(places.length).toBeGreaterThan(8);
  for (const { where, bytes } of places)
    for (const secret of [
      CANARY,
      key,
      key.toString('hex'),
      token,
      encodeURIComponent(CANARY),
      btoa(CANARY).slice(0, 20),
    ])
      expect([where, bytes.includes(secret)]).toEqual([where, false]);
  collector.closeAllConnections();
  collector.close();
});

test('a changed config takes hold whole, between calls; what is bad or needs a restart changes nothing', async () => {
  const bobs = await pair.bob();
  const alice = await pair.gateway.agent(10_000);
  const base = {
    gateway: pair.gateway.url,
    agent: formatId(alice.id),
    stateDir: join(pair.dir, 'reloaded'),
    drainSeconds: 5,
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    policy: { perDay: 1000, perCall: 5 },
  };
  const alices = await pair.sidecar('alice', alice, base);
  const RUN = { method: 'POST', url: 'http://bob.agnt2/run' };
  const code = async (): Promise<unknown> => (await viaProxy(alices.ports.listen, RUN)).problem?.code;
  expect(await code()).toBe('over_call_cap');

  let now: unknown = base;
  const bad: string[] = [];
  const follower = follow(
    alices,
    () => readConfig(now),
    (why, detail) => bad.push(`${why} ${detail}`),
    1e6,
  );
  await follower.look();
  now = { ...base, policy: { perDay: 1000, perCall: 10 } };
  await follower.look();
  expect(await code()).toBeUndefined();
  // One that is half good is not taken by half.
  for (const next of [
    { ...base, policy: { perDay: 1 }, colour: 'red' },
    { ...base, policy: { perDay: 1 }, stateDir: 'elsewhere', agent: '0:99', listen: '127.0.0.1:1' },
  ]) {
    now = next;
    await follower.look();
    await follower.look();
    expect(await code()).toBeUndefined();
  }
  expect(bad).toEqual([
    expect.stringContaining('colour is not a setting'),
    expect.stringMatching(/needs_restart agent, listen, stateDir can't change/),
  ]);
  follower.stop();
  expect(pair.events.filter(({ event }) => event === 'reloaded')).toMatchObject([{ changed: ['policy'] }]);

  // Prices: published, then charged. Whoever calls by the old ones meanwhile learns the new ones.
  const own = readConfig({
    ...base,
    agent: '0:1',
    name: 'bob',
    app: 'http://127.0.0.1:1',
    services: [{ ...WORK, routes: [{ method: 'POST', path: '/run', price: 7 }] }],
  });
  const spent = (): number => 10_000 - pair.gateway.balance(alice);
  await eventually(() => spent() === 30, 'three calls at the old price');
  await bobs.reload({ ...bobs.config, services: own.services });
  await eventually(async () => (await code()) === undefined && spent() > 30, 'a call at the new price');
  expect((spent() - 30) % 7).toBe(0);
});

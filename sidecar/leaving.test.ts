/** How a session may be left against a payer that does not mean it well, or a gateway that was away at the wrong moment. */
import http, { type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { hex } from '../protocol/bytes.ts';
import { Session, SessionStatus, get } from '../protocol/cells.ts';
import { formatId } from '../protocol/ids.ts';
import { readConfig } from './config.ts';
import { listen } from './http/server.ts';
import type { SessionEndpoint } from './session/index.ts';
import { Sidecar } from './sidecar.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';
import { Mallory, call } from './testing/mallory.ts';
import { eventually } from './testing/pair.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-leaving-'));

let gateway: TestGateway;
let mallory: Mallory;
let bob: TestAgent;
let app: Server;
let sidecars: Sidecar[];
let states = 0;

beforeEach(async () => {
  gateway = await TestGateway.start();
  mallory = new Mallory(gateway, await gateway.agent(10_000));
  bob = await gateway.agent(0);
  sidecars = [];
  app = http.createServer((_, response) => response.end('work'));
});
afterEach(async () => {
  gateway.deadRelays = false;
  gateway.faults.refuseReads = null;
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  app.closeAllConnections();
  app.close();
  gateway.stop();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function callee(stateDir = join(dir, String(states++))): Promise<Sidecar> {
  const origin = app.listening
    ? `http://127.0.0.1:${(app.address() as { port: number }).port}`
    : `http://127.0.0.1:${await listen(app, { host: '127.0.0.1', port: 0 })}`;
  const config = readConfig({
    gateway: gateway.url,
    agent: formatId(bob.id),
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    stateDir,
    drainSeconds: 5,
    app: origin,
    services: [{ name: 'work', routes: [], defaultPrice: 10 }],
    session: { credit: 500, minExitDelay: 60 },
  });
  process.env.AGNT2_MACHINE_KEY = hex(bob.secret);
  const made = new Sidecar(config, () => {}, { retryMs: 20, sessionsMs: 100_000, refundsMs: 100_000 });
  sidecars.push(made);
  await made.start();
  await eventually(() => made.ready, 'callee ready');
  return made;
}

const open = async (): Promise<SessionEndpoint> => (await mallory.open(bob)).endpoint;

test('once a close is signed nothing is served above it, however often and however badly it is asked for again', async () => {
  await callee();
  const endpoint = await open();
  expect(await call(endpoint, '/run')).toBe('200');
  await endpoint.flush();
  expect(await call(endpoint, '/.agnt2/close', 0)).toBe('200');
  expect(await call(endpoint, '/run')).toBe('session_draining');
  // Each of the two is in the other's way, so one of them gives up.
  const again = [call(endpoint, '/.agnt2/close', 0), call(endpoint, '/.agnt2/close', 0)];
  expect(await Promise.all(again)).toContain('timeout');
  expect(await call(endpoint, '/run')).toBe('session_draining');
});

test('who lost its disk leaves the sessions it was in, with what it is shown: a close it signed may be about', async () => {
  const first = await callee();
  const endpoint = await open();
  for (let i = 0; i < 3; i++) expect(await call(endpoint, '/run')).toBe('200');
  await endpoint.flush();
  expect(await call(endpoint, '/.agnt2/close', 0)).toBe('200');
  // Gone at once, and nothing of it is left.
  gateway.deadRelays = true;
  gateway.faults.refuseOps = ['settle', 'exit', 'close'];
  await first.stop();
  gateway.faults.refuseOps = [];
  gateway.deadRelays = false;
  const second = await callee();
  void endpoint.attach(await mallory.dial(256));
  expect(await call(endpoint, '/run')).not.toBe('200');
  const chain = () => gateway.engine.machine.readSession(256);
  await eventually(() => get(chain(), Session.status) === SessionStatus.exiting, 'the exit');
  expect(get(chain(), Session.paidAB)).toBe(30);
  await second.sweep();
  expect(await call(endpoint, '/run')).not.toBe('200');
});

test('what a session earned is settled also when the gateway was away as the sidecar took it up', async () => {
  const stateDir = join(dir, String(states++));
  const first = await callee(stateDir);
  const endpoint = await open();
  for (let i = 0; i < 5; i++) expect(await call(endpoint, '/run')).toBe('200');
  await endpoint.flush();
  // Bob goes down without a word on chain, and comes back while the gateway can't say how the session stands.
  gateway.deadRelays = true;
  gateway.faults.refuseOps = ['settle', 'exit', 'close'];
  await first.stop();
  gateway.faults.refuseOps = [];
  gateway.faults.refuseReads = /^\/sessions\//;
  const second = await callee(stateDir);
  gateway.faults.refuseReads = null;
  gateway.deadRelays = false;
  await mallory.submit({ op: 'exit', session: 256 });
  await second.sweep();
  await gateway.tick(120);
  const real = Date.now;
  Date.now = () => real() + 120_000;
  try {
    await second.sweep();
  } finally {
    Date.now = real;
  }
  expect(gateway.balance(bob)).toBe(50);
  expect(gateway.balance(mallory.agent)).toBe(9950);
});

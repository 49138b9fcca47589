/** How a session may be left against a payer that does not mean it well, or a gateway that was away at the wrong moment. */
import http, { type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { signBundle } from '../protocol/bundle.ts';
import { hex } from '../protocol/bytes.ts';
import { Session, SessionStatus, get } from '../protocol/cells.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId } from '../protocol/ids.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import { agentRoom, sessionRoom } from '../protocol/packet.ts';
import { readConfig } from './config.ts';
import { dial } from './dial.ts';
import { EMPTY } from './http/body.ts';
import { listen } from './http/server.ts';
import { SessionEndpoint, memoryStore } from './session/index.ts';
import { Sidecar } from './sidecar.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-leaving-'));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function eventually(check: () => boolean, what: string, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !check(); await sleep(10)) if (Date.now() > end) throw new Error(`never: ${what}`);
}

let gateway: TestGateway;
let mallory: TestAgent;
let bob: TestAgent;
let app: Server;
let sidecars: Sidecar[];
let nonce: number;
let states = 0;

beforeEach(async () => {
  gateway = await TestGateway.start();
  mallory = await gateway.agent(10_000);
  bob = await gateway.agent(0);
  sidecars = [];
  nonce = 0;
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

async function submit(...interactions: Interaction[]): Promise<void> {
  const header = { actor: mallory.id, nonce: nonce++, expiry: 4e9 };
  const result = await gateway.submit(await signBundle(mallory.key, gateway.signing, header, interactions));
  expect(result).toHaveProperty('receipt');
}

/** Mallory's end of a session of hers with bob: the endpoint alone, no sidecar that minds its manners. */
async function open(): Promise<SessionEndpoint> {
  await submit({ op: 'open', peer: bob.id, deposit: 1000, exitDelay: 60 });
  const identity = { agent: mallory.id, key: mallory.key, signing: gateway.signing };
  const endpoint = new SessionEndpoint({
    facts: {
      session: 256,
      a: mallory.id,
      b: bob.id,
      keyA: mallory.key.publicKey,
      keyB: bob.key.publicKey,
      depositA: 1000,
      depositB: 0,
      exitDelay: 60,
    },
    role: 'a',
    key: mallory.key,
    signing: gateway.signing,
    store: memoryStore(),
    credit: 500,
  });
  void endpoint.attach(await dial(gateway.url, sessionRoom('0:1'), identity));
  const announced = await fetch(`${gateway.url}${agentRoom(formatId(bob.id)).replace('/socket', '/calls')}`, {
    method: 'POST',
    headers: { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': '0:1' },
  });
  expect(announced.status).toBe(200);
  await announced.arrayBuffer();
  await eventually(() => endpoint.state === 'ready', 'session ready');
  return endpoint;
}

const call = async (endpoint: SessionEndpoint, target: string, maxPrice = 10): Promise<string> => {
  const request = { method: 'POST', target, headers: [], body: EMPTY, signal: AbortSignal.timeout(20_000) };
  try {
    const { response } = await endpoint.call(request, { maxPrice });
    for await (const _ of response.body);
    return String(response.status);
  } catch (error) {
    return codeOf(error);
  }
};

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
  const identity = { agent: mallory.id, key: mallory.key, signing: gateway.signing };
  void endpoint.attach(await dial(gateway.url, sessionRoom('0:1'), identity));
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
  await submit({ op: 'exit', session: 256 });
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
  expect(gateway.balance(mallory)).toBe(9950);
});

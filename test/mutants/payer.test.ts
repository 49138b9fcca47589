/** What a lying payer comes to: it signs two halves of one number, its relay in workerd shows the two, and the payee's sidecar has the shard slash it. */
import http, { type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent } from '../../local/agents.ts';
import { until } from '../../local/process.ts';
import { SidecarProcess } from '../../local/sidecars.ts';
import { Signing } from '../../protocol/eip712.ts';
import { parseId } from '../../protocol/ids.ts';
import { encodeHalfPacket, sessionRoom } from '../../protocol/packet.ts';
import { agnt2 } from '../../sidecar/cli/testing.ts';
import { dial } from '../../sidecar/dial.ts';
import { EMPTY } from '../../sidecar/http/body.ts';
import { SessionEndpoint, memoryStore } from '../../sidecar/session/index.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const DEPOSIT = 10_000;
const STAKE = 4000;
const LOCKED = 500;
const PRICE = 10;

let net: TestNetwork;
let mallory: Agent;
let bob: Agent;
let sidecar: SidecarProcess | undefined;
const app: Server = http.createServer((_, response) => response.end('work'));

beforeAll(async () => {
  net = await network({ worker: { bare: true, cronMs: 250 } });
  [mallory, bob] = await Promise.all(['mallory', 'bob'].map((name) => Agent.create(name, net.dir)));
  await mallory.registerAtL1(net.l1, BigInt(2 * DEPOSIT), 2 * DEPOSIT);
  await mallory.known(net.gateway);
  await mallory.sponsor(net.gateway, net.l1, bob, DEPOSIT);
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
});
afterAll(async () => {
  await sidecar?.stop();
  app.close();
  await net?.stop();
});

/** An end of a session, as `mallory` wrote it herself. */
function endOf(session: string): SessionEndpoint {
  const [keyA, keyB] = [mallory.key.publicKey, bob.key.publicKey];
  const [a, b] = [parseId(mallory.id), parseId(bob.id)];
  const facts = { session: parseId(session), a, b, keyA, keyB, depositA: LOCKED, depositB: 0, exitDelay: 60 };
  const signing = new Signing({ chainId: net.l1.chainId, root: net.root });
  return new SessionEndpoint({ facts, role: 'a', key: mallory.key, signing, store: memoryStore(), credit: 100 });
}

test('who signs two halves of one number loses its stake, half of it to whom it paid, who is told of both and paid the newest', async () => {
  const services = [{ name: 'work', routes: [], defaultPrice: String(PRICE) }];
  const { port } = app.address() as AddressInfo;
  const config = { app: `http://127.0.0.1:${port}`, services, session: { minExitDelay: 1 } };
  const file = { dir: net.dir, gateway: net.url, agent: bob, config };
  sidecar = await SidecarProcess.start(file);
  const opened = await mallory.submit(
    net.gateway,
    net.l1,
    { op: 'stake', amount: STAKE },
    { op: 'open', peer: parseId(bob.id), deposit: LOCKED, exitDelay: 60 },
  );
  const [{ id: session }] = await net.gateway.sessions();
  expect(opened.outcomes).toHaveLength(3);
  const end = endOf(session);
  const signing = new Signing({ chainId: net.l1.chainId, root: net.root });
  const socket = await dial(net.url, sessionRoom(session), { agent: parseId(mallory.id), key: mallory.key, signing });
  void end.attach(socket);
  const announced = await fetch(`${net.url}/agents/${bob.id}/calls`, {
    method: 'POST',
    headers: { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': session },
  });
  expect(announced.status, await announced.text()).toBe(200);
  const request = { method: 'POST', target: '/', headers: [], body: EMPTY, signal: AbortSignal.timeout(20_000) };
  const { response, record } = await end.call(request, { maxPrice: PRICE });
  for await (const _ of response.body);
  await record;
  await end.flush();

  // The same number again, over the same calls, with another log: to be shown to somebody else, say.
  const { half } = end.halves().pays!;
  const lie = { ...half, root: new Uint8Array(32).fill(7) };
  const before = await net.gateway.agent(bob.id);
  socket.send(encodeHalfPacket(lie, await mallory.key.sign(signing.half(lie))));
  const slashed = await until('the slash', async () => {
    const facts = await net.gateway.agent(mallory.id);
    return Number(facts.stake) === 0 && facts;
  });
  expect(Number(slashed.failed)).toBe(1);
  expect(Number((await net.gateway.agent(bob.id)).balance) - Number(before.balance)).toBe(STAKE / 2);
  const left = await until('the exit', async () => {
    const facts = await net.gateway.session(session);
    return facts.status === 'exiting' && facts;
  });
  expect(left.paidAB).toBe(String(PRICE));
  const { stdout } = await agnt2(['status', '--json', '--config', sidecar.config], { cwd: net.dir });
  expect(JSON.parse(stdout)).toMatchObject({
    sidecar: { contradictions: [{ session, peer: mallory.id, state: 'slashed', code: null }], sessions: [] },
  });
  const { stdout: text } = await agnt2(['status', '--config', sidecar.config], { cwd: net.dir });
  expect(text).toContain(`contradicted itself in session ${session}: slashed`);
});

/** Services that charge by byte or message, through two sidecars: what a call comes to, where it stops, and who says what it may cost. */
import http from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { listen } from './http/server.ts';
import type { Sidecar } from './sidecar.ts';
import type { TestAgent } from './testing/gateway.ts';
import { Pair, ask, eventually } from './testing/pair.ts';

let pair: Pair;
let caller: Sidecar;
let stranger: Sidecar;
let bob: TestAgent;
let carol: TestAgent;

const app = http.createServer((request, response) => {
  request.resume();
  if (request.url === '/bytes') return void response.end(Buffer.alloc(2500));
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let n = 0;
  const timer = setInterval(() => {
    if (request.url === '/three' && n === 3) {
      clearInterval(timer);
      response.end(': that was all\n\n');
    } else response.write(`data: ${n++}\n\n`);
  }, 5);
  response.on('close', () => clearInterval(timer));
});
const sockets = new WebSocketServer({ server: app });
sockets.on('connection', (ws) => ws.on('message', (data, binary) => ws.send(data as Buffer, { binary })));

const rate = (unit: string, price: number, more = {}): Record<string, unknown> => ({ unit, price, ...more });
const SERVICE = {
  name: 'metered',
  routes: [
    { method: 'GET', path: '/bytes', price: 50, per: rate('byte', 2, { each: 1000, base: 1 }) },
    { method: 'GET', path: '/three', price: 100, per: rate('sse', 3) },
    { method: 'GET', path: '/endless', price: 12, per: rate('sse', 3) },
    { method: 'GET', path: '/chat', price: 10, per: rate('websocket', 1) },
  ],
};

beforeAll(async () => {
  pair = await Pair.start();
  const alice = await pair.gateway.agent(10_000);
  [bob, carol] = [await pair.gateway.agent(0), await pair.gateway.agent(10_000)];
  const origin = `http://127.0.0.1:${await listen(app, { host: '127.0.0.1', port: 0 })}`;
  const callee = await pair.sidecar('bob', bob, { name: 'bob', app: origin, services: [SERVICE], drainSeconds: 1 });
  await eventually(() => callee.ready, 'bob is ready');
  const session = { deposit: 2000, credit: 500, afterCalls: 100_000 };
  caller = await pair.sidecar('alice', alice, { policy: { perDay: 9000 }, session, drainSeconds: 1 });
  const policy = { perDay: 9000, perCall: 80 };
  stranger = await pair.sidecar('carol', carol, { policy, session: { deposit: 0 }, drainSeconds: 1 });
  expect((await ask(caller.ports.admin, '/admin/sessions/bob/open', { method: 'POST' })).status).toBeLessThan(300);
}, 60_000);
afterAll(async () => {
  for (const ws of sockets.clients) ws.terminate();
  await pair.stop();
  app.closeAllConnections();
  app.close();
}, 60_000);

const pays = async (): Promise<number> =>
  (JSON.parse((await ask(caller.ports.admin, '/admin/sessions')).body) as { sessions: { pays: number }[] }).sessions[0]
    .pays;
const spent = async (sidecar: Sidecar): Promise<number> =>
  Number((JSON.parse((await ask(sidecar.ports.admin, '/admin/status')).body) as { spent: { day: string } }).spent.day);

/** All that comes of a stream, and whether it came to its end. */
const stream = (port: number, path: string, headers = {}): Promise<{ status: number; body: string; whole: boolean }> =>
  new Promise((resolve, reject) => {
    const out = http.get({ port, path: `/agents/bob${path}`, headers, agent: false }, (message) => {
      let body = '';
      message.on('data', (data) => (body += String(data)));
      message.on('error', () => {});
      message.on('close', () => resolve({ status: message.statusCode!, body, whole: message.complete }));
    });
    out.on('error', reject);
  });

test.each<[string, string, number]>([
  ['bytes', '/bytes', 1 + 3 * 2],
  ['events', '/three', 9],
])('a call counted by %s costs what it comes to, over a session and by first contact', async (_, path, price) => {
  const before = await pays();
  const budget = await spent(caller);
  expect(await stream(caller.ports.listen, path)).toMatchObject({ status: 200, whole: true });
  await eventually(async () => (await pays()) === before + price, 'the record');
  // Reserved was the most; what it did not cost is free again.
  await eventually(async () => (await spent(caller)) === budget + price, 'the budget');
  const [earned, had] = [pair.gateway.balance(bob), pair.gateway.balance(carol)];
  expect(await stream(stranger.ports.listen, path)).toMatchObject({ status: 200, whole: true });
  await eventually(() => pair.gateway.balance(bob) === earned + price, 'the respond');
  expect(pair.gateway.balance(carol)).toBe(had - price);
});

test('a stream without end stops where its most is used up, cut and paid, on either way', async () => {
  const before = await pays();
  const { body, whole } = await stream(caller.ports.listen, '/endless');
  expect([body.match(/data: \d+\n\n/g)?.length, whole]).toEqual([4, false]);
  await eventually(async () => (await pays()) === before + 12, 'the record');
  const earned = pair.gateway.balance(bob);
  const cut = await stream(stranger.ports.listen, '/endless');
  expect([cut.body.match(/data: \d+\n\n/g)?.length, cut.whole]).toEqual([4, false]);
  await eventually(() => pair.gateway.balance(bob) === earned + 12, 'the respond');
});

test('an app says what its call may cost, never more than its service asks or the policy has', async () => {
  const before = await pays();
  const { body } = await stream(caller.ports.listen, '/endless', { 'agnt2-max-price': '7' });
  expect(body.match(/data: \d+\n\n/g)).toHaveLength(2);
  await eventually(async () => (await pays()) === before + 6, 'the record');
  expect((await stream(caller.ports.listen, '/endless', { 'agnt2-max-price': '2' })).body).toContain('over_price');
  expect((await stream(caller.ports.listen, '/endless', { 'agnt2-max-price': 'lots' })).body).toContain('bad_request');
  const more = await stream(caller.ports.listen, '/endless', { 'agnt2-max-price': '1000000' });
  expect(more.body.match(/data: \d+\n\n/g)).toHaveLength(4);
  await eventually(async () => (await pays()) === before + 18, 'the record');
  // A service that would let it cost more than the policy lets any call: the policy's is the most.
  expect((await stream(stranger.ports.listen, '/three')).status).toBe(200);
});

test('a WebSocket counted by message ends where its most is used up, and both ways count', async () => {
  const before = await pays();
  const ws = new WebSocket(`ws://127.0.0.1:${caller.ports.listen}/agents/bob/chat`);
  ws.on('error', () => {});
  let got = 0;
  ws.on('message', () => {
    got += 1;
    ws.send('again');
  });
  ws.on('open', () => ws.send('first'));
  const [status] = await new Promise<unknown[]>((resolve) => ws.on('close', (...values) => resolve(values)));
  expect(status).toBe(1006);
  // Five there, five back.
  expect(got).toBe(5);
  await eventually(async () => (await pays()) === before + 10, 'the record');
  const short = new WebSocket(`ws://127.0.0.1:${caller.ports.listen}/agents/bob/chat`);
  await new Promise((resolve) => short.on('open', resolve));
  short.send('one');
  await new Promise((resolve) => short.on('message', resolve));
  short.close();
  await eventually(async () => (await pays()) === before + 12, 'the record of two messages');
});

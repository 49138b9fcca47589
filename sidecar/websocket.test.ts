/** WebSockets through two sidecars: real clients and servers of the `ws` package, and ends that do not keep to the rules. */
import http from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { App } from './app.ts';
import { createExchangeServer, listen } from './http/server.ts';
import { Metrics } from './metrics.ts';
import type { Sidecar } from './sidecar.ts';
import { Pair, ask, eventually } from './testing/pair.ts';

let pair: Pair;
let caller: Sidecar;
let stranger: Sidecar;
/** What the app's side of each connection saw, by path. */
const seen = new Map<string, { pings: number; closed: [number, string] | null; sockets: Duplex[] }>();
const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: () => 'chat',
});
let paused: WebSocket | null = null;

const app = http.createServer((_, response) => response.end('plain'));
app.on('upgrade', (request, socket, head) => {
  const path = request.url!;
  const log = seen.get(path) ?? { pings: 0, closed: null, sockets: [] };
  seen.set(path, log);
  log.sockets.push(socket);
  socket.on('error', () => {});
  if (path === '/no') return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX-Why: so\r\n\r\nnope');
  if (path === '/other')
    return void socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
  if (path === '/raw') {
    const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    return void socket.on('data', (data: Buffer) => socket.write(data));
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    ws.on('ping', () => (log.pings += 1));
    ws.on('close', (code, reason) => (log.closed = [code, String(reason)]));
    ws.on('error', () => {});
    if (path === '/slow') {
      paused = ws;
      ws.pause();
    } else if (path === '/leaves') ws.close(4001, 'enough');
    else if (path === '/breaks') ws.terminate();
    else ws.on('message', (data, binary) => ws.send(data as Buffer, { binary }));
  });
});

beforeAll(async () => {
  pair = await Pair.start();
  const [bob, alice, carol] = [
    await pair.gateway.agent(0),
    await pair.gateway.agent(10_000),
    await pair.gateway.agent(10_000),
  ];
  const origin = `http://127.0.0.1:${await listen(app, { host: '127.0.0.1', port: 0 })}`;
  const service = { name: 'chat', routes: [], defaultPrice: 7 };
  const callee = await pair.sidecar('bob', bob, { name: 'bob', app: origin, services: [service], drainSeconds: 1 });
  await eventually(() => callee.ready, 'bob is ready');
  const policy = { perDay: 9000 };
  caller = await pair.sidecar('alice', alice, { policy, session: { deposit: 2000, credit: 500 }, drainSeconds: 1 });
  stranger = await pair.sidecar('carol', carol, { policy, session: { deposit: 0 }, drainSeconds: 1 });
}, 60_000);
afterAll(async () => {
  for (const { sockets: open } of seen.values()) for (const socket of open) socket.destroy();
  await pair.stop();
  app.closeAllConnections();
  app.close();
}, 60_000);

const connect = (path: string, options = {}, at = caller): WebSocket => {
  const ws = new WebSocket(`ws://127.0.0.1:${at.ports.listen}/agents/bob${path}`, ['chat'], options);
  ws.on('error', () => {});
  return ws;
};
const once = (ws: WebSocket, event: string): Promise<unknown[]> =>
  new Promise((resolve) => ws.once(event, (...values: unknown[]) => resolve(values)));
/** The answer to a handshake that opened nothing. */
const refused = (ws: WebSocket): Promise<http.IncomingMessage> =>
  once(ws, 'unexpected-response').then(([, message]) => message as http.IncomingMessage);

test('a WebSocket to a peer without a session opens one where the policy allows it', async () => {
  const ws = connect('/first');
  await once(ws, 'open');
  expect(ws.protocol).toBe('chat');
  expect(pair.events.some(({ who, event }) => who === 'alice' && event === 'session_open')).toBe(true);
  ws.close();
  await once(ws, 'close');
});

test('and is refused by its code where it does not, with nothing spent', async () => {
  const message = await refused(connect('/never', {}, stranger));
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  expect(message.statusCode).toBe(409);
  expect(JSON.parse(String(Buffer.concat(chunks)))).toMatchObject({ code: 'session_required' });
  expect(seen.has('/never')).toBe(false);
  const status = JSON.parse((await ask(stranger.ports.admin, '/admin/status')).body) as { spent: { day: string } };
  expect(status.spent.day).toBe('0');
});

test.each([true, false])(
  'messages of text and bytes, whole and in fragments, come back as they were (deflate: %s)',
  async (perMessageDeflate) => {
    const ws = connect('/echo', { perMessageDeflate });
    await once(ws, 'open');
    expect(ws.extensions).toBe(perMessageDeflate ? 'permessage-deflate' : '');
    const got: (string | Buffer)[] = [];
    ws.on('message', (data, binary) => got.push(binary ? (data as Buffer) : String(data)));
    ws.send('grüße');
    ws.send(Buffer.from([0, 255, 10, 13]));
    ws.send('in ', { fin: false });
    ws.send('three ', { fin: false });
    ws.send('parts', { fin: true });
    ws.send(Buffer.alloc(300_000, 5));
    await eventually(() => got.length === 4, 'four messages');
    expect(got).toEqual(['grüße', Buffer.from([0, 255, 10, 13]), 'in three parts', Buffer.alloc(300_000, 5)]);
    ws.ping('are you there');
    const [pong] = await once(ws, 'pong');
    expect(String(pong)).toBe('are you there');
    expect(seen.get('/echo')!.pings).toBeGreaterThan(0);
    ws.close(4000, 'done');
    expect((await once(ws, 'close')).map(String)).toEqual(['4000', 'done']);
    await eventually(() => seen.get('/echo')!.closed?.[0] === 4000, 'the app has the code');
    expect(seen.get('/echo')!.closed).toEqual([4000, 'done']);
  },
);

test('an app that closes is heard with its code, and one that breaks off is an abnormal end', async () => {
  expect((await once(connect('/leaves'), 'close')).map(String)).toEqual(['4001', 'enough']);
  expect((await once(connect('/breaks'), 'close'))[0]).toBe(1006);
});

test('a client that breaks off ends the connection at the app', async () => {
  const ws = connect('/gone');
  await once(ws, 'open');
  ws.terminate();
  await eventually(() => seen.get('/gone')?.closed?.[0] === 1006, 'the app has heard');
});

test('an app that does not read stops its client, and loses nothing', async () => {
  const ws = connect('/slow', { perMessageDeflate: false });
  await once(ws, 'open');
  const [chunk, chunks] = [Buffer.alloc(64 * 1024, 1), 250];
  for (let i = 0; i < chunks; i++) ws.send(chunk);
  let before = -1;
  while (before !== ws.bufferedAmount) {
    before = ws.bufferedAmount;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(before).toBeGreaterThan(0);
  let got = 0;
  paused!.on('message', (data: Buffer) => (got += data.length));
  paused!.resume();
  await eventually(() => got === chunk.length * chunks, 'all of it', 20_000);
  ws.close();
  await once(ws, 'close');
});

test('a WebSocket is one call: recorded at its end, with status 101, at its price', async () => {
  const sessions = async (): Promise<{ pays: number }[]> =>
    (JSON.parse((await ask(caller.ports.admin, '/admin/sessions')).body) as { sessions: { pays: number }[] }).sessions;
  const ws = connect('/priced');
  await once(ws, 'open');
  const [{ pays }] = await sessions();
  ws.send('x');
  await once(ws, 'message');
  expect((await sessions())[0].pays).toBe(pays);
  ws.close();
  await eventually(async () => (await sessions())[0].pays === pays + 7, 'the record');
});

test('an app that says no is heard, status, fields and body', async () => {
  const message = await refused(connect('/no'));
  expect([message.statusCode, message.headers['x-why']]).toEqual([403, 'so']);
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  expect(String(Buffer.concat(chunks))).toBe('nope');
});

test('an app that opens something else than it was asked for has failed', async () => {
  expect((await refused(connect('/other'))).statusCode).toBe(502);
});

// ---- ends that do not keep to the rules ----

/** What comes back until the other side hangs up, or until it ends as `until` says. */
const raw = (port: number, text: string, until = '\0'): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    let out = '';
    socket.on('data', (data) => {
      out += data.toString('latin1');
      if (out.endsWith(until)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(out));
    setTimeout(() => socket.destroy(), 5000).unref();
  });
const handshake = (path: string, fields = '', key = 'dGhlIHNhbXBsZSBub25jZQ=='): string =>
  `GET /agents/bob${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n${fields}\r\n`;

test.each([
  ['a body by length', handshake('/raw', 'Content-Length: 5\r\n') + 'hello'],
  ['a body by chunks', handshake('/raw', 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
  ['another method', handshake('/raw').replace('GET', 'POST')],
  ['a key that is none', handshake('/raw', '', 'x')],
  ['two keys', handshake('/raw', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n')],
  ['another version', handshake('/raw').replace('Version: 13', 'Version: 8')],
  ['two Hosts', handshake('/raw', 'Host: y\r\n')],
  ['a path that climbs', handshake('/a/../raw')],
])('a handshake with %s is refused, and the app never sees it', async (_, text) => {
  const before = seen.get('/raw')?.sockets.length ?? 0;
  expect(await raw(caller.ports.listen, text)).toMatch(/^HTTP\/1\.1 400 /);
  expect(seen.get('/raw')?.sockets.length ?? 0).toBe(before);
});

test('bytes sent before the 101 wait for it, and are nobody’s where there is none', async () => {
  expect(await raw(caller.ports.listen, `${handshake('/raw')}early`, 'early')).toMatch(
    /^HTTP\/1\.1 101 Switching Protocols\r\n[^]*\r\n\r\nearly/,
  );
  const smuggled = `${handshake('/no')}GET /agents/bob/smuggled HTTP/1.1\r\nHost: x\r\n\r\n`;
  const answer = await raw(caller.ports.listen, smuggled);
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*nope$/);
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
});

test('what a client sends behind a request is no part of a WebSocket’s answer', async () => {
  const answer = await raw(
    caller.ports.listen,
    `GET /agents/bob/plain HTTP/1.1\r\nHost: x\r\n\r\n${handshake('/raw')}`,
  );
  // Whichever came first: never both in one another.
  expect(answer).not.toMatch(/101 Switching[^]*HTTP\/1\.1 200/);
});

test('a peer that answers 101 to a plain request has failed, and so has an app that does', async () => {
  const liar = createExchangeServer(async () => ({ status: 101, headers: [], body: (async function* () {})() }));
  const port = await listen(liar, { host: '127.0.0.1', port: 0 });
  expect(await raw(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(
    /^HTTP\/1\.1 502 [^]*peer_failed/,
  );
  liar.close();
  const eager = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  });
  await new Promise<void>((resolve) => eager.listen(0, '127.0.0.1', resolve));
  const hopApp = new App(`http://127.0.0.1:${(eager.address() as net.AddressInfo).port}`, new Metrics());
  const hop = createExchangeServer((request, exchange) => hopApp.serve(exchange(request.url!), 0, 'free'));
  const at = await listen(hop, { host: '127.0.0.1', port: 0 });
  expect(await raw(at, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(
    /^HTTP\/1\.1 502 [^]*app_failed/,
  );
  hop.close();
  hopApp.close();
  eager.close();
});

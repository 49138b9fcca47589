/** HTTP/2 without TLS, in from a caller and out to an app, and across to HTTP/1.1 either way: what comes through, and what is refused. */
import http, { type Server } from 'node:http';
import http2, { type Http2Server, type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { App } from '../app.ts';
import { Metrics } from '../metrics.ts';
import { listen } from './server.ts';
import { type Answer, Hops, ask } from './testing/hop.ts';

const hops = new Hops();
afterEach(() => hops.close());
const proxied = hops.proxied.bind(hops);
const connect = hops.connect.bind(hops);

const gather = async (source: AsyncIterable<unknown>): Promise<string> => {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of source) chunks.push(chunk as Buffer);
  } catch {
    return 'broken off';
  }
  return Buffer.concat(chunks).toString();
};

const h1Echo = (): Server =>
  http.createServer(async (request, response) => {
    const body = await gather(request);
    response.writeHead(200, { 'x-one': ['a', 'b'], trailer: 'x-sum', 'set-cookie': ['a=1', 'b=2'] });
    response.write(`${request.method} ${request.url} ${JSON.stringify(request.headers)} `);
    response.addTrailers({ 'x-sum': String(body.length) });
    response.end(body);
  });
const h2Echo = (): Http2Server => {
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    void (async () => {
      let trailers = '';
      stream.on('trailers', (sent) => (trailers = String(sent['x-up'])));
      const body = await gather(stream);
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.respond({ ':status': 200, 'x-one': ['a', 'b'], 'set-cookie': ['a=1', 'b=2'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': String(body.length), 'x-up': trailers }));
      stream.end(`${headers[':method']} ${headers[':path']} ${JSON.stringify(headers)} ${body}`);
    })();
  });
  return server;
};

test.each([
  ['HTTP/1.1', h1Echo],
  ['HTTP/2', h2Echo],
])('a request of HTTP/2 reaches an app of %s whole, and its answer comes back with trailers', async (_, origin) => {
  const { port } = await proxied(origin());
  const session = await connect(port);
  const answer = await ask(
    session,
    { ':method': 'POST', ':path': '/a%70p?x=1', cookie: ['a=1', 'b=2'], 'x-many': ['1', '2'], te: 'trailers' },
    'hello',
  );
  expect(answer).toMatchObject({ status: 200, rst: 0, trailers: { 'x-sum': '5' } });
  expect(answer.body).toMatch(/^POST \/app\?x=1 .* hello$/);
  expect(answer.body).toContain('"cookie":"a=1; b=2"');
  expect(answer.body).toContain('"x-many":"1, 2"');
  expect(answer.body).toContain('"te":"trailers"');
  expect(answer.body).toContain('"agnt2-route":"free"');
  expect(answer.raw.filter((_text, i) => answer.raw[i - 1] === 'set-cookie')).toEqual(['a=1', 'b=2']);
  expect(answer.interim).toEqual(origin === h2Echo ? [103] : []);
});

test('a request of HTTP/1.1 reaches an app of HTTP/2, chunks, trailers and hints both ways', async () => {
  const { port } = await proxied(h2Echo());
  const hints: number[] = [];
  const message = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const out = http.request({ port, path: '/x', method: 'POST', headers: { trailer: 'x-up' } }, resolve);
    out.on('information', ({ statusCode }) => hints.push(statusCode));
    out.on('error', reject);
    out.write('hel');
    out.addTrailers([['x-up', 'there']]);
    out.end('lo');
  });
  expect(await gather(message)).toMatch(/^POST \/x .* hello$/);
  expect(message.headers['set-cookie']).toEqual(['a=1', 'b=2']);
  expect(message.trailers).toEqual({ 'x-sum': '5', 'x-up': 'there' });
  expect(hints).toEqual([103]);
});

test('HEAD, 204 and 304 over HTTP/2 end with their heads, and HEAD keeps its length', async () => {
  const origin = http.createServer((request, response) => {
    const status = Number(request.url!.slice(1));
    response.writeHead(status, status === 200 ? { 'content-length': 9 } : {}).end();
  });
  const { port } = await proxied(origin);
  const session = await connect(port);
  const head = await ask(session, { ':method': 'HEAD', ':path': '/200' });
  expect(head).toMatchObject({ status: 200, body: '', rst: 0 });
  expect(head.raw).toContain('content-length');
  for (const status of [204, 304])
    expect(await ask(session, { ':path': `/${status}` })).toMatchObject({ status, body: '', rst: 0 });
});

test.each([
  ['HTTP/1.1', () => http.createServer((request, response) => void request.pipe(response))],
  [
    'HTTP/2',
    () => {
      const server = http2.createServer();
      server.on('stream', (stream) => {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      });
      return server;
    },
  ],
])('20 MB go through HTTP/2 to an app of %s and back, read at the reader’s pace', async (_, origin) => {
  const { port } = await proxied(origin());
  const session = await connect(port);
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  const [chunk, chunks] = [Buffer.alloc(256 * 1024, 7), 80];
  let taken = 0;
  void (async () => {
    for (let i = 0; i < chunks; i++) {
      taken += chunk.length;
      if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve));
    }
    stream.end();
  })();
  await new Promise((resolve) => stream.once('response', resolve));
  // Nobody reads: what is under way is what the windows and buffers hold, however long it lasts.
  let before = -1;
  while (before !== taken) {
    before = taken;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(taken).toBeLessThan(chunk.length * chunks);
  let size = 0;
  for await (const part of stream) size += (part as Buffer).length;
  expect(size).toBe(chunk.length * chunks);
});

test('a stream the caller resets is reset at the app, and one the app resets breaks off at the caller', async () => {
  const closed: number[] = [];
  const origin = http2.createServer();
  const streams: ServerHttp2Stream[] = [];
  origin.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.on('close', () => closed.push(stream.rstCode));
    streams.push(stream);
    if (headers[':path'] === '/waits') return;
    stream.respond({ ':status': 200 });
    stream.write('a part');
    if (headers[':path'] === '/breaks') setTimeout(() => stream.destroy(new Error('broken')), 20);
  });
  const { port } = await proxied(origin);
  const session = await connect(port);
  for (const path of ['/waits', '/streams']) {
    const stream = session.request({ ':path': path });
    stream.on('error', () => {});
    while (streams.length === 0 || (path === '/streams' && stream.readableLength === 0))
      await new Promise((resolve) => setTimeout(resolve, 5));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    while (closed.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(closed.splice(0)).toEqual([http2.constants.NGHTTP2_CANCEL]);
    streams.length = 0;
  }
  const cut = await ask(session, { ':path': '/breaks' });
  expect(cut).toMatchObject({ status: 200, body: 'a part', rst: http2.constants.NGHTTP2_INTERNAL_ERROR });
});

test('what came of an answer before it broke off reaches the caller, however fast both came', async () => {
  const port = await hops.hop(async () => ({
    status: 200,
    headers: [],
    body: (async function* () {
      for (let i = 0; i < 40; i++) yield Buffer.alloc(1000, 120);
      throw new Error('broken');
    })(),
  }));
  const cut = await ask(await connect(port), { ':path': '/' });
  expect([cut.body.length, cut.rst]).toEqual([40_000, http2.constants.NGHTTP2_INTERNAL_ERROR]);
});

test('an app of HTTP/2 that is not there, goes away or answers no HTTP is told by its code', async () => {
  const app = new App('h2c://127.0.0.1:1', new Metrics());
  hops.atEnd(() => app.close());
  const port = await hops.hop((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  expect((await ask(await connect(port), { ':path': '/' })).code).toBe('app_unavailable');
  // An app that speaks HTTP/1.1 to who said it speaks HTTP/2.
  const { port: wrong } = await proxied(http.createServer((_, response) => response.end()));
  const confused = new App(`h2c://127.0.0.1:${wrong}`, new Metrics());
  hops.atEnd(() => confused.close());
  const garbled = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  const bad = new App(
    `h2c://127.0.0.1:${await listen(garbled as Server, { host: '127.0.0.1', port: 0 })}`,
    new Metrics(),
  );
  hops.atEnd(() => garbled.close());
  hops.atEnd(() => bad.close());
  const through = await hops.hop((request, exchange) => bad.serve(exchange(request.url!), 0, 'free'));
  expect((await ask(await connect(through), { ':method': 'POST', ':path': '/' }, 'x')).code).toBe('app_failed');
  // It said goodbye and is back: the next call is none the worse.
  const sessions: http2.ServerHttp2Session[] = [];
  const origin = h2Echo();
  origin.on('session', (session) => sessions.push(session));
  const { port: back } = await proxied(origin);
  const session = await connect(back);
  for (let i = 0; i < 3; i++) {
    expect((await ask(session, { ':path': '/' })).status).toBe(200);
    sessions.at(-1)!.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(sessions.length).toBeGreaterThan(1);
});

test('a body of HTTP/2 that is wanted is asked for, and one that is not is never sent', async () => {
  const origin = http2.createServer();
  origin.on('stream', (stream, headers) => {
    if (headers[':path'] === '/no') return stream.respond({ ':status': 413 }, { endStream: true });
    stream.additionalHeaders({ ':status': 100 });
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  const { port } = await proxied(origin);
  const session = await connect(port);
  const upload = (path: string): Promise<Answer & { sent: boolean }> => {
    let sent = false;
    return ask(session, { ':method': 'POST', ':path': path, expect: '100-continue' }, (stream) => {
      stream.on('continue', () => {
        sent = true;
        stream.end('late');
      });
    }).then((answer) => ({ ...answer, sent }));
  };
  expect(await upload('/yes')).toMatchObject({ status: 200, body: 'late', sent: true, interim: [100] });
  const refused = session.request({ ':method': 'POST', ':path': '/no', expect: '100-continue' });
  const status = await new Promise((resolve) => refused.once('response', (head) => resolve(head[':status'])));
  expect(status).toBe(413);
  refused.close();
});

test('a connection that says nothing, or less than a word, is not taken for either', async () => {
  const { port } = await proxied(h1Echo());
  const said = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => socket.end(text));
      let out = '';
      socket.on('data', (data) => (out += data.toString('latin1')));
      socket.on('error', () => {});
      socket.on('close', () => resolve(out));
    });
  expect(await said('')).toBe('');
  expect(await said('PR')).not.toContain('200');
  expect(await said('PRI * HTTP/1.1\r\nHost: x\r\n\r\n')).not.toContain('200');
  // Byte by byte, each is still what it is.
  const slow = await new Promise<string>((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    let out = '';
    socket.on('data', (data) => (out += data.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(out));
    void (async () => {
      for (const byte of 'PUT /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok') {
        socket.write(byte);
        await new Promise((next) => setTimeout(next, 1));
      }
    })();
  });
  expect(slow).toMatch(/^HTTP\/1\.1 200 OK[^]*PUT \/slow/);
});

/** HTTP/2 without TLS, in from a caller and out to an app, and across to HTTP/1.1 either way: what comes through, and what is refused. */
import http, { type Server } from 'node:http';
import http2, { type ClientHttp2Session, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { App } from '../app.ts';
import { Metrics } from '../metrics.ts';
import { normaliseTarget } from '../target.ts';
import { acceptHttp2 } from './h2-server.ts';
import { type Listener, createExchangeServer, listen } from './server.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

async function hop(listener: Listener): Promise<number> {
  const server = createExchangeServer(listener);
  acceptHttp2(server, listener);
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return listen(server, { host: '127.0.0.1', port: 0 });
}

/** A hop in front of an app, by whichever version of HTTP; what it was asked for last is `asked`. */
async function proxied(origin: Server | Http2Server): Promise<{ port: number; asked: ExchangeRequest[] }> {
  const sessions = new Set<http2.ServerHttp2Session>();
  (origin as Http2Server).on('session', (session) => sessions.add(session));
  const isH2 = !('headersTimeout' in origin);
  const port = await listen(origin as Server, { host: '127.0.0.1', port: 0 });
  const app = new App(`${isH2 ? 'h2c' : 'http'}://127.0.0.1:${port}`, new Metrics());
  closers.push(
    () => origin.close(),
    () => 'closeAllConnections' in origin && origin.closeAllConnections(),
    () => sessions.forEach((session) => session.destroy()),
    () => app.close(),
  );
  const asked: ExchangeRequest[] = [];
  const front = await hop((request, exchange) => {
    const made = exchange(normaliseTarget(request.url!.replace('http://bob.agnt2', '')));
    asked.push(made);
    return app.serve(made, 0, 'free');
  });
  return { port: front, asked };
}

async function connect(port: number): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  closers.push(() => session.destroy());
  await new Promise((resolve) => session.once('connect', resolve));
  return session;
}

interface Answer {
  status: number;
  raw: string[];
  interim: number[];
  trailers: http2.IncomingHttpHeaders;
  body: string;
  code: string | undefined;
  rst: number;
}

/** Makes one request; what came back until its stream closed. */
function ask(
  session: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: string | ((stream: http2.ClientHttp2Stream) => void),
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const answer: Answer = { status: 0, raw: [], interim: [], trailers: {}, body: '', code: undefined, rst: 0 };
    stream.on('continue', () => answer.interim.push(100));
    stream.on('headers', (head) => head[':status'] !== 100 && answer.interim.push(Number(head[':status'])));
    stream.on('response', (head, _flags, ...rest: unknown[]) => {
      answer.status = Number(head[':status']);
      answer.raw = rest[0] as string[];
    });
    stream.on('trailers', (trailers) => (answer.trailers = trailers));
    stream.on('data', (data) => (answer.body += String(data)));
    stream.on('error', () => {});
    stream.on('close', () => {
      answer.rst = stream.rstCode;
      if (answer.raw.includes('application/problem+json'))
        answer.code = (JSON.parse(answer.body) as { code: string }).code;
      resolve(answer);
    });
    if (typeof body === 'string') stream.end(body);
    else body?.(stream);
  });
}

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

test('an app of HTTP/2 that is not there, goes away or answers no HTTP is told by its code', async () => {
  const app = new App('h2c://127.0.0.1:1', new Metrics());
  closers.push(() => app.close());
  const port = await hop((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  expect((await ask(await connect(port), { ':path': '/' })).code).toBe('app_unavailable');
  // An app that speaks HTTP/1.1 to who said it speaks HTTP/2.
  const { port: wrong } = await proxied(http.createServer((_, response) => response.end()));
  const confused = new App(`h2c://127.0.0.1:${wrong}`, new Metrics());
  closers.push(() => confused.close());
  const garbled = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  const bad = new App(
    `h2c://127.0.0.1:${await listen(garbled as Server, { host: '127.0.0.1', port: 0 })}`,
    new Metrics(),
  );
  closers.push(
    () => garbled.close(),
    () => bad.close(),
  );
  const through = await hop((request, exchange) => bad.serve(exchange(request.url!), 0, 'free'));
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

// ---- what is refused ----

/** Frames by hand: what no well-meaning client library would send. */
const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
/** Fields as HPACK literals without Huffman, so that any byte can stand anywhere. */
const literals = (fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(
    fields.flatMap(([name, value]) => {
      const [n, v] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
      return [Buffer.from([0, n.length]), n, Buffer.from([v.length]), v];
    }),
  );
const PREFACE = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))]);
const HEAD = [
  [':method', 'POST'],
  [':path', '/p'],
  [':scheme', 'http'],
  [':authority', 'x'],
] as const;

/** Frames of the server's answer to these bytes, until it hangs up, goes quiet, or has answered stream 1. */
function frames(port: number, bytes: readonly Buffer[]): Promise<{ type: number; stream: number; code: number }[]> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      for (const part of [PREFACE, ...bytes]) socket.write(part);
    });
    let data = Buffer.alloc(0);
    const got: { type: number; stream: number; code: number }[] = [];
    const timer = setTimeout(() => socket.destroy(), 5000);
    socket.on('data', (chunk) => {
      data = Buffer.concat([data, chunk]);
      while (data.length >= 9 && data.length >= 9 + data.readUIntBE(0, 3)) {
        const length = data.readUIntBE(0, 3);
        const [type, flags, stream] = [data[3], data[4], data.readUInt32BE(5)];
        const payload = data.subarray(9, 9 + length);
        const code = type === 3 ? payload.readUInt32BE(0) : type === 7 ? payload.readUInt32BE(4) : -1;
        got.push({ type, stream, code });
        data = data.subarray(9 + length);
        if (type === 3 || type === 7 || (type < 2 && (flags & END) === END)) socket.destroy();
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(got);
    });
  });
}

const END = 1;
const END_HEADERS = 4;
test.each<[string, readonly (readonly [string, string])[], string?]>([
  ['a capital in a name', [...HEAD, ['X-a', '1']]],
  ['Transfer-Encoding', [...HEAD, ['transfer-encoding', 'chunked']]],
  ['Connection', [...HEAD, ['connection', 'keep-alive, x-secret']]],
  ['Upgrade', [...HEAD, ['upgrade', 'websocket']]],
  ['a te that is not trailers', [...HEAD, ['te', 'trailers, chunked']]],
  ['two lengths', [...HEAD, ['content-length', '0'], ['content-length', '4']]],
  ['a length that is none', [...HEAD, ['content-length', '+0']]],
  ['a length the body has not', [...HEAD, ['content-length', '4']]],
  ['a path twice', [...HEAD, [':path', '/q']]],
  ['a pseudo-field after a field', [['x-a', 'b'], ...HEAD]],
  ['a pseudo-field nobody knows', [...HEAD, [':protocol', 'websocket']]],
  ['no path', HEAD.filter(([name]) => name !== ':path')],
  ['an empty path', HEAD.map(([name, value]) => [name, name === ':path' ? '' : value] as const)],
  ['a path with a space', HEAD.map(([name, value]) => [name, name === ':path' ? '/a b' : value] as const)],
  ['a path with CR LF', HEAD.map(([name, value]) => [name, name === ':path' ? '/ HTTP/1.1\r\nX: y' : value] as const)],
  ['a path that climbs', HEAD.map(([name, value]) => [name, name === ':path' ? '/a/../b' : value] as const)],
  ['a method with a space', HEAD.map(([name, value]) => [name, name === ':method' ? 'GET /x' : value] as const)],
  [
    'CONNECT',
    [
      [':method', 'CONNECT'],
      [':authority', 'x:80'],
    ],
  ],
  ['another scheme', HEAD.map(([name, value]) => [name, name === ':scheme' ? 'https' : value] as const)],
  ['a Host that is not the authority', [...HEAD, ['host', 'y']]],
  ['an authority with userinfo', HEAD.map(([name, value]) => [name, name === ':authority' ? 'u@x' : value] as const)],
])('over HTTP/2 refuses %s, and no request of it is at the app', async (_, fields) => {
  const reached: string[] = [];
  const { port } = await proxied(
    http.createServer((request, response) => {
      reached.push(`${request.method} ${request.url}`);
      response.end();
    }),
  );
  const got = await frames(port, [frame(1, END | END_HEADERS, 1, literals(fields))]);
  expect(reached).toEqual([]);
  // A reset of the stream, the end of the connection, or a problem.
  expect(got.some(({ type, stream }) => type === 7 || (stream === 1 && (type === 3 || type === 1)))).toBe(true);
});

test.each<[string, readonly (readonly [string, string])[]]>([
  ['CR LF in a value', [...HEAD, ['x-a', 'b\r\nx-admin: 1']]],
  ['a bare LF in a value', [...HEAD, ['x-a', 'b\nc']]],
  ['a NUL in a value', [...HEAD, ['x-a', 'b\0c']]],
  ['CR LF in a name', [...HEAD, ['x-a: b\r\nx-admin', '1']]],
  ['a colon in a name', [...HEAD, ['x:a', '1']]],
  ['an empty name', [...HEAD, ['', '1']]],
])('over HTTP/2 %s is left out with its field, and no line of it is at the app', async (_, fields) => {
  const raw: string[][] = [];
  const origin = http.createServer((request, response) => {
    raw.push(request.rawHeaders);
    response.end();
  });
  const { port: through } = await proxied(origin);
  await frames(through, [frame(1, END | END_HEADERS, 1, literals(fields))]);
  expect(raw.flat().filter((text) => /x-a|x:a|admin|^$/i.test(text))).toEqual([]);
  expect(raw.length).toBeLessThanOrEqual(1);
});

test('CONNECT and other schemes get a problem with a code', async () => {
  const { port } = await proxied(h1Echo());
  const session = await connect(port);
  const denied = session.request({ ':method': 'CONNECT', ':authority': 'x:80' });
  const status = await new Promise((resolve) => denied.once('response', (head) => resolve(head[':status'])));
  expect(status).toBe(403);
  denied.close();
  expect(await ask(session, { ':path': '/', ':scheme': 'https' })).toMatchObject({ status: 400, code: 'bad_request' });
});

test('an app of HTTP/2 can’t put a line into an answer of HTTP/1.1, nor announce a length it has not', async () => {
  const answers = [
    [
      [':status', '200'],
      ['x-a', 'b\r\nset-cookie: c=1'],
    ],
    [
      [':status', '200'],
      ['connection', 'x-a'],
    ],
    [
      [':status', '200'],
      ['transfer-encoding', 'chunked'],
    ],
    [[':status', '99']],
    [
      [':status', '200'],
      ['content-length', '9'],
    ],
  ] as const;
  for (const answer of answers) {
    const origin = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.write(frame(4, 0, 0, Buffer.alloc(0)));
      let told = false;
      socket.on('data', (data) => {
        if (told || !data.includes(1)) return;
        told = true;
        socket.write(frame(1, END | END_HEADERS, 1, literals(answer)));
      });
    });
    const app = new App(
      `h2c://127.0.0.1:${await listen(origin as Server, { host: '127.0.0.1', port: 0 })}`,
      new Metrics(),
    );
    const port = await hop((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
    const text = await new Promise<string>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () =>
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      );
      let out = '';
      socket.on('data', (data) => (out += data.toString('latin1')));
      socket.on('error', () => {});
      socket.on('close', () => resolve(out));
    });
    expect(text).not.toMatch(/set-cookie|^transfer-encoding: chunked\r\n.*\r\n\r\n0/im);
    // nghttp2 leaves out a field that is none, and the answer is one without it.
    if (answer[1]?.[0] === 'x-a') expect(text).toMatch(/^HTTP\/1\.1 200 /);
    else expect(text).toMatch(/^HTTP\/1\.1 502 [^]*app_failed/);
    app.close();
    origin.close();
  }
});

test.each<[string, (i: number) => Buffer, number?]>([
  [
    'streams opened and reset',
    (i) =>
      Buffer.concat([
        frame(1, END_HEADERS, 2 * i + 1, literals(HEAD)),
        frame(3, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8])),
      ]),
  ],
  ['pings', () => frame(6, 0, 0, Buffer.alloc(8))],
  ['settings', () => frame(4, 0, 0, Buffer.alloc(0))],
  [
    'empty frames of data',
    (i) => (i === 0 ? frame(1, END_HEADERS, 1, literals(HEAD)) : frame(0, 0, 1, Buffer.alloc(0))),
  ],
  [
    'a head that never ends',
    (i) => (i === 0 ? frame(1, 0, 1, literals(HEAD)) : frame(9, 0, 1, literals([['x-a', 'b'.repeat(100)]]))),
  ],
  ['a frame beyond the size agreed on', () => frame(0, 0, 1, Buffer.alloc(20_000))],
])('a flood of %s ends its connection and no other', async (_, make) => {
  const { port } = await proxied(h1Echo());
  const other = await connect(port);
  expect((await ask(other, { ':path': '/' })).status).toBe(200);
  // It is the server who hangs up.
  await new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.write(PREFACE);
      let i = 0;
      const push = (): void => {
        if (socket.destroyed) return;
        for (let n = 0; n < 500; n++) socket.write(make(i++));
        if (i < 50_000) setImmediate(push);
      };
      push();
    });
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', resolve);
  });
  expect((await ask(other, { ':path': '/' })).status).toBe(200);
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

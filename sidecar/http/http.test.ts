/** The data path against real servers and raw sockets: listener → exchange → client → app. */
import { createHash } from 'node:crypto';
import http, { type IncomingMessage, type RequestListener, type Server } from 'node:http';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { refusal } from '../errors.ts';
import { readDestination } from '../target.ts';
import { EMPTY, Incoming } from './body.ts';
import { HttpClient } from './client.ts';
import { endToEnd, pairs } from './headers.ts';
import { type ExchangeServer, createExchangeServer, listen } from './server.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(server: Server | ExchangeServer): Promise<number> {
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return listen(server, { host: '127.0.0.1', port: 0 });
}

/** A proxy in front of `app`; returns both ports. */
async function proxied(app: RequestListener): Promise<{ proxy: number; app: Server; client: HttpClient }> {
  const server = http.createServer(app);
  const origin = await serve(server);
  const client = new HttpClient(`http://127.0.0.1:${origin}`, 'the app', {
    unreachable: 'app_unavailable',
    broken: 'app_failed',
  });
  closers.push(() => client.close());
  const proxy = await serve(
    createExchangeServer((request, exchange) =>
      client.send(exchange(readDestination(`/agents/x${request.url}`)!.target)),
    ),
  );
  return { proxy, app: server, client };
}

const call = (
  port: number,
  options: http.RequestOptions,
  body?: (out: http.ClientRequest) => void,
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const out = http.request({ host: '127.0.0.1', port, agent: false, ...options }, resolve);
    out.on('error', reject);
    if (body) body(out);
    else out.end();
  });

const read = async (message: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};

/** Sends raw bytes; everything the server answered until it closed. */
const raw = (port: number, text: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    let out = '';
    socket.on('data', (data) => (out += data.toString('latin1')));
    socket.on('close', () => resolve(out));
    socket.on('error', () => {});
  });

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test('server-sent events come through one by one, each before the next is sent', async () => {
  let seen: () => void = () => {};
  const { proxy } = await proxied(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    // Head, then each event, only once the client has what came before: a hop that gathers anything stops it all.
    const arrived = (): Promise<void> => new Promise((resolve) => (seen = resolve));
    let next = arrived();
    response.flushHeaders();
    for (let i = 0; i < 4; i++) {
      await next;
      next = arrived();
      response.write(`data: ${i}\n\n`);
    }
    await next;
    response.end();
  });
  const response = await call(proxy, { path: '/events' });
  seen();
  const events: string[] = [];
  for await (const chunk of response) {
    events.push(String(chunk));
    seen();
  }
  expect(events).toEqual(['data: 0\n\n', 'data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n']);
});

test('50 MB go up and come down, whole, in bounded memory', async () => {
  const { proxy } = await proxied(async (request, response) => {
    response.writeHead(200);
    const hash = createHash('sha256');
    for await (const chunk of request) {
      hash.update(chunk as Buffer);
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve));
    }
    response.end(hash.digest());
  });
  const [chunk, chunks] = [Buffer.alloc(256 * 1024, 7), 200];
  const before = process.memoryUsage.rss();
  let peak = 0;
  const response = await call(proxy, { method: 'POST', path: '/' }, (out) => {
    void (async () => {
      for (let i = 0; i < chunks; i++) {
        if (!out.write(chunk)) await new Promise((resolve) => out.once('drain', resolve));
        if (i % 20 === 0) await sleep(1);
      }
      out.end();
    })();
  });
  let size = 0;
  let tail = Buffer.alloc(0);
  for await (const part of response) {
    size += (part as Buffer).length;
    tail = Buffer.concat([tail, part as Buffer]).subarray(-32);
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  const hash = createHash('sha256');
  for (let i = 0; i < chunks; i++) hash.update(chunk);
  expect(size).toBe(chunk.length * chunks + 32);
  expect(tail.toString('hex')).toBe(hash.digest('hex'));
  expect(peak - before).toBeLessThan(150 * 1024 * 1024);
});

test('a reader that stops stops the app', async () => {
  let sent = 0;
  const { proxy } = await proxied(async (_, response) => {
    const chunk = Buffer.alloc(64 * 1024);
    for (let i = 0; i < 1600 && !response.destroyed; i++) {
      sent += chunk.length;
      if (!response.write(chunk))
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
    }
    response.end();
  });
  const response = await call(proxy, { path: '/' });
  response.pause();
  // Until it stands still; a hop that gathers would take it all.
  for (let [last, still] = [-1, 0]; still < 20; await sleep(20)) {
    still = sent === last ? still + 1 : 0;
    last = sent;
  }
  expect(sent).toBeGreaterThan(0);
  expect(sent).toBeLessThan(30 * 1024 * 1024);
  response.destroy();
});

test('a client that leaves ends the call at the app, before and during its answer', async () => {
  const closed: string[] = [];
  const came = Promise.withResolvers<void>();
  const { proxy } = await proxied((request, response) => {
    response.on('close', () => closed.push(`${request.url} ${response.writableFinished}`));
    if (request.url === '/waiting') came.resolve();
    if (request.url === '/streaming') {
      response.writeHead(200);
      response.write('x');
    }
  });
  const waiting = http.request({ port: proxy, path: '/waiting', agent: false }).on('error', () => {});
  waiting.end();
  await came.promise;
  waiting.destroy();
  const response = await call(proxy, { path: '/streaming' });
  response.on('error', () => {});
  response.destroy();
  while (closed.length < 2) await sleep(5);
  expect(closed.toSorted()).toEqual(['/streaming false', '/waiting false']);
});

test('an app that breaks off breaks the client off: no cut answer looks whole', async () => {
  const { proxy } = await proxied((_, response) => {
    response.writeHead(200);
    response.write('half');
    setTimeout(() => response.destroy(), 30);
  });
  const response = await call(proxy, { path: '/' });
  await expect(read(response)).rejects.toThrow(/aborted|reset/);
});

test('what came of an answer before it broke off reaches the client, however fast both came', async () => {
  const proxy = await serve(
    createExchangeServer(async () => ({
      status: 200,
      headers: [],
      body: (async function* () {
        for (const part of ['one', 'two']) yield Buffer.from(part);
        throw new Error('broken');
      })(),
    })),
  );
  const response = await call(proxy, { path: '/' });
  let got = '';
  response.on('data', (chunk) => (got += String(chunk)));
  response.on('error', () => {});
  await new Promise((resolve) => response.on('close', resolve));
  expect([got, response.complete]).toEqual(['onetwo', false]);
});

test('what an app sent before it broke off is read before the error, however late', async () => {
  const body = new Incoming({ flow: () => {}, abandon: () => {} });
  for (const part of ['one', 'two']) body.push(Buffer.from(part));
  body.fail(new Error('broken'));
  body.push(Buffer.from('late'));
  const seen: string[] = [];
  await expect(async () => {
    for await (const chunk of body) seen.push(String(chunk));
  }).rejects.toThrow('broken');
  expect(seen).toEqual(['one', 'two']);
});

test('an app that is not there is a coded 502', async () => {
  const { proxy, app } = await proxied(() => {});
  app.close();
  const response = await call(proxy, { path: '/' });
  expect(response.statusCode).toBe(502);
  expect(response.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(await read(response))).toMatchObject({ code: 'app_unavailable', status: 502 });
});

test('hop-by-hop headers end here, in both directions; others keep order, case and repetition', async () => {
  let seen: string[] = [];
  const { proxy } = await proxied((request, response) => {
    seen = request.rawHeaders;
    response.writeHead(200, [
      'Set-Cookie',
      'a=1',
      'Set-Cookie',
      'b=2',
      'Connection',
      'X-Hop',
      'X-Hop',
      '1',
      'X-End',
      '2',
      'Agnt2-Caller',
      'forged',
      'Trailer',
      'x-t',
    ]);
    response.write('ok');
    response.addTrailers({ 'x-t': 'late' });
    response.end();
  });
  const response = await call(proxy, {
    path: '/',
    headers: [
      'Host',
      'h',
      'X-A',
      '1',
      'X-a',
      '2',
      'Connection',
      'keep-alive, X-Secret',
      'X-Secret',
      's',
      'TE',
      'trailers',
      'Payment-Signature',
      'p',
      'X-Agnt2-Y',
      'y',
      'Signature-Input',
      'z',
      'X-Payment',
      'q',
      'X-Forwarded-For',
      'f',
    ],
  });
  expect(await read(response)).toBe('ok');
  const names = pairs(seen).map(([name, value]) => `${name}: ${value}`);
  expect(names.filter((n) => !/^(?:host|connection):/i.test(n))).toEqual([
    'X-A: 1',
    'X-a: 2',
    // The next hop's own word that trailers may come.
    'te: trailers',
  ]);
  const back = pairs(response.rawHeaders).filter(
    ([name]) => !/^(?:date|connection|keep-alive|transfer-encoding)$/i.test(name),
  );
  expect(back).toEqual([
    ['Set-Cookie', 'a=1'],
    ['Set-Cookie', 'b=2'],
    ['X-End', '2'],
    ['Trailer', 'x-t'],
  ]);
  expect(response.trailers).toEqual({ 'x-t': 'late' });
});

test('HEAD keeps its length without a body, and 204, 304 and empty answers stay what they are', async () => {
  const { proxy } = await proxied((request, response) => {
    if (request.url === '/head') response.writeHead(200, { 'content-length': '12345' }).end();
    else if (request.url === '/304') response.writeHead(304, { 'content-length': '99', etag: '"x"' }).end();
    else if (request.url === '/204') response.writeHead(204).end();
    else response.writeHead(200, { 'content-length': '0' }).end();
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  closers.push(() => agent.destroy());
  for (const [method, path, length] of [
    ['HEAD', '/head', '12345'],
    ['GET', '/304', '99'],
    ['GET', '/204', undefined],
    ['GET', '/', '0'],
  ] as const) {
    const response = await call(proxy, { method, path, agent });
    expect([await read(response), response.headers['content-length']]).toEqual(['', length]);
  }
});

test('a GET arrives without a body, a chunked upload as chunks, a counted one with its count', async () => {
  const { proxy } = await proxied(async (request, response) => {
    response.end(
      `${request.headers['content-length'] ?? '-'} ${request.headers['transfer-encoding'] ?? '-'} ${await read(request)}`,
    );
  });
  expect(await read(await call(proxy, { path: '/' }))).toBe('- - ');
  expect(
    await read(
      await call(proxy, { path: '/', method: 'POST', headers: { 'content-length': 3 } }, (out) => out.end('abc')),
    ),
  ).toBe('3 - abc');
  expect(await read(await call(proxy, { path: '/', method: 'PUT' }, (out) => (out.write('ab'), out.end('c'))))).toBe(
    '- chunked abc',
  );
  expect(
    await read(
      await call(proxy, { path: '/', method: 'GET', headers: { 'transfer-encoding': 'chunked' } }, (out) =>
        out.end('q'),
      ),
    ),
  ).toBe('- chunked q');
});

test('100-continue is sent when the body is wanted, and a refused call never uploads', async () => {
  const { proxy } = await proxied(async (request, response) => response.end(await read(request)));
  const head = 'Host: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n';
  const wanted = await raw(proxy, `POST / HTTP/1.1\r\n${head}Connection: close\r\n\r\nbody`);
  expect(wanted).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
  const refused = await raw(proxy, `POST /../x HTTP/1.1\r\n${head}\r\n`);
  expect(refused).toMatch(/^HTTP\/1\.1 400 /);
  expect(refused).not.toContain('100 Continue');
  expect(refused).toMatch(/connection: close/i);
});

test('informational answers of the app come before the answer, and are not passed off as one', async () => {
  const { proxy } = await proxied((_, response) => {
    response.writeEarlyHints({ link: '</x>; rel=preload' });
    response.end('ok');
  });
  const text = await raw(proxy, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/x>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK/);
  // HTTP/1.0 knows no 1xx (RFC 9110 §15.2).
  expect(await raw(proxy, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK/);
});

test.each([
  ['CL and TE', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd'],
  ['a bare LF', 'GET / HTTP/1.1\nHost: x\nX: y\n\n'],
  ['an obs-fold', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n'],
  ['TE not chunked last', 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n'],
  ['a NUL in a value', 'GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n'],
  ['a huge head', `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`],
  ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ['noise', '\u0016\u0003\u0001\u0002\u0000'],
])('%s is refused before the app sees anything', async (_, text) => {
  let reached = 0;
  const { proxy } = await proxied((_request, response) => {
    reached += 1;
    response.end('reached');
  });
  const answer = await raw(proxy, text);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(reached).toBe(0);
});

test('a body that is not as long as it says never meets the next request at the app', async () => {
  const bodies: string[] = [];
  const { client } = await proxied(async (request, response) => {
    bodies.push(`${request.method} ${await read(request).catch(() => 'cut')}`);
    response.end('ok');
  });
  const exchange = (length: string, body: string) => ({
    method: 'POST',
    target: '/',
    headers: [['content-length', length]] as const,
    body: (async function* () {
      yield Buffer.from(body);
      await sleep(5);
    })(),
    signal: new AbortController().signal,
  });
  await expect(client.send(exchange('4', 'abcdGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'))).rejects.toMatchObject({
    code: 'body_mismatch',
  });
  await expect(client.send(exchange('9', 'abcd'))).rejects.toMatchObject({ code: 'body_mismatch' });
  for (const headers of [
    [
      ['content-length', '4'],
      ['content-length', '4'],
    ],
    [['content-length', '4, 4']],
    [['content-length', '-1']],
    [['x', 'a\r\nb: c']],
    [['x y', 'z']],
  ] as const)
    await expect(client.send({ ...exchange('4', 'abcd'), headers })).rejects.toMatchObject({ code: 'bad_request' });
  for (const [method, target] of [
    ['GE T', '/'],
    ['GET', '/a b'],
    ['GET', '/\r\nX: y'],
  ])
    await expect(client.send({ ...exchange('4', 'abcd'), method, target })).rejects.toMatchObject({
      code: 'bad_request',
    });
  await sleep(50);
  expect(bodies.join()).not.toContain('smuggled');
});

test('a method is sent as it was priced or not at all, and no answer leaves its call hanging', async () => {
  const seen: string[] = [];
  const plain = http.createServer((incoming, response) => {
    seen.push(incoming.method!);
    response.end();
  });
  // Node's client hands any answer to CONNECT, and a 101, to listeners of their own.
  plain.on('connect', (_, socket) => socket.end('HTTP/1.1 405 Method Not Allowed\r\n\r\n'));
  const switching = net.createServer((socket) =>
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
    ),
  );
  const codes = { unreachable: 'app_unavailable', broken: 'app_failed' };
  const port = await listen(plain, { host: '127.0.0.1', port: 0 });
  const client = new HttpClient(`http://127.0.0.1:${port}`, 'the app', codes);
  const send = (to: HttpClient, method: string): Promise<string> =>
    to.send({ method, target: '/', headers: [], body: EMPTY, signal: AbortSignal.timeout(5000) }).then(
      ({ status }) => String(status),
      (error: { code: string }) => error.code,
    );
  for (const method of ['get', 'Get', '', 'CONNECT', 'GET ', 'GET / HTTP/1.1\r\nx: y', '*'])
    expect(await send(client, method), method).toBe('bad_request');
  expect(seen).toEqual([]);
  expect(await send(client, 'GET')).toBe('200');
  await new Promise<void>((resolve) => switching.listen(0, '127.0.0.1', resolve));
  const other = new HttpClient(`http://127.0.0.1:${(switching.address() as net.AddressInfo).port}`, 'the app', codes);
  expect(await send(other, 'GET')).toBe('app_failed');
  client.close();
  other.close();
  plain.close();
  switching.close();
});

test('CONNECT gets a coded no, and an offer of HTTP/2 no answer', async () => {
  const { proxy } = await proxied((_, response) => response.end('ok'));
  expect(await raw(proxy, 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n')).toMatch(
    /^HTTP\/1\.1 403 [^]*connect_denied/,
  );
  // h2c is an offer a server may leave unanswered (RFC 9113 §3.1).
  expect(
    await raw(
      proxy,
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n',
    ),
  ).toMatch(/^HTTP\/1\.1 200 /);
});

test('connections to the app are kept, and one it closed while idle costs a GET nothing', async () => {
  const sockets = new Set<unknown>();
  const { proxy, app } = await proxied((request, response) => {
    sockets.add(request.socket);
    response.end('ok');
  });
  for (let i = 0; i < 5; i++) await read(await call(proxy, { path: '/' }));
  expect(sockets.size).toBe(1);
  app.closeIdleConnections();
  expect(await read(await call(proxy, { path: '/' }))).toBe('ok');
});

test("an answer with an impossible status or header is the peer's failure, and what it held is let go", async () => {
  let returned = 0;
  const body = {
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: true as const, value: undefined }),
      return: async () => (returned++, { done: true as const, value: undefined }),
    }),
  };
  const answers = [
    { status: 99, headers: [] },
    { status: 1000, headers: [] },
    { status: 101, headers: [] },
    { status: 200, headers: [['x', 'a\nb']] as const },
    { status: 200, reason: 'a\r\nx: y', headers: [] },
    {
      status: 200,
      headers: [
        ['content-length', '1'],
        ['content-length', '2'],
      ] as const,
    },
  ];
  const port = await serve(
    createExchangeServer(async (request) => ({ ...answers[Number(request.url.slice(1))], body })),
  );
  for (let i = 0; i < answers.length; i++) {
    const response = await call(port, { path: `/${i}` });
    expect([response.statusCode, JSON.parse(await read(response)).code]).toEqual([502, 'peer_failed']);
  }
  expect(returned).toBe(answers.length);
});

test("a peer's interim answers and trailers say nothing that belongs to the head, and nothing that is not HTTP", async () => {
  const port = await serve(
    createExchangeServer(async ({ url }, exchange) => {
      const { interim } = exchange(url!);
      for (const status of [99, 101, 200, 1000, 103.5]) interim!({ status, headers: [['x-bad', '1']] });
      for (const bad of ['a\r\nHTTP/1.1 200 OK', 'a\0']) interim!({ status: 103, headers: [['x-bad', bad]] });
      interim!({
        status: 103,
        headers: [
          ['agnt2-caller', '0:1'],
          ['content-length', '5'],
          ['connection', 'x-c'],
          ['x-c', '1'],
          ['x-ok', '1'],
        ],
      });
      const trailers = () =>
        [
          ['x-t', '1'],
          ['content-length', '0'],
          ['transfer-encoding', 'chunked'],
          ['set-cookie', 'a=b'],
          ['authorization', 'x'],
          ['host', 'x'],
          ['agnt2-receipt', 'x'],
          ['trailer', 'x'],
          ['x-bad', 'a\r\nb: c'],
          ['x bad', 'a'],
          ['content-type', 'a/b'],
        ] as const;
      return { status: 200, headers: [], body: EMPTY, trailers };
    }),
  );
  const text = await raw(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  expect(text).toMatch(
    /^HTTP\/1\.1 103 Early Hints\r\nx-ok: 1\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n0\r\nx-t: 1\r\n\r\n$/,
  );
});

test('what went wrong inside never shows outside', async () => {
  const port = await serve(
    createExchangeServer(async (request) => {
      throw request.url === '/coded'
        ? refusal('over_day_cap', 'too dear', new Error('secret'))
        : new Error('secret at 10.0.0.1');
    }),
  );
  const coded = await call(port, { path: '/coded' });
  expect(coded.statusCode).toBe(402);
  expect(await read(coded)).not.toContain('secret');
  const inner = await call(port, { path: '/' });
  expect(inner.statusCode).toBe(500);
  expect(await read(inner)).not.toContain('secret');
});

test('an answer without a Date gets one, and one with a Date keeps it', async () => {
  const { proxy } = await proxied((request, response) => {
    response.sendDate = false;
    if (request.url === '/dated') response.setHeader('Date', 'Sun, 06 Nov 1994 08:49:37 GMT');
    response.end('ok');
  });
  const dates = async (path: string): Promise<string[]> =>
    pairs((await call(proxy, { path })).rawHeaders).flatMap(([name, value]) =>
      name.toLowerCase() === 'date' ? [value] : [],
    );
  expect(await dates('/dated')).toEqual(['Sun, 06 Nov 1994 08:49:37 GMT']);
  expect(await dates('/')).toEqual([expect.stringMatching(/^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/)]);
});

test('endToEnd never lets a Connection header unframe a message', () => {
  expect(
    endToEnd([
      ['Connection', 'Content-Length, x'],
      ['Content-Length', '3'],
      ['X', '1'],
    ]),
  ).toEqual([['Content-Length', '3']]);
});

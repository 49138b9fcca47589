/**
 * Bytes that two readers could read in two ways, at the sidecar's listener and from the app: refused, and no request of them is whole at the
 * other side. Each request is followed by a second one on the same connection, which must never arrive either: it could be part of the first.
 */
import http from 'node:http';
import net from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { App } from '../app.ts';
import { Metrics } from '../metrics.ts';
import { readDestination } from '../target.ts';
import { createExchangeServer, listen } from './server.ts';

let reached: string[] = [];
let port: number;
const closers: (() => void)[] = [];

const origin = http.createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
  } catch {
    return;
  }
  reached.push(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()}`);
  response.end('reached');
});

beforeAll(async () => {
  const app = new App(`http://127.0.0.1:${await listen(origin, { host: '127.0.0.1', port: 0 })}`, new Metrics());
  const server = createExchangeServer((request, exchange) =>
    app.serve(exchange(readDestination(request.url!)!.target), 0, 'free'),
  );
  port = await listen(server, { host: '127.0.0.1', port: 0 });
  closers.push(
    () => app.close(),
    () => server.closeAllConnections(),
    () => server.close(),
    () => origin.closeAllConnections(),
    () => origin.close(),
  );
});
beforeEach(() => void (reached = []));
afterAll(() => {
  for (const close of closers) close();
});

/** What the server at `to` says to these bytes until it hangs up, or to the end of our patience with one that should. */
const say = (to: number, text: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(to, '127.0.0.1', () => socket.write(text, 'latin1'));
    let out = '';
    const timer = setTimeout(() => socket.destroy(), 5000);
    socket.on('data', (data) => (out += data.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(out);
    });
  });

const SECOND = 'GET /agents/x/second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const post = (fields: string, body: string): string => `POST /agents/x/p HTTP/1.1\r\nHost: x\r\n${fields}\r\n${body}`;
const get = (fields: string): string => `GET /agents/x/g HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body);

test.each([
  ['Content-Length with Transfer-Encoding', post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['Transfer-Encoding with Content-Length', post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', '0\r\n\r\n')],
  ['two lengths that differ', post('Content-Length: 4\r\nContent-Length: 5\r\n', 'abcde')],
  ['two lengths that agree', post('Content-Length: 4\r\nContent-Length: 4\r\n', 'abcd')],
  ['a list of lengths', post('Content-Length: 4, 4\r\n', 'abcd')],
  ['a signed length', post('Content-Length: +4\r\n', 'abcd')],
  ['a negative length', post('Content-Length: -4\r\n', 'abcd')],
  ['a hexadecimal length', post('Content-Length: 0x4\r\n', 'abcd')],
  ['a length with a fraction', post('Content-Length: 4.0\r\n', 'abcd')],
  ['an empty length', post('Content-Length:\r\n', '')],
  ['a length beyond 2^64', post('Content-Length: 18446744073709551620\r\n', 'abcd')],
  ['a coding named twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['a coding listed twice', post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n')],
  ['chunked not last', post('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n')],
  ['a coding before chunked', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['another coding', post('Transfer-Encoding: identity\r\n', '')],
  ['a coding almost chunked', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
  ['a coding in quotes', post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n')],
  ['a coding behind a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n')],
  ['an empty coding', post('Transfer-Encoding:\r\n', '')],
  ['a coding in HTTP/1.0', 'POST /agents/x/p HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a space before the colon', post('Content-Length : 4\r\n', 'abcd')],
  ['a space before a name', get(' X: y\r\n')],
  ['obs-fold', get('X: a\r\n b\r\n')],
  ['obs-fold with a tab', get('X: a\r\n\tb\r\n')],
  ['a bare LF between fields', get('X: a\nY: b\r\n')],
  ['a bare LF at the end of the head', 'GET /agents/x/g HTTP/1.1\r\nHost: x\r\n\n'],
  ['a bare LF after the request line', 'GET /agents/x/g HTTP/1.1\nHost: x\r\n\r\n'],
  ['a bare CR in a value', get('X: a\rY: b\r\n')],
  ['a NUL in a value', get('X: a\0b\r\n')],
  ['a NUL in a name', get('X\0: a\r\n')],
  ['a control character in a value', get('X: a\x01b\r\n')],
  ['a DEL in a value', get('X: a\x7fb\r\n')],
  ['a name with a parenthesis', get('X(: a\r\n')],
  ['an empty name', get(': a\r\n')],
  ['a field without a colon', get('X\r\n')],
  ['a chunk size with a sign', chunked('+3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk size with 0x', chunked('0x3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk size with a space before', chunked(' 3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk size beyond 2^64', chunked('10000000000000003\r\nabc\r\n0\r\n\r\n')],
  ['an empty chunk size', chunked('\r\nabc\r\n0\r\n\r\n')],
  ['a chunk size that ends with a bare LF', chunked('3\nabc\r\n0\r\n\r\n')],
  ['a chunk extension with a bare LF', chunked('3;a\nabc\r\n0\r\n\r\n')],
  ['a chunk that is longer than it says', chunked('3\r\nabcd\r\n0\r\n\r\n')],
  ['a chunk that ends with a bare LF', chunked('3\r\nabc\n0\r\n\r\n')],
  ['a trailer with a bare LF', chunked('0\r\nX: a\nY: b\r\n\r\n')],
  ['a length among the trailers', chunked('3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n')],
  ['no Host', 'GET /agents/x/g HTTP/1.1\r\n\r\n'],
  ['two Hosts', 'GET /agents/x/g HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n'],
  ['two equal Hosts', 'GET /agents/x/g HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n'],
  ['a target that is not of the Host', 'GET http://a.agnt2/g HTTP/1.1\r\nHost: b.agnt2\r\n\r\n'],
  ['a target with a port that is not of the Host', 'GET http://a.agnt2/g HTTP/1.1\r\nHost: a.agnt2:81\r\n\r\n'],
  ['a target with userinfo', 'GET http://b@a.agnt2/g HTTP/1.1\r\nHost: a.agnt2\r\n\r\n'],
  ['HTTP/2.0 in the words of HTTP/1', 'GET /agents/x/g HTTP/2.0\r\nHost: x\r\n\r\n'],
  ['HTTP/1.2', 'GET /agents/x/g HTTP/1.2\r\nHost: x\r\n\r\n'],
  ['HTTP/0.9', 'GET /agents/x/g\r\n'],
  ['http in small letters', 'GET /agents/x/g http/1.1\r\nHost: x\r\n\r\n'],
  ['a method that is none', 'G(T /agents/x/g HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a method in small letters', 'get /agents/x/g HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a space in the target', 'GET /agents/x/g /y HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a tab in the target', 'GET /agents/x/g\ty HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a NUL in the target', 'GET /agents/x/g\0 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['bytes beyond ASCII in the target', 'GET /agents/x/\xe9 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an expectation nobody knows', post('Expect: 200-ok\r\nContent-Length: 0\r\n', '')],
])('refuses %s', async (_, text) => {
  const answer = await say(port, text + SECOND);
  expect(reached).toEqual([]);
  expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
  // One answer, and the connection goes with it: nobody knows where the next request would start.
  expect(answer.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
});

test.each([
  ['dot segments', '/a/../b'],
  ['escaped dot segments', '/a/%2e%2e/b'],
  ['half escaped dot segments', '/a/.%2E/b'],
  ['one dot', '/a/./b'],
  ['empty segments', '//a'],
  ['empty segments inside', '/a//b'],
  ['backslashes', '/a\\b'],
  ['escaped slashes', '/a%2fb'],
  ['escaped backslashes', '/a%5Cb'],
  ['escaped NULs', '/a%00b'],
  ['escaped line ends', '/a%0d%0ab'],
  ['broken escapes', '/a%zz'],
  ['overlong UTF-8', '/%c0%ae%c0%ae/b'],
  ['fragments', '/a#b'],
  ['overlong targets', `/${'a'.repeat(8200)}`],
  ["the sidecars' own paths", '/.agnt2/close'],
  ["the sidecars' own paths, escaped", '/%2eagnt2/close'],
])('refuses %s in a path', async (_, path) => {
  expect(await say(port, `GET /agents/x${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).toMatch(
    /^HTTP\/1\.1 400 [^]*bad_target/,
  );
  expect(await say(port, `GET http://x.agnt2${path} HTTP/1.1\r\nHost: x.agnt2\r\nConnection: close\r\n\r\n`)).toMatch(
    /^HTTP\/1\.1 4\d\d /,
  );
  expect(reached).toEqual([]);
});

test('bytes that are no request never mix with the answer before them', async () => {
  const slow = http.createServer((request, response) => {
    response.writeHead(200, { 'content-length': 400 }).write('half');
    request.resume();
  });
  const app = new App(`http://127.0.0.1:${await listen(slow, { host: '127.0.0.1', port: 0 })}`, new Metrics());
  const server = createExchangeServer((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  const through = await listen(server, { host: '127.0.0.1', port: 0 });
  const socket = net.connect(through, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  let answer = '';
  socket.on('data', (data) => {
    if (answer === '') setTimeout(() => socket.write('noise\r\n\r\n'), 20);
    answer += data.toString();
  });
  await new Promise((resolve) => socket.on('error', () => {}).on('close', resolve));
  expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\nhalf$/);
  app.close();
  for (const each of [slow, server]) {
    each.closeAllConnections();
    each.close();
  }
});

test('a Host that agrees with its target in other letters, and a default port, is no contradiction', async () => {
  const answer = await say(port, 'GET http://X.agnt2/g HTTP/1.1\r\nHost: x.AGNT2:80\r\nConnection: close\r\n\r\n');
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(reached).toEqual(['GET /g ']);
});

test('a path is forwarded in the form it is priced by', async () => {
  await say(port, 'GET /agents/x/%70rice%c3%a9?a=%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  expect(reached).toEqual(['GET /price%C3%A9?a=%2e ']);
});

test('requests one after the other on a connection are answered in order, each its own', async () => {
  const first = post('Content-Length: 3\r\n', 'abc');
  const answer = await say(port, first + chunked('3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n') + SECOND);
  expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(3);
  expect(reached).toEqual(['POST /p abc', 'POST /p abc', 'GET /second ']);
});

test.each([
  [
    'Content-Length with Transfer-Encoding',
    'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  ],
  ['two lengths', 'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
  ['another coding', 'Transfer-Encoding: gzip\r\n\r\nabc'],
  ['a coding before chunked', 'Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
  ['obs-fold', 'X: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
  ['a bare LF', 'X: a\nY: b\r\nContent-Length: 0\r\n\r\n'],
  ['a NUL', 'X: a\0b\r\nContent-Length: 0\r\n\r\n'],
  ['another protocol', 'Connection: upgrade\r\nUpgrade: x\r\n\r\n', 101],
])('an answer with %s is the failure of its app', async (_, rest, status = 200) => {
  const bad = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(`HTTP/1.1 ${status} OK\r\n${rest}`, 'latin1'));
  });
  await new Promise<void>((resolve) => bad.listen(0, '127.0.0.1', resolve));
  const app = new App(`http://127.0.0.1:${(bad.address() as net.AddressInfo).port}`, new Metrics());
  const server = createExchangeServer((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  const through = await listen(server, { host: '127.0.0.1', port: 0 });
  try {
    expect(await say(through, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 502 [^]*app_failed/,
    );
  } finally {
    app.close();
    server.close();
    bad.close();
  }
});

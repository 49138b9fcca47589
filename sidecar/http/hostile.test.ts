/** HTTP/1.1 that never ends, or never goes on, from callers and from apps: each ends in a code or a closed connection, and holds little meanwhile. */
import http from 'node:http';
import net from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { Hops, say } from './testing/hop.ts';

const hops = new Hops();
afterEach(() => {
  vi.useRealTimers();
  hops.close();
});

/** Before what measures time by them begins. */
const holdTheClock = (): void => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Sends what comes, with a second of the held clock between, until the other side hangs up; all that came back, and how many seconds it took. */
async function drip(port: number, bytes: (second: number) => string): Promise<{ got: string; seconds: number }> {
  const socket = net.connect(port, '127.0.0.1');
  let got = '';
  let isClosed = false;
  socket.on('error', () => {});
  socket.on('data', (data) => (got += data.toString('latin1')));
  socket.on('close', () => (isClosed = true));
  let seconds = 0;
  for (; !isClosed && seconds < 300; seconds++) {
    if (!socket.destroyed) socket.write(bytes(seconds));
    for (let i = 0; i < 5; i++) await turn();
    vi.advanceTimersByTime(1000);
  }
  socket.destroy();
  return { got, seconds };
}

const echo = (): http.Server =>
  http.createServer((request, response) => {
    request.on('error', () => {});
    request.pipe(response);
  });

test.each<[string, string]>([
  ['a method', 'GET'],
  ['a head', 'GET / HTTP/1.1\r\nHost: x\r\nX-A: '],
])('%s that comes a byte a second is refused after a while', async (_, begins) => {
  holdTheClock();
  const { port, asked } = await hops.proxied(echo());
  const { got, seconds } = await drip(port, (second) => (second === 0 ? begins : 'A'));
  expect(got).toMatch(/^HTTP\/1\.1 400 [^]*took too long/);
  expect(seconds).toBeLessThan(60);
  expect(asked).toEqual([]);
});

test.each<[string, string]>([
  ['nothing', ''],
  ['less than a method', 'GE'],
  ['one request, and nothing more', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
])('a connection that says %s is closed after a while', async (_, begins) => {
  holdTheClock();
  const { port } = await hops.proxied(echo());
  const { got, seconds } = await drip(port, (second) => (second === 0 ? begins : ''));
  expect(got === '' || got.startsWith('HTTP/1.1 200 ')).toBe(true);
  expect(seconds).toBeLessThan(120);
});

const POST = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
test.each<[string, string, string]>([
  ['a field', 'GET / HTTP/1.1\r\nHost: x\r\nX-A: ', 'a'.repeat(1000)],
  ['fields', 'GET / HTTP/1.1\r\nHost: x\r\n', 'a:\r\n'.repeat(250)],
  ['a target', 'GET /', 'a'.repeat(1000)],
  ['the size of a chunk', POST, '0'.repeat(1000)],
  ['extensions of chunks', POST, `1;${'a'.repeat(500)}\r\nx\r\n`],
  ['trailers', `${POST}0\r\n`, 'a: b\r\n'.repeat(200)],
])('%s without end is refused', async (_, begins, more) => {
  const { port } = await hops.proxied(echo());
  // A hundred times is beyond every limit: nobody waits for more.
  const answer = await say(port, begins, more.repeat(100));
  expect(answer === '' || /^HTTP\/1\.1 400 [^]*bad_request/.test(answer)).toBe(true);
});

const OK = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const GET = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
test.each<[string, string, string]>([
  ['a head', 'HTTP/1.1 200 OK\r\nX-A: ', 'a'.repeat(2000)],
  ['hints', '', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'],
  ['100s', '', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['the size of a chunk', OK, '0'.repeat(1000)],
  ['extensions of chunks', OK, `1;${'a'.repeat(500)}\r\nx\r\n`],
  ['trailers', `${OK}0\r\n`, 'a: b\r\n'.repeat(500)],
])('an app that sends %s without end has failed', async (_, begins, more) => {
  const port = await hops.raw('http', (socket) => {
    socket.once('data', () => {
      socket.write(begins);
      socket.write(more.repeat(100));
    });
  });
  const answer = await say(port, GET);
  // What had begun breaks off before its end, and looks like nothing whole.
  expect(answer).toMatch(begins === OK || begins.startsWith(OK) ? /^HTTP\/1\.1 200 / : /HTTP\/1\.1 502 [^]*app_failed/);
  expect(answer).not.toMatch(/\r\n0\r\n/);
  expect(answer.split('HTTP/1.1 103').length).toBeLessThanOrEqual(33);
});

test('a caller that reads nothing of its answer is sent away after a while, and its app with it', async () => {
  let isClosed = false;
  const { port } = await hops.proxied(
    http.createServer((_request, response) => {
      response.on('close', () => (isClosed = true));
      const push = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
        response.once('drain', push);
      };
      push();
    }),
  );
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  holdTheClock();
  socket.write(GET);
  for (let seconds = 0; !isClosed && seconds < 1000; seconds++) {
    await turn();
    vi.advanceTimersByTime(1000);
  }
  expect(isClosed).toBe(true);
  socket.destroy();
});

test('an app that reads nothing of a request has failed after a while', async () => {
  holdTheClock();
  const port = await hops.raw('http', (socket) => socket.pause());
  const socket = net.connect(port, '127.0.0.1');
  let got = '';
  socket.on('error', () => {});
  socket.on('data', (data) => (got += data.toString('latin1')));
  socket.write(POST);
  const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
  for (let seconds = 0; got === '' && seconds < 3000; seconds++) {
    if (!socket.writableNeedDrain) socket.write(chunk);
    await turn();
    vi.advanceTimersByTime(1000);
  }
  expect(got).toMatch(/^HTTP\/1\.1 502 [^]*app_failed/);
  socket.destroy();
});

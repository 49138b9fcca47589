/** CONNECT: Node's own fetch asks for a tunnel even for plain HTTP. */
import { createConnection } from 'node:net';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acceptTunnels } from '../egress/connect.ts';
import { Egress } from '../egress/egress.ts';
import { acceptHttp2 } from './h2-server.ts';
import { type Listener, createExchangeServer, listen } from './server.ts';

const seen: string[] = [];
const answerAll: Listener = async (request, exchange) => {
  const { method, body } = exchange('/');
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.length;
  seen.push(`${method} ${request.url} ${bytes}`);
  const answer = Buffer.from(`answer to ${request.url}`);
  return {
    status: 200,
    headers: [['content-length', String(answer.length)]],
    body: (async function* () {
      yield answer;
    })(),
  };
};
// As a sidecar has it: tunnels before HTTP/2 before HTTP/1.1.
const server = createExchangeServer(answerAll);
acceptHttp2(server, answerAll);
const nowhere = { allow: [], deny: [], maxBytes: 0, maxSeconds: 1 };
acceptTunnels(server, new Egress({ config: nowhere, gateway: 'http://127.0.0.1:1' }));
let port = 0;
beforeAll(async () => {
  port = await listen(server, { host: '127.0.0.1', port: 0 });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Sends each part once the one before it was answered; answers all that came, up to the end of the connection. */
function talk(...parts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    const rest = [...parts];
    let said = '';
    const next = (): void => void (rest.length > 0 ? socket.write(rest.shift()!) : socket.end());
    socket.on('connect', next);
    socket.on('data', (data) => {
      said += data.toString();
      next();
    });
    socket.on('close', () => resolve(said));
    socket.on('error', reject);
  });
}
const CONNECT = 'CONNECT bob.agnt2:80 HTTP/1.1\r\nhost: bob.agnt2:80\r\n\r\n';

test("Node's own fetch, told of its proxy by the environment, reaches a peer", async () => {
  const script = `
    for (const body of [undefined, 'x'.repeat(70000)]) {
      const answer = await fetch('http://bob.agnt2/a?b=c', body && { method: 'POST', body });
      console.log(answer.status, await answer.text());
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    env: { NODE_USE_ENV_PROXY: '1', HTTP_PROXY: `http://127.0.0.1:${port}`, http_proxy: `http://127.0.0.1:${port}` },
  });
  expect(stdout).toBe('200 answer to http://bob.agnt2/a?b=c\n'.repeat(2));
  expect(seen.splice(0)).toEqual(['GET http://bob.agnt2/a?b=c 0', 'POST http://bob.agnt2/a?b=c 70000']);
});

test('requests through a tunnel are read one after the other, and as the peer that it is to', async () => {
  const said = await talk(
    CONNECT,
    'GET /1 HTTP/1.1\r\nhost: bob.agnt2\r\n\r\n',
    'GET /2 HTTP/1.1\r\nhost: bob.agnt2:80\r\n\r\n',
  );
  expect(said).toMatch(
    /^HTTP\/1\.1 200 Connection Established\r\n\r\nHTTP\/1\.1 200 OK[^]*agnt2\/1HTTP\/1\.1 200 OK[^]*agnt2\/2$/,
  );
  expect(seen.splice(0)).toEqual(['GET http://bob.agnt2/1 0', 'GET http://bob.agnt2/2 0']);
  // A client that doesn't wait.
  expect(await talk(`${CONNECT}GET /3 HTTP/1.1\r\nhost: bob.agnt2\r\nconnection: close\r\n\r\n`)).toContain('agnt2/3');
  expect(seen.splice(0)).toEqual(['GET http://bob.agnt2/3 0']);
});

test('a tunnel is to the peer it names and to nobody else', async () => {
  expect(await talk(CONNECT, 'GET / HTTP/1.1\r\nhost: eve.agnt2\r\n\r\n')).toMatch(/HTTP\/1\.1 400 [^]*bad_request/);
  expect(await talk(CONNECT, CONNECT)).toMatch(/HTTP\/1\.1 403 [^]*connect_denied/);
  expect(await talk(CONNECT, '\u0016\u0003\u0001\u0002')).toMatch(/bad_request/);
  for (const target of [
    'bob.agnt2:443',
    'bob.agnt2:8403',
    'bob.agnt2',
    'example.com:80',
    'bob.agnt2.example.com:80',
    'a.bob.agnt2:80',
    '127.0.0.1:8403',
    'user@bob.agnt2:80',
  ])
    expect(await talk(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 (403|400) /);
  expect(seen.splice(0)).toEqual([]);
});

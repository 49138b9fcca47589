/** The app on its way out: where it may go, where no name, number, redirect or resolver leads it. */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { LookupAddress } from 'node:dns';
import net, { type AddressInfo, type Server } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Sidecar } from '../sidecar.ts';
import { Pair, ask, viaProxy } from '../testing/pair.ts';
import { EGRESS, EGRESS_REFUSALS } from '../testing/refusals.ts';
import { isPublic } from './addresses.ts';
import { readHostPort, readPattern } from './hosts.ts';

const PUBLIC = { address: '93.184.216.34', family: 4 };
const PRIVATE = { address: '10.1.2.3', family: 4 };

let pair: Pair;
let alices: Sidecar;
let port: number;
let outside: http.Server;
let echo: Server;
let answers: Map<string, LookupAddress[][]>;
let resolved: string[];
let dialled: string[];
let hang = false;

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const handle = (request: IncomingMessage, response: ServerResponse): void => {
  if (request.url === '/redirect') return void response.writeHead(302, { location: 'http://127.0.0.1/' }).end();
  if (request.url === '/large') return void response.end(Buffer.alloc(5000));
  if (request.url === '/endless') return void response.write('x');
  let body = '';
  request.on('data', (chunk) => (body += String(chunk)));
  request.on('end', () => response.end(`${request.method} ${request.url} ${request.headers.host} ${body}`));
};

beforeAll(async () => {
  outside = http.createServer(handle).listen(0, '127.0.0.1');
  echo = net.createServer((socket) => socket.pipe(socket).on('error', () => socket.destroy())).listen(0, '127.0.0.1');
  pair = await Pair.start();
  const egress = { ...EGRESS, allow: [...EGRESS.allow, '93.184.216.35', '10.0.0.9'], maxBytes: 4000, maxSeconds: 1 };
  alices = await pair.sidecar('alice', await pair.gateway.agent(0), { egress }, undefined, {
    resolve: async (host) => {
      resolved.push(host);
      if (hang) await new Promise(() => {});
      const [next, ...rest] = answers.get(host) ?? [[PUBLIC]];
      if (rest.length > 0) answers.set(host, rest);
      if (next.length === 0) throw new Error('ENOTFOUND');
      return next;
    },
    connect: (address, to) => {
      dialled.push(`${address}:${to}`);
      return net.connect(portOf(to === 80 ? outside : echo), '127.0.0.1');
    },
  });
  port = alices.ports.listen;
});
afterAll(async () => {
  await pair.stop();
  outside.closeAllConnections();
  outside.close();
  echo.close();
});
beforeEach(() => {
  answers = new Map();
  resolved = [];
  dialled = [];
  hang = false;
});

const get = (url: string) => viaProxy(port, { method: 'GET', url });

/** What came back on a connection that says `text`, until it is closed or `enough` says so. */
const raw = (text: string, enough: (got: string) => boolean = () => false): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      if (enough(got)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(got));
  });
const connect = (authority: string): Promise<string> =>
  raw(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
const codeOf = (text: string): string => /"code":"([a-z_]+)"/.exec(text)?.[1] ?? text.slice(0, 40);

test('an allowed host is called in plain HTTP at the address that was checked, and asked as it was asked for', async () => {
  expect(await get('http://api.example.com/a/../b?q=1&r=%2f')).toMatchObject({
    status: 200,
    body: 'GET /a/../b?q=1&r=%2f api.example.com ',
  });
  expect(await ask(port, 'http://x.y.example.org/up', { headers: { host: 'x.y.example.org' } }, 'hello')).toMatchObject(
    {
      body: 'POST /up x.y.example.org hello',
    },
  );
  expect(await get('http://API.Example.COM')).toMatchObject({ status: 200 });
  expect(dialled).toEqual([`${PUBLIC.address}:80`, `${PUBLIC.address}:80`, `${PUBLIC.address}:80`]);
  expect(resolved).toEqual(['api.example.com', 'x.y.example.org', 'api.example.com']);
  expect((await get('http://93.184.216.35/')).status).toBe(200);
});

test.each(EGRESS_REFUSALS)('%s is refused, plainly and as a tunnel, before anybody is asked for it', async (host) => {
  const plain = await raw(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  expect(plain).toMatch(/^HTTP\/1\.1 (?:403|400) /);
  expect(codeOf(plain)).toMatch(/^(?:egress_denied|bad_request|bad_target)$/);
  const authority = /:\d*$/.test(host.replace(/^\[.*\]/, '')) ? host : `${host}:443`;
  const tunnel = await connect(authority);
  expect(tunnel).toMatch(/^HTTP\/1\.1 403 /);
  expect(codeOf(tunnel)).toBe('egress_denied');
  expect([...resolved, ...dialled]).toEqual([]);
});

test('other schemes, other ports and the gateway are refused', async () => {
  for (const url of [
    'https://api.example.com/',
    'ftp://api.example.com/',
    'http://api.example.com:443/',
    pair.gateway.url,
  ])
    expect((await get(url)).problem?.code).toMatch(/egress_denied|bad_request/);
  for (const authority of ['api.example.com', 'api.example.com:80', 'api.example.com:25', 'api.example.net:443'])
    expect(codeOf(await connect(authority))).toBe('egress_denied');
  expect(dialled).toEqual([]);
});

test('a name that leads to a private address leads nowhere, whenever and beside whatever it says so', async () => {
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '100.64.0.1',
    '::1',
    '::ffff:10.1.2.3',
    'fd00::1',
    'fe80::1',
  ])
    for (const all of [[{ address, family: net.isIP(address) }], [PUBLIC, { address, family: net.isIP(address) }]]) {
      answers.set('api.example.com', [all]);
      expect((await get('http://api.example.com/')).problem?.code).toBe('egress_denied');
      expect(codeOf(await connect('api.example.com:443'))).toBe('egress_denied');
    }
  expect(dialled).toEqual([]);
  // Rebinding: public when checked, private when asked again. It is asked once, and connected to what was checked.
  answers.set('api.example.com', [[PUBLIC], [PRIVATE]]);
  expect((await get('http://api.example.com/')).status).toBe(200);
  expect(dialled).toEqual([`${PUBLIC.address}:80`]);
  expect((await get('http://api.example.com/')).problem?.code).toBe('egress_denied');
  expect((await get('http://10.0.0.9/')).problem?.code).toBe('egress_denied');
  answers.set('api.example.com', [[]]);
  expect(await get('http://api.example.com/')).toMatchObject({ status: 502, problem: { code: 'egress_unreachable' } });
});

test('a redirect is an answer, not a way', async () => {
  expect(await get('http://api.example.com/redirect')).toMatchObject({
    status: 302,
    headers: { location: 'http://127.0.0.1/' },
  });
  expect(dialled).toHaveLength(1);
});

test('bodies and time have an end', async () => {
  await expect(get('http://api.example.com/large')).rejects.toThrow();
  const upload = await ask(
    port,
    'http://api.example.com/',
    { headers: { host: 'api.example.com' } },
    'x'.repeat(5000),
  ).catch(() => null);
  expect(upload?.problem?.code ?? 'egress_too_large').toBe('egress_too_large');
  await expect(get('http://api.example.com/endless')).rejects.toThrow();
});

test('a tunnel carries bytes both ways, those sent early too, up to its cap and its time', async () => {
  const opened = 'HTTP/1.1 200 Connection Established\r\n\r\n';
  const head = 'CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n';
  expect(await raw(`${head}early`, (got) => got.endsWith('early'))).toBe(`${opened}early`);
  expect(await raw(`CONNECT api.example.net:8443 HTTP/1.1\r\n\r\nx`, (got) => got.endsWith('x'))).toBe(`${opened}x`);
  expect(dialled).toEqual([`${PUBLIC.address}:443`, `${PUBLIC.address}:8443`]);
  expect((await raw(head + 'x'.repeat(6000))).length).toBeLessThan(6000 + opened.length);
  // Left open, it ends by itself.
  expect(await raw(head)).toBe(opened);
});

test('whatever follows CONNECT, the answer is a refusal by code or a closed connection, and the sidecar goes on', async () => {
  for (const head of [
    'CONNECT api.example.com:443 HTTP/1.1\nHost: x\n\n\r\n\r\n',
    'CONNECT  api.example.com:443 HTTP/1.1\r\n\r\n',
    'CONNECT api.example.com:443 HTTP/2.0\r\n\r\n',
    'CONNECT api.example.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n',
    'CONNECT api.example.com:443 HTTP/1.1\r\n folded\r\n\r\n',
    `CONNECT ${'a'.repeat(9000)}:443 HTTP/1.1\r\n\r\n`,
  ])
    expect(codeOf(await raw(head))).toBe('bad_request');
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), async (tail) => {
      const got = await raw(`CONNECT ${tail}\r\n\r\n`, () => true);
      expect(got).toMatch(/^(?:|HTTP\/1\.1 40[03] [^]*)$/);
    }),
    { numRuns: 40 },
  );
  expect(dialled).toEqual([]);
  expect((await get('http://api.example.com/')).status).toBe(200);
});

test('special addresses of every registry are not public', () => {
  for (const address of [
    '0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255',
    '192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255',
    ':: ::1 ::ffff:8.8.8.8 ::8.8.8.8 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 fc00::1 fd12::1 fe80::1 fec0::1 ff02::1 4000::1',
  ].flatMap((line) => line.split(' ')))
    expect([address, isPublic(address)]).toEqual([address, false]);
  for (const address of '8.8.8.8 93.184.216.34 172.15.0.1 172.32.0.1 100.63.0.1 2606:4700::1111 2a00:1450::1'.split(
    ' ',
  ))
    expect([address, isPublic(address)]).toEqual([address, true]);
  expect(isPublic('localhost')).toBe(false);
});

test('a host has one reading or none, and a pattern matches no more than it says', () => {
  const read = (text: string): string | null => {
    const target = readHostPort(text, 80);
    return target && `${target.host} ${target.port}`;
  };
  expect(read('X.Example.com')).toBe('x.example.com 80');
  expect(read('[2606:4700:0::1]:443')).toBe('2606:4700::1 443');
  for (const odd of [
    '',
    'a b',
    'a..b',
    '-',
    'a.1',
    'x.0x1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '[::1%eth0]',
    '[1.2.3.4]',
    'ä.de',
    'a/b',
    'a:1:2',
  ])
    expect([odd, read(odd)]).toEqual([odd, null]);
  for (const odd of ['*', '*.', '**.x', 'a.*.b', '*.1.2.3.4', 'http://x', ''])
    expect([odd, readPattern(odd)]).toEqual([odd, null]);
  fc.assert(fc.property(fc.string({ maxLength: 30 }), (text) => void readHostPort(text, 80)));
});

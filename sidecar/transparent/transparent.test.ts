/** An app that knows of no proxy: what it asks for by Host and by server name is asked of the same rules, and everything else is refused by its code. */
import http2 from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { Egress } from '../egress/egress.ts';
import { readPattern } from '../egress/hosts.ts';
import { type Listener, listen } from '../http/server.ts';
import { EGRESS, EGRESS_REFUSALS } from '../testing/refusals.ts';
import { readServerName } from './hello.ts';
import { asAsked, createTransparentServer } from './transparent.ts';

const PUBLIC = '93.184.216.34';
/** Without certificates: both know a key. */
const KNOWN = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const KEY = Buffer.alloc(16, 7);

const asked: string[] = [];
const refused: string[] = [];
const dialled: string[] = [];
let addresses: string[] = [PUBLIC];
let dialTo: 'site' | 'nobody' | 'silence' = 'site';

const answerAll: Listener = async ({ url }, exchange) => {
  const { method, upgrade } = exchange('/');
  asked.push(`${method} ${url}${upgrade === undefined ? '' : ` ${upgrade}`}`);
  const answer = Buffer.from(`answer to ${url}`);
  return {
    status: 200,
    headers: [['content-length', String(answer.length)]],
    body: (async function* () {
      yield answer;
    })(),
  };
};

const site = tls.createServer({ ...KNOWN, pskCallback: () => KEY }, (socket) => {
  socket.on('error', () => {});
  socket.end(`the site of ${String(socket.servername)}`);
});
const silence = net.createServer(() => {});
const patterns = (texts: readonly string[]) => texts.map((text) => readPattern(text)!);
const egress = new Egress({
  config: { allow: patterns(EGRESS.allow), deny: patterns(EGRESS.deny), maxBytes: 100_000, maxSeconds: 10 },
  gateway: 'http://gateway.example',
  resolve: async () => addresses.map((address) => ({ address, family: net.isIP(address) })),
  connect: (address, port) => {
    dialled.push(`${address}:${port}`);
    const to = dialTo === 'nobody' ? 1 : ({ site, silence }[dialTo].address() as AddressInfo).port;
    return net.connect(to, '127.0.0.1');
  },
});
const onError = (error: unknown): void =>
  void refused.push(`${codeOf(error)} ${(error as { detail?: string }).detail}`);
// As they are in a container: at ports that no user of this machine may take.
const plain = createTransparentServer(() => 80, answerAll, egress, onError);
const secure = createTransparentServer(() => 443, answerAll, egress, onError);
const ports = { plain: 0, secure: 0 };

beforeAll(async () => {
  const at = { host: '127.0.0.1', port: 0 };
  ports.plain = await listen(plain, at);
  ports.secure = await listen(secure, at);
  await Promise.all([listen(site, at), listen(silence, at)]);
});
afterAll(() => {
  for (const server of [plain, secure]) {
    server.closeAllConnections();
    server.close();
  }
  site.close();
  silence.close();
});
afterEach(() => {
  for (const list of [asked, refused, dialled]) list.length = 0;
  [addresses, dialTo] = [[PUBLIC], 'site'];
});

/** All that comes back on a connection that says this. */
const say = (text: string | Buffer, port: number = ports.plain): Promise<Buffer> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    const got: Buffer[] = [];
    socket.on('data', (data) => got.push(data));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(got)));
  });
const get = async (target: string, host: string | null, port?: number): Promise<string> => {
  const fields = host === null ? '' : `host: ${host}\r\n`;
  return String(await say(`GET ${target} HTTP/1.${host === null ? 0 : 1}\r\n${fields}connection: close\r\n\r\n`, port));
};
const problem = (answer: string): string => /"code":"([a-z_]+)"/.exec(answer)?.[1] ?? answer.slice(0, 60);

/** What a client of TLS gets: what the site says, or why there is none. */
const secured = (servername?: string, through?: (socket: Socket) => Socket): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(ports.secure, '127.0.0.1');
    const client = tls.connect({
      ...KNOWN,
      socket: through?.(socket) ?? socket,
      servername,
      pskCallback: () => ({ psk: KEY, identity: 'app' }),
      checkServerIdentity: () => undefined,
    });
    let said = '';
    client.on('data', (data) => (said += String(data)));
    client.on('error', (error) => {
      resolve(/alert (.*?):/.exec(error.message)?.[1] ?? error.message);
      socket.destroy();
    });
    client.on('close', () => resolve(said));
  });
/** The first bytes of a real client. */
const helloOf = (servername: string): Promise<Buffer> =>
  new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.once('data', (bytes) => {
        resolve(bytes);
        socket.destroy();
        server.close();
      });
    });
    server.listen(0, '127.0.0.1', () =>
      tls.connect({ port: (server.address() as AddressInfo).port, servername }).on('error', () => {}),
    );
  });

test('a request is asked of the proxy by its Host: HTTP/1.1, HTTP/2 without TLS, a WebSocket', async () => {
  expect(await get('/a?b=c', 'bob.agnt2')).toContain('answer to http://bob.agnt2/a?b=c');
  expect(await get('/', 'BOB.agnt2:80')).toContain('200 OK');
  expect(await get('http://bob.agnt2/x', 'bob.agnt2')).toContain('200 OK');
  expect(await get('/', 'api.example.com:443', ports.secure)).toContain('200 OK');
  const session = http2.connect(`http://127.0.0.1:${ports.plain}`);
  for (const authority of ['bob.agnt2', 'api.example.com']) {
    const stream = session.request({ ':path': '/2', ':authority': authority });
    for await (const _ of stream);
  }
  session.close();
  const fields =
    'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==';
  await say(`GET /ws HTTP/1.1\r\nhost: bob.agnt2\r\n${fields}\r\n\r\n`);
  expect(asked).toEqual([
    'GET http://bob.agnt2/a?b=c',
    'GET http://bob.agnt2/',
    'GET http://bob.agnt2/x',
    'GET http://api.example.com:443/',
    'GET http://bob.agnt2/2',
    'GET http://api.example.com/2',
    'GET http://bob.agnt2/ws websocket',
  ]);
});

test('a Host of two readings, of another port or of another name than the target is refused, and the log has it', async () => {
  for (const [target, host] of [
    ['/', null],
    ['/', ''],
    ['/', 'bob.agnt2.'],
    ['/', 'user@bob.agnt2'],
    ['/', 'bob.agnt2:8403'],
    ['/', 'bob.agnt2:443'],
    ['/', '127.1'],
    ['/', 'bob.agnt2/x'],
    ['http://bob.agnt2/', 'eve.agnt2'],
    ['http://bob.agnt2:81/', 'bob.agnt2'],
    // A proxy's own address in Host is for proxies.
    ['http://bob.agnt2/', `127.0.0.1:${ports.plain}`],
    ['ftp://bob.agnt2/', 'bob.agnt2'],
    ['*', 'bob.agnt2'],
  ] as const) {
    expect([target, host, problem(await get(target, host))]).toEqual([
      target,
      host,
      expect.stringMatching(/^bad_(?:request|target)$/),
    ]);
    expect(refused.splice(0)).toHaveLength(1);
  }
  expect(problem(String(await say('CONNECT bob.agnt2:80 HTTP/1.1\r\nhost: bob.agnt2:80\r\n\r\n')))).toBe(
    'connect_denied',
  );
  for (const bytes of [
    'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    '\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n',
    'GET / HTTP/1.1\nhost: bob.agnt2\n\n\r\n\r\n',
  ])
    expect(problem(String(await say(bytes)))).toBe('bad_request');
  expect(refused.map((line) => line.split(' ')[0])).toEqual([
    'connect_denied',
    'bad_request',
    'bad_request',
    'bad_request',
  ]);
  expect([...asked, ...dialled]).toEqual([]);
});

test('TLS goes to the host it names, at the address that was checked, and no byte of it is read', async () => {
  expect(await secured('api.example.com')).toBe('the site of api.example.com');
  // However it is cut: byte by byte, and into records of one byte.
  const hello = await helloOf('x.y.example.org');
  expect(dialled.splice(0)).toEqual([`${PUBLIC}:443`]);
  const slow = net.connect(ports.secure, '127.0.0.1');
  slow.setNoDelay(true);
  for (const byte of hello.subarray(0, 50)) await new Promise((sent) => slow.write(Buffer.of(byte), sent));
  const heard = new Promise<Buffer>((resolve) => slow.once('data', resolve));
  slow.write(hello.subarray(50));
  expect((await heard)[0]).toBe(0x15);
  slow.destroy();
  const split = Buffer.concat([...hello.subarray(5)].map((byte) => Buffer.of(0x16, 3, 1, 0, 1, byte)));
  expect(readServerName(split)).toBe('x.y.example.org');
  expect(dialled).toEqual([`${PUBLIC}:443`]);
});

test.each(EGRESS_REFUSALS.filter((host) => /^[a-z0-9.-]+$/.test(host) && !net.isIP(host)))(
  'TLS to %s is refused, the client is told so, and nobody is asked for it',
  async (host) => {
    expect(await secured(host)).toMatch(/access denied|alert number 49/);
    expect(refused).toEqual([expect.stringMatching(/^egress_denied /)]);
    expect(dialled).toEqual([]);
  },
);

test('TLS without a name, to a peer, to what is not public, to nobody', async () => {
  expect(await secured()).toMatch(/access denied/);
  expect(refused.splice(0)).toEqual([expect.stringContaining('without a server name')]);
  expect(await secured('bob.agnt2')).toMatch(/access denied/);
  expect(refused.splice(0)).toEqual([expect.stringContaining('agents are called as http://<name>.agnt2')]);
  addresses = [PUBLIC, '10.0.0.1'];
  expect(await secured('api.example.com')).toMatch(/access denied/);
  expect(dialled).toEqual([]);
  [addresses, dialTo] = [[PUBLIC], 'nobody'];
  expect(await secured('api.example.com')).toMatch(/internal error/);
  expect(refused.map((line) => line.split(' ')[0])).toEqual(['egress_denied', 'egress_unreachable']);
  // At port 80 nothing of TLS is allowed that the lists do not name.
  refused.length = 0;
  expect((await say(await helloOf('api.example.com'), ports.plain)).toString('hex')).toBe('15030300020231');
  expect(refused).toEqual([expect.stringContaining('api.example.com:80 is not on egress.allow')]);
});

test('a client that breaks off while its tunnel is opened takes nothing with it', async () => {
  const hello = await helloOf('api.example.com');
  dialTo = 'silence';
  const socket = net.connect(ports.secure, '127.0.0.1', () => socket.write(hello));
  socket.on('error', () => {});
  while (dialled.length === 0) await new Promise((resolve) => setImmediate(resolve));
  socket.resetAndDestroy();
  dialTo = 'site';
  expect(await secured('api.example.com')).toBe('the site of api.example.com');
});

test('of a hello every beginning is too little, and any bytes are a name, too little or a coded error', async () => {
  const hello = await helloOf('api.example.com');
  expect(readServerName(hello)).toBe('api.example.com');
  for (let end = 0; end < hello.length; end++) expect(readServerName(hello.subarray(0, end))).toBeNull();
  const read = (bytes: Uint8Array): void => {
    try {
      const name = readServerName(Buffer.from(bytes));
      if (name !== null) expect(name.length).toBeGreaterThan(0);
    } catch (error) {
      expect(codeOf(error)).toMatch(/^(?:bad_request|egress_denied)$/);
    }
  };
  const place = fc.nat(hello.length - 1);
  fc.assert(
    fc.property(fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 4 }), place, (changes, cut) => {
      const bytes = Buffer.from(hello);
      for (const [at, byte] of changes) bytes[at] = byte;
      read(bytes);
      read(bytes.subarray(cut));
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => read(Buffer.from([0x16, 3, 1, ...bytes]))));
  expect(() =>
    readServerName(
      Buffer.concat(
        [...Array(9)].map(() => Buffer.concat([Buffer.from('1603014000', 'hex'), Buffer.alloc(0x4000, 1)])),
      ),
    ),
  ).toThrow();
});

test('a name asked for is one name, at the port that it came to', () => {
  expect(asAsked({ url: '/p', host: '[2606:4700:0::1]' }, 80)).toBe('http://[2606:4700::1]/p');
  expect(asAsked({ url: 'http://x.com:8080', host: 'X.com:8080' }, 8080)).toBe('http://x.com:8080');
  expect(() => asAsked({ url: '/', host: 'x.com' }, 8080)).toThrow('port 80');
});

/** The corpus against an app directly, over one inbound hop, through two sidecars and a session, and by first contact: the same, to the letter. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { sha } from '../../protocol/log.ts';
import { App } from '../app.ts';
import { readConfig } from '../config.ts';
import { Metrics } from '../metrics.ts';
import { Sidecar } from '../sidecar.ts';
import { normaliseTarget } from '../target.ts';
import { type TestAgent, TestGateway } from '../testing/gateway.ts';
import { createExchangeServer, listen } from './server.ts';
import { CORPUS, type Exchange, type Fields } from './testing/corpus.ts';

type Way = 'direct' | 'one hop' | 'a session' | 'first contact';

/** What the two ends saw of one exchange. */
interface Seen {
  readonly method: string;
  readonly target: string;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
}
interface Got {
  readonly status: number;
  readonly reason: string;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
  readonly interim: readonly { readonly status: number; readonly headers: Fields }[];
  /** What reached the caller before more was sent, of exchanges in lockstep. */
  readonly steps: readonly string[];
}

const closers: (() => unknown)[] = [];
const ports = new Map<Way, { port: number; prefix: string }>();
const seen = new Map<string, Seen>();
/** Of an exchange in lockstep: resolved when its caller has the latest chunk. */
let arrived: () => void = () => {};

const pairs = (raw: readonly string[]): [string, string][] =>
  Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i], raw[2 * i + 1]]);
const flat = (fields: Fields): string[] => fields.flat();
/** A short body as it is, a long one by its length and hash. */
const shown = (body: Buffer): string =>
  body.length > 500 ? `${body.length} bytes ${hex(sha(body))}` : body.toString('latin1');

async function gather(message: IncomingMessage, onChunk: (chunk: Buffer) => void = () => {}): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) {
    chunks.push(chunk as Buffer);
    onChunk(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** Says the corpus's answer byte by byte, past Node's own opinion of what an answer may be. */
async function play({ answer }: Exchange, response: ServerResponse): Promise<void> {
  const socket = response.socket!;
  const write = async (data: string | Uint8Array): Promise<void> => {
    if (!socket.write(data, 'latin1' as never))
      await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
  };
  const lines = (fields: Fields): string => fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  for (const { status, headers } of answer.interim) await write(`HTTP/1.1 ${status} Interim\r\n${lines(headers)}\r\n`);
  const length = answer.body.reduce((sum, chunk) => sum + chunk.length, 0);
  const framing = {
    length: [['Content-Length', String(length)]],
    chunks: [['Transfer-Encoding', 'chunked']],
    close: [],
    none: [],
  }[answer.framing] as unknown as Fields;
  let next = new Promise<void>((resolve) => (arrived = resolve));
  const step = async (): Promise<void> => {
    if (!answer.lockstep) return;
    await next;
    next = new Promise<void>((resolve) => (arrived = resolve));
  };
  await write(
    `HTTP/1.1 ${answer.status} ${answer.reason}\r\n${lines([...answer.headers, ...framing, ['Connection', 'close, X-Hop']])}\r\n`,
  );
  await step();
  for (const chunk of answer.body) {
    if (answer.framing !== 'chunks') await write(chunk);
    else {
      await write(`${chunk.length.toString(16)}\r\n`);
      await write(chunk);
      await write('\r\n');
    }
    await step();
  }
  if (answer.framing === 'chunks') await write(`0\r\n${lines(answer.trailers)}\r\n`);
  socket.end();
}

const origin = http.createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
  void (async () => {
    if (request.url!.startsWith('/expect/')) return waited(request, response);
    if (request.url === '*' || request.url === '/') return void response.end(`asked ${request.url}`);
    const [, key, index, target] = /^\/([a-z-]+)\/(\d+)(.*)$/s.exec(request.url!)!;
    const body = await gather(request);
    seen.set(`${key} ${index}`, {
      method: request.method!,
      target,
      headers: pairs(request.rawHeaders),
      body: shown(body),
      trailers: pairs(request.rawTrailers),
    });
    await play(CORPUS[Number(index)], response);
  })();
});

/** An app that looks at the head before it says whether the body may come. */
origin.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
  if (request.url!.endsWith('/refused')) response.writeHead(413, { 'content-length': 2 }).end('no');
  else {
    response.writeContinue();
    void waited(request, response);
  }
});
async function waited(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await gather(request);
  response.end(`had ${body.toString()}, with ${request.headers.expect}`);
}
/** An app that never heard of 100. */
const silent = net.createServer((socket) => {
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (data) => {
    text += data.toString();
    if (text.endsWith('late')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhad');
  });
});

const keyOf = (way: Way): string => way.replace(' ', '-');

/** Makes one exchange; what the app saw of it and what came back. */
async function run(way: Way, index: number): Promise<{ saw: Seen; got: Got }> {
  const { port, prefix } = ports.get(way)!;
  const { method, target, headers, upload, uploadTrailers, answer } = CORPUS[index];
  const one = upload !== null && upload.length <= 1;
  const framing: Fields =
    upload === null
      ? []
      : one
        ? [['Content-Length', String(upload[0]?.length ?? 0)]]
        : [['Transfer-Encoding', 'chunked']];
  const interim: { status: number; headers: Fields }[] = [];
  const steps: string[] = [];
  const named = headers.some(([name]) => name === 'Connection') ? [] : [['Connection', 'close']];
  const got = await new Promise<Got>((resolve, reject) => {
    const out = http.request(
      {
        host: '127.0.0.1',
        port,
        agent: false,
        method,
        path: `${prefix}/${keyOf(way)}/${index}${target}`,
        headers: flat([['Host', 'app.example'], ...headers, ...framing, ...(named as unknown as Fields)]),
        maxHeaderSize: 64 * 1024,
      },
      (message) => {
        const step = (what: string): void => {
          if (!answer.lockstep) return;
          steps.push(what);
          arrived();
        };
        step('head');
        gather(message, (chunk) => step(chunk.toString('latin1'))).then(
          (body) =>
            resolve({
              status: message.statusCode!,
              reason: message.statusMessage!,
              headers: pairs(message.rawHeaders),
              body: shown(body),
              trailers: pairs(message.rawTrailers),
              interim,
              steps,
            }),
          reject,
        );
      },
    );
    out.on('information', (info) => interim.push({ status: info.statusCode, headers: pairs(info.rawHeaders) }));
    out.on('error', reject);
    for (const chunk of upload ?? []) out.write(chunk);
    if (uploadTrailers.length > 0)
      out.addTrailers(uploadTrailers.map(([name, value]): [string, string] => [name, value]));
    out.end();
  });
  return { saw: seen.get(`${keyOf(way)} ${index}`)!, got };
}

const HOP = /^(?:connection|keep-alive|proxy-.*|te|transfer-encoding|upgrade|x-hop|x-secret)$/i;
/** The fields that have to be the same: all that are not of one hop, and not the host, which every hop names anew. */
const endToEnd = (fields: Fields): Fields => fields.filter(([name]) => !HOP.test(name) && !/^host$/i.test(name));

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-transparency-'));
  const gateway = await TestGateway.start();
  const [bob, alice, carol] = [await gateway.agent(0), await gateway.agent(10_000), await gateway.agent(10_000)];
  const port = await listen(origin, { host: '127.0.0.1', port: 0 });
  const app = `http://127.0.0.1:${port}`;
  const sidecars: Sidecar[] = [];
  const start = async (name: string, agent: TestAgent, more: Record<string, unknown>): Promise<Sidecar> => {
    const config = readConfig({
      gateway: gateway.url,
      agent: formatId(agent.id),
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir: join(dir, name),
      drainSeconds: 1,
      ...more,
    });
    process.env.AGNT2_MACHINE_KEY = hex(agent.secret);
    const made = new Sidecar(config, () => {}, {
      retryMs: 20,
      sessionsMs: 100_000,
      refundsMs: 100_000,
      peersTtlMs: 60_000,
    });
    sidecars.push(made);
    await made.start();
    return made;
  };
  const callee = await start('bob', bob, {
    name: 'bob',
    app,
    services: [{ name: 'all', routes: [], defaultPrice: 1 }],
  });
  for (const end = Date.now() + 20_000; !callee.ready && Date.now() < end;)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const policy = { perDay: 9000, perCall: 10 };
  const caller = await start('alice', alice, { policy, session: { deposit: 2000, credit: 500, afterCalls: 100_000 } });
  const stranger = await start('carol', carol, { policy, session: { deposit: 0 } });
  const opened = await fetch(`http://127.0.0.1:${caller.ports.admin}/admin/sessions/bob/open`, { method: 'POST' });
  expect(opened.status).toBeLessThan(300);

  const hopApp = new App(app, new Metrics());
  const hop = createExchangeServer((request, exchange) =>
    hopApp.serve(exchange(normaliseTarget(request.url!)), 0, 'free'),
  );
  ports.set('direct', { port, prefix: '' });
  ports.set('one hop', { port: await listen(hop, { host: '127.0.0.1', port: 0 }), prefix: '' });
  ports.set('a session', { port: caller.ports.listen, prefix: '/agents/bob' });
  ports.set('first contact', { port: stranger.ports.listen, prefix: '/agents/bob' });
  closers.push(
    ...sidecars.toReversed().map((sidecar) => () => sidecar.stop()),
    () => hopApp.close(),
    () => hop.close(),
    () => gateway.stop(),
    () => origin.closeAllConnections(),
    () => origin.close(),
    () => rmSync(dir, { recursive: true, force: true }),
  );
}, 60_000);
afterAll(async () => {
  for (const close of closers) await close();
}, 60_000);

const named = CORPUS.map((exchange, index) => ({ ...exchange, index }));

test('the corpus holds no exchange twice', () => {
  expect(CORPUS.length).toBeGreaterThanOrEqual(60);
  expect(new Set(CORPUS.map(({ name }) => name)).size).toBe(CORPUS.length);
});

test('every test and exchange that docs/http.md names is there', () => {
  const root = new URL('../../', import.meta.url);
  const files = [
    'http.test',
    'smuggling.test',
    'transparency.test',
    'h2.test',
    '../websocket.test',
    '../grpc.test',
    '../metered.test',
    '../session/metering.test',
    '../../protocol/meter.test',
    '../../protocol/framed.test',
    '../target.test',
    '../sidecar.test',
    '../telemetry/telemetry.test',
    '../../protocol/mux.test',
    '../../test/e2e/docker.test',
  ];
  const source = files
    .map((file) => readFileSync(new URL(`sidecar/http/${file}.ts`, root), 'utf8'))
    .join('\n')
    .replaceAll("\\'", "'");
  const names = readFileSync(new URL('docs/http.md', root), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .flatMap((line) => [...line.matchAll(/"([^"]+)"/g)].map(([, name]) => name));
  expect(names.length).toBeGreaterThan(60);
  // What a table of cases makes of its title.
  const cases = /^(?:refuses (.+?)(?: in a path)?|an answer with (.+) is the failure of its app|over … (.+))$/;
  const missing = names.filter((name) => {
    const row = cases
      .exec(name)
      ?.slice(1)
      .find((part) => part !== undefined);
    return (
      !CORPUS.some((exchange) => exchange.name === name) &&
      !source.includes(name) &&
      !(row !== undefined && source.includes(row))
    );
  });
  expect(missing).toEqual([]);
});

describe.each(['one hop', 'a session'] as const)('over %s, as directly', (way) => {
  test.each(named)('$name', async ({ index }) => {
    const direct = await run('direct', index);
    const through = await run(way, index);
    expect(through.got).toEqual({ ...direct.got, headers: expect.anything() });
    expect(endToEnd(through.got.headers)).toEqual(endToEnd(direct.got.headers));
    const own = endToEnd(through.saw.headers).filter(([name]) => name.startsWith('agnt2-'));
    const app = endToEnd(through.saw.headers).filter(([name]) => !name.startsWith('agnt2-'));
    expect({ ...through.saw, headers: app }).toEqual({ ...direct.saw, headers: endToEnd(direct.saw.headers) });
    expect(own.map(([name]) => name)).toEqual(way === 'one hop' ? ['agnt2-route'] : ['agnt2-route', 'agnt2-caller']);
  });
});

describe('by first contact, as directly but for what that way has no place for', () => {
  test.each(named)('$name', async ({ index }) => {
    const direct = await run('direct', index);
    const through = await run('first contact', index);
    // Interim answers have no place in the gateway's answer (docs/http.md).
    expect({ ...through.got, headers: endToEnd(through.got.headers) }).toEqual({
      ...direct.got,
      headers: endToEnd(direct.got.headers),
      interim: [],
    });
    const app = endToEnd(through.saw.headers).filter(([name]) => !name.startsWith('agnt2-'));
    expect({ ...through.saw, headers: app }).toEqual({ ...direct.saw, headers: endToEnd(direct.saw.headers) });
  });
});

test.each(['a session', 'first contact'] as const)(
  'over %s OPTIONS of a peer without a path asks for the peer as a whole',
  async (way) => {
    const say = (method: string): Promise<string> =>
      new Promise((resolve) => {
        const head = `${method} http://bob.agnt2 HTTP/1.1\r\nHost: bob.agnt2\r\nConnection: close\r\n\r\n`;
        const socket = net.connect(ports.get(way)!.port, '127.0.0.1', () => socket.write(head));
        let got = '';
        socket.on('error', () => {});
        socket.on('data', (data) => (got += data.toString()));
        socket.on('close', () => resolve(got));
      });
    expect(await say('OPTIONS')).toMatch(/^HTTP\/1\.1 200 [^]*asked \*$/);
    expect(await say('GET')).toMatch(/^HTTP\/1\.1 200 [^]*asked \/$/);
  },
);

/** Sends a head that expects to be told to go on, then the body when it is; all that came back until the connection closed. */
function expecting(way: Way, path: string, length = 4): Promise<string> {
  const { port, prefix } = ports.get(way)!;
  return new Promise((resolve) => {
    const head = `POST ${prefix}/expect${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${length}\r\nExpect: 100-Continue\r\n\r\n`;
    const socket = net.connect(port, '127.0.0.1', () => socket.write(head));
    let got = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      got += data.toString();
      if (got === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write('late');
    });
    socket.on('close', () => resolve(got));
  });
}

test.each(['direct', 'one hop', 'a session', 'first contact'] as const)(
  'over %s a body that waits for its 100 goes when it has it',
  async (way) => {
    const expectation = way === 'first contact' ? 'undefined' : '100-continue';
    expect((await expecting(way, '/wanted')).toLowerCase()).toMatch(
      new RegExp(`^http/1.1 100 continue\r\n\r\nhttp/1.1 200 ok[^]*had late, with ${expectation}`),
    );
  },
);

test.each(['direct', 'one hop', 'a session'] as const)(
  'over %s a body that its app does not want is never sent',
  async (way) => {
    const answer = await expecting(way, '/refused');
    expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*no$/);
    expect(answer).toMatch(/connection: close/i);
  },
);

test('an app that never says 100 gets the body after a while', async () => {
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const app = new App(`http://127.0.0.1:${(silent.address() as net.AddressInfo).port}`, new Metrics());
  const hop = createExchangeServer((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  ports.set('one hop', { port: await listen(hop, { host: '127.0.0.1', port: 0 }), prefix: '' });
  closers.unshift(
    () => app.close(),
    () => hop.close(),
    () => silent.close(),
  );
  expect(await expecting('one hop', '/')).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*had$/);
});

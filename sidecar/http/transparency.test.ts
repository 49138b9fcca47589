/** The corpus against an app directly, over one inbound hop, through two sidecars and a session, and by first contact: the same, to the letter. */
import { readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { App } from '../app.ts';
import { Metrics } from '../metrics.ts';
import { pairs } from './headers.ts';
import { createExchangeServer, listen } from './server.ts';
import { CORPUS, type Exchange, type Fields } from './testing/corpus.ts';
import { type Got as AnyGot, NUMBERED, Trial, gather, shown } from './testing/trial.ts';
import { type Entry, type Way, Ways } from './testing/ways.ts';

type Got = AnyGot & { readonly reason: string };

let ways: Ways;
const trial: Trial<Got> = new Trial(NUMBERED, run);
const closers: (() => unknown)[] = [];

const flat = (fields: Fields): string[] => fields.flat();

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
  const step = async (): Promise<void> => {
    if (answer.lockstep) await trial.lockstep.step();
  };
  trial.lockstep.begin();
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
    const body = await gather(request);
    const exchange = trial.asked(request.url!, {
      method: request.method!,
      headers: pairs(request.rawHeaders),
      body: shown(body),
      trailers: pairs(request.rawTrailers),
    });
    await play(exchange, response);
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

/** Makes one exchange; what came back. */
async function run(way: Way, index: number): Promise<Got> {
  const { port, prefix } = ways.get(way);
  const { method, headers, upload, uploadTrailers, answer } = CORPUS[index];
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
  return new Promise<Got>((resolve, reject) => {
    const out = http.request(
      {
        host: '127.0.0.1',
        port,
        agent: false,
        method,
        path: `${prefix}${trial.pathTo(way, index)}`,
        headers: flat([['Host', 'app.example'], ...headers, ...framing, ...(named as unknown as Fields)]),
        maxHeaderSize: 64 * 1024,
      },
      (message) => {
        const step = (what: string): void => {
          if (!answer.lockstep) return;
          steps.push(what);
          trial.lockstep.arrived();
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
}

beforeAll(async () => {
  ways = await Ways.open(`http://127.0.0.1:${await listen(origin, { host: '127.0.0.1', port: 0 })}`);
  closers.push(
    () => ways.close(),
    () => origin.closeAllConnections(),
    () => origin.close(),
  );
}, 60_000);
afterAll(async () => {
  for (const close of closers) await close();
}, 60_000);

test('the corpus holds no exchange twice', () => {
  expect(CORPUS.length).toBeGreaterThanOrEqual(60);
  expect(new Set(CORPUS.map(({ name }) => name)).size).toBe(CORPUS.length);
});

/** What a file's tests and groups of tests are called, and the rows of their tables. */
function titlesOf(file: string): { titles: ReadonlySet<string>; source: string } {
  const source = readFileSync(file, 'utf8');
  const call = /\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1,\s*(?:\{[^}]*\},\s*)?(?:async\s*)?(?:\(|\w+ =>)/g;
  return { titles: new Set([...source.matchAll(call)].map(([, , title]) => title.replaceAll("\\'", "'"))), source };
}

test('every test and exchange that docs/http.md names is where it says', () => {
  const root = new URL('../../', import.meta.url);
  const fileOf = (name: string): string => {
    const isHere = name.startsWith('.') || !name.includes('/');
    return fileURLToPath(new URL(name, isHere ? new URL('sidecar/http/', root) : root));
  };
  let ofTable: string | null = null;
  const named: { where: string; name: string }[] = [];
  for (const line of readFileSync(new URL('docs/http.md', root), 'utf8').split('\n')) {
    if (!line.startsWith('|')) ofTable = null;
    let where: string | null = ofTable;
    for (const [, file, corpus, name] of line.startsWith('|')
      ? line.matchAll(/`([^`]+\.test\.ts|test\/e2e\/docker\/[^`]+)`|\b(corpus)\b(?= ")|"([^"]+)"/g)
      : []) {
      if (name === undefined) where = file ?? corpus;
      else named.push({ where: where ?? 'nowhere', name });
    }
    if (/\| shown by/.test(line)) ofTable = where;
  }
  expect(named.length).toBeGreaterThan(100);
  const read = new Map<string, ReturnType<typeof titlesOf>>();
  // What a table of cases makes of its title.
  const cases = /^(?:refuses (.+?)(?: in a path)?|an answer with (.+) is the failure of its app)$/;
  const missing = named.filter(({ where, name }) => {
    if (where === 'corpus') return !CORPUS.some((exchange) => exchange.name === name);
    if (where === 'nowhere') return true;
    if (!read.has(where)) read.set(where, titlesOf(fileOf(where)));
    const { titles, source } = read.get(where)!;
    const row = cases
      .exec(name)
      ?.slice(1)
      .find((part) => part !== undefined);
    const isRow = row !== undefined && (source.includes(`'${row}'`) || source.includes(`"${row}"`));
    return !titles.has(name) && !titles.has(name.replace('…', '%s')) && !isRow;
  });
  expect(missing).toEqual([]);
});

describe.each(['one hop', 'a session'] as const)('over %s, as directly', (way) => trial.alike(way));

describe('by first contact, as directly but for what that way has no place for', () => trial.alikeButInterim());

test.each(['a session', 'first contact'] as const)(
  'over %s OPTIONS of a peer without a path asks for the peer as a whole',
  async (way) => {
    const say = (method: string): Promise<string> =>
      new Promise((resolve) => {
        const head = `${method} http://bob.agnt2 HTTP/1.1\r\nHost: bob.agnt2\r\nConnection: close\r\n\r\n`;
        const socket = net.connect(ways.get(way).port, '127.0.0.1', () => socket.write(head));
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
function expecting({ port, prefix }: Pick<Entry, 'port' | 'prefix'>, path: string, length = 4): Promise<string> {
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
    expect((await expecting(ways.get(way), '/wanted')).toLowerCase()).toMatch(
      new RegExp(`^http/1.1 100 continue\r\n\r\nhttp/1.1 200 ok[^]*had late, with ${expectation}`),
    );
  },
);

test.each(['direct', 'one hop', 'a session'] as const)(
  'over %s a body that its app does not want is never sent',
  async (way) => {
    const answer = await expecting(ways.get(way), '/refused');
    expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*no$/);
    expect(answer).toMatch(/connection: close/i);
  },
);

test('an app that never says 100 gets the body after a while', async () => {
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const app = new App(`http://127.0.0.1:${(silent.address() as net.AddressInfo).port}`, new Metrics());
  const hop = createExchangeServer((request, exchange) => app.serve(exchange(request.url!), 0, 'free'));
  const port = await listen(hop, { host: '127.0.0.1', port: 0 });
  closers.unshift(
    () => app.close(),
    () => hop.close(),
    () => silent.close(),
  );
  expect(await expecting({ port, prefix: '' }, '/')).toMatch(
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*had$/,
  );
});

/** Our reader against Node's own, on mutations of real messages, however they are cut: as far as both take the bytes, they read the same. */
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Header } from './headers.ts';
import { type RequestHead, readRequest } from './message.ts';
import { Parser } from './parser.ts';

const MAX_HEAD = 16 * 1024;
const SEED = Number(process.env.SEED ?? 1);
const RUNS = process.env.LONG === undefined ? 400 : 20_000;

/** Messages as one line of text each, and whether the bytes ended in the middle of one or in nonsense. */
interface Readings {
  readonly messages: string[];
  readonly end: 'whole' | 'cut' | 'refused';
}

const line = (method: string, target: string, fields: readonly Header[], body: Buffer, trailers: readonly Header[]) =>
  JSON.stringify([method, target, fields, body.toString('latin1'), trailers]);

function ours(pieces: readonly Buffer[]): Readings {
  const messages: string[] = [];
  let head: RequestHead | null = null;
  let body: Buffer[] = [];
  const parser = new Parser<RequestHead>(
    {
      readHead: readRequest,
      framing: ({ isChunked, length }) => (isChunked ? 'chunks' : (length ?? 0)),
      onInterim: () => {},
      onHead: (read, whole) => {
        head = read;
        body = whole === null ? [] : [whole];
      },
      onBody: (chunk) => void body.push(chunk),
      onEnd: (trailers) => {
        messages.push(line(head!.method, head!.target, head!.fields, Buffer.concat(body), trailers));
        head = null;
      },
    },
    MAX_HEAD,
  );
  try {
    for (const piece of pieces) parser.feed(Buffer.from(piece));
  } catch {
    return { messages, end: 'refused' };
  }
  try {
    parser.finish();
    return { messages, end: 'whole' };
  } catch {
    return { messages, end: 'cut' };
  }
}

let port: number;
let messages: string[] = [];
let isRefused = false;
const server = http.createServer({ keepAliveTimeout: 0, insecureHTTPParser: false }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on('error', () => {});
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const pairs = (raw: readonly string[]): Header[] =>
      Array.from({ length: raw.length / 2 }, (_, i): Header => [raw[2 * i], raw[2 * i + 1]]);
    const fields = pairs(request.rawHeaders);
    messages.push(line(request.method!, request.url!, fields, Buffer.concat(chunks), pairs(request.rawTrailers)));
    response.end();
  });
});
server.on('clientError', (_, socket) => {
  isRefused = true;
  socket.destroy();
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** What Node's server reads of the same bytes. */
async function nodes(bytes: Buffer): Promise<Readings> {
  messages = [];
  isRefused = false;
  await new Promise<void>((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.end(bytes));
    socket.resume();
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
  return { messages, end: isRefused ? 'refused' : 'whole' };
}

function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    // Numerical Recipes' linear congruential generator: its high bits are good enough to choose bytes by.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const MESSAGES = [
  'GET /a?b HTTP/1.1\r\nHost: x\r\nX-A:  b \t\r\nX-a: c\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX-T: 1\r\n\r\n',
  'DELETE /d HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n',
  'POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n',
];
const SPLICES = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '0',
  '+',
  '-',
  '\0',
  '\x80',
  'chunked',
  '5',
  'HTTP/1.1',
];

test(`what is read here, Node reads the same (${RUNS} messages, SEED=${SEED})`, async () => {
  const pick = random(SEED);
  let taken = 0;
  for (let run = 0; run < RUNS; run++) {
    let text = Array.from({ length: 1 + pick(3) }, () => MESSAGES[pick(MESSAGES.length)]).join('');
    for (let edits = pick(3); edits > 0; edits--) {
      const at = pick(text.length + 1);
      text = text.slice(0, at) + (pick(3) > 0 ? SPLICES[pick(SPLICES.length)] : '') + text.slice(at + pick(3));
    }
    const bytes = Buffer.from(text, 'latin1');
    const whole = ours([bytes]);
    // However the bytes come, they mean the same.
    const at = [pick(bytes.length + 1), pick(bytes.length + 1)].toSorted((a, b) => a - b);
    expect(ours([bytes.subarray(0, at[0]), bytes.subarray(at[0], at[1]), bytes.subarray(at[1])]), text).toEqual(whole);
    expect(ours(Array.from(bytes, (byte) => Buffer.of(byte))).messages, text).toEqual(whole.messages);
    if (whole.end === 'refused') continue;
    const theirs = await nodes(bytes);
    if (theirs.end !== 'refused') expect(theirs.messages, text).toEqual(whole.messages);
    else expect(whole.messages.slice(0, theirs.messages.length), text).toEqual(theirs.messages);
    taken += 1;
  }
  expect(taken).toBeGreaterThan(RUNS / 5);
}, 60_000);

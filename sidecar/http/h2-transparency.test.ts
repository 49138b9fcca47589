/**
 * The corpus over HTTP/2 (h2c, as gRPC's clients and servers speak it): against an app directly, over one inbound hop, through two sidecars and
 * a session, and by first contact: the same, to the letter.
 */
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toOutgoing } from './h2.ts';
import { pairs } from './headers.ts';
import { listen } from './server.ts';
import { CORPUS, type Exchange, type Fields } from './testing/corpus.ts';
import { type Got as AnyGot, NUMBERED, Trial, gather, shown } from './testing/trial.ts';
import { type Way, Ways } from './testing/ways.ts';

type Got = AnyGot & { readonly rst: number };

/** Exchanges that HTTP/2 has no words for, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'a reason of its own': 'HTTP/2 has no reason phrases (RFC 9113 §8.3.2)',
  'no reason at all': 'the same',
  'a reason with bytes beyond ASCII': 'the same',
  'hop-by-hop fields, named ones too': 'a Connection field is an error, and so is a te but trailers (§8.2.2)',
  'a body that ends with its connection': 'END_STREAM ends every body, as chunks without a length do (§8.1)',
  'a stream that ends with its connection': 'the same',
};
const named = NUMBERED.filter(({ name }) => !(name in LEFT_OUT));

let ways: Ways;
const trial: Trial<Got> = new Trial(named, run);
const closers: (() => unknown)[] = [];
const clients = new Map<Way, ClientHttp2Session>();

const lower = (fields: Fields): string[] => fields.flatMap(([name, value]) => [name.toLowerCase(), value]);
const outgoing = (fields: Fields): OutgoingHttpHeaders => toOutgoing(fields);
const LIMITS = { maxHeaderListPairs: 1024, strictSingleValueFields: false };

/** Says the corpus's answer. */
async function play({ answer }: Exchange, stream: ServerHttp2Stream): Promise<void> {
  const step = async (): Promise<void> => {
    if (answer.lockstep) await trial.lockstep.step();
  };
  trial.lockstep.begin();
  for (const { status, headers } of answer.interim)
    stream.additionalHeaders({ ...outgoing(headers), ':status': status });
  const length = answer.body.reduce((sum, chunk) => sum + chunk.length, 0);
  const head = [':status', String(answer.status), ...lower(answer.headers)];
  if (answer.framing === 'length') head.push('content-length', String(length));
  if (answer.framing === 'none') return void stream.respond(head, { endStream: true });
  stream.on('wantTrailers', () => stream.sendTrailers(outgoing(answer.trailers)));
  stream.respond(head, { waitForTrailers: answer.trailers.length > 0 });
  await step();
  for (const chunk of answer.body) {
    if (!stream.write(chunk)) await once(stream, 'drain');
    await step();
  }
  stream.end();
}

const origin = http2.createServer({ ...LIMITS, settings: { maxHeaderListSize: 64 * 1024 } });
origin.on('stream', (stream, headers, _flags, ...rest: unknown[]) => {
  let trailers: Fields = [];
  stream.on('trailers', (_head, _ends, ...raw: unknown[]) => (trailers = pairs(raw[0] as string[])));
  stream.on('error', () => {});
  void gather(stream.iterator({ destroyOnReturn: false })).then((body) => {
    const fields = pairs(rest[0] as string[]);
    const request = { method: headers[':method']!, headers: fields, body: shown(body), trailers };
    return play(trial.asked(headers[':path']!, request), stream);
  });
});

/** Makes one exchange; what came back. */
async function run(way: Way, index: number): Promise<Got> {
  const { authority } = ways.get(way);
  const { method, headers, upload, uploadTrailers, answer } = CORPUS[index];
  const head = [':method', method, ':scheme', 'http', ':authority', authority, ':path', trial.pathTo(way, index)];
  const length = upload !== null && upload.length <= 1 ? ['content-length', String(upload[0]?.length ?? 0)] : [];
  const stream = clients.get(way)!.request([...head, ...lower(headers), ...length], {
    endStream: upload === null,
    waitForTrailers: uploadTrailers.length > 0,
  });
  const interim: { status: number; headers: Fields }[] = [];
  const steps: string[] = [];
  const step = (what: string): void => {
    if (!answer.lockstep) return;
    steps.push(what);
    trial.lockstep.arrived();
  };
  const said = (raw: unknown): { status: number; headers: Fields } => {
    const [[, status], ...fields] = pairs(raw as string[]);
    return { status: Number(status), headers: fields };
  };
  const got = new Promise<Got>((resolve, reject) => {
    let final = { status: 0, headers: [] as Fields };
    let trailers: Fields = [];
    stream.on('headers', (_head, _flags, ...raw: unknown[]) => interim.push(said(raw[0])));
    stream.on('trailers', (_head, _flags, ...raw: unknown[]) => (trailers = pairs(raw[0] as string[])));
    stream.on('response', (_head, _flags, ...raw: unknown[]) => {
      final = said(raw[0]);
      step('head');
      const body = gather(stream, (chunk) => step(chunk.toString('latin1')));
      const closed = new Promise<void>((done) => (stream.closed ? done() : stream.once('close', done)));
      Promise.all([body, closed]).then(
        ([bytes]) => resolve({ ...final, body: shown(bytes), trailers, interim, steps, rst: stream.rstCode }),
        reject,
      );
    });
    stream.on('error', reject);
  });
  stream.on('wantTrailers', () => stream.sendTrailers(outgoing(uploadTrailers)));
  for (const chunk of upload ?? []) stream.write(chunk);
  if (upload !== null) stream.end();
  return got;
}

beforeAll(async () => {
  const sessions = new Set<http2.ServerHttp2Session>();
  origin.on('session', (session) => sessions.add(session));
  const port = await listen(origin as unknown as Server, { host: '127.0.0.1', port: 0 });
  ways = await Ways.open(`h2c://127.0.0.1:${port}`);
  for (const way of ['direct', 'one hop', 'a session', 'first contact'] as const) {
    const client = http2.connect(`http://127.0.0.1:${ways.get(way).port}`, LIMITS);
    clients.set(way, client);
    closers.push(() => client.destroy());
  }
  closers.push(
    () => ways.close(),
    () => sessions.forEach((session) => session.destroy()),
    () => origin.close(),
  );
}, 60_000);
afterAll(async () => {
  for (const close of closers) await close();
}, 60_000);

test('nothing of the corpus is left out but what HTTP/2 has no words for', () => {
  const names = CORPUS.map(({ name }) => name);
  expect(Object.keys(LEFT_OUT).filter((name) => !names.includes(name))).toEqual([]);
  expect(named.length).toBeGreaterThanOrEqual(85);
});

describe.each(['one hop', 'a session'] as const)('over %s in HTTP/2, as directly', (way) => trial.alike(way));

describe('by first contact in HTTP/2, as directly but for what that way has no place for', () =>
  trial.alikeButInterim());

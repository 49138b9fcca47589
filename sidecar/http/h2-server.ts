/**
 * HTTP/2 without TLS at the port of HTTP/1.1 (RFC 9113 §3.3, with prior knowledge): the first bytes of a connection say which it is, and a
 * stream is the same exchange as a request of HTTP/1.1. A client that makes the server work for nothing (streams it resets, pings, settings)
 * is sent away.
 */
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { codeOf } from '../../protocol/errors.ts';
import { type Problem, problemOf, refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse, Interim } from '../../protocol/exchange.ts';
import { EMPTY } from './body.ts';
import { METHOD, peek } from './client.ts';
import { CONTINUE_MS } from './exchange.ts';
import {
  CONNECTION_WINDOW,
  NGHTTP2_CANCEL,
  NGHTTP2_NO_ERROR,
  STREAM_WINDOW,
  readFields,
  sendTrailers,
  toOutgoing,
  toRaw,
  trailersOf,
} from './h2.ts';
import { type Header, checkHeaders, checkedLength, endToEnd, headerOf } from './headers.ts';
import { pour } from './stream.ts';
import type { ExchangeServer, Listener } from './server.ts';

/** No HTTP/1 method begins so (RFC 9113 §11.6 keeps PRI for this). */
const PREFACE = 'PRI ';
/** How long a connection may stay without a first byte, or without a stream. */
const SILENT_MS = 30_000;
const IDLE_MS = 75_000;
/** How long one that is told to go may take, and what there is of a broken answer to leave. */
const LINGER_MS = 2000;
const LINGER_POLL_MS = 2;
const SWEEP_MS = 1000;
const MAX_STREAMS = 256;
/** Heads as long as those of HTTP/1.1. */
const MAX_HEAD = 16 * 1024;
/** What a connection may waste (streams reset before their answer, pings, settings): so many at once, and so many a second. */
const WASTE_BURST = 200;
const WASTE_PER_SECOND = 100;

const { NGHTTP2_ENHANCE_YOUR_CALM } = http2.constants;

/** A connection, its open streams, and since when it has none. */
interface Served {
  readonly session: ServerHttp2Session;
  streams: number;
  sinceMs: number;
}

class Patience {
  #left = WASTE_BURST;
  #atMs = performance.now();

  /** False once it is used up. */
  spend(): boolean {
    const now = performance.now();
    this.#left = Math.min(WASTE_BURST, this.#left + ((now - this.#atMs) / 1000) * WASTE_PER_SECOND) - 1;
    this.#atMs = now;
    return this.#left >= 0;
  }
}

/** gRPC's own word for a refusal of ours: its clients look at nothing else (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 3,
  402: 8,
  403: 7,
  404: 12,
  409: 10,
  429: 8,
  499: 1,
  501: 12,
  502: 14,
  503: 14,
  504: 4,
};
const isGrpc = (headers: readonly Header[]): boolean =>
  /^application\/grpc(?:[+;]|$)/.test(headerOf(headers, 'content-type') ?? '');
const grpcRefusal = ({ status, code, detail }: Problem): Header[] => [
  ['content-type', 'application/grpc'],
  ['grpc-status', String(GRPC_STATUS[status] ?? 13)],
  ['grpc-message', `${code}: ${detail}`.replace(/[^ -$&-~]+/g, encodeURIComponent)],
];

/** Resets a stream once what there is of its answer is sent. Not `close`: it would first end the body, and a cut answer would look whole. */
async function breakOff(stream: ServerHttp2Stream, cause: unknown): Promise<void> {
  const end = performance.now() + LINGER_MS;
  while (stream.writableLength > 0 && !stream.destroyed && performance.now() < end)
    await new Promise((resolve) => setTimeout(resolve, LINGER_POLL_MS));
  stream.destroy(new Error('the answer broke off', { cause }));
}

function respondProblem(stream: ServerHttp2Stream, error: unknown, fields: readonly Header[], method: string): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) return void breakOff(stream, error);
  const problem = problemOf(error);
  if (isGrpc(fields)) {
    stream.respond({ ':status': 200, ...toOutgoing(grpcRefusal(problem)) }, { endStream: true });
  } else {
    const body = Buffer.from(JSON.stringify(problem));
    stream.respond({
      ':status': problem.status,
      'content-type': 'application/problem+json',
      'content-length': body.length,
      ...(problem.status === 503 && { 'retry-after': String(problem.retryAfter ?? 1) }),
    });
    stream.end(method === 'HEAD' ? undefined : body);
  }
  // The rest of an upload nobody reads: the answer first, then the stream's end (§8.1).
  if (!stream.readableEnded) stream.once('finish', () => stream.close(NGHTTP2_NO_ERROR));
}

/** A client that waits with its body until it is wanted: by the callee, or after a while by nobody's word. */
interface Expectation {
  /** Whether the body comes. */
  readonly comes: Promise<boolean>;
  send(): void;
  over(): void;
}
function expectation(stream: ServerHttp2Stream): Expectation {
  const { promise: comes, resolve } = Promise.withResolvers<boolean>();
  let open = true;
  const settle = (sends: boolean): void => {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    if (sends && !stream.destroyed && !stream.headersSent) stream.additionalHeaders({ ':status': 100 });
    resolve(sends);
  };
  const timer = setTimeout(() => settle(true), CONTINUE_MS);
  stream.on('close', () => settle(false));
  return { comes, send: () => settle(true), over: () => settle(false) };
}

/** A request's body, read at the reader's pace. */
async function* bodyOf(stream: ServerHttp2Stream, wait: Expectation | null): AsyncGenerator<Uint8Array> {
  if (wait !== null && !(await wait.comes)) return;
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
  } catch (cause) {
    throw refusal('cancelled', 'the caller broke off its request', cause);
  }
}

/** A 1xx; one that is no HTTP is no hint, and the answer may still be one. */
function writeInterim(stream: ServerHttp2Stream, { status, headers }: Interim): void {
  if (stream.destroyed || stream.headersSent || !Number.isInteger(status) || status < 100 || status > 199) return;
  if (status === 101) return;
  const fields = endToEnd(headers).filter(([name]) => name.toLowerCase() !== 'content-length');
  try {
    checkHeaders(fields);
    stream.additionalHeaders({ ...toOutgoing(status === 100 ? [] : fields), ':status': status });
  } catch {
    // As above.
  }
}

/** Writes an answer with backpressure; resets the stream when the body fails, so that a cut answer never looks whole. */
async function writeStream(stream: ServerHttp2Stream, answer: ExchangeResponse, method: string): Promise<void> {
  const { status } = answer;
  let { body } = answer;
  let length: number | null;
  try {
    if (!Number.isInteger(status) || status < 200 || status > 599)
      throw refusal('peer_failed', 'the peer answered with no HTTP status');
    const headers = endToEnd(answer.headers);
    length = checkedLength(headers);
    const bodiless = method === 'HEAD' || status === 204 || status === 205 || status === 304;
    if (bodiless) length = null;
    // An answer of gRPC without a message has its status in the head, and its head must end the stream ("Trailers-Only").
    let endStream: boolean = bodiless;
    if (!endStream && headerOf(headers, 'grpc-status') !== null) {
      const peeked = await peek(body);
      body = peeked.body;
      endStream = peeked.empty;
    }
    if (stream.destroyed) throw refusal('cancelled', 'the caller went away');
    const waitForTrailers = !endStream && answer.trailers !== undefined;
    if (waitForTrailers) sendTrailers(stream, answer.trailers);
    stream.respond(toRaw([[':status', String(status)]], headers), { endStream, waitForTrailers });
    if (endStream) {
      for await (const _ of body);
      return;
    }
  } catch (error) {
    await body[Symbol.asyncIterator]().return?.();
    throw codeOf(error) === 'bad_request' || codeOf(error).startsWith('ERR_')
      ? refusal('peer_failed', 'the peer answered with headers that are not HTTP', error)
      : error;
  }
  if (!(await pour(body, stream, length))) return;
  stream.end();
}

/** The target a listener reads, as HTTP/1.1 would have it. Throws `bad_request`, `connect_denied`. */
function urlOf(
  pseudo: ReadonlyMap<string, string>,
  fields: readonly Header[],
): { method: string; url: string; host: string } {
  const method = pseudo.get(':method') ?? '';
  if (method === 'CONNECT') throw refusal('connect_denied', 'tunnels are refused: call <name>.agnt2 in plain HTTP');
  if (!METHOD.test(method)) throw refusal('bad_request', 'the method is not one that is carried');
  for (const name of pseudo.keys())
    if (!/^:(?:method|path|scheme|authority)$/.test(name)) throw refusal('bad_request', `${name} is not known`);
  const path = pseudo.get(':path') ?? '';
  if (pseudo.get(':scheme') !== 'http') throw refusal('bad_request', 'the scheme here is http');
  if (path !== '*' && !path.startsWith('/')) throw refusal('bad_request', 'the :path starts with /');
  const hosts = fields.filter(([name]) => name === 'host').map(([, value]) => value.toLowerCase());
  const authority = (pseudo.get(':authority') ?? hosts.at(0) ?? '').toLowerCase();
  if (hosts.some((host) => host !== authority))
    throw refusal('bad_request', 'the Host field names another host than the :authority');
  if (authority === '' || !/^[a-z0-9.\-_:[\]]+$/.test(authority))
    throw refusal('bad_request', 'the request names no host');
  const named = authority.replace(/:\d+$/, '').endsWith('.agnt2');
  return { method, url: named ? `http://${authority}${path}` : path, host: authority };
}

async function answerStream(
  stream: ServerHttp2Stream,
  raw: readonly string[],
  listener: Listener,
  onError: (error: unknown) => void,
): Promise<void> {
  let fields: Header[] = [];
  let method = 'GET';
  const gone = new AbortController();
  const cancelled = (): Error => refusal('cancelled', 'the caller went away');
  stream.on('close', () => {
    if (!stream.writableFinished || stream.rstCode !== 0) gone.abort(cancelled());
  });
  // Told by the events above, and by the body.
  stream.on('error', () => {});
  let trailers: Header[] = [];
  stream.on('trailers', (_, __, ...rest: unknown[]) => (trailers = trailersOf((rest[0] ?? []) as string[])));
  try {
    // The setting binds who has acknowledged it.
    if (sizeOf(raw) > MAX_HEAD) throw refusal('bad_request', `a head has at most ${MAX_HEAD} bytes`);
    const head = readFields(raw);
    ({ fields } = head);
    const { url, host, ...line } = urlOf(head.pseudo, fields);
    method = line.method;
    const headers = endToEnd(fields);
    const wait = headerOf(headers, 'expect') === null ? null : expectation(stream);
    const answer = await listener({ url, host, fields }, (target): ExchangeRequest => ({
      method,
      target,
      headers,
      body: stream.readableEnded || stream.endAfterHeaders ? EMPTY : bodyOf(stream, wait),
      signal: gone.signal,
      trailers: () => trailers,
      interim: (interim) => (interim.status === 100 ? wait?.send() : writeInterim(stream, interim)),
    }));
    wait?.over();
    await writeStream(stream, answer, method);
  } catch (error) {
    if (codeOf(error) !== 'cancelled') onError(error);
    respondProblem(stream, error, fields, method);
    // Whatever still works on this call works for nobody.
    gone.abort(refusal('cancelled', 'the call was refused'));
  }
}

/** Octets of a field list, as RFC 9113 §6.5.2 counts them. */
const sizeOf = (raw: readonly string[]): number => raw.reduce((sum, text) => sum + text.length + 16, 0);

const OPTIONS: http2.ServerOptions = {
  settings: {
    enablePush: false,
    maxConcurrentStreams: MAX_STREAMS,
    initialWindowSize: STREAM_WINDOW,
    maxHeaderListSize: MAX_HEAD,
  },
  maxHeaderListPairs: 256,
  // A field that should come once is passed on as often as it came, as over HTTP/1.1.
  strictSingleValueFields: false,
  // CONTINUATION, empty frames and frames for streams that are none: nghttp2 and these refuse them with GOAWAY.
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxSettings: 32,
};

/** Lets a server of HTTP/1.1 answer HTTP/2 as well, on the same port and by the same listener. */
export function acceptHttp2(
  server: ExchangeServer,
  listener: Listener,
  onError: (error: unknown) => void = () => {},
): void {
  const sessions = new Set<Served>();
  const silent = new Set<Socket>();
  const h2 = http2.createServer(OPTIONS);
  h2.on('session', (session) => {
    const served: Served = { session, streams: 0, sinceMs: performance.now() };
    sessions.add(served);
    const patience = new Patience();
    const waste = (): void => {
      if (!patience.spend()) session.destroy(undefined, NGHTTP2_ENHANCE_YOUR_CALM);
    };
    session.setLocalWindowSize(CONNECTION_WINDOW);
    session.on('ping', waste);
    session.on('remoteSettings', waste);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(served));
    session.on('stream', (stream: ServerHttp2Stream) => {
      served.streams += 1;
      stream.on('close', () => {
        served.streams -= 1;
        served.sinceMs = performance.now();
        if (!stream.writableFinished) waste();
      });
    });
  });
  // Whatever else moves on it, half a head or a frame of no meaning: a connection without a stream is idle.
  const sweep = setInterval(() => {
    const nowMs = performance.now();
    for (const { session, streams, sinceMs } of sessions) {
      if (streams > 0 || nowMs - sinceMs < IDLE_MS) continue;
      if (nowMs - sinceMs > IDLE_MS + LINGER_MS) session.destroy(undefined, NGHTTP2_NO_ERROR);
      else session.close();
    }
  }, SWEEP_MS);
  sweep.unref();
  server.on('close', () => clearInterval(sweep));
  h2.on('sessionError', () => {});
  h2.on('stream', (stream, _headers, _flags, ...rest: unknown[]) => {
    void answerStream(stream, rest[0] as string[], listener, onError);
  });

  const asHttp1 = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const timer = setTimeout(() => socket.destroy(), SILENT_MS);
    const fail = (): void => void socket.destroy();
    const forget = (): void => {
      clearTimeout(timer);
      silent.delete(socket);
    };
    const look = (): void => {
      const first = socket.read(PREFACE.length) as Buffer | null;
      if (first === null) return void socket.once('readable', look);
      forget();
      socket.off('close', forget);
      socket.off('error', fail);
      socket.off('end', fail);
      socket.unshift(first);
      if (first.toString('latin1') === PREFACE) h2.emit('connection', socket);
      else for (const take of asHttp1) take.call(server, socket);
    };
    silent.add(socket);
    socket.on('close', forget);
    socket.on('error', fail);
    socket.on('end', fail);
    look();
  });

  // What ends the one kind of connection ends the other.
  const { closeAllConnections, closeIdleConnections } = server;
  server.closeAllConnections = () => {
    closeAllConnections.call(server);
    for (const socket of silent) socket.destroy();
    for (const { session } of sessions) session.destroy(undefined, NGHTTP2_CANCEL);
  };
  server.closeIdleConnections = () => {
    closeIdleConnections.call(server);
    for (const socket of silent) socket.destroy();
    // GOAWAY: the streams there are finish, new ones are refused.
    for (const { session } of sessions) session.close();
  };
}

/** One exchange sent over HTTP/2 without TLS (h2c, by prior knowledge), to an app that speaks it: gRPC servers above all. */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { codeOf } from '../../protocol/errors.ts';
import { refusal } from '../errors.ts';
import { type ExchangeRequest, type ExchangeResponse, MAX_INTERIM } from '../../protocol/exchange.ts';
import { tracked } from './body.ts';
import { BODILESS, METHOD, peek } from './client.ts';
import { CONTINUE_MS } from './exchange.ts';
import {
  CONNECTION_WINDOW,
  NGHTTP2_REFUSED_STREAM,
  STREAM_WINDOW,
  readFields,
  sendTrailers,
  toRaw,
  trailersOf,
} from './h2.ts';
import { type Header, checkedLength, endToEnd, headerOf } from './headers.ts';
import { pour } from './stream.ts';

/** Anything an exchange can be sent to. */
export interface ExchangeClient {
  send(request: ExchangeRequest): Promise<ExchangeResponse>;
  /** Closes idle connections; running exchanges end by themselves. */
  close(): void;
}

const MAX_HEAD = 128 * 1024;
/** Connections to one app: more than one where it allows fewer streams than are asked of it. */
const MAX_SESSIONS = 8;
const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']);
/** The app has not touched it (RFC 9113 §8.7). */
const UNTOUCHED = new Set(['ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION']);

/** The types know this setting of servers only; a field that should come once is passed on as often as it came, as over HTTP/1.1. */
const OPTIONS: http2.ClientSessionOptions & Pick<http2.ServerOptions, 'strictSingleValueFields'> = {
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW, maxHeaderListSize: MAX_HEAD },
  maxHeaderListPairs: 1024,
  strictSingleValueFields: false,
};

interface Pooled {
  readonly session: ClientHttp2Session;
  streams: number;
}

/** Whether the app wants the body: it said 100, or nothing for a while. False when it answered without. */
const wanted = (stream: ClientHttp2Stream): Promise<boolean> =>
  new Promise((resolve) => {
    const settle = (wants: boolean): void => {
      clearTimeout(timer);
      resolve(wants);
    };
    const timer = setTimeout(() => settle(true), CONTINUE_MS);
    stream.once('continue', () => settle(true));
    stream.once('response', () => settle(false));
    stream.once('close', () => settle(false));
  });

export class Http2Client implements ExchangeClient {
  readonly #origin: URL;
  readonly #who: string;
  readonly #codes: { unreachable: string; broken: string };
  readonly #pool = new Set<Pooled>();

  /** `origin` is `h2c://host:port`. The rest as of an `HttpClient`. */
  constructor(origin: string, who: string, codes: { unreachable: string; broken: string }) {
    this.#origin = new URL(origin.replace(/^h2c:/, 'http:'));
    this.#who = who;
    this.#codes = codes;
  }

  /** The least busy connection, or a new one where all have as many streams as the app allows. */
  #pick(): Pooled {
    let best: Pooled | undefined;
    for (const pooled of this.#pool) if (best === undefined || pooled.streams < best.streams) best = pooled;
    const most = best?.session.remoteSettings?.maxConcurrentStreams ?? Infinity;
    if (best !== undefined && (best.streams < most || this.#pool.size >= MAX_SESSIONS)) return best;
    const session = http2.connect(this.#origin.origin, OPTIONS);
    const pooled: Pooled = { session, streams: 0 };
    const forget = (): void => void this.#pool.delete(pooled);
    session.on('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW));
    // Streams tell what went wrong with them.
    session.on('error', forget);
    session.on('goaway', forget);
    session.on('close', forget);
    this.#pool.add(pooled);
    return pooled;
  }

  /** As `HttpClient.send`. */
  async send(request: ExchangeRequest): Promise<ExchangeResponse> {
    const { method, signal } = request;
    if (!METHOD.test(method)) throw refusal('bad_request', 'the method is not one that is carried');
    const length = checkedLength(request.headers);
    let body: AsyncIterable<Uint8Array> | null = request.body;
    if (length === null && BODILESS.has(method)) {
      const peeked = await peek(body);
      body = peeked.empty ? null : peeked.body;
    }
    let { headers } = request;
    if (body === null || length === 0) headers = headers.filter(([name]) => name.toLowerCase() !== 'expect');
    try {
      return await this.#attempt(request, headers, body, length);
    } catch (error) {
      if ((error as { untouched?: boolean }).untouched !== true || body !== null || signal.aborted) throw error;
      return await this.#attempt(request, headers, null, null);
    }
  }

  #attempt(
    { method, target, signal, trailers, interim }: ExchangeRequest,
    headers: readonly Header[],
    body: AsyncIterable<Uint8Array> | null,
    length: number | null,
  ): Promise<ExchangeResponse> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(refusal('cancelled', 'the caller went away'));
      const pooled = this.#pick();
      // `stream.close` would first end what was sent, and half a request would look whole.
      const reset = new AbortController();
      let stream: ClientHttp2Stream;
      try {
        stream = pooled.session.request(
          toRaw(
            [
              [':method', method],
              [':path', target],
              [':scheme', 'http'],
              [':authority', this.#origin.host],
            ],
            headers,
          ),
          {
            endStream: body === null,
            waitForTrailers: body !== null && trailers !== undefined,
            signal: reset.signal,
          },
        );
      } catch (cause) {
        const gone = UNTOUCHED.has(codeOf(cause));
        if (gone) this.#pool.delete(pooled);
        const error = gone
          ? refusal(this.#codes.broken, `${this.#who} is closing its connection`, cause)
          : refusal('bad_request', 'the request is not valid HTTP', cause);
        return reject(Object.assign(error, { untouched: gone }));
      }
      pooled.streams += 1;
      let bodyFault: unknown;
      let fault: unknown;
      const failure = (cause: unknown): Error => {
        if (signal.aborted) return refusal('cancelled', 'the caller went away', cause);
        if (bodyFault !== undefined) return bodyFault as Error;
        const unreachable =
          UNREACHABLE.has(codeOf(cause)) || UNREACHABLE.has(codeOf((cause as Error | undefined)?.cause));
        return unreachable
          ? refusal(this.#codes.unreachable, `${this.#who} can't be reached`, cause)
          : refusal(this.#codes.broken, `${this.#who} broke off the exchange`, cause);
      };
      const onAbort = (): void => reset.abort();
      signal.addEventListener('abort', onAbort, { once: true });
      stream.on('error', (cause) => (fault = cause));
      stream.on('close', () => {
        pooled.streams -= 1;
        signal.removeEventListener('abort', onAbort);
        const untouched = stream.rstCode === NGHTTP2_REFUSED_STREAM || UNTOUCHED.has(codeOf(fault));
        reject(Object.assign(failure(fault), { untouched }));
      });
      let interims = 0;
      stream.on('headers', (_head, _flags, ...rest: unknown[]) => {
        if (++interims > MAX_INTERIM) return reset.abort();
        const { pseudo, fields } = safely(rest[0] as string[]);
        const status = Number(pseudo.get(':status'));
        if (status >= 100 && status < 200) interim?.({ status, headers: status === 100 ? [] : endToEnd(fields) });
      });
      let late: Header[] = [];
      stream.on('trailers', (_head, _flags, ...rest: unknown[]) => (late = trailersOf((rest[0] ?? []) as string[])));
      stream.on('response', (_head, _flags, ...rest: unknown[]) => {
        const { pseudo, fields } = safely(rest[0] as string[]);
        const status = Number(pseudo.get(':status'));
        if (!Number.isInteger(status) || status < 200) {
          reject(refusal(this.#codes.broken, `${this.#who} answered with a head that is not HTTP`));
          reset.abort();
          return;
        }
        const over = (): void => {
          // An answer that nobody reads to its end, or that came before the whole request, ends the stream (§8.1).
          if (!stream.closed) reset.abort();
        };
        resolve({ status, headers: fields, body: received(stream, failure, over), trailers: () => late });
      });
      if (body === null) return;
      if (trailers !== undefined) sendTrailers(stream, trailers);
      const upload = (source: AsyncIterable<Uint8Array>): void =>
        void pour(source, stream, length).then(
          (whole) => whole && stream.end(),
          (cause: unknown) => {
            bodyFault =
              cause instanceof Error && codeOf(cause) !== 'internal'
                ? cause
                : refusal('cancelled', 'the request body broke off', cause);
            reset.abort();
          },
        );
      if (headerOf(headers, 'expect') === null) upload(body);
      else
        void wanted(stream).then((wants) => {
          if (wants) upload(body);
          else void Promise.resolve(body[Symbol.asyncIterator]().return?.()).catch(() => {});
        });
    });
  }

  close(): void {
    for (const { session } of this.#pool) session.close();
  }
}

/** A head of the app's as far as it is HTTP; none of it when it isn't. */
function safely(raw: readonly string[]): ReturnType<typeof readFields> {
  try {
    return readFields(raw);
  } catch {
    return { pseudo: new Map(), fields: [] };
  }
}

/** The answer's body; a stream that was reset is no whole one. */
function received(
  stream: ClientHttp2Stream,
  failure: (cause: unknown) => Error,
  over: () => void,
): AsyncIterable<Uint8Array> {
  return tracked(
    {
      [Symbol.asyncIterator]: () => {
        const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
        return {
          next: () =>
            iterator.next().catch((cause: unknown) => {
              throw failure(cause);
            }),
          return: () => iterator.return!(),
        };
      },
    },
    over,
  );
}

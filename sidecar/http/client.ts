/** One exchange sent over HTTP/1.1: to the app, or to the gateway. Streams both ways at once and retries nothing with a body. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { codeOf } from '../../protocol/errors.ts';
import { refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { flushHead, pump, tracked } from './body.ts';
import {
  type Header,
  checkCoding,
  checkHeaders,
  contentLength,
  endToEnd,
  headerOf,
  pairs,
  unannounced,
} from './headers.ts';

/** Methods that carry no body unless they say so (RFC 9110 §9.3). */
export const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);
/** How long a body waits for its `100 Continue` before it goes anyway (RFC 9110 §10.1.1). */
export const CONTINUE_MS = 1000;
/** Heads of the gateway hold a whole head of the peer's app, as base64. */
const MAX_HEAD = 128 * 1024;
/** Node would send `get` and no method at all as GET: the app must get the method that was priced and hashed. */
export const METHOD: RegExp = /^(?!CONNECT$)[A-Z][A-Z-]{0,31}$/;

interface Peeked {
  readonly empty: boolean;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Whether a body has any byte, without losing it. */
export async function peek(body: AsyncIterable<Uint8Array>): Promise<Peeked> {
  const iterator = body[Symbol.asyncIterator]();
  let first = await iterator.next();
  while (!first.done && first.value.length === 0) first = await iterator.next();
  const head = first;
  return {
    empty: head.done === true,
    body: {
      async *[Symbol.asyncIterator]() {
        if (head.done) return;
        yield head.value;
        yield* { [Symbol.asyncIterator]: () => iterator };
      },
    },
  };
}

/** The response's body. `over` is called once: when it ended, broke off or was abandoned, even before its first byte. */
function received(
  message: IncomingMessage,
  failure: (cause: unknown) => Error,
  over: (whole: boolean) => void,
): AsyncIterable<Uint8Array> {
  return tracked(
    {
      [Symbol.asyncIterator]: () => {
        const iterator = message[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
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

/** Whether the origin wants the body: it said 100, or nothing for a while. False when it answered without. */
const wanted = (outgoing: ClientRequest): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), CONTINUE_MS);
    const settle = (wants: boolean): void => {
      clearTimeout(timer);
      resolve(wants);
    };
    outgoing.once('continue', () => settle(true));
    outgoing.once('response', () => settle(false));
    outgoing.once('close', () => settle(false));
  });

/** A keep-alive pool to one origin. */
export class HttpClient {
  readonly #origin: URL;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #unreachable: string;
  readonly #broken: string;
  readonly #who: string;
  readonly #connect: (() => Socket) | undefined;

  /**
   * `codes` name what an unreachable and a failing origin are called; `who` says it in a sentence. `connect` brings the
   * connection of each exchange; without, they are made by the origin's name and kept.
   */
  constructor(origin: string, who: string, codes: { unreachable: string; broken: string }, connect?: () => Socket) {
    this.#connect = connect;
    this.#origin = new URL(origin);
    const secure = this.#origin.protocol === 'https:';
    this.#agent = new (secure ? https : http).Agent({
      keepAlive: true,
      maxFreeSockets: 64,
      scheduling: 'lifo',
    });
    this.#request = secure ? https.request : http.request;
    this.#who = who;
    this.#unreachable = codes.unreachable;
    this.#broken = codes.broken;
  }

  /**
   * Sends one exchange. `request.headers` go out as they are, with the origin's own `host`. Resolves at the response's head; rejects with a
   * coded error. The response body throws a coded error when the origin breaks off.
   */
  async send(request: ExchangeRequest): Promise<ExchangeResponse> {
    const { method, signal } = request;
    if (!METHOD.test(method)) throw refusal('bad_request', 'the method is not one that is carried');
    checkHeaders(request.headers);
    const length = contentLength(request.headers);
    let headers: Header[] = [['host', this.#origin.host], ...request.headers];
    let body: AsyncIterable<Uint8Array> | null = request.body;
    if (length === null && BODILESS.has(method)) {
      const peeked = await peek(body);
      body = peeked.empty ? null : peeked.body;
    }
    if (length === null && body !== null) headers.push(['transfer-encoding', 'chunked']);
    else headers = unannounced(headers);
    // Nothing waits to be wanted where nothing is sent.
    if (body === null || length === 0) headers = headers.filter(([name]) => name.toLowerCase() !== 'expect');
    if (headerOf(headers, 'te') !== null) headers.push(['connection', 'TE']);
    try {
      return await this.#attempt(request, headers, body, length);
    } catch (error) {
      // A kept-alive connection may close as we reach for it: safe to repeat only where nothing was sent that could act twice.
      const stale = (error as { stale?: boolean }).stale === true;
      if (!stale || body !== null || !['GET', 'HEAD', 'OPTIONS'].includes(method) || signal.aborted) throw error;
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
      let outgoing: ClientRequest;
      let bodyFault: unknown;
      try {
        outgoing = this.#request({
          agent: this.#connect === undefined ? this.#agent : undefined,
          createConnection: this.#connect,
          protocol: this.#origin.protocol,
          hostname: this.#origin.hostname.replace(/^\[|\]$/g, ''),
          port: this.#origin.port || undefined,
          method,
          path: target,
          headers: headers.flat(),
          maxHeaderSize: MAX_HEAD,
        });
      } catch (cause) {
        return reject(refusal('bad_request', 'the request is not valid HTTP', cause));
      }
      const failure = (cause: unknown): Error => {
        if (signal.aborted) return refusal('cancelled', 'the caller went away', cause);
        if (bodyFault !== undefined) return bodyFault as Error;
        const unreachable = [
          'ECONNREFUSED',
          'ENOTFOUND',
          'EAI_AGAIN',
          'EHOSTUNREACH',
          'ENETUNREACH',
          'ETIMEDOUT',
          'ENOENT',
        ].includes(codeOf(cause));
        return unreachable
          ? refusal(this.#unreachable, `${this.#who} can't be reached`, cause)
          : refusal(this.#broken, `${this.#who} broke off the exchange`, cause);
      };
      const onAbort = (): void => void outgoing.destroy(new Error('aborted'));
      signal.addEventListener('abort', onAbort, { once: true });
      const over = (whole: boolean): void => {
        signal.removeEventListener('abort', onAbort);
        // An answer that came before the whole request, or that nobody reads to its end, leaves a connection of no further use.
        if (!whole || !outgoing.writableFinished) outgoing.destroy();
      };
      outgoing.on('error', (cause) => {
        signal.removeEventListener('abort', onAbort);
        const error = failure(cause);
        if (outgoing.reusedSocket && codeOf(cause) === 'ECONNRESET') Object.assign(error, { stale: true });
        reject(error);
      });
      // Nobody asked for another protocol; without a listener Node would leave everybody waiting.
      outgoing.on('upgrade', (_, socket) => {
        socket.destroy();
        signal.removeEventListener('abort', onAbort);
        reject(refusal(this.#broken, `${this.#who} changed the protocol`));
      });
      outgoing.on('information', ({ statusCode, rawHeaders }) =>
        interim?.({ status: statusCode, headers: statusCode === 100 ? [] : endToEnd(pairs(rawHeaders)) }),
      );
      outgoing.on('response', (message) => {
        const fields = pairs(message.rawHeaders);
        try {
          checkCoding(fields);
        } catch (cause) {
          over(false);
          reject(refusal(this.#broken, `${this.#who} answered in a coding nobody asked for`, cause));
          return;
        }
        const { statusCode: status = 502, statusMessage: reason = '' } = message;
        resolve({
          status,
          ...(reason !== http.STATUS_CODES[status] && { reason }),
          headers: fields,
          body: received(message, failure, over),
          trailers: () => pairs(message.rawTrailers),
        });
      });
      const upload = (source: AsyncIterable<Uint8Array>): void =>
        void pump(source, outgoing, length, trailers).catch((fault: unknown) => {
          bodyFault =
            fault instanceof Error && codeOf(fault) !== 'internal'
              ? fault
              : refusal('cancelled', 'the request body broke off', fault);
          outgoing.destroy(bodyFault as Error);
        });
      if (body === null) outgoing.end();
      else if (headerOf(headers, 'expect') === null) upload(body);
      else
        void wanted(outgoing).then((wants) => {
          if (wants) upload(body);
          else void Promise.resolve(body[Symbol.asyncIterator]().return?.()).catch(() => {});
        });
      if (body !== null) flushHead(outgoing);
    });
  }

  /** Closes idle connections; running exchanges end by themselves. */
  close(): void {
    this.#agent.destroy();
  }
}

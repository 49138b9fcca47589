/** One exchange sent over HTTP/1.1: to the app, or to the gateway. Streams both ways at once and retries nothing with a body. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { codeOf } from '../../protocol/errors.ts';
import { refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { pump, tracked } from './body.ts';
import { type Header, checkHeaders, contentLength, pairs } from './headers.ts';

/** Methods that carry no body unless they say so (RFC 9110 §9.3). */
const BODILESS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);
/** Node would send `get` and no method at all as GET: the app must get the method that was priced and hashed. */
const METHOD = /^(?!CONNECT$)[A-Z][A-Z-]{0,31}$/;

interface Peeked {
  readonly empty: boolean;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Whether a body has any byte, without losing it. */
async function peek(body: AsyncIterable<Uint8Array>): Promise<Peeked> {
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

/** A keep-alive pool to one origin. */
export class HttpClient {
  readonly #origin: URL;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #unreachable: string;
  readonly #broken: string;
  readonly #who: string;

  /** `codes` name what an unreachable and a failing origin are called; `who` says it in a sentence. */
  constructor(origin: string, who: string, codes: { unreachable: string; broken: string }) {
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
    const headers: Header[] = [['host', this.#origin.host], ...request.headers];
    let body: AsyncIterable<Uint8Array> | null = request.body;
    if (length === null && BODILESS.has(method)) {
      const peeked = await peek(body);
      body = peeked.empty ? null : peeked.body;
    }
    if (length === null && body !== null) headers.push(['transfer-encoding', 'chunked']);
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
    { method, target, signal }: ExchangeRequest,
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
          agent: this.#agent,
          protocol: this.#origin.protocol,
          hostname: this.#origin.hostname.replace(/^\[|\]$/g, ''),
          port: this.#origin.port || undefined,
          method,
          path: target,
          headers: headers.flat(),
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
      // 1xx answers other than 100 are for the hop that asked for them; nobody here did (Node reads 100 by itself).
      outgoing.on('response', (message) => {
        resolve({
          status: message.statusCode ?? 502,
          headers: pairs(message.rawHeaders),
          body: received(message, failure, over),
        });
      });
      if (body === null) outgoing.end();
      else
        pump(body, outgoing, length).catch((fault: unknown) => {
          bodyFault =
            fault instanceof Error && codeOf(fault) !== 'internal'
              ? fault
              : refusal('cancelled', 'the request body broke off', fault);
          outgoing.destroy(bodyFault as Error);
        });
      outgoing.flushHeaders();
    });
  }

  /** Closes idle connections; running exchanges end by themselves. */
  close(): void {
    this.#agent.destroy();
  }
}

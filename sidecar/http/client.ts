/** Exchanges sent over HTTP/1.1: to the app, or to the gateway. Streams both ways at once and retries nothing with a body. */
import net from 'node:net';
import tls from 'node:tls';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import { refusal } from '../errors.ts';
import type { Framing } from './body.ts';
import { checkedLength, nameOf } from './headers.ts';
import { type Origin, type Sending, Upstream, isStale } from './upstream.ts';

/** Methods that carry no body unless they say so (RFC 9110 §9.3). */
export const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);
/** Safe to repeat. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
/** The app must get the method that was priced and hashed, and CONNECT makes no exchange. */
export const METHOD: RegExp = /^(?!CONNECT$)[A-Z][A-Z-]{0,31}$/;
const TARGET = /^[\x21-\x7e]+$/;
const NOTHING = new Uint8Array(0);
const MAX_FREE = 64;
const SWEEP_MS = 1000;

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

/** A keep-alive pool to one origin. */
export class HttpClient {
  readonly #url: URL;
  readonly #origin: Origin;
  readonly #connect: () => net.Socket;
  /** The last one used is the first one taken: the others may grow old. */
  readonly #free: Upstream[] = [];
  #sweep: NodeJS.Timeout | null = null;
  #isClosed = false;

  /**
   * `codes` name what an unreachable and a failing origin are called; `who` says it in a sentence. `connect` brings a
   * connection; without, they are made by the origin's name.
   */
  constructor(origin: string, who: string, codes: { unreachable: string; broken: string }, connect?: () => net.Socket) {
    const url = (this.#url = new URL(origin));
    this.#origin = { who, ...codes };
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const secure = url.protocol === 'https:';
    const to = { host, port: Number(url.port || (secure ? 443 : 80)), noDelay: true };
    const servername = net.isIP(host) === 0 ? host : '';
    const dial = () => (secure ? tls.connect({ ...to, servername, ALPNProtocols: ['http/1.1'] }) : net.connect(to));
    this.#connect = connect ?? dial;
  }

  /**
   * Sends one exchange. `request.headers` go out as they are, with the origin's own `host`. Resolves at the response's head; rejects with a
   * coded error. The response body throws a coded error when the origin breaks off.
   */
  async send(request: ExchangeRequest): Promise<ExchangeResponse> {
    const sending = this.#sending(request) ?? (await this.#sendingPeeked(request));
    if (request.signal.aborted) throw refusal('cancelled', 'the caller went away');
    try {
      return await this.#take().send(sending);
    } catch (error) {
      // A kept-alive connection may close as we reach for it: safe to repeat only where nothing was sent that could act twice.
      const repeats = isStale(error) && sending.framing === 'none' && SAFE.has(request.method);
      if (!repeats || request.signal.aborted) throw error;
      return await this.#open().send(sending);
    }
  }

  /** Null when it first has to be seen whether there is a body. */
  #sending(request: ExchangeRequest): Sending | null {
    const { method, target, headers } = request;
    if (!METHOD.test(method)) throw refusal('bad_request', 'the method is not one that is carried');
    if (!TARGET.test(target)) throw refusal('bad_request', 'the target holds what none may');
    const length = checkedLength(headers);
    const body = request.body instanceof Whole ? request.body.take() : request.body;
    if (length !== null) return this.#framed(request, body, length);
    if (!BODILESS.has(method)) return this.#framed(request, body, 'chunks');
    if (!(body instanceof Uint8Array)) return null;
    return this.#framed(request, body, body.length === 0 ? 'none' : 'chunks');
  }

  async #sendingPeeked(request: ExchangeRequest): Promise<Sending> {
    const { empty, body } = await peek(request.body);
    return empty ? this.#framed(request, NOTHING, 'none') : this.#framed(request, body, 'chunks');
  }

  #framed(request: ExchangeRequest, body: Sending['body'], framing: Framing): Sending {
    let head = `${request.method} ${request.target} HTTP/1.1\r\nhost: ${this.#url.host}\r\n`;
    const hasBody = framing !== 'none' && framing !== 0;
    let expects = false;
    let wantsTrailers = false;
    for (const [name, value] of request.headers) {
      const { lower } = nameOf(name);
      if (lower === 'trailer' && framing !== 'chunks') continue;
      if (lower === 'te') wantsTrailers = true;
      if (lower === 'expect') {
        // Nothing waits to be wanted where nothing is sent.
        if (!hasBody) continue;
        expects = true;
      }
      head += `${name}: ${value}\r\n`;
    }
    if (framing === 'chunks') head += 'transfer-encoding: chunked\r\n';
    head += wantsTrailers ? 'connection: TE, keep-alive\r\n\r\n' : 'connection: keep-alive\r\n\r\n';
    return { request, head, framing, body, expects };
  }

  #take(): Upstream {
    const nowMs = performance.now();
    for (;;) {
      const upstream = this.#free.pop();
      if (upstream === undefined) return this.#open();
      if (upstream.isUsable(nowMs)) return upstream;
      upstream.destroy();
    }
  }

  #open(): Upstream {
    return new Upstream(this.#connect(), this.#origin, this);
  }

  /** @internal */
  free(upstream: Upstream): void {
    if (this.#isClosed || this.#free.length >= MAX_FREE) return upstream.destroy();
    this.#free.push(upstream);
    // One timer for all of them, while there are any.
    this.#sweep ??= setInterval(() => this.#expire(), SWEEP_MS).unref();
  }

  /** @internal */
  forget(upstream: Upstream): void {
    const at = this.#free.indexOf(upstream);
    if (at >= 0) this.#free.splice(at, 1);
  }

  #expire(): void {
    const nowMs = performance.now();
    for (const upstream of this.#free) if (!upstream.isUsable(nowMs)) upstream.destroy();
    if (this.#free.length > 0) return;
    clearInterval(this.#sweep!);
    this.#sweep = null;
  }

  /** Closes idle connections; running exchanges end by themselves. */
  close(): void {
    this.#isClosed = true;
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#sweep = null;
    for (const upstream of this.#free.splice(0)) upstream.destroy();
  }
}

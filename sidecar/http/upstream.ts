/** One connection to an origin: one exchange at a time, and kept for the next one. */
import { STATUS_CODES } from './node.ts';
import type { Socket } from 'node:net';
import { unwatch, watch } from '../../protocol/aborts.ts';
import { codeOf } from '../../protocol/errors.ts';
import { type ExchangeRequest, type ExchangeResponse, MAX_INTERIM } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import { refusal } from '../errors.ts';
import { EMPTY, type Framing, Incoming, drop, pour, pourWhole } from './body.ts';
import { CONTINUE_MS } from './exchange.ts';
import { type Header, endToEnd } from './headers.ts';
import { type ResponseHead, persists, readResponse } from './message.ts';
import { Output } from './output.ts';
import { Parser, type Framing as Reading, type Receiver } from './parser.ts';

/** Heads of the gateway hold a whole head of the peer's app, as base64. */
const MAX_HEAD = 128 * 1024;
/** How long a connection is kept whose origin doesn't say; one that says is left a second before. */
const KEEP_MS = 55_000;
const HINT = /timeout=(\d{1,6})/i;

/** What an origin is in a sentence, and what its failures are called: when it can't be reached, when it breaks an exchange. */
export interface Origin {
  readonly who: string;
  readonly unreachable: string;
  readonly broken: string;
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOENT',
]);

/** A request as it is sent. */
export interface Sending {
  readonly request: ExchangeRequest;
  /** The whole head. */
  readonly head: string;
  readonly framing: Framing;
  /** All of it, or as it comes. */
  readonly body: Uint8Array | AsyncIterable<Uint8Array>;
  /** The body waits until it is wanted. */
  readonly expects: boolean;
}

/** A connection it was sent on had been closed before, and nothing of an answer came. */
export const isStale = (error: unknown): boolean => (error as { stale?: boolean } | null)?.stale === true;

/** One exchange under way. */
class Call {
  readonly sending: Sending;
  readonly resolve: (response: ExchangeResponse) => void;
  readonly reject: (error: unknown) => void;
  readonly #upstream: Upstream;
  /** The request is all written. */
  isSent = false;
  /** The request's own body failed. */
  fault: Error | null = null;
  /** Of a body that waits to be wanted: tells it, once. */
  wanted: ((isWanted: boolean) => void) | null = null;
  /** The answer's body, while it comes. */
  answer: Incoming | null = null;
  trailers: readonly Header[] = [];
  interims = 0;

  constructor(
    upstream: Upstream,
    sending: Sending,
    resolve: (response: ExchangeResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.#upstream = upstream;
    this.sending = sending;
    this.resolve = resolve;
    this.reject = reject;
    watch(sending.request.signal, this);
  }

  /** The caller went away. */
  aborted(): void {
    this.#upstream.destroy();
  }

  over(): void {
    unwatch(this.sending.request.signal, this);
    this.wanted?.(false);
  }
}

export interface Pool {
  /** Takes a connection that is free for the next exchange. */
  free(upstream: Upstream): void;
  /** A connection is gone. */
  forget(upstream: Upstream): void;
}

export class Upstream implements Receiver<ResponseHead> {
  readonly #origin: Origin;
  readonly #socket: Socket;
  readonly #pool: Pool;
  readonly #out: Output;
  readonly #parser: Parser<ResponseHead>;
  #call: Call | null = null;
  /** It has carried an exchange before. */
  #isUsed = false;
  /** Nothing of an answer to this exchange came yet. */
  #isSilent = true;
  #persists = true;
  #cause: unknown;
  #keepMs = KEEP_MS;
  #sinceMs = 0;

  constructor(socket: Socket, origin: Origin, pool: Pool) {
    this.#socket = socket;
    this.#origin = origin;
    this.#pool = pool;
    this.#out = new Output(socket);
    this.#parser = new Parser<ResponseHead>(this, MAX_HEAD);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (cause) => (this.#cause = cause));
    socket.on('end', () => this.#ended());
    socket.on('close', () => this.#closed());
  }

  /** Whether a free connection may be trusted with an exchange: it is open, and not too old. */
  isUsable(nowMs: number): boolean {
    return !this.#socket.destroyed && nowMs - this.#sinceMs < this.#keepMs;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Sends an exchange; resolves at the answer's head. Rejects with a coded error. */
  send(sending: Sending): Promise<ExchangeResponse> {
    return new Promise((resolve, reject) => {
      const call = (this.#call = new Call(this, sending, resolve, reject));
      this.#isSilent = true;
      const isWhole = !sending.expects && sending.body instanceof Uint8Array;
      if (isWhole) this.#out.hold();
      this.#out.text(sending.head);
      if (sending.expects) this.#sendWanted(call);
      else this.#upload(call);
      if (isWhole) this.#out.flush();
    });
  }

  #upload(call: Call): void {
    const { body, framing, request } = call.sending;
    if (body instanceof Uint8Array) {
      try {
        pourWhole(body, this.#out, framing, request.trailers);
        call.isSent = true;
      } catch (error) {
        this.#fault(call, error);
      }
      return;
    }
    pour(body, this.#out, framing, request.trailers).then(
      (isWhole) => void (call.isSent = isWhole),
      (error: unknown) => this.#fault(call, error),
    );
  }

  #fault(call: Call, error: unknown): void {
    call.fault =
      error instanceof Error && codeOf(error) !== 'internal'
        ? error
        : refusal('cancelled', 'the request body broke off', error);
    if (this.#call === call) this.destroy();
  }

  /** Sends the body once the origin said 100, or nothing for a while; not when it answered without. */
  #sendWanted(call: Call): void {
    const { sending } = call;
    const timer = setTimeout(() => call.wanted?.(true), CONTINUE_MS);
    call.wanted = (isWanted) => {
      call.wanted = null;
      clearTimeout(timer);
      if (isWanted) this.#upload(call);
      else if (!(sending.body instanceof Uint8Array)) drop(sending.body);
    };
  }

  // ---- reading ----

  readHead(text: string): ResponseHead {
    return readResponse(text);
  }

  framing({ status, isChunked, length }: ResponseHead): Reading {
    if (status < 200 && status !== 101) return 'interim';
    if (status === 101 || status === 204 || status === 304 || this.#call?.sending.request.method === 'HEAD') return 0;
    return isChunked ? 'chunks' : (length ?? 'close');
  }

  #read(chunk: Buffer): void {
    this.#isSilent = false;
    // Nobody asked.
    if (this.#call === null) return this.destroy();
    try {
      this.#parser.feed(chunk);
    } catch (error) {
      this.#cause ??= error;
      this.destroy();
    }
  }

  onInterim({ status, fields }: ResponseHead): void {
    const call = this.#call!;
    if (++call.interims > MAX_INTERIM) throw refusal('bad_request', 'informational answers without end');
    if (status === 100) call.wanted?.(true);
    call.sending.request.interim?.({ status, headers: status === 100 ? [] : endToEnd(fields) });
  }

  onHead(head: ResponseHead, whole: Buffer | null): void {
    const call = this.#call;
    if (call === null) throw refusal('bad_request', 'an answer nobody asked for');
    const { status, reason, fields } = head;
    // Nobody asked for another protocol.
    if (status === 101) throw refusal('bad_request', 'the protocol was changed');
    call.wanted?.(false);
    this.#persists = persists(head) && (whole !== null || head.isChunked || head.length !== null);
    this.#keepMs = keepMsOf(head.keepAlive);
    let body: Whole | Incoming = EMPTY;
    if (whole === null) body = call.answer = new Incoming(this);
    else if (whole.length > 0) body = new Whole(whole);
    const answer = { status, headers: fields, body, trailers: () => call.trailers };
    call.resolve(reason === STATUS_CODES[status] ? answer : { ...answer, reason });
  }

  onBody(chunk: Buffer): void {
    this.#call?.answer?.push(chunk);
  }

  onEnd(trailers: readonly Header[]): void {
    const call = this.#call!;
    this.#call = null;
    call.trailers = trailers;
    call.answer?.end();
    call.over();
    // An answer that came before the whole request leaves a connection of no further use.
    if (!call.isSent || !this.#persists) return this.destroy();
    this.#isUsed = true;
    this.#sinceMs = performance.now();
    this.#pool.free(this);
  }

  #ended(): void {
    try {
      if (this.#call !== null) this.#parser.finish();
    } catch (error) {
      this.#cause ??= error;
    }
    this.destroy();
  }

  #closed(): void {
    this.#pool.forget(this);
    const call = this.#call;
    if (call === null) return;
    this.#call = null;
    const error = this.#failure(call);
    call.over();
    call.answer?.fail(error);
    call.reject(error);
  }

  #failure({ sending, fault }: Call): Error {
    if (sending.request.signal.aborted) return refusal('cancelled', 'the caller went away', this.#cause);
    if (fault !== null) return fault;
    const { who, unreachable, broken } = this.#origin;
    if (UNREACHABLE.has(codeOf(this.#cause))) return refusal(unreachable, `${who} can't be reached`, this.#cause);
    const error = refusal(broken, `${who} broke off the exchange`, this.#cause);
    return this.#isUsed && this.#isSilent ? Object.assign(error, { stale: true }) : error;
  }

  // ---- a body's source ----

  flow(on: boolean): void {
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  /** An answer nobody reads to its end leaves a connection of no further use. */
  abandon(): void {
    const call = this.#call;
    this.#call = null;
    call?.over();
    this.destroy();
  }
}

/** How long a connection may lie idle, by the origin's own word. */
function keepMsOf(hint: string | null): number {
  const seconds = hint === null ? undefined : HINT.exec(hint)?.[1];
  return seconds === undefined ? KEEP_MS : Number(seconds) * 1000 - 1000;
}

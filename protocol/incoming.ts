/** The calls of the other side on a packet socket: from their heads to the one part that ends each. */
import { CallSignal } from './aborts.ts';
import { utf8 } from './bytes.ts';
import { Agnt2Error, malformed } from './errors.ts';
import type { ExchangeRequest, Interim } from './exchange.ts';
import { BodyHash, EMPTY_HASH, Inflow, Outflow } from './flow.ts';
import { sha } from './hash.ts';
import type { Meter } from './meter.ts';
import type { Digests, IncomingHandle, MuxContext, Served } from './mux.ts';
import { HeadReader, type PartIndex, PartKind, type RequestHead, STREAM_WINDOW, decodeTrailers } from './packet.ts';
import { MAX_HEAD_BYTES, cancelCode, overloaded, readWindow, safeCode, trailersOf } from './parts.ts';
import { Whole, copyOf } from './whole.ts';

/** What a handler's response breaks with when the request was not what its head said. */
const BODY_MISMATCH = 'body_mismatch';
const OVER_PRICE = 'over_price';

const EMPTY = new Uint8Array(0);
const NO_META: Readonly<Record<string, string>> = {};
const ignore = (): void => {};

class IncomingCall implements IncomingHandle {
  readonly id: number;
  readonly takes: readonly unknown[];
  /** Null of a request that came whole. */
  readonly in: Inflow | null;
  readonly whole: Whole | null;
  /** The body of a request that came whole, in the packet it came in, until it is hashed. */
  #unhashed: Uint8Array | null;
  #requestDigest: Uint8Array;
  /** Null until a response is streamed; a whole one has this digest. */
  out: Outflow | null = null;
  responseDigest: Uint8Array;
  trailers: [string, string][] = [];
  readonly signal = new CallSignal();
  served: Served | null = null;
  /** Its handler has answered, one way or the other. */
  answered = false;
  /** The request ended; the end may be made. */
  onRequestEnd: (() => void) | null = null;
  closed = false;
  meter: Meter | null = null;
  /** It was ended where its meter had run out. */
  cut = false;

  constructor(id: number, takes: unknown, body: Inflow | Whole, unhashed: Uint8Array | null, none: Uint8Array) {
    this.id = id;
    this.takes = Array.isArray(takes) ? takes : [];
    this.in = body instanceof Inflow ? body : null;
    this.whole = body instanceof Whole ? body : null;
    this.#unhashed = unhashed;
    this.#requestDigest = none;
    this.responseDigest = none;
  }

  /** Of a body that came whole. */
  get requestDigest(): Uint8Array {
    if (this.#unhashed !== null) this.#requestDigest = sha(this.#unhashed);
    this.#unhashed = null;
    return this.#requestDigest;
  }

  /** Whether the whole request has arrived. */
  get complete(): boolean {
    return this.in === null || this.in.ended;
  }

  get digests(): Digests {
    return {
      requestBody: this.in === null ? this.requestDigest : (this.in.hash?.digest() ?? EMPTY),
      responseBody: this.out === null ? this.responseDigest : (this.out.hash?.digest() ?? EMPTY),
    };
  }

  /** Both bodies end here. */
  stop(error: Error): void {
    this.in?.fail(error);
    this.in?.discard();
    this.whole?.release();
    this.out?.stop();
  }
}

export class IncomingCalls {
  readonly #mux: MuxContext;
  readonly #calls = new Map<number, IncomingCall>();
  readonly #heads = new HeadReader<RequestHead>();
  /** Digest of a body of which nothing has passed. */
  readonly #none: Uint8Array;
  /** Calls that ended while their handlers were still at work: those, too, are somebody's work. */
  #abandoned = 0;

  constructor(mux: MuxContext) {
    this.#mux = mux;
    this.#none = mux.digests ? EMPTY_HASH : EMPTY;
  }

  get size(): number {
    return this.#calls.size;
  }
  has(id: number): boolean {
    return this.#calls.has(id);
  }

  /** Part number `at` of a packet, which is of a call of theirs. */
  take(packet: Uint8Array, parts: PartIndex, at: number): void {
    const id = parts.calls[at];
    try {
      this.#onPart(this.#calls.get(id), packet, parts, at);
    } catch (error) {
      this.#refuse(id, safeCode(error), 'fault');
    }
  }

  /** A request that came all at once: `count` parts from `at` on, head to end. */
  takeWhole(packet: Uint8Array, parts: PartIndex, at: number, count: number): void {
    const id = parts.calls[at];
    const last = at + count - 1;
    const bytes = count === 3 ? packet.subarray(parts.starts[at + 1], parts.ends[at + 1]) : EMPTY;
    if (this.#calls.has(id) || bytes.length > STREAM_WINDOW || !this.#mux.hasRoom(bytes.length)) {
      for (let i = at; i <= last; i++) this.take(packet, parts, i);
      return;
    }
    try {
      const head = this.#admit(packet, parts, at);
      const trailers = decodeTrailers(packet.subarray(parts.starts[last], parts.ends[last]));
      const unhashed = this.#mux.digests && bytes.length > 0 ? bytes : null;
      // What is handed out is a copy: who gets it may change it before it is hashed.
      this.#open(id, head, new Whole(copyOf(bytes), this.#mux), unhashed, trailers);
      this.#count(id, bytes);
    } catch (error) {
      this.#refuse(id, safeCode(error), 'fault');
    }
  }

  #onPart(call: IncomingCall | undefined, packet: Uint8Array, parts: PartIndex, at: number): void {
    const body = packet.subarray(parts.starts[at], parts.ends[at]);
    if (parts.kinds[at] === PartKind.requestHead) {
      if (call !== undefined) throw malformed('a second request head');
      const id = parts.calls[at];
      const flow = new Inflow(this.#mux, id, this.#hash(), ignore);
      this.#open(id, this.#admit(packet, parts, at), flow, null, []);
      return;
    }
    if (call === undefined) return;
    switch (parts.kinds[at]) {
      case PartKind.requestData:
        if (!this.#mux.hasRoom(body.length)) throw overloaded();
        // A copy: a view would keep its whole packet alive for as long as a slow reader has it.
        if (body.length > 0 && !(call.in?.push(copyOf(body)) ?? false))
          throw malformed('more bytes than the window allows');
        this.#count(call.id, body);
        return;
      case PartKind.requestEnd:
        if (call.complete) throw malformed('a second request end');
        call.trailers = decodeTrailers(body);
        call.in!.end();
        call.onRequestEnd?.();
        return;
      case PartKind.window:
        call.out?.grant(readWindow(body));
        return;
      case PartKind.cancel:
        this.#onCancel(call, cancelCode(body));
        return;
      default:
        throw malformed(`part ${parts.kinds[at]} in a request`);
    }
  }

  /** The head of a call that may be opened. */
  #admit(packet: Uint8Array, parts: PartIndex, at: number): RequestHead {
    if (this.#mux.options.handler === undefined)
      throw new Agnt2Error('unsupported', 'this side of the socket answers no calls');
    if (this.#calls.size + this.#abandoned >= this.#mux.maxCalls)
      throw new Agnt2Error('too_many_calls', 'too many calls in flight');
    const head = this.#heads.read(packet, parts.starts[at], parts.ends[at]);
    if (typeof head.method !== 'string' || typeof head.target !== 'string')
      throw malformed('a request head has a method and a target');
    return head;
  }

  #open(
    id: number,
    head: RequestHead,
    body: Inflow | Whole,
    unhashed: Uint8Array | null,
    trailers: [string, string][],
  ): void {
    const call = new IncomingCall(id, head.takes, body, unhashed, this.#none);
    call.trailers = trailers;
    this.#calls.set(id, call);
    // While the handler has it.
    if (unhashed !== null) this.#mux.parts.afterTurn(() => void call.requestDigest);
    const request: ExchangeRequest = {
      method: head.method,
      target: head.target,
      headers: head.headers,
      body,
      trailers: () => call.trailers,
      ...(head.upgrade === 'websocket' && { upgrade: head.upgrade }),
      ...(call.takes.includes('interim') && { interim: (interim: Interim) => this.#interim(call, interim) }),
      signal: call.signal,
    };
    const meta = typeof head.meta === 'object' && head.meta !== null ? head.meta : NO_META;
    let answer: Promise<Served>;
    try {
      answer = this.#mux.options.handler!(request, meta, call);
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer.then(
      (served) => {
        this.#answered(call);
        this.#serve(call, served);
      },
      (error: unknown) => {
        this.#answered(call);
        if (!call.closed) this.#refuse(id, safeCode(error));
      },
    );
  }

  #answered(call: IncomingCall): void {
    call.answered = true;
    if (call.closed) this.#abandoned -= 1;
  }

  #interim(call: IncomingCall, { status, headers }: Interim): void {
    if (call.closed || call.served !== null || status < 100 || status > 199 || status === 101) return;
    this.#mux.parts.writeText(PartKind.responseHead, call.id, JSON.stringify({ status, headers }), MAX_HEAD_BYTES);
  }

  #serve(call: IncomingCall, served: Served): void {
    const { response } = served;
    const { parts, digests } = this.#mux;
    const { id } = call;
    if (call.closed) {
      served.dropped?.('failed', call.digests, false);
      void Promise.resolve(response.body[Symbol.asyncIterator]().return?.()).catch(ignore);
      return;
    }
    call.served = served;
    const { status, reason, headers } = response;
    if (!parts.writeText(PartKind.responseHead, id, JSON.stringify({ status, reason, headers }), MAX_HEAD_BYTES)) {
      this.#refuse(id, 'head_too_large');
      return;
    }
    const { meter } = call;
    const whole = meter === null ? parts.takeWhole(response.body) : null;
    if (whole !== null) {
      if (digests && whole.length > 0) call.responseDigest = sha(whole);
      if (whole.length > 0) parts.write(PartKind.responseData, id, whole);
      this.#afterBody(call, served);
      return;
    }
    const out = (call.out = new Outflow(this.#hash()));
    if (meter !== null) out.limit = (chunk) => meter.fit(chunk);
    parts.pump(out, PartKind.responseData, id, response.body).then(
      (all) => {
        if (all) this.#afterBody(call, served);
        else if (out.spent) this.#cut(call);
      },
      (error: unknown) => {
        const code = safeCode(error);
        if (!call.closed) this.#refuse(id, code, code === BODY_MISMATCH ? 'fault' : 'failed');
      },
    );
  }

  #afterBody(call: IncomingCall, { response }: Served): void {
    const trailers = response.trailers !== undefined && call.takes.includes('trailers') ? trailersOf(response) : EMPTY;
    if (trailers.length > 0 && !call.closed) this.#mux.parts.write(PartKind.responseTrailers, call.id, trailers);
    // The record hashes all that was sent of the request; where an app answered early, its end is still to come.
    if (call.complete) this.#finish(call);
    else {
      call.onRequestEnd = () => this.#finish(call);
      call.in!.discard();
      if (call.takes.includes('stop') && !call.closed) this.#mux.parts.write(PartKind.stop, call.id, EMPTY);
    }
  }

  /** Counts bytes of a request; whoever sends more than it pays for gets no more. */
  #count(id: number, bytes: Uint8Array): void {
    const call = this.#calls.get(id);
    if (call === undefined || call.meter === null) return;
    call.meter.count('request', bytes);
    if (!call.meter.isOver || call.cut) return;
    if (call.served === null) this.#refuse(id, OVER_PRICE);
    else this.#cut(call);
  }

  /** What was agreed on is used up: the call ends here, and what has passed of it is recorded. */
  #cut(call: IncomingCall): void {
    if (call.closed || call.cut) return;
    if (!call.takes.includes('cut')) return this.#refuse(call.id, OVER_PRICE, 'fault');
    call.cut = true;
    const error = new Agnt2Error(OVER_PRICE, 'the call has cost what it may');
    this.#mux.parts.write(PartKind.cut, call.id, utf8(OVER_PRICE));
    call.stop(error);
    if (call.complete) this.#finish(call);
    else call.onRequestEnd = () => this.#finish(call);
    call.signal.abort(error);
  }

  /** The last part of a served call. */
  #finish(call: IncomingCall): void {
    if (call.closed) return;
    this.#forget(call);
    const { parts } = this.#mux;
    const { id } = call;
    try {
      const end = call.served!.end(call.digests);
      if (end instanceof Uint8Array) parts.write(PartKind.responseEnd, id, end);
      else
        end.then(
          (bytes) => parts.write(PartKind.responseEnd, id, bytes),
          (error: unknown) => parts.write(PartKind.cancel, id, utf8(safeCode(error))),
        );
    } catch (error) {
      parts.write(PartKind.cancel, id, utf8(safeCode(error)));
    }
  }

  #onCancel(call: IncomingCall, code: string): void {
    const error = new Agnt2Error(code, 'the caller ended the call');
    call.stop(error);
    if (call.served === null) this.#refuse(call.id, 'cancelled');
    else this.#finish(call);
    call.signal.abort(error);
  }

  /** Ends a call of theirs without a response end. */
  #refuse(id: number, code: string, why: 'failed' | 'fault' = 'failed'): void {
    const call = this.#calls.get(id);
    if (call !== undefined) {
      call.served?.dropped?.(why, call.digests, call.complete);
      this.#forget(call);
      const error = new Agnt2Error(code, 'the call was ended');
      call.stop(error);
      call.signal.abort(error);
    }
    this.#mux.parts.write(PartKind.cancel, id, utf8(code));
  }

  #forget(call: IncomingCall): void {
    call.closed = true;
    if (!call.answered) this.#abandoned += 1;
    this.#calls.delete(call.id);
    call.in?.discard();
    call.whole?.release();
  }

  close(error: Agnt2Error): void {
    for (const call of this.#calls.values()) {
      call.closed = true;
      call.served?.dropped?.('lost', call.digests, call.complete);
      call.stop(error);
      call.signal.abort(error);
    }
    this.#calls.clear();
  }

  #hash(): BodyHash | null {
    return this.#mux.digests ? new BodyHash() : null;
  }
}

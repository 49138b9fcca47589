/** The calls of ours on a packet socket: what has been said of each, and what its caller has been told. */
import { type Abortable, type Signal, unwatch, watch } from './aborts.ts';
import { utf8 } from './bytes.ts';
import { Agnt2Error, malformed } from './errors.ts';
import { type ExchangeRequest, type ExchangeResponse, MAX_INTERIM } from './exchange.ts';
import { BodyHash, EMPTY_HASH, Inflow, Outflow } from './flow.ts';
import { sha } from './hash.ts';
import type { CallSink, Digests, MuxContext, OpenCall } from './mux.ts';
import { HeadReader, type PartIndex, PartKind, type ResponseHead, STREAM_WINDOW, decodeTrailers } from './packet.ts';
import { MAX_HEAD_BYTES, cancelCode, overloaded, readWindow, safeCode, trailersOf } from './parts.ts';
import { Whole, copyOf } from './whole.ts';

const TAKES = ['trailers', 'stop', 'cut'] as const;
const TAKES_INTERIM = ['trailers', 'stop', 'cut', 'interim'] as const;

/** Answers handed on are accounted for together: after so long at the latest, or so many, or so many bytes of packets that they came in. */
const SETTLE_MS = 5;
const SETTLE_CALLS = 64;
const SETTLE_BYTES = 256 * 1024;
/** A request up to this is copied, and hashed with its answer. */
const HELD_BYTES = 16 * 1024;

const EMPTY = new Uint8Array(0);
const NO_TRAILERS: [string, string][] = [];
const noTrailers = (): [string, string][] => NO_TRAILERS;
const ignore = (): void => {};

class OutgoingCall implements OpenCall, Abortable {
  readonly id: number;
  readonly sink: CallSink;
  readonly #calls: OutgoingCalls;
  readonly interim: ExchangeRequest['interim'];
  /** Null once a whole request has been sent. */
  out: Outflow | null = null;
  /** The body of a request that was sent whole, until it is hashed. */
  request: Uint8Array | null = null;
  #requestDigest: Uint8Array = EMPTY;
  in: Inflow | null = null;
  response!: ExchangeResponse;
  interims = 0;
  trailers: [string, string][] | null = null;
  status = 0;
  answered = false;
  /** Its answer is whole and handed on; what is left is to account for it. */
  whole = false;
  cancelled: Agnt2Error | null = null;
  /** Why the answer is not whole though it has an end. */
  short: Agnt2Error | null = null;
  /** Its caller has been told of a response, or that there is none. */
  told = false;
  readonly #signal: Signal;
  timer: ReturnType<typeof setTimeout> | undefined = undefined;
  #ended: Uint8Array | null = null;
  #failed: { error: unknown } | null = null;
  #waiter: PromiseWithResolvers<Uint8Array> | null = null;

  constructor(calls: OutgoingCalls, id: number, request: ExchangeRequest, sink: CallSink) {
    this.#calls = calls;
    this.id = id;
    this.sink = sink;
    this.interim = request.interim;
    this.#signal = request.signal;
    watch(request.signal, this);
    if (sink.deadlineMs !== undefined) this.timer = setTimeout(() => this.#expired(), sink.deadlineMs);
  }

  /** Of a body that was sent whole. */
  get requestDigest(): Uint8Array {
    if (this.request !== null) this.#requestDigest = digestOf(this.request);
    this.request = null;
    return this.#requestDigest;
  }

  get end(): Promise<Uint8Array> {
    if (this.#waiter === null) {
      this.#waiter = Promise.withResolvers<Uint8Array>();
      this.#waiter.promise.catch(ignore);
      if (this.#ended !== null) this.#waiter.resolve(this.#ended);
      else if (this.#failed !== null) this.#waiter.reject(this.#failed.error);
      else if (this.whole) this.#calls.settleSoon();
    }
    return this.#waiter.promise;
  }

  ended(end: Uint8Array): void {
    this.#ended = end;
    this.#waiter?.resolve(end);
  }

  failed(error: unknown): void {
    this.#failed = { error };
    this.#waiter?.reject(error);
  }

  aborted(): void {
    this.#calls.cancel(this, new Agnt2Error('cancelled', 'the caller went away'));
  }

  #expired(): void {
    this.#calls.cancel(this, new Agnt2Error('deadline_exceeded', `no answer within ${this.sink.deadlineMs} ms`));
  }

  /** Nothing from outside ends it any more. */
  release(): void {
    unwatch(this.#signal, this);
    if (this.timer !== undefined) clearTimeout(this.timer);
  }
}

/** An answer that was handed on before it was accounted for; `bytes` is its body, in the packet it came in. */
interface Unsettled {
  readonly call: OutgoingCall;
  readonly bytes: Uint8Array;
  readonly end: Uint8Array;
}

export class OutgoingCalls {
  readonly #mux: MuxContext;
  readonly #calls = new Map<number, OutgoingCall>();
  #unsettled: Unsettled[] = [];
  #unsettledBytes = 0;
  #settling: ReturnType<typeof setTimeout> | null = null;
  #soon = false;
  readonly #settleNow = (): void => this.settle();
  readonly #heads = new HeadReader<ResponseHead>();
  #next: number;

  constructor(mux: MuxContext) {
    this.#mux = mux;
    const { numbering } = mux.options;
    // The gateway's side forgets its numbers when it is evicted; parts of an older life must not meet a new call.
    this.#next = numbering === 'odd' ? 1 : numbering === 'even' ? 0 : Math.floor(Math.random() * 2 ** 27);
  }

  get size(): number {
    return this.#calls.size;
  }
  has(id: number): boolean {
    return this.#calls.has(id);
  }

  start(request: ExchangeRequest, sink: CallSink): void {
    const { parts, digests } = this.#mux;
    const id = this.#next;
    const refused = this.#unable(request) ?? this.#sendHead(id, request, sink);
    if (refused !== null) {
      sink.onFailed?.();
      sink.onRefused(refused);
      return;
    }
    this.#next += this.#mux.options.numbering === 'all' ? 1 : 2;
    const call = new OutgoingCall(this, id, request, sink);
    this.#calls.set(id, call);
    const whole = parts.takeWhole(request.body);
    if (whole !== null) {
      sink.meter?.count('request', whole);
      if (whole.length > 0) parts.write(PartKind.requestData, id, whole);
      parts.write(PartKind.requestEnd, id, trailersOf(request));
      if (digests) this.#hashLater(call, whole);
      return;
    }
    const out = (call.out = new Outflow(this.#hash()));
    const { meter } = sink;
    if (meter)
      out.limit = (chunk) => {
        meter.count('request', chunk);
        return chunk.length;
      };
    parts.pump(out, PartKind.requestData, id, request.body).then(
      (all) => all && parts.write(PartKind.requestEnd, id, trailersOf(request)),
      (error: unknown) => this.cancel(call, new Agnt2Error('cancelled', 'the request body failed', { cause: error })),
    );
  }

  /** Hashes a request that was sent whole when its digest is asked for; right behind the packet, with the others in it, where copies to wait for that would be large or many. */
  #hashLater(call: OutgoingCall, whole: Uint8Array): void {
    call.request = whole;
    if (call.sink.onEnd === undefined) return;
    if (whole.length <= HELD_BYTES && this.#calls.size <= SETTLE_CALLS) call.request = copyOf(whole);
    else this.#mux.parts.afterTurn(() => void call.requestDigest);
  }

  #unable(request: ExchangeRequest): Agnt2Error | null {
    if (this.#mux.options.numbering === 'none')
      return new Agnt2Error('unsupported', 'this side of the socket only answers calls');
    if (request.signal.aborted) return new Agnt2Error('cancelled', 'the caller went away');
    if (this.#calls.size >= this.#mux.maxCalls)
      return new Agnt2Error('too_many_calls', `${this.#mux.maxCalls} calls are in flight`);
    return null;
  }

  #sendHead(
    id: number,
    { method, target, headers, upgrade, interim }: ExchangeRequest,
    { meta }: CallSink,
  ): Agnt2Error | null {
    const takes = interim === undefined ? TAKES : TAKES_INTERIM;
    const head = JSON.stringify({ method, target, headers, upgrade, meta, takes });
    return this.#mux.parts.writeText(PartKind.requestHead, id, head, MAX_HEAD_BYTES)
      ? null
      : new Agnt2Error('head_too_large', `a call head has at most ${MAX_HEAD_BYTES} bytes`);
  }

  /** Part number `at` of a packet, which is of a call of ours. */
  take(packet: Uint8Array, parts: PartIndex, at: number): void {
    // Accounts are kept in the order in which calls end.
    this.settle();
    const call = this.#calls.get(parts.calls[at]);
    // Parts of a call that ended here cross our own end on the way; they mean nothing any more.
    if (call === undefined) return;
    try {
      this.#onPart(call, packet, parts, at);
    } catch (error) {
      this.#break(call, error);
    }
  }

  /** An answer that came all at once: `count` parts from `at` on, head to end. */
  takeWhole(packet: Uint8Array, parts: PartIndex, at: number, count: number): void {
    const call = this.#calls.get(parts.calls[at]);
    const last = at + count - 1;
    if (call === undefined) return;
    const bytes = count === 3 ? packet.subarray(parts.starts[at + 1], parts.ends[at + 1]) : EMPTY;
    const head = this.#wholeHead(call, packet, parts, at, bytes.length);
    if (head === null) {
      for (let i = at; i <= last; i++) this.take(packet, parts, i);
      return;
    }
    this.#unsettledBytes += packet.length;
    this.#onWhole(call, head, bytes, copyOf(packet.subarray(parts.starts[last], parts.ends[last])));
  }

  /** The head of an answer in which nothing is amiss; null for one to be looked at part by part. */
  #wholeHead(call: OutgoingCall, packet: Uint8Array, parts: PartIndex, at: number, bytes: number): ResponseHead | null {
    if (call.answered || call.cancelled !== null || bytes > STREAM_WINDOW || !this.#mux.hasRoom(bytes)) return null;
    try {
      const head = this.#readHead(packet, parts, at);
      return isInterim(head.status) ? null : head;
    } catch {
      return null;
    }
  }

  /**
   * Whoever asked waits for the answer; the accounts, which are between the two sides, can wait. One by one they would cost several times as much,
   * each at a moment in which the next call is on its way.
   */
  #onWhole(call: OutgoingCall, head: ResponseHead, bytes: Uint8Array, end: Uint8Array): void {
    call.answered = true;
    call.whole = true;
    call.status = head.status;
    call.release();
    call.out?.stop();
    this.#unsettled.push({ call, bytes, end });
    if (call.sink.onEnd === undefined) this.settle();
    else if (this.#unsettled.length >= SETTLE_CALLS || this.#unsettledBytes >= SETTLE_BYTES) this.settleSoon();
    else this.#settling ??= setTimeout(this.#settleNow, SETTLE_MS);
    // What is handed out is a copy: who gets it may change it before it is hashed.
    this.#open(call, head, new Whole(copyOf(bytes), this.#mux));
  }

  /** {@link settle}, at the end of this turn. */
  settleSoon(): void {
    if (this.#soon || this.#unsettled.length === 0) return;
    this.#soon = true;
    this.#mux.parts.afterTurn(this.#settleNow);
  }

  /** Accounts for the answers handed on, in the order in which they came. */
  settle(): void {
    this.#soon = false;
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#settling = null;
    if (this.#unsettled.length === 0) return;
    const unsettled = this.#unsettled;
    this.#unsettled = [];
    this.#unsettledBytes = 0;
    for (const { call, bytes, end } of unsettled) {
      this.#calls.delete(call.id);
      const { sink } = call;
      try {
        sink.meter?.count('response', bytes);
        sink.onEnd?.(end, this.#digestsOf(call, bytes), call.status);
        call.ended(end);
      } catch (error) {
        this.#fail(call, error);
      }
    }
    this.#mux.options.settled?.();
  }

  #onPart(call: OutgoingCall, packet: Uint8Array, parts: PartIndex, at: number): void {
    const body = packet.subarray(parts.starts[at], parts.ends[at]);
    switch (parts.kinds[at]) {
      case PartKind.responseHead: {
        if (call.answered) throw malformed('a second response head');
        const head = this.#readHead(packet, parts, at);
        const { status, headers } = head;
        if (isInterim(status)) {
          if (++call.interims > MAX_INTERIM) throw malformed('too many interim answers');
          if (call.cancelled === null) call.interim?.({ status, headers });
          return;
        }
        call.answered = true;
        call.status = status;
        const flow = this.#inflow(call);
        if (call.cancelled === null) this.#open(call, head, flow);
        else flow.fail(call.cancelled);
        return;
      }
      case PartKind.responseData:
        if (!call.answered) throw malformed('response data before its head');
        if (call.trailers !== null) throw malformed('response data after its trailers');
        if (!this.#mux.hasRoom(body.length)) throw overloaded();
        // A copy: a view would keep its whole packet alive for as long as a slow reader has it.
        if (body.length > 0 && !call.in!.push(copyOf(body))) throw malformed('more bytes than the window allows');
        call.sink.meter?.count('response', body);
        return;
      case PartKind.responseTrailers:
        if (!call.answered || call.trailers !== null) throw malformed('trailers follow the response data, once');
        call.trailers = decodeTrailers(body);
        return;
      case PartKind.responseEnd: {
        if (!call.answered) throw malformed('a response end before its head');
        const end = copyOf(body);
        this.#calls.delete(call.id);
        call.release();
        call.out?.stop();
        call.sink.onEnd?.(end, this.#digestsOf(call), call.status);
        if (call.short === null) call.in!.end();
        else call.in!.fail(call.short);
        call.ended(end);
        return;
      }
      case PartKind.cut:
        if (!call.answered) throw malformed('an answer is cut after its head');
        call.short = new Agnt2Error(cancelCode(body), 'the other side ended the answer');
        if (call.out?.cut() === true) this.#mux.parts.write(PartKind.requestEnd, call.id, EMPTY);
        return;
      case PartKind.stop:
        if (!call.answered) throw malformed('a stop before the answer');
        // The answer is whole: what was sent of the request is the request, and both have hashed it.
        if (call.out?.cut() === true) this.#mux.parts.write(PartKind.requestEnd, call.id, EMPTY);
        return;
      case PartKind.window:
        call.out?.grant(readWindow(body));
        return;
      case PartKind.cancel:
        this.#fail(call, call.cancelled ?? new Agnt2Error(cancelCode(body), 'the other side ended the call'));
        return;
      default:
        throw malformed(`part ${parts.kinds[at]} in an answer`);
    }
  }

  #readHead(packet: Uint8Array, parts: PartIndex, at: number): ResponseHead {
    const head = this.#heads.read(packet, parts.starts[at], parts.ends[at]);
    const { status } = head;
    if (!Number.isInteger(status) || status < 100 || status > 999)
      throw malformed('a response status has three digits');
    return head;
  }

  #open(call: OutgoingCall, { status, reason, headers }: ResponseHead, body: Whole | Inflow): void {
    const trailers = body instanceof Whole ? noTrailers : (): [string, string][] => call.trailers ?? NO_TRAILERS;
    call.response =
      typeof reason === 'string' ? { status, reason, headers, body, trailers } : { status, headers, body, trailers };
    if (call.told) return;
    call.told = true;
    call.sink.onOpen(call);
  }

  #inflow(call: OutgoingCall): Inflow {
    const left = (): void => this.cancel(call, new Agnt2Error('cancelled', 'the reader left'));
    return (call.in ??= new Inflow(this.#mux, call.id, this.#hash(), left));
  }

  /** Gives a call up towards its caller; its entry stays until the callee has said how it ended. */
  cancel(call: OutgoingCall, error: Agnt2Error): void {
    if (call.cancelled !== null || call.whole || this.#calls.get(call.id) !== call) return;
    call.cancelled = error;
    call.release();
    call.out?.stop();
    call.in?.fail(error);
    call.in?.discard();
    this.#tell(call, error);
    this.#mux.parts.write(PartKind.cancel, call.id, utf8(error.code));
  }

  /** A part of the answer made no sense. Before the end the callee must still say how it ended, as after any cancel. */
  #break(call: OutgoingCall, error: unknown): void {
    if (this.#calls.has(call.id))
      this.cancel(call, new Agnt2Error(safeCode(error), 'the answer was not valid', { cause: error }));
    else this.#fail(call, error);
  }

  #fail(call: OutgoingCall, error: unknown): void {
    this.#calls.delete(call.id);
    call.release();
    call.out?.stop();
    call.in?.fail(error as Error);
    this.#tell(call, error);
    call.failed(error);
    call.sink.onFailed?.();
  }

  #tell(call: OutgoingCall, error: unknown): void {
    if (call.told) return;
    call.told = true;
    call.sink.onRefused(error);
  }

  close(error: Agnt2Error): void {
    this.settle();
    for (const call of this.#calls.values()) {
      call.sink.onLost?.(this.#digestsOf(call), call.out === null || call.out.finished || call.cancelled !== null);
      this.#fail(call, error);
    }
  }

  #hash(): BodyHash | null {
    return this.#mux.digests ? new BodyHash() : null;
  }

  #requestDigest(call: OutgoingCall): Uint8Array {
    return call.out === null ? call.requestDigest : (call.out.hash?.digest() ?? EMPTY);
  }

  #digestsOf(call: OutgoingCall, whole: Uint8Array = EMPTY): Digests {
    const responseBody = call.in === null ? (this.#mux.digests ? digestOf(whole) : EMPTY) : call.in.hash?.digest();
    return { requestBody: this.#requestDigest(call), responseBody: responseBody ?? EMPTY };
  }
}

const isInterim = (status: number): boolean => status < 200 && status !== 101;
const digestOf = (body: Uint8Array): Uint8Array => (body.length === 0 ? EMPTY_HASH : sha(body));

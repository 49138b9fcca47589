/**
 * CallMux: many HTTP calls over one packet socket, both ways (the calls packets of docs/protocol.md §8). It knows
 * neither money nor platform: a session puts records into the ends, an agent's socket carries first contact with it.
 *
 * Every call ends with exactly one part of its callee, a response end or a cancel, also after the caller cancelled. A
 * call cancelled after its response began still gets its end, so what was served is recorded; both sides then have
 * hashed the same bytes, because parts arrive in the order they were sent.
 */
import { Reader, utf8 } from './bytes.ts';
import { Agnt2Error, codeOf, malformed } from './errors.ts';
import {
  MAX_DATA_BYTES,
  PacketType,
  type Part,
  PartKind,
  type RequestHead,
  type ResponseHead,
  decodeCalls,
  decodeHead,
  decodeTrailers,
  encodeHead,
  encodeTrailers,
} from './packet.ts';
import type { ExchangeRequest, ExchangeResponse, Interim } from './exchange.ts';
import { BodyHash, type Flow, Inflow, Outflow } from './flow.ts';

/** SHA-256 of the two bodies of a call, as they were streamed. Empty arrays with `digests: false`. */
export interface Digests {
  readonly requestBody: Uint8Array;
  readonly responseBody: Uint8Array;
}

/** An outgoing call whose response head has arrived. */
export interface OpenCall {
  readonly response: ExchangeResponse;
  /** Bytes of the response end: a call record. Rejects when the call fails after its head. */
  readonly end: Promise<Uint8Array>;
}

/** What a handler makes of an incoming call. */
export interface Served {
  readonly response: ExchangeResponse;
  /** Called once, when both bodies are through or the caller cancelled mid-response; in the order of its calls' ends if it answers synchronously. */
  end(digests: Digests): Uint8Array | Promise<Uint8Array>;
  /**
   * Called instead of `end` when there will be none: `failed`, the response broke here or the caller left before its
   * head; `fault`, the caller's own bytes broke it after its head, when it may have all it wanted; `lost`, the socket went
   * after the head. `complete` when the whole request had arrived.
   */
  dropped?(why: 'failed' | 'fault' | 'lost', digests: Digests, complete: boolean): void;
}

/** Answers an incoming call; a rejection cancels the call with its `code`. */
export type IncomingHandler = (
  request: ExchangeRequest,
  meta: Readonly<Record<string, string>>,
  call: number,
) => Promise<Served>;

export interface CallOptions {
  readonly meta?: Record<string, string>;
  /** Milliseconds from now after which the call is cancelled with `deadline_exceeded`. */
  readonly deadlineMs?: number;
  /** Sees the response end synchronously, in order of arrival; what it throws fails the call. */
  readonly onEnd?: (end: Uint8Array, digests: Digests, status: number) => void;
  /** The call was lost with its socket. `digests` are of what had passed; `complete` when the whole request had been sent. */
  readonly onLost?: (digests: Digests, complete: boolean) => void;
  /** The call is over and had no valid end. For a cancelled call that is when its callee has said so. */
  readonly onFailed?: () => void;
}

export interface MuxOptions {
  /** Takes a packet; must not keep the caller waiting and must not throw for a dead socket. */
  readonly send: (packet: Uint8Array) => void;
  /** Bytes the socket has taken and not yet sent. */
  readonly buffered?: () => number;
  /** Which call numbers are ours: in a session a's are even and b's odd; on an agent's socket the gateway's are all. */
  readonly numbering: 'even' | 'odd' | 'all' | 'none';
  readonly handler?: IncomingHandler;
  /** Calls in flight per direction. Default 16,384. */
  readonly maxCalls?: number;
  /** Received bytes waiting for their readers, over all calls. Default 64 MiB. */
  readonly maxQueued?: number;
  /** Hash bodies as they pass. Default true. */
  readonly digests?: boolean;
}

/** A packet leaves when it has grown to this, or when the turn ends. */
const PACKET_TARGET = 256 * 1024;
/** Above this many bytes not yet sent, bodies wait. */
const HIGH_WATER = 2 * 1024 * 1024;
const CONGESTION_POLL_MS = 2;
const MAX_HEAD_BYTES = 128 * 1024;
/** Interim answers of one call: they have no window. */
const MAX_INTERIM = 32;
/** What a handler's response breaks with when the request was not what its head said. */
const BODY_MISMATCH = 'body_mismatch';
const CODE = /^[a-z][a-z0-9_]{0,63}$/;

const TRAILERS = ['trailers'] as const;
const TRAILERS_AND_INTERIM = ['trailers', 'interim'] as const;

const EMPTY = new Uint8Array(0);
const ignore = (): void => {};

/** Once per turn: after the input of this turn where the platform knows turns (Node), else on the next timer. */
const nextTurn: (run: () => void) => void =
  (globalThis as { setImmediate?: (run: () => void) => void }).setImmediate ?? ((run) => void setTimeout(run, 0));

/** A call of ours. */
interface Outgoing {
  readonly id: number;
  readonly out: Outflow;
  in: Inflow;
  readonly interim: ((head: Interim) => void) | undefined;
  interims: number;
  trailers: [string, string][] | null;
  status: number;
  answered: boolean;
  cancelled: Agnt2Error | null;
  readonly options: CallOptions;
  readonly resolve: (open: OpenCall) => void;
  readonly reject: (error: unknown) => void;
  readonly end: Promise<Uint8Array>;
  readonly resolveEnd: (end: Uint8Array) => void;
  readonly rejectEnd: (error: unknown) => void;
  release: () => void;
}

/** A call of the other side. */
interface Incoming {
  readonly id: number;
  readonly in: Inflow;
  readonly out: Outflow;
  readonly takes: readonly unknown[];
  trailers: [string, string][];
  abort: AbortController | null;
  served: Served | null;
  /** Its handler has answered, one way or the other. */
  answered: boolean;
  /** The request ended; the end may be made. */
  onRequestEnd: (() => void) | null;
  closed: boolean;
}

export class CallMux implements Flow {
  readonly #options: MuxOptions;
  readonly #maxCalls: number;
  readonly #maxQueued: number;
  readonly #digests: boolean;
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #incoming = new Map<number, Incoming>();
  #next: number;
  #closed: Agnt2Error | null = null;
  #packet = new Uint8Array(16 * 1024);
  #length = 1;
  #scheduled = false;
  #queued = 0;
  /** Calls that ended while their handlers were still at work: those, too, are somebody's work. */
  #abandoned = 0;
  #congested: (() => void)[] = [];

  constructor(options: MuxOptions) {
    this.#options = options;
    this.#maxCalls = options.maxCalls ?? 16_384;
    this.#maxQueued = options.maxQueued ?? 64 * 1024 * 1024;
    this.#digests = options.digests ?? true;
    // The gateway's side forgets its numbers when it is evicted; parts of an older life must not meet a new call.
    this.#next =
      options.numbering === 'odd' ? 1 : options.numbering === 'even' ? 0 : Math.floor(Math.random() * 2 ** 27);
    this.#packet[0] = PacketType.calls;
  }

  /** Calls in flight, ours and theirs. */
  get inFlight(): { outgoing: number; incoming: number } {
    return { outgoing: this.#outgoing.size, incoming: this.#incoming.size };
  }

  /**
   * Opens a call; resolves with its response head. Rejects with the other side's code when it cancels, `cancelled` when
   * `request.signal` aborts, `deadline_exceeded`, `session_lost` with the socket, `too_many_calls`.
   */
  call(request: ExchangeRequest, options: CallOptions = {}): Promise<OpenCall> {
    const refused = this.#unable(request);
    if (refused !== null) {
      options.onFailed?.();
      return Promise.reject(refused);
    }
    const head = encodeHead({
      method: request.method,
      target: request.target,
      headers: request.headers as [string, string][],
      ...(options.meta && { meta: options.meta }),
      takes: request.interim === undefined ? TRAILERS : TRAILERS_AND_INTERIM,
    });
    if (head.length > MAX_HEAD_BYTES) {
      options.onFailed?.();
      return Promise.reject(new Agnt2Error('head_too_large', `a call head has at most ${MAX_HEAD_BYTES} bytes`));
    }
    const id = this.#next;
    this.#next += this.#options.numbering === 'all' ? 1 : 2;
    return new Promise<OpenCall>((resolve, reject) => {
      const { promise: end, resolve: resolveEnd, reject: rejectEnd } = Promise.withResolvers<Uint8Array>();
      end.catch(ignore);
      const call: Outgoing = {
        id,
        out: new Outflow(this.#hash()),
        in: new Inflow(this, id, this.#hash(), () =>
          this.#cancelOutgoing(call, new Agnt2Error('cancelled', 'the reader left')),
        ),
        interim: request.interim,
        interims: 0,
        trailers: null,
        status: 0,
        answered: false,
        cancelled: null,
        options,
        resolve,
        reject,
        end,
        resolveEnd,
        rejectEnd,
        release: ignore,
      };
      const aborted = (): void => this.#cancelOutgoing(call, new Agnt2Error('cancelled', 'the caller went away'));
      request.signal.addEventListener('abort', aborted);
      const timer =
        options.deadlineMs === undefined
          ? undefined
          : setTimeout(
              () =>
                this.#cancelOutgoing(
                  call,
                  new Agnt2Error('deadline_exceeded', `no answer within ${options.deadlineMs} ms`),
                ),
              options.deadlineMs,
            );
      call.release = (): void => {
        request.signal.removeEventListener('abort', aborted);
        if (timer !== undefined) clearTimeout(timer);
      };
      this.#outgoing.set(id, call);
      this.#write(PartKind.requestHead, id, head);
      this.#pump(call.out, PartKind.requestData, id, request.body).then(
        (whole) => whole && this.#write(PartKind.requestEnd, id, trailersOf(request)),
        (error: unknown) =>
          this.#cancelOutgoing(call, new Agnt2Error('cancelled', 'the request body failed', { cause: error })),
      );
    });
  }

  #unable(request: ExchangeRequest): Agnt2Error | null {
    if (this.#closed !== null) return this.#closed;
    if (this.#options.numbering === 'none')
      return new Agnt2Error('unsupported', 'this side of the socket only answers calls');
    if (request.signal.aborted) return new Agnt2Error('cancelled', 'the caller went away');
    if (this.#outgoing.size >= this.#maxCalls)
      return new Agnt2Error('too_many_calls', `${this.#maxCalls} calls are in flight`);
    return null;
  }

  /**
   * Takes one calls packet. Throws `malformed` when its framing is broken, which leaves the socket no meaning; anything
   * wrong inside one call ends that call alone.
   */
  receive(packet: Uint8Array): void {
    if (this.#closed !== null) return;
    const bytes =
      packet.constructor === Uint8Array ? packet : new Uint8Array(packet.buffer, packet.byteOffset, packet.byteLength);
    if (bytes[0] !== PacketType.calls) throw malformed('not a calls packet');
    for (const part of decodeCalls(bytes)) {
      const own = this.#owns(part.call);
      const call = own ? this.#outgoing.get(part.call) : this.#incoming.get(part.call);
      try {
        if (own) this.#onAnswer(call as Outgoing | undefined, part);
        else this.#onRequest(call as Incoming | undefined, part);
      } catch (error) {
        if (own) this.#breakOutgoing(call as Outgoing, error);
        else this.#refuse(part.call, safeCode(error), 'fault');
      }
    }
  }

  /** Ends everything in flight with `error`, on both sides of every call here, and sends nothing more. */
  close(error: Agnt2Error = new Agnt2Error('session_lost', 'the socket closed with this call in flight')): void {
    if (this.#closed !== null) return;
    this.#flush();
    this.#closed = error;
    for (const call of this.#outgoing.values()) {
      call.options.onLost?.(this.#digestsOf(call.out, call.in), call.out.finished || call.cancelled !== null);
      this.#failOutgoing(call, error);
    }
    for (const call of this.#incoming.values()) {
      call.closed = true;
      call.served?.dropped?.('lost', this.#digestsOf(call.in, call.out), call.in.ended);
      call.in.fail(error);
      call.out.stop();
      call.abort?.abort(error);
    }
    this.#incoming.clear();
    for (const wake of this.#congested.splice(0)) wake();
  }

  /** Sends what waits for the end of the turn now. */
  flush(): void {
    this.#flush();
  }

  /** @internal Inflow's account of bytes waiting. */
  queued(bytes: number): void {
    this.#queued += bytes;
  }

  /** @internal Inflow's grant. */
  grant(call: number, bytes: number): void {
    if (this.#outgoing.has(call) || this.#incoming.has(call)) this.#write(PartKind.window, call, varint(bytes));
  }

  #hash(): BodyHash | null {
    return this.#digests ? new BodyHash() : null;
  }

  #digestsOf(request: Outflow | Inflow, response: Outflow | Inflow): Digests {
    return { requestBody: request.hash?.digest() ?? EMPTY, responseBody: response.hash?.digest() ?? EMPTY };
  }

  #owns(call: number): boolean {
    const { numbering } = this.#options;
    return numbering === 'all' || (numbering !== 'none' && (call % 2 === 0) === (numbering === 'even'));
  }

  // ---- our calls ----

  #onAnswer(call: Outgoing | undefined, part: Part): void {
    // Parts of a call that ended here cross our own end on the way; they mean nothing any more.
    if (call === undefined) return;
    switch (part.kind) {
      case PartKind.responseHead: {
        if (call.answered) throw malformed('a second response head');
        const { status, reason, headers } = decodeHead<ResponseHead>(part.body);
        if (!Number.isInteger(status) || status < 100 || status > 999)
          throw malformed('a response status has three digits');
        if (status < 200 && status !== 101) {
          if (++call.interims > MAX_INTERIM) throw malformed('too many interim answers');
          if (call.cancelled === null) call.interim?.({ status, headers });
          return;
        }
        call.answered = true;
        call.status = status;
        if (call.cancelled !== null) return;
        const response = {
          status,
          ...(typeof reason === 'string' && { reason }),
          headers,
          body: call.in,
          trailers: () => call.trailers ?? [],
        };
        call.resolve({ response, end: call.end });
        return;
      }
      case PartKind.responseData:
        if (!call.answered) throw malformed('response data before its head');
        if (call.trailers !== null) throw malformed('response data after its trailers');
        this.#take(call.in, part.body);
        return;
      case PartKind.responseTrailers:
        if (!call.answered || call.trailers !== null) throw malformed('trailers follow the response data, once');
        call.trailers = decodeTrailers(part.body);
        return;
      case PartKind.responseEnd: {
        if (!call.answered) throw malformed('a response end before its head');
        const end = part.body.slice();
        this.#outgoing.delete(call.id);
        call.release();
        call.out.stop();
        call.options.onEnd?.(end, this.#digestsOf(call.out, call.in), call.status);
        call.in.end();
        call.resolveEnd(end);
        return;
      }
      case PartKind.window:
        call.out.grant(readVarint(part.body));
        return;
      case PartKind.cancel: {
        const code = cancelCode(part.body);
        this.#failOutgoing(call, call.cancelled ?? new Agnt2Error(code, 'the other side ended the call'));
        return;
      }
      default:
        throw malformed(`part ${part.kind} in an answer`);
    }
  }

  /** Gives a call up towards its caller; its entry stays until the callee has said how it ended. */
  #cancelOutgoing(call: Outgoing, error: Agnt2Error): void {
    if (call.cancelled !== null || this.#outgoing.get(call.id) !== call) return;
    call.cancelled = error;
    call.release();
    call.out.stop();
    call.in.fail(error);
    call.reject(error);
    this.#write(PartKind.cancel, call.id, utf8(error.code));
  }

  /** A part of the answer made no sense. Before the end the callee must still say how it ended, as after any cancel. */
  #breakOutgoing(call: Outgoing, error: unknown): void {
    if (this.#outgoing.has(call.id))
      this.#cancelOutgoing(call, new Agnt2Error(safeCode(error), 'the answer was not valid', { cause: error }));
    else this.#failOutgoing(call, error);
  }

  #failOutgoing(call: Outgoing, error: unknown): void {
    this.#outgoing.delete(call.id);
    call.release();
    call.out.stop();
    call.in.fail(error as Error);
    call.reject(error);
    call.rejectEnd(error);
    call.options.onFailed?.();
  }

  // ---- their calls ----

  #onRequest(call: Incoming | undefined, part: Part): void {
    if (part.kind === PartKind.requestHead) {
      if (call !== undefined) throw malformed('a second request head');
      this.#open(part);
      return;
    }
    if (call === undefined) return;
    switch (part.kind) {
      case PartKind.requestData:
        this.#take(call.in, part.body);
        return;
      case PartKind.requestEnd:
        if (call.in.ended) throw malformed('a second request end');
        call.trailers = decodeTrailers(part.body);
        call.in.end();
        call.onRequestEnd?.();
        return;
      case PartKind.window:
        call.out.grant(readVarint(part.body));
        return;
      case PartKind.cancel:
        this.#onCancel(call, cancelCode(part.body));
        return;
      default:
        throw malformed(`part ${part.kind} in a request`);
    }
  }

  #open(part: Part): void {
    const { handler } = this.#options;
    if (handler === undefined) throw new Agnt2Error('unsupported', 'this side of the socket answers no calls');
    if (this.#incoming.size + this.#abandoned >= this.#maxCalls)
      throw new Agnt2Error('too_many_calls', 'too many calls in flight');
    const head = decodeHead<RequestHead>(part.body);
    if (typeof head.method !== 'string' || typeof head.target !== 'string')
      throw malformed('a request head has a method and a target');
    const id = part.call;
    const call: Incoming = {
      id,
      in: new Inflow(this, id, this.#hash(), ignore),
      out: new Outflow(this.#hash()),
      takes: Array.isArray(head.takes) ? head.takes : [],
      trailers: [],
      abort: null,
      served: null,
      answered: false,
      onRequestEnd: null,
      closed: false,
    };
    this.#incoming.set(id, call);
    const request: ExchangeRequest = {
      method: head.method,
      target: head.target,
      headers: head.headers,
      body: call.in,
      trailers: () => call.trailers,
      ...(call.takes.includes('interim') && { interim: (interim: Interim) => this.#interim(call, interim) }),
      // Most handlers never look at it, and a controller costs more than the rest of this function.
      get signal() {
        if (call.abort === null) {
          call.abort = new AbortController();
          if (call.closed) call.abort.abort();
        }
        return call.abort.signal;
      },
    };
    const meta = typeof head.meta === 'object' && head.meta !== null ? head.meta : {};
    let answer: Promise<Served>;
    try {
      answer = handler(request, meta, id);
    } catch (error) {
      answer = Promise.reject(error);
    }
    const answered = (): void => {
      call.answered = true;
      if (call.closed) this.#abandoned -= 1;
    };
    answer.then(
      (served) => {
        answered();
        this.#serve(call, served);
      },
      (error: unknown) => {
        answered();
        if (!call.closed) this.#refuse(id, safeCode(error));
      },
    );
  }

  #interim(call: Incoming, { status, headers }: Interim): void {
    if (call.closed || call.served !== null || status < 100 || status > 199 || status === 101) return;
    const head = encodeHead({ status, headers: headers as [string, string][] });
    if (head.length <= MAX_HEAD_BYTES) this.#write(PartKind.responseHead, call.id, head);
  }

  #serve(call: Incoming, served: Served): void {
    const { response } = served;
    if (call.closed) {
      served.dropped?.('failed', this.#digestsOf(call.in, call.out), false);
      void Promise.resolve(response.body[Symbol.asyncIterator]().return?.()).catch(ignore);
      return;
    }
    call.served = served;
    const head = encodeHead({
      status: response.status,
      ...(response.reason !== undefined && { reason: response.reason }),
      headers: response.headers as [string, string][],
    });
    if (head.length > MAX_HEAD_BYTES) {
      this.#refuse(call.id, 'head_too_large');
      return;
    }
    this.#write(PartKind.responseHead, call.id, head);
    this.#pump(call.out, PartKind.responseData, call.id, response.body).then(
      (whole) => {
        if (!whole) return;
        const trailers = call.takes.includes('trailers') ? trailersOf(response) : EMPTY;
        if (trailers.length > 0 && !call.closed) this.#write(PartKind.responseTrailers, call.id, trailers);
        // The record hashes the request's whole body; an app that answered early doesn't stop it from arriving.
        if (call.in.ended) this.#finish(call);
        else {
          call.onRequestEnd = () => this.#finish(call);
          call.in.discard();
        }
      },
      (error: unknown) => {
        const code = safeCode(error);
        if (!call.closed) this.#refuse(call.id, code, code === BODY_MISMATCH ? 'fault' : 'failed');
      },
    );
  }

  /** The last part of a served call. */
  #finish(call: Incoming): void {
    if (call.closed) return;
    this.#forget(call);
    try {
      const end = call.served!.end(this.#digestsOf(call.in, call.out));
      if (end instanceof Uint8Array) this.#write(PartKind.responseEnd, call.id, end);
      else
        end.then(
          (bytes) => this.#write(PartKind.responseEnd, call.id, bytes),
          (error: unknown) => this.#write(PartKind.cancel, call.id, utf8(safeCode(error))),
        );
    } catch (error) {
      this.#write(PartKind.cancel, call.id, utf8(safeCode(error)));
    }
  }

  #onCancel(call: Incoming, code: string): void {
    const error = new Agnt2Error(code, 'the caller ended the call');
    call.in.fail(error);
    call.out.stop();
    if (call.served === null) this.#refuse(call.id, 'cancelled');
    else this.#finish(call);
    call.abort?.abort(error);
  }

  /** Ends a call of theirs without a response end. */
  #refuse(id: number, code: string, why: 'failed' | 'fault' = 'failed'): void {
    const call = this.#incoming.get(id);
    if (call !== undefined) {
      call.served?.dropped?.(why, this.#digestsOf(call.in, call.out), call.in.ended);
      this.#forget(call);
      const error = new Agnt2Error(code, 'the call was ended');
      call.in.fail(error);
      call.out.stop();
      call.abort?.abort(error);
    }
    this.#write(PartKind.cancel, id, utf8(code));
  }

  #forget(call: Incoming): void {
    call.closed = true;
    if (!call.answered) this.#abandoned += 1;
    this.#incoming.delete(call.id);
    call.in.discard();
  }

  // ---- bytes ----

  #take(flow: Inflow, body: Uint8Array): void {
    if (this.#queued + body.length > this.#maxQueued)
      throw new Agnt2Error('overloaded', 'too many bytes wait for their readers');
    // A copy: a view would keep its whole packet alive for as long as a slow reader has it.
    if (body.length > 0 && !flow.push(body.slice())) throw malformed('more bytes than the window allows');
  }

  /** Sends a body within its window. False when it was stopped before its end. */
  async #pump(out: Outflow, kind: number, id: number, body: AsyncIterable<Uint8Array>): Promise<boolean> {
    const source = body[Symbol.asyncIterator]();
    out.source = source;
    for (;;) {
      const { value, done } = await source.next();
      if (out.stopped) return false;
      if (done) {
        out.finished = true;
        return true;
      }
      for (let at = 0; at < value.length;) {
        while (out.window <= 0 || this.#isCongested()) {
          await new Promise<void>((wake) => {
            if (out.window <= 0) out.wake = wake;
            else this.#waitForRoom(wake);
          });
          if (out.stopped) return false;
        }
        const chunk = value.subarray(at, at + Math.min(value.length - at, MAX_DATA_BYTES, out.window));
        out.hash?.update(chunk);
        out.window -= chunk.length;
        at += chunk.length;
        this.#write(kind, id, chunk);
      }
    }
  }

  #isCongested(): boolean {
    return this.#closed === null && this.#length + (this.#options.buffered?.() ?? 0) > HIGH_WATER;
  }

  #waitForRoom(wake: () => void): void {
    this.#congested.push(wake);
    if (this.#congested.length > 1) return;
    const poll = (): void => {
      if (this.#isCongested()) setTimeout(poll, CONGESTION_POLL_MS);
      else for (const waiting of this.#congested.splice(0)) waiting();
    };
    setTimeout(poll, CONGESTION_POLL_MS);
  }

  #write(kind: number, call: number, body: Uint8Array): void {
    if (this.#closed !== null) return;
    const most = body.length + 17;
    if (this.#length > 1 && this.#length + most > PACKET_TARGET) this.#flush();
    if (this.#length + most > this.#packet.length) {
      const grown = new Uint8Array(Math.max(this.#packet.length * 2, this.#length + most));
      grown.set(this.#packet.subarray(0, this.#length));
      this.#packet = grown;
    }
    this.#packet[this.#length++] = kind;
    this.#varint(call);
    this.#varint(body.length);
    this.#packet.set(body, this.#length);
    this.#length += body.length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      nextTurn(() => {
        this.#scheduled = false;
        this.#flush();
      });
    }
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.#packet[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#packet[this.#length++] = rest;
  }

  #flush(): void {
    if (this.#length === 1 || this.#closed !== null) return;
    const packet = this.#packet.slice(0, this.#length);
    this.#length = 1;
    this.#options.send(packet);
  }
}

/** The trailers of a body that has ended; ones too long to carry are left out, as any hop may (RFC 9110 §6.5.1). */
const trailersOf = ({ trailers }: ExchangeRequest | ExchangeResponse): Uint8Array => {
  const bytes = encodeTrailers(trailers?.() ?? []);
  return bytes.length > MAX_HEAD_BYTES ? EMPTY : bytes;
};

const varint = (value: number): Uint8Array => {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  out.push(rest);
  return Uint8Array.from(out);
};

const readVarint = (bytes: Uint8Array): number => {
  const reader = new Reader(bytes);
  const value = reader.varint();
  reader.end();
  return value;
};

const decoder = new TextDecoder();
const cancelCode = (body: Uint8Array): string => {
  const code = decoder.decode(body.subarray(0, 65));
  return CODE.test(code) ? code : 'cancelled';
};
const safeCode = (error: unknown): string => {
  const code = codeOf(error);
  return CODE.test(code) ? code : 'internal';
};

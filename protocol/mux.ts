/**
 * CallMux: many HTTP calls over one packet socket, both ways (the calls packets of docs/protocol.md §8). It knows
 * neither money nor platform: a session puts records into the ends, an agent's socket carries first contact with it.
 *
 * Every call ends with exactly one part of its callee, a response end or a cancel, also after the caller cancelled. A
 * call cancelled after its response began still gets its end, so what was served is recorded; both sides then have
 * hashed the same bytes, because parts arrive in the order they were sent.
 *
 * Most calls are small: a request or an answer whose parts all stand behind one another in a packet is read as a whole, and
 * a body that is a {@link Whole} is sent as one, with nothing of what streams need.
 */
import { Agnt2Error, malformed } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from './exchange.ts';
import type { Flow } from './flow.ts';
import type { Meter } from './meter.ts';
import { IncomingCalls } from './incoming.ts';
import { OutgoingCalls } from './outgoing.ts';
import { PacketType, PartIndex, PartKind } from './packet.ts';
import { Parts, type PartsOptions } from './parts.ts';

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

/** An incoming call as its handler may treat it. */
export interface IncomingHandle {
  readonly id: number;
  /** Set before the handler first waits, counts both bodies as they are hashed, and ends the call where it is used up. */
  meter: Meter | null;
}

/** Answers an incoming call; a rejection cancels the call with its `code`. */
export type IncomingHandler = (
  request: ExchangeRequest,
  meta: Readonly<Record<string, string>>,
  call: IncomingHandle,
) => Promise<Served>;

export interface CallOptions {
  readonly meta?: Record<string, string>;
  /** Counts both bodies as they are hashed. */
  readonly meter?: Meter | null;
  /** Milliseconds from now after which the call is cancelled with `deadline_exceeded`. */
  readonly deadlineMs?: number;
  /** Sees the response end, in order of arrival; of an answer that came whole, up to 5 ms after that was handed on, with those of others. What it throws fails the call. */
  readonly onEnd?: (end: Uint8Array, digests: Digests, status: number) => void;
  /** The call was lost with its socket. `digests` are of what had passed; `complete` when the whole request had been sent. */
  readonly onLost?: (digests: Digests, complete: boolean) => void;
  /** The call is over and had no valid end. For a cancelled call that is when its callee has said so. */
  readonly onFailed?: () => void;
}

/** A call as its caller hears of it, each of the first two at most once and never both. */
export interface CallSink extends CallOptions {
  /** The response head has arrived. */
  onOpen(open: OpenCall): void;
  /** There will be none. */
  onRefused(error: unknown): void;
}

export interface MuxOptions extends PartsOptions {
  /** Which call numbers are ours: in a session a's are even and b's odd; on an agent's socket the gateway's are all. */
  readonly numbering: 'even' | 'odd' | 'all' | 'none';
  readonly handler?: IncomingHandler;
  /** Calls in flight per direction. Default 16,384. */
  readonly maxCalls?: number;
  /** Received bytes waiting for their readers, over all calls. Default 64 MiB. */
  readonly maxQueued?: number;
  /** Hash bodies as they pass. Default true. */
  readonly digests?: boolean;
  /** Ends of our calls were seen by their `onEnd`, some of them after their answers were handed on. */
  readonly settled?: () => void;
}

/** What both kinds of calls share. */
export interface MuxContext extends Flow {
  readonly options: MuxOptions;
  readonly parts: Parts;
  readonly maxCalls: number;
  /** Whether so many more bytes may wait for their readers. */
  hasRoom(bytes: number): boolean;
  /** Hash bodies as they pass. */
  readonly digests: boolean;
}

export class CallMux implements MuxContext {
  readonly options: MuxOptions;
  readonly parts: Parts;
  readonly maxCalls: number;
  readonly digests: boolean;
  readonly #maxQueued: number;
  readonly #outgoing: OutgoingCalls;
  readonly #incoming: IncomingCalls;
  #closed: Agnt2Error | null = null;
  #queued = 0;

  constructor(options: MuxOptions) {
    this.options = options;
    this.maxCalls = options.maxCalls ?? 16_384;
    this.digests = options.digests ?? true;
    this.#maxQueued = options.maxQueued ?? 64 * 1024 * 1024;
    this.parts = new Parts(options);
    this.#outgoing = new OutgoingCalls(this);
    this.#incoming = new IncomingCalls(this);
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
    return new Promise((onOpen, onRefused) => this.start(request, { ...options, onOpen, onRefused }));
  }

  /** {@link call} for who needs no promise of it. */
  start(request: ExchangeRequest, sink: CallSink): void {
    if (this.#closed === null) this.#outgoing.start(request, sink);
    else {
      sink.onFailed?.();
      sink.onRefused(this.#closed);
    }
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
    const parts = new PartIndex(bytes);
    for (let at = 0; at < parts.kinds.length;) {
      const own = this.#owns(parts.calls[at]);
      const whole = own ? wholeAt(parts, at, ANSWER) : wholeAt(parts, at, REQUEST);
      if (whole > 0) {
        if (own) this.#outgoing.takeWhole(bytes, parts, at, whole);
        else this.#incoming.takeWhole(bytes, parts, at, whole);
        at += whole;
      } else {
        if (own) this.#outgoing.take(bytes, parts, at);
        else this.#incoming.take(bytes, parts, at);
        at += 1;
      }
    }
  }

  /** Ends everything in flight with `error`, on both sides of every call here, and sends nothing more. */
  close(error: Agnt2Error = new Agnt2Error('session_lost', 'the socket closed with this call in flight')): void {
    if (this.#closed !== null) return;
    this.parts.flush();
    this.#closed = error;
    this.parts.close();
    this.#outgoing.close(error);
    this.#incoming.close(error);
  }

  /** Sends what waits for the end of the turn now. */
  flush(): void {
    this.parts.flush();
  }

  /** Shows `onEnd` the ends of all answers handed on, now. */
  settle(): void {
    this.#outgoing.settle();
  }

  /** {@link settle}, at the end of this turn. */
  settleSoon(): void {
    this.#outgoing.settleSoon();
  }

  /** @internal Account of bytes waiting. */
  queued(bytes: number): void {
    this.#queued += bytes;
  }

  /** @internal */
  hasRoom(bytes: number): boolean {
    return this.#queued + bytes <= this.#maxQueued;
  }

  /** @internal Inflow's grant. */
  grant(call: number, bytes: number): void {
    if (this.#outgoing.has(call) || this.#incoming.has(call)) this.parts.writeWindow(call, bytes);
  }

  #owns(call: number): boolean {
    const { numbering } = this.options;
    return numbering === 'all' || (numbering !== 'none' && (call % 2 === 0) === (numbering === 'even'));
  }
}

const REQUEST = [PartKind.requestHead, PartKind.requestData, PartKind.requestEnd] as const;
const ANSWER = [PartKind.responseHead, PartKind.responseData, PartKind.responseEnd] as const;

/** How many parts from `at` on are head, data or none, and end of one call; 0 when they are something else. */
function wholeAt(
  { kinds, calls }: PartIndex,
  at: number,
  [head, data, end]: readonly [number, number, number],
): number {
  if (kinds[at] !== head) return 0;
  const call = calls[at];
  const last = kinds[at + 1] === data && calls[at + 1] === call ? at + 2 : at + 1;
  return kinds[last] === end && calls[last] === call ? last - at + 1 : 0;
}

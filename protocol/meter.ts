/**
 * Counting what a call is paid by, where that is not the call: bytes, or messages of a framing that its service declares. Both sides count the
 * bytes that both hash, so that the same call has one price (docs/protocol.md §8). Total: any bytes have a count.
 */

/** Bytes of both bodies; or, of both, WebSocket messages or gRPC messages; or events of the answer (server-sent events). */
export const UNITS = ['byte', 'websocket', 'grpc', 'sse'] as const;
export type Unit = (typeof UNITS)[number];

/** `base + price × ⌈units ÷ each⌉`, base units. */
export interface Rate {
  readonly unit: Unit;
  readonly each: number;
  readonly price: number;
  readonly base: number;
}

/** As a call's `meta.rate` says it. */
export const encodeRate = ({ unit, each, price, base }: Rate): string => `${unit}/${each}/${price}/${base}`;

interface Counter {
  /** Units that have begun; of events, that have ended: only then is one there. */
  readonly units: number;
  /** Goes on up to the byte that would make more than `room` further units; how many bytes that was. */
  take(bytes: Uint8Array, room: number): number;
}

class Bytes implements Counter {
  units = 0;
  take(bytes: Uint8Array, room: number): number {
    const taken = Math.min(bytes.length, room);
    this.units += taken;
    return taken;
  }
}

class Nothing implements Counter {
  readonly units = 0;
  take(bytes: Uint8Array): number {
    return bytes.length;
  }
}

/** Messages that each say their length first: a head byte by byte, then so many bytes of no interest. */
abstract class Framed implements Counter {
  units = 0;
  #skip = 0;

  /** Takes a byte of a head; the length of what follows once the head is whole, else -1. */
  protected abstract head(byte: number): number;
  /** Whether a head that begins with this byte begins a unit. */
  protected abstract begins(byte: number): boolean;
  protected abstract readonly atStart: boolean;

  take(bytes: Uint8Array, room: number): number {
    const most = this.units + room;
    let at = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      if (this.atStart && this.begins(bytes[at])) {
        if (this.units >= most) return at;
        this.units += 1;
      }
      const length = this.head(bytes[at++]);
      if (length > 0) this.#skip = length;
    }
    return at;
  }
}

/** Length-prefixed messages of gRPC: flag u8, length u32. */
class Grpc extends Framed {
  #read = 0;
  #length = 0;
  protected get atStart(): boolean {
    return this.#read === 0;
  }
  protected begins(): boolean {
    return true;
  }
  protected head(byte: number): number {
    if (this.#read++ > 0) this.#length = this.#length * 256 + byte;
    if (this.#read < 5) return -1;
    const length = this.#length;
    this.#read = this.#length = 0;
    return length;
  }
}

/** Frames of RFC 6455 §5.2: one message is however many frames up to its FIN; control frames are none. */
class WebSocketFrames extends Framed {
  #head: number[] = [];
  #open = false;
  protected get atStart(): boolean {
    return this.#head.length === 0;
  }
  protected begins(byte: number): boolean {
    const opcode = byte & 15;
    return opcode < 8 && (!this.#open || opcode !== 0);
  }
  protected head(byte: number): number {
    const head = this.#head;
    head.push(byte);
    if (head.length < 2) return -1;
    const short = head[1] & 127;
    const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (head.length < 2 + extra + ((head[1] & 128) === 0 ? 0 : 4)) return -1;
    if ((head[0] & 15) < 8) this.#open = (head[0] & 128) === 0;
    const length = extra === 0 ? short : head.slice(2, 2 + extra).reduce((sum, next) => sum * 256 + next, 0);
    this.#head = [];
    return length;
  }
}

const [LF, CR, COLON] = [10, 13, 58];

/** Events of a `text/event-stream` (WHATWG HTML §9.2): blocks of lines, not all of them comments, that an empty line ends. */
class Events implements Counter {
  units = 0;
  #afterCr = false;
  #line: 'empty' | 'comment' | 'field' = 'empty';
  #hasField = false;

  take(bytes: Uint8Array, room: number): number {
    const most = this.units + room;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at];
      const isSecond = byte === LF && this.#afterCr;
      this.#afterCr = false;
      if (isSecond) continue;
      if (byte !== LF && byte !== CR) {
        if (this.#line === 'empty') this.#line = byte === COLON ? 'comment' : 'field';
        continue;
      }
      if (this.#line === 'empty' && this.#hasField) {
        if (this.units >= most) return at;
        this.units += 1;
        this.#hasField = false;
      }
      if (this.#line === 'field') this.#hasField = true;
      this.#line = 'empty';
      this.#afterCr = byte === CR;
    }
    return bytes.length;
  }
}

const COUNTERS: Readonly<Record<Unit, (isRequest: boolean) => Counter>> = {
  byte: () => new Bytes(),
  websocket: () => new WebSocketFrames(),
  grpc: () => new Grpc(),
  sse: (isRequest) => (isRequest ? new Nothing() : new Events()),
};

/** One call as it is counted, at either end. */
export class Meter {
  readonly rate: Rate;
  /** Base units the call may cost. */
  max: number;
  readonly #request: Counter;
  readonly #response: Counter;

  constructor(rate: Rate, max: number) {
    this.rate = rate;
    this.max = max;
    this.#request = COUNTERS[rate.unit](true);
    this.#response = COUNTERS[rate.unit](false);
  }

  get units(): number {
    return this.#request.units + this.#response.units;
  }

  /** Units that `max` pays for. */
  get #payable(): number {
    const { each, price, base } = this.rate;
    if (this.max < base) return 0;
    return price === 0 ? Infinity : Math.floor((this.max - base) / price) * each;
  }

  /** Whether more has passed than `max` pays for. */
  get isOver(): boolean {
    return this.units > this.#payable;
  }

  /** What has passed costs this much, never more than `max`. */
  get price(): number {
    const { each, price, base } = this.rate;
    return Math.min(base + price * Math.ceil(this.units / each), this.max);
  }

  count(body: 'request' | 'response', bytes: Uint8Array): void {
    (body === 'request' ? this.#request : this.#response).take(bytes, Infinity);
  }

  /** Counts as many bytes of the answer as `max` still pays for; how many those are. */
  fit(bytes: Uint8Array): number {
    return this.#response.take(bytes, Math.max(0, this.#payable - this.units));
  }
}

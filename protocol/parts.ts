/** The outgoing half of a packet socket: parts gathered into packets, and senders held back while the socket is full. */
import { Reader, Writer } from './bytes.ts';
import { Agnt2Error, codeOf } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from './exchange.ts';
import type { Outflow } from './flow.ts';
import { MAX_DATA_BYTES, PacketType, PartKind, encodeTrailers } from './packet.ts';
import { Whole } from './whole.ts';

export interface PartsOptions {
  /** Takes a packet; must not keep the caller waiting and must not throw for a dead socket. */
  readonly send: (packet: Uint8Array) => void;
  /** Bytes the socket has taken and not yet sent. */
  readonly buffered?: () => number;
}

/** A packet leaves when it has grown to this, or when the turn ends. */
const PACKET_TARGET = 256 * 1024;
/** Above this many bytes not yet sent, bodies wait. */
export const HIGH_WATER = 2 * 1024 * 1024;
export const CONGESTION_POLL_MS = 2;
/** Most bytes before a part's body: kind, and two varints of up to eight. */
const MAX_PREFIX = 17;

const encoder = new TextEncoder();
/** Most heads fit. */
const scratch = new Uint8Array(16 * 1024);

/** Once per turn: after the input of this turn where the platform knows turns (Node), else on the next timer. */
const nextTurn: (run: () => void) => void =
  (globalThis as { setImmediate?: (run: () => void) => void }).setImmediate ?? ((run) => void setTimeout(run, 0));

export class Parts {
  readonly #options: PartsOptions;
  #packet = new Uint8Array(16 * 1024);
  #length = 1;
  #scheduled = false;
  #closed = false;
  #congested: (() => void)[] = [];
  #afterTurn: (() => void)[] = [];
  readonly #endOfTurn = (): void => {
    this.#scheduled = false;
    this.flush();
    if (this.#afterTurn.length > 0) for (const run of this.#afterTurn.splice(0)) run();
  };

  constructor(options: PartsOptions) {
    this.#options = options;
    this.#packet[0] = PacketType.calls;
  }

  write(kind: number, call: number, body: Uint8Array): void {
    if (this.#closed) return;
    const most = body.length + MAX_PREFIX;
    if (this.#length > 1 && this.#length + most > PACKET_TARGET) this.flush();
    this.#grow(most);
    this.#packet[this.#length++] = kind;
    this.#varint(call);
    this.#varint(body.length);
    this.#packet.set(body, this.#length);
    this.#length += body.length;
    this.#schedule();
  }

  /** Runs what nobody waits for: at the end of the turn, behind all that is sent in it. */
  afterTurn(run: () => void): void {
    this.#afterTurn.push(run);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    nextTurn(this.#endOfTurn);
  }

  /** Writes text as UTF-8. False, and nothing is written, when that is longer than `most` bytes. */
  writeText(kind: number, call: number, text: string, most: number): boolean {
    const { read, written } = encoder.encodeInto(text, scratch);
    const bytes = read === text.length ? scratch.subarray(0, written) : encoder.encode(text);
    if (bytes.length > most) return false;
    this.write(kind, call, bytes);
    return true;
  }

  /** The other side may send so many bytes more on this call. */
  writeWindow(call: number, bytes: number): void {
    this.write(PartKind.window, call, new Writer().varint(bytes).finish());
  }

  /** Sends a body within its window and its limit. False when it was stopped before its end. */
  async pump(out: Outflow, kind: number, id: number, body: AsyncIterable<Uint8Array>): Promise<boolean> {
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
        while (out.window <= 0 || this.isCongested) {
          await new Promise<void>((wake) => {
            if (out.window <= 0) out.wake = wake;
            else this.waitForRoom(wake);
          });
          if (out.stopped) return false;
        }
        let chunk = value.subarray(at, at + Math.min(value.length - at, MAX_DATA_BYTES, out.window));
        if (out.limit !== null) {
          const fits = out.limit(chunk);
          out.spent = fits < chunk.length;
          chunk = chunk.subarray(0, fits);
        }
        out.hash?.update(chunk);
        out.window -= chunk.length;
        at += chunk.length;
        if (chunk.length > 0) this.write(kind, id, chunk);
        if (out.spent) {
          out.stop();
          return false;
        }
      }
    }
  }

  /** The bytes of a body that goes out in one part, with no window to wait for; null when it must be pumped. Taken once. */
  takeWhole(body: AsyncIterable<Uint8Array>): Uint8Array | null {
    return body instanceof Whole && body.length <= MAX_DATA_BYTES && !this.isCongested ? body.take() : null;
  }

  /** Sends what waits for the end of the turn now. */
  flush(): void {
    if (this.#length === 1 || this.#closed) return;
    const packet = this.#packet.slice(0, this.#length);
    this.#length = 1;
    this.#options.send(packet);
  }

  /** Sends what waits, and nothing after. */
  close(): void {
    this.flush();
    this.#closed = true;
    for (const wake of this.#congested.splice(0)) wake();
  }

  get isCongested(): boolean {
    return !this.#closed && this.#length + (this.#options.buffered?.() ?? 0) > HIGH_WATER;
  }

  waitForRoom(wake: () => void): void {
    this.#congested.push(wake);
    if (this.#congested.length > 1) return;
    const poll = (): void => {
      if (this.isCongested) setTimeout(poll, CONGESTION_POLL_MS);
      else for (const waiting of this.#congested.splice(0)) waiting();
    };
    setTimeout(poll, CONGESTION_POLL_MS);
  }

  #grow(most: number): void {
    if (this.#length + most <= this.#packet.length) return;
    const grown = new Uint8Array(Math.max(this.#packet.length * 2, this.#length + most));
    grown.set(this.#packet.subarray(0, this.#length));
    this.#packet = grown;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.#packet[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#packet[this.#length++] = rest;
  }
}

export const MAX_HEAD_BYTES = 128 * 1024;
const NO_TRAILERS = new Uint8Array(0);

/** The trailers of a body that has ended; ones too long to carry are left out, as any hop may (RFC 9110 §6.5.1). */
export function trailersOf({ trailers }: ExchangeRequest | ExchangeResponse): Uint8Array {
  if (trailers === undefined) return NO_TRAILERS;
  const bytes = encodeTrailers(trailers());
  return bytes.length > MAX_HEAD_BYTES ? NO_TRAILERS : bytes;
}

/** The number a window part holds. Throws `malformed`. */
export function readWindow(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  const value = reader.varint();
  reader.end();
  return value;
}

const CODE = /^[a-z][a-z0-9_]{0,63}$/;
const decoder = new TextDecoder();

/** The code a cancel part holds. */
export function cancelCode(body: Uint8Array): string {
  const code = decoder.decode(body.subarray(0, 65));
  return CODE.test(code) ? code : 'cancelled';
}

export const overloaded = (): Agnt2Error => new Agnt2Error('overloaded', 'too many bytes wait for their readers');

/** An error's code as a cancel part may hold it. */
export function safeCode(error: unknown): string {
  const code = codeOf(error);
  return CODE.test(code) ? code : 'internal';
}

/** Bytes, hex, and the two cursors every codec is written with (docs/protocol.md §1). */
import { malformed } from './errors.ts';

/** Largest amount, and the largest number any varint can hold: every one is exact in a double. */
export const MAX_AMOUNT: number = Number.MAX_SAFE_INTEGER;

export type Hex = `0x${string}`;

export const ZERO_BYTES32: Uint8Array = new Uint8Array(32);

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** Lower-case `0x` hex. */
export function hex(bytes: Uint8Array): Hex {
  let out = '0x';
  for (let i = 0; i < bytes.length; i++) out += HEX[bytes[i]];
  return out as Hex;
}

/** Inverse of {@link hex}; accepts either case. Throws `malformed` for anything else. */
export function unhex(text: string, length?: number): Uint8Array {
  if (!/^0x(?:[0-9a-fA-F]{2})*$/.test(text)) throw malformed('expected 0x and an even number of hex digits');
  const out = new Uint8Array((text.length - 2) / 2);
  if (length !== undefined && out.length !== length)
    throw malformed(`expected ${length} bytes of hex, got ${out.length}`);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(text.slice(2 + 2 * i, 4 + 2 * i), 16);
  return out;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

export function fromUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed('expected UTF-8');
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Compares equal-length byte strings as big-endian numbers: negative, zero or positive. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

export const isZero = (bytes: Uint8Array): boolean => bytes.every((b) => b === 0);

/** Reads a big-endian unsigned integer of 1 … 7 bytes. */
export function readUint(bytes: Uint8Array, at: number, width: number): number {
  // Bit operations hold 32 bits: what is above them is read apart.
  if (width > 4) {
    const low =
      ((bytes[at + width - 4] << 24) |
        (bytes[at + width - 3] << 16) |
        (bytes[at + width - 2] << 8) |
        bytes[at + width - 1]) >>>
      0;
    let high = bytes[at];
    for (let i = 1; i < width - 4; i++) high = (high << 8) | bytes[at + i];
    return high === 0 ? low : (high >>> 0) * 2 ** 32 + low;
  }
  if (width === 4) return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
  let value = bytes[at];
  for (let i = 1; i < width; i++) value = (value << 8) | bytes[at + i];
  return value;
}

/** Writes a big-endian unsigned integer of any width; the value must be a safe integer that fits. */
export function writeUint(bytes: Uint8Array, at: number, width: number, value: number): void {
  const low = value | 0;
  if (width >= 4) {
    const end = at + width;
    bytes[end - 1] = low;
    bytes[end - 2] = low >>> 8;
    bytes[end - 3] = low >>> 16;
    bytes[end - 4] = low >>> 24;
    let high = value < 2 ** 32 ? 0 : Math.floor(value / 2 ** 32);
    for (let i = end - 5; i >= at; i--) {
      bytes[i] = high;
      high >>>= 8;
    }
    return;
  }
  let rest = low;
  for (let i = at + width - 1; i >= at; i--) {
    bytes[i] = rest;
    rest >>>= 8;
  }
}

/** A number as L1 has it, 32 bytes, big-endian. Throws `malformed` for a negative or longer one. */
export function word(value: number | bigint): Uint8Array {
  if (typeof value === 'bigint') return unhex(`0x${value.toString(16).padStart(64, '0')}`, 32);
  const out = new Uint8Array(32);
  writeUint(out, 24, 8, value);
  return out;
}

/** An append-only cursor. Integers are big-endian; `varint` is canonical LEB128. */
export class Writer {
  #buffer = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #room(n: number): number {
    const at = this.#length;
    this.#length += n;
    if (this.#length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#buffer.length * 2));
      grown.set(this.#buffer);
      this.#buffer = grown;
    }
    return at;
  }

  uint(width: number, value: number): this {
    const at = this.#room(width);
    writeUint(this.#buffer, at, width, value);
    return this;
  }
  u8(value: number): this {
    return this.uint(1, value);
  }
  u16(value: number): this {
    return this.uint(2, value);
  }
  u32(value: number): this {
    return this.uint(4, value);
  }
  u64(value: number): this {
    return this.uint(8, value);
  }

  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw malformed(`not a varint: ${value}`);
    let rest = value;
    while (rest > 127) {
      this.u8((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    return this.u8(rest);
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  /** Everything written, as a copy of its own. */
  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }
}

/** A reading cursor over `bytes[start, end)`. Every method throws `malformed` past the end, never reads beyond it. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.at;
  }

  #take(n: number): number {
    if (n > this.#end - this.at) throw malformed(`ends ${n - (this.#end - this.at)} bytes too early`);
    const at = this.at;
    this.at += n;
    return at;
  }

  /** Big-endian unsigned; throws `malformed` above 2^53−1. */
  uint(width: number): number {
    const at = this.#take(width);
    const value = readUint(this.#bytes, at, width);
    if (value > MAX_AMOUNT) throw malformed('number above 2^53-1');
    return value;
  }
  u8(): number {
    return this.#bytes[this.#take(1)];
  }
  u16(): number {
    return this.uint(2);
  }
  u32(): number {
    return this.uint(4);
  }
  u64(): number {
    return this.uint(8);
  }

  varint(): number {
    const { at } = this;
    // Nearly all have one to four bytes.
    if (at + 4 > this.#end) return this.#longVarint();
    const bytes = this.#bytes;
    const first = bytes[at];
    if (first < 128) {
      this.at = at + 1;
      return first;
    }
    const second = bytes[at + 1];
    if (second < 128) {
      if (second === 0) return this.#longVarint();
      this.at = at + 2;
      return (first & 127) | (second << 7);
    }
    const third = bytes[at + 2];
    if (third < 128) {
      if (third === 0) return this.#longVarint();
      this.at = at + 3;
      return (first & 127) | ((second & 127) << 7) | (third << 14);
    }
    const fourth = bytes[at + 3];
    if (fourth === 0 || fourth > 127) return this.#longVarint();
    this.at = at + 4;
    return (first & 127) | ((second & 127) << 7) | ((third & 127) << 14) | (fourth << 21);
  }
  /** Of any length, and what is wrong with those that are none. */
  #longVarint(): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let { at } = this;
    let value = 0;
    // Four bytes by bits; what is above them by arithmetic.
    let scale = 2 ** 28;
    for (let i = 0; i < 8 && at < end; i++) {
      const byte = bytes[at++];
      if (i < 4) value |= (byte & 127) << (7 * i);
      else {
        value += (byte & 127) * scale;
        scale *= 128;
      }
      if (byte < 128) {
        if (byte === 0 && i > 0) throw malformed('overlong varint');
        if (value > MAX_AMOUNT) throw malformed('varint above 2^53-1');
        this.at = at;
        return value;
      }
    }
    throw malformed(at < end ? 'varint longer than 8 bytes' : 'ends 1 bytes too early');
  }

  /** Goes past the next `n` bytes. Returns where they start. */
  skip(n: number): number {
    return this.#take(n);
  }

  /** A copy of the next `n` bytes. */
  bytes(n: number): Uint8Array {
    const at = this.#take(n);
    return this.#bytes.slice(at, at + n);
  }

  /** Throws `malformed` unless everything was read. */
  end(): void {
    if (this.left !== 0) throw malformed(`${this.left} bytes too many`);
  }
}

/** Bodies of HTTP messages: received into a short queue, sent with backpressure; one chunk in hand, no chunk ahead of what the other side takes. */
import { Whole } from '../../protocol/whole.ts';
import { refusal } from '../errors.ts';
import { passing } from '../young.ts';
import { type Header, trailing } from './headers.ts';
import type { Output } from './output.ts';

export const EMPTY: Whole = new Whole(new Uint8Array(0));

// eslint-disable-next-line require-await -- it is an async iterable because every body is.
export async function* bytes(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Bytes of one body that wait for their reader before the connection is read no further. */
const HIGH_WATER = 64 * 1024;

/** Where a body comes from. */
export interface Source {
  /** Whether more may come. */
  flow(on: boolean): void;
  /** Nobody reads the rest. */
  abandon(): void;
}

interface Reader {
  resolve(step: IteratorResult<Uint8Array>): void;
  reject(error: unknown): void;
}

const END: IteratorResult<Uint8Array> = { value: undefined, done: true };

/** A body as it comes off a connection. Once it ended or failed it has nothing to do with the connection any more. */
export class Incoming implements AsyncIterableIterator<Uint8Array> {
  #source: Source | null;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #reader: Reader | null = null;
  #error: unknown = null;
  #isStopped = false;

  constructor(source: Source) {
    this.#source = source;
  }

  push(chunk: Uint8Array): void {
    if (this.#source === null) return;
    passing(chunk.length);
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      reader.resolve({ value: chunk, done: false });
      return;
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#isStopped || this.#size < HIGH_WATER) return;
    this.#isStopped = true;
    this.#source.flow(false);
  }

  end(): void {
    this.#release();
    this.#reader?.resolve(END);
    this.#reader = null;
  }

  /** The message breaks off here; what had come before is read first. */
  fail(error: unknown): void {
    if (this.#source === null) return;
    this.#error = error;
    this.#release();
    this.#reader?.reject(error);
    this.#reader = null;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#size -= chunk.length;
      if (this.#isStopped && this.#chunks.length === 0) {
        this.#isStopped = false;
        this.#source?.flow(true);
      }
      return Promise.resolve({ value: chunk, done: false });
    }
    if (this.#error !== null) return Promise.reject(this.#error as Error);
    if (this.#source === null) return Promise.resolve(END);
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#chunks = [];
    const source = this.#source;
    this.end();
    source?.abandon();
    return Promise.resolve(END);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #release(): void {
    const source = this.#source;
    this.#source = null;
    if (this.#isStopped) source?.flow(true);
    this.#isStopped = false;
  }
}

/** How a body is framed: by chunks, its declared length, or the connection's end; or left out, as of an answer to HEAD. */
export type Framing = number | 'chunks' | 'close' | 'none';

const mismatch = (sent: number, length: number): Error =>
  sent > length
    ? refusal('body_mismatch', `the body is longer than the declared ${length} bytes`)
    : refusal('body_mismatch', `the body ended after ${sent} of ${length} bytes`);

function write(out: Output, chunk: Uint8Array, isChunk: boolean): void {
  if (chunk.length === 0) return;
  if (!isChunk) return out.bytes(chunk);
  out.text(`${chunk.length.toString(16)}\r\n`);
  out.bytes(chunk);
  out.text('\r\n');
}

function finish(out: Output, trailers: (() => readonly Header[]) | undefined): void {
  let end = '0\r\n';
  for (const [name, value] of trailing(trailers?.() ?? [])) end += `${name}: ${value}\r\n`;
  out.text(`${end}\r\n`);
}

/** Writes a body that is here as a whole. Throws `body_mismatch`, before it has written anything. */
export function pourWhole(body: Uint8Array, out: Output, framing: Framing, trailers?: () => readonly Header[]): void {
  if (framing === 'none') return;
  if (typeof framing === 'number' && framing !== body.length) throw mismatch(body.length, framing);
  write(out, body, framing === 'chunks');
  if (framing === 'chunks') finish(out, trailers);
}

/**
 * Writes `body` with backpressure, to its end and with its trailers where chunks have room for them. False when the connection went before.
 * A body that is not as long as declared is a `body_mismatch`: what follows on the same connection would be read as something else.
 */
export async function pour(
  body: AsyncIterable<Uint8Array>,
  out: Output,
  framing: Framing,
  trailers?: () => readonly Header[],
): Promise<boolean> {
  let sent = 0;
  for await (const chunk of body) {
    if (out.isClosed) return false;
    sent += chunk.length;
    if (framing === 'none') continue;
    if (typeof framing === 'number' && sent > framing) throw mismatch(sent, framing);
    write(out, chunk, framing === 'chunks');
    if (out.isFull && !(await out.room())) return false;
  }
  if (typeof framing === 'number' && sent < framing) throw mismatch(sent, framing);
  if (framing === 'chunks') finish(out, trailers);
  return true;
}

/** Lets go of a body nobody reads. */
export const drop = (body: AsyncIterable<Uint8Array>): void =>
  void Promise.resolve(body[Symbol.asyncIterator]().return?.()).catch(() => {});

/** A body that tells, once, how it ended: read to its end, or broken off or abandoned before. */
export function tracked(body: AsyncIterable<Uint8Array>, onOver: (whole: boolean) => void): AsyncIterable<Uint8Array> {
  // It can't break off any more.
  if (body instanceof Whole) {
    onOver(true);
    return body;
  }
  let over = false;
  const settle = (whole: boolean): void => {
    if (!over) onOver(whole);
    over = true;
  };
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await iterator.next();
            if (step.done) settle(true);
            return step;
          } catch (error) {
            settle(false);
            throw error;
          }
        },
        async return() {
          settle(false);
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

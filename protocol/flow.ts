/** The bodies of multiplexed calls: hashed as they pass, sent within a window, received into a bounded queue. */
import { sha256 } from '@noble/hashes/sha2.js';
import { sha } from './hash.ts';
import { STREAM_WINDOW } from './packet.ts';

export const EMPTY_HASH: Uint8Array = sha(new Uint8Array(0));
const ignore = (): void => {};

interface Hasher {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

/** The platform's streaming SHA-256 where it lends one (Node: eight times faster on large bodies), else ours. */
const platform = (
  globalThis as {
    process?: { getBuiltinModule?: (id: string) => { createHash?: (name: string) => Hasher } | undefined };
  }
).process?.getBuiltinModule?.('node:crypto')?.createHash;
const newHasher = (): Hasher => platform?.('sha256') ?? sha256.create();

/** Bodies up to this are hashed in one go. */
const SMALL_BODY = 1024;

/** SHA-256 of a body as it streams; most are one small chunk, or nothing. Final once asked. */
export class BodyHash {
  #first: Uint8Array | null = null;
  #hasher: Hasher | null = null;
  #digest: Uint8Array | null = null;

  update(bytes: Uint8Array): void {
    if (this.#digest !== null) return;
    if (this.#hasher === null) {
      if (this.#first === null && bytes.length <= SMALL_BODY) {
        this.#first = bytes.slice();
        return;
      }
      this.#hasher = newHasher();
      if (this.#first !== null) this.#hasher.update(this.#first);
      this.#first = null;
    }
    this.#hasher.update(bytes);
  }

  digest(): Uint8Array {
    this.#digest ??=
      this.#hasher !== null
        ? Uint8Array.from(this.#hasher.digest())
        : this.#first !== null
          ? sha(this.#first)
          : EMPTY_HASH;
    return this.#digest;
  }
}

/** The receiving end of a body: a bounded queue that grants window as its reader reads. */
export class Inflow implements AsyncIterableIterator<Uint8Array> {
  readonly #mux: Flow;
  readonly #call: number;
  readonly #abandon: () => void;
  readonly hash: BodyHash | null;
  #chunks: Uint8Array[] = [];
  #readers: { resolve: (r: IteratorResult<Uint8Array>) => void; reject: (e: unknown) => void }[] = [];
  #allowed = STREAM_WINDOW;
  #ungranted = 0;
  #error: Error | null = null;
  #discard = false;
  ended = false;

  constructor(mux: Flow, call: number, hash: BodyHash | null, abandon: () => void) {
    this.#mux = mux;
    this.#call = call;
    this.hash = hash;
    this.#abandon = abandon;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** False when the sender sent more than it was allowed. */
  push(bytes: Uint8Array): boolean {
    this.#allowed -= bytes.length;
    if (this.#allowed < 0 || this.ended) return false;
    this.hash?.update(bytes);
    if (this.#discard) this.#grant(bytes.length);
    else if (this.#readers.length > 0) {
      this.#readers.shift()!.resolve({ value: bytes, done: false });
      this.#grant(bytes.length);
    } else {
      this.#chunks.push(bytes);
      this.#mux.queued(bytes.length);
    }
    return true;
  }

  end(): void {
    this.ended = true;
    for (const reader of this.#readers.splice(0)) reader.resolve({ value: undefined, done: true });
  }

  /** The body breaks off here. What had come before is read first; what still comes is dropped. */
  fail(error: Error): void {
    if (this.#error !== null || (this.ended && this.#chunks.length === 0)) return;
    this.#error = error;
    this.#discard = true;
    for (const reader of this.#readers.splice(0)) reader.reject(error);
  }

  /** Drops what waits and whatever follows, but keeps hashing and granting, so that the sender can finish. */
  discard(): void {
    this.#discard = true;
    let dropped = 0;
    for (const chunk of this.#chunks.splice(0)) dropped += chunk.length;
    this.#mux.queued(-dropped);
    if (!this.ended) this.#grant(dropped);
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#mux.queued(-chunk.length);
      this.#grant(chunk.length);
      return Promise.resolve({ value: chunk, done: false });
    }
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.ended || this.#discard) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    const isEarly = !this.ended && !this.#discard;
    this.discard();
    if (isEarly) this.#abandon();
    return Promise.resolve({ value: undefined, done: true });
  }

  #grant(bytes: number): void {
    this.#ungranted += bytes;
    if (this.ended || this.#ungranted < STREAM_WINDOW / 2) return;
    this.#allowed += this.#ungranted;
    this.#mux.grant(this.#call, this.#ungranted);
    this.#ungranted = 0;
  }
}

export interface Flow {
  queued(bytes: number): void;
  grant(call: number, bytes: number): void;
}

/** The sending end of a body: how much it may send, and who waits for more. */
export class Outflow {
  readonly hash: BodyHash | null;
  window = STREAM_WINDOW;
  stopped = false;
  finished = false;
  /** How many bytes of a chunk may still be sent; after fewer than all of it the body is `spent`. */
  limit: ((chunk: Uint8Array) => number) | null = null;
  spent = false;
  wake: (() => void) | null = null;
  source: AsyncIterator<Uint8Array> | null = null;

  constructor(hash: BodyHash | null) {
    this.hash = hash;
  }

  grant(bytes: number): void {
    this.window = Math.min(this.window + bytes, Number.MAX_SAFE_INTEGER);
    this.#wake();
  }

  stop(): void {
    if (this.stopped || this.finished) return;
    this.stopped = true;
    this.#wake();
    // The source may be a generator in the middle of a read; it ends when it can, nobody waits for it.
    void Promise.resolve(this.source?.return?.()).catch(ignore);
  }

  /** Ends the body where it is, as if that were all of it. False when it had ended, one way or the other. */
  cut(): boolean {
    if (this.stopped || this.finished) return false;
    this.stop();
    this.finished = true;
    return true;
  }

  #wake(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}

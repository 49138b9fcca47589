/** Bodies that are all here: most are, and then no stream, queue or window need stand behind them. */
import type { Flow } from './flow.ts';

/** Slices up to this share memory: a backing store of their own would cost more than they do. */
const SMALL = 1024;
const SLAB_BYTES = 8 * 1024;

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;

/** Bytes to be filled at once, and kept. */
export function room(length: number): Uint8Array {
  if (length > SMALL) return new Uint8Array(length);
  if (used + length > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  const bytes = slab.subarray(used, used + length);
  used += length;
  return bytes;
}

/** A copy, for who keeps bytes of a packet: a view would keep its whole packet alive. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = room(bytes.length);
  copy.set(bytes);
  return copy;
}

/** A body known as a whole. Whoever sends one at once gets it sent with its head. Bytes are not copied. */
export class Whole implements AsyncIterable<Uint8Array> {
  readonly #bytes: Uint8Array;
  /** Counts the bytes as waiting until somebody takes them. */
  #flow: Flow | null;

  constructor(bytes: Uint8Array, flow: Flow | null = null) {
    this.#bytes = bytes;
    this.#flow = flow;
    flow?.queued(bytes.length);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** All of it, at once. */
  take(): Uint8Array {
    this.release();
    return this.#bytes;
  }

  /** @internal Nobody will read it. */
  release(): void {
    this.#flow?.queued(-this.#bytes.length);
    this.#flow = null;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    let done = false;
    return {
      next: () => {
        const value = done ? undefined : this.take();
        done = true;
        return Promise.resolve(
          value === undefined || value.length === 0 ? { value: undefined, done: true } : { value, done: false },
        );
      },
      return: () => {
        done = true;
        this.release();
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }
}

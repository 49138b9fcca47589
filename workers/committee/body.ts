/** A request's body, piece by piece: who sends too much, too little or too slowly is known before it takes memory. */
import { malformed } from '../../protocol/errors.ts';
import { problem } from '../gateway/problem.ts';

export class Body {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | null;
  readonly #deadlineMs: number;
  #rest: Uint8Array = new Uint8Array(0);

  /** `deadlineMs`: Unix ms by which all must be here. */
  constructor(stream: ReadableStream<Uint8Array> | null, deadlineMs: number) {
    this.#reader = stream?.getReader() ?? null;
    this.#deadlineMs = deadlineMs;
  }

  /** The next `length` bytes. Throws `malformed` where the body ends before, `too_slow` after the deadline. */
  async take(length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      if (this.#rest.length === 0 && !(await this.#more()))
        throw malformed(`the body ends ${length - at} bytes too early`);
      const some = this.#rest.subarray(0, length - at);
      out.set(some, at);
      at += some.length;
      this.#rest = this.#rest.subarray(some.length);
    }
    return out;
  }

  /** Throws `malformed` unless all was taken. */
  async end(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#more())) throw malformed('the body is longer than what it says');
  }

  /** Reads no further. */
  cancel(): void {
    this.#reader?.cancel().catch(() => {});
  }

  async #more(): Promise<boolean> {
    if (!this.#reader) return false;
    const late = Promise.withResolvers<never>();
    const left = Math.max(0, this.#deadlineMs - Date.now());
    const timer = setTimeout(() => late.reject(problem('too_slow', 'the body did not come in time')), left);
    try {
      for (;;) {
        const { done, value } = await Promise.race([this.#reader.read(), late.promise]);
        if (done) return false;
        if (value.length === 0) continue;
        this.#rest = value;
        return true;
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

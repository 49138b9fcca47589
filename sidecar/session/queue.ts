/** The records of a log that no half counts yet. */
import { CALL_RECORD_BYTES, priceOf } from '../../protocol/call.ts';

const NOTHING = new Uint8Array(0);
const FIRST_RECORDS = 16;

/**
 * Call records behind one another in one piece of memory, oldest first. Each as an object of its own would live for a window, which is longer than a young
 * heap lasts: with many sessions, such records are most of what V8 copies and then collects.
 */
export class RecordQueue {
  #bytes = NOTHING;
  /** Where the first one begins, and where the last one ends. */
  #start = 0;
  #end = 0;
  #isFresh = false;

  get length(): number {
    return (this.#end - this.#start) / CALL_RECORD_BYTES;
  }

  push(record: Uint8Array): void {
    if (this.#end + CALL_RECORD_BYTES > this.#bytes.length) this.#makeRoom();
    this.#bytes.set(record, this.#end);
    this.#end += CALL_RECORD_BYTES;
    this.#isFresh = true;
  }

  /** Number `i` of those that are here; a view, good until the next change. */
  at(i: number): Uint8Array {
    const at = this.#start + i * CALL_RECORD_BYTES;
    return this.#bytes.subarray(at, at + CALL_RECORD_BYTES);
  }

  /** Sum of the prices of the first `n`. */
  cost(n: number): number {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += priceOf(this.#bytes, this.#start + i * CALL_RECORD_BYTES);
    return sum;
  }

  /** Copies of those from number `from` on. */
  copies(from: number): Uint8Array[] {
    const bytes = this.#bytes.slice(this.#start + from * CALL_RECORD_BYTES, this.#end);
    return Array.from({ length: bytes.length / CALL_RECORD_BYTES }, (_, i) =>
      bytes.subarray(i * CALL_RECORD_BYTES, (i + 1) * CALL_RECORD_BYTES),
    );
  }

  /** Forgets the first `n`. */
  drop(n: number): void {
    this.#start += n * CALL_RECORD_BYTES;
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  /** Gives the memory back when nothing has come since the last time, and nothing is left. */
  trim(): void {
    if (!this.#isFresh && this.#end === 0) this.#bytes = NOTHING;
    this.#isFresh = false;
  }

  #makeRoom(): void {
    const held = this.#bytes.subarray(this.#start, this.#end);
    // Half of it is free at its beginning: no more is needed.
    if (held.length * 2 <= this.#bytes.length && this.#start > 0) this.#bytes.copyWithin(0, this.#start, this.#end);
    else {
      this.#bytes = new Uint8Array(Math.max(FIRST_RECORDS * CALL_RECORD_BYTES, 2 * this.#bytes.length));
      this.#bytes.set(held);
    }
    this.#start = 0;
    this.#end = held.length;
  }
}

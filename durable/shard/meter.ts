/**
 * How long what waits will take, by what it took lately. Work is counted in estimated microseconds; how the estimate compares with the clock
 * is learned only while so much is inside that the clock measures the work and nothing else. Time is asked for at events only: the platform's
 * clock stands still in between.
 */

/** Inside at least this, by the estimate: the queue is never empty, so time passed is time worked. */
const BUSY_MS = 20;
/** A measurement spans at least this. */
const SPAN_MS = 100;
/** What a measurement may say of the estimate: beyond, something other than work took the time. */
const LEAST = 0.1;
const MOST = 50;

export class Meter {
  #inside = 0;
  /** Microseconds of the clock in one of the estimate. */
  #factor = 1;
  #spanFromMs = 0;
  /** Work done in the span being measured; −1 while none is. */
  #spanDone = -1;
  #lastMeasured = MOST;

  /** Milliseconds until `more` work, come now, would be done. */
  waitMs(more = 0): number {
    return ((this.#inside + more) * this.#factor) / 1000;
  }

  /** Work that came in. */
  take(work: number, nowMs: number): void {
    this.#inside += work;
    if (this.#spanDone < 0 && this.waitMs() >= BUSY_MS) {
      this.#spanFromMs = nowMs;
      this.#spanDone = 0;
    }
  }

  /** Work that is done with. */
  done(work: number, nowMs: number): void {
    this.#inside -= work;
    if (this.#spanDone < 0) return;
    this.#spanDone += work;
    const passedMs = nowMs - this.#spanFromMs;
    const idle = this.waitMs() < BUSY_MS;
    if (passedMs >= SPAN_MS && this.#spanDone > 0) {
      const measured = Math.min(Math.max((passedMs * 1000) / this.#spanDone, LEAST), MOST);
      // A stall makes one measurement slow; two in a row are slow when the work is.
      this.#factor = (this.#factor + Math.min(measured, this.#lastMeasured)) / 2;
      this.#lastMeasured = measured;
      this.#spanFromMs = nowMs;
      this.#spanDone = 0;
    }
    if (idle) this.#spanDone = -1;
  }
}

/**
 * Room for work that waits its turn, shared among agents. Everybody is taken while all of it is done in time; when it is not, still those
 * who have less of it waiting than an equal share, so that whoever floods keeps out nobody but itself.
 */
import { Meter } from './meter.ts';

export class Lane {
  readonly #maxWaitMs: number;
  readonly #meter = new Meter();
  readonly #own = new Map<number, number>();
  #work = 0;

  /** `maxWaitMs`: longest that work taken may expect to wait. */
  constructor(maxWaitMs: number) {
    this.#maxWaitMs = maxWaitMs;
  }

  /** 0 when so much more work of an agent may come in, else the seconds after which it may. */
  full(agent: number, work: number): number {
    const waitMs = this.#meter.waitMs(work);
    // Where nothing waits, it can't wait for less, whatever it costs.
    if (waitMs <= this.#maxWaitMs || this.#work === 0) return 0;
    const own = this.#own.get(agent) ?? 0;
    const agents = this.#own.size + (own === 0 ? 1 : 0);
    const ownWaitMs = (waitMs * (own + work)) / (this.#work + work);
    return ownWaitMs <= this.#maxWaitMs / agents ? 0 : Math.max(1, Math.ceil((waitMs - this.#maxWaitMs) / 1000));
  }

  enter(agent: number, work: number, nowMs: number): void {
    this.#work += work;
    this.#own.set(agent, (this.#own.get(agent) ?? 0) + work);
    this.#meter.take(work, nowMs);
  }

  /** It waits no longer. */
  leave(agent: number, work: number): void {
    this.#work -= work;
    const own = (this.#own.get(agent) ?? 0) - work;
    if (own > 0) this.#own.set(agent, own);
    else this.#own.delete(agent);
  }

  /** Work that has left is done with: the clock says how long it took. */
  done(work: number, nowMs: number): void {
    this.#meter.done(work, nowMs);
  }
}

/**
 * A circuit breaker per peer: after failures in a row, or a share of failures in a window, calls to it are refused for a
 * while, then one of them tries. A peer that takes money or time and answers nothing costs no more than that.
 * @see https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
 */

export interface BreakerConfig {
  /** Failures in a row that open the circuit. */
  readonly failures: number;
  /** Percent of the calls in the window that open it, once there were at least `calls`. */
  readonly share: number;
  readonly calls: number;
  readonly windowSeconds: number;
  /** Seconds it stays open the first time; doubles while the trials fail, up to 16 times that. */
  readonly openSeconds: number;
}

/** What of a circuit outlives the process. */
export interface CircuitRow {
  readonly row: number;
  readonly openUntilMs: number;
  readonly openMs: number;
}

const MAX_DOUBLING = 16;

export class Circuit {
  /** Failures since the last success. */
  #row: number;
  #openUntilMs: number;
  /** How long it was opened for last; 0 while it is closed. */
  #openMs: number;
  /** When the call that tries an open circuit was let through; 0 if none is. */
  #trialMs = 0;
  /** Two halves of the window: the running one and the one before. */
  #half = 0;
  readonly #good: [number, number] = [0, 0];
  readonly #bad: [number, number] = [0, 0];

  constructor({ row, openUntilMs, openMs }: CircuitRow = { row: 0, openUntilMs: 0, openMs: 0 }) {
    this.#row = row;
    this.#openUntilMs = openUntilMs;
    this.#openMs = openMs;
  }

  get saved(): CircuitRow {
    return { row: this.#row, openUntilMs: this.#openUntilMs, openMs: this.#openMs };
  }
  get isOpen(): boolean {
    return this.#openMs > 0;
  }

  /** Milliseconds until a call may try again; 0 when this one may go. */
  waitMs(nowMs: number): number {
    if (this.#openMs === 0) return 0;
    if (nowMs < this.#openUntilMs) return this.#openUntilMs - nowMs;
    // One trial at a time. One whose end nobody reported must not hold the circuit forever.
    const trialUntil = this.#trialMs === 0 ? 0 : this.#trialMs + this.#openMs;
    return Math.max(0, trialUntil - nowMs);
  }

  /** A call goes: if the circuit is open, it is the trial. */
  enter(nowMs: number): void {
    if (this.#openMs > 0) this.#trialMs = nowMs;
  }

  /** A call came to nothing that tells of the peer: another may try. */
  void(): void {
    this.#trialMs = 0;
  }

  /** Reports how a call ended. Answers whether what outlives the process changed. */
  report(isGood: boolean, nowMs: number, rule: BreakerConfig): boolean {
    const before = this.#row;
    this.#turn(nowMs, rule);
    if (isGood) {
      this.#good[0] += 1;
      const changed = before > 0 || this.#openMs > 0;
      // Only what was let through can have come back: one good answer closes the circuit.
      if (this.#openMs > 0) this.#forget();
      this.#row = 0;
      return changed;
    }
    this.#bad[0] += 1;
    this.#row += 1;
    const wasTrial = this.#openMs > 0 && nowMs >= this.#openUntilMs;
    // What was on its way when the circuit opened says nothing new.
    if (this.#openMs > 0 && !wasTrial) return true;
    if (wasTrial || this.#trips(rule)) {
      const first = rule.openSeconds * 1000;
      this.#openMs = wasTrial ? Math.min(this.#openMs * 2, first * MAX_DOUBLING) : first;
      this.#openUntilMs = nowMs + this.#openMs;
      this.#trialMs = 0;
    }
    return true;
  }

  #trips(rule: BreakerConfig): boolean {
    const bad = this.#bad[0] + this.#bad[1];
    const calls = bad + this.#good[0] + this.#good[1];
    return this.#row >= rule.failures || (calls >= rule.calls && bad * 100 >= rule.share * calls);
  }

  #turn(nowMs: number, { windowSeconds }: BreakerConfig): void {
    const half = Math.floor(nowMs / (windowSeconds * 500));
    if (half === this.#half) return;
    for (const count of [this.#good, this.#bad]) {
      count[1] = half === this.#half + 1 ? count[0] : 0;
      count[0] = 0;
    }
    this.#half = half;
  }

  #forget(): void {
    this.#openMs = 0;
    this.#openUntilMs = 0;
    this.#trialMs = 0;
    this.#good.fill(0);
    this.#bad.fill(0);
  }
}

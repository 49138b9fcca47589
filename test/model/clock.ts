/**
 * Time and turns of a simulated world: while it is on, nothing of the platform's timers, clocks or turns is real, and who
 * runs next is the world's choice. Imported before anything that would keep a real one.
 */
export class Clock {
  ms = 1_000_000;
  /** What runs at the next turn, in order. */
  turn: (() => void)[] = [];
  #timers: { readonly at: number; readonly id: number; readonly run: () => void }[] = [];
  #ids = 0;

  setTimer(run: () => void, delay: number): number {
    this.#timers.push({ at: this.ms + Math.max(0, delay || 0), id: ++this.#ids, run });
    return this.#ids;
  }
  clearTimer(id: number): void {
    const at = this.#timers.findIndex((timer) => timer.id === id);
    if (at >= 0) this.#timers.splice(at, 1);
  }
  get timers(): number {
    return this.#timers.length;
  }
  /** Lets the next timer's time come. */
  ring(): void {
    let next = this.#timers[0];
    for (const timer of this.#timers)
      if (timer.at < next.at || (timer.at === next.at && timer.id < next.id)) next = timer;
    this.clearTimer(next.id);
    this.ms = Math.max(this.ms, next.at);
    next.run();
  }
}

let clock: Clock | null = null;
const real = { setTimeout, clearTimeout, setImmediate, date: Date.now, performance: performance.now.bind(performance) };
const world = globalThis as unknown as Record<string, unknown>;

/* oxlint-disable typescript/no-explicit-any -- the platform's own overloads */
world.setTimeout = (run: () => void, delay: number, ...rest: unknown[]) =>
  clock === null
    ? (real.setTimeout as (...args: unknown[]) => unknown)(run, delay, ...rest)
    : clock.setTimer(run, delay);
world.clearTimeout = (id: unknown) => {
  if (typeof id === 'number' && clock !== null) clock.clearTimer(id);
  else real.clearTimeout(id as NodeJS.Timeout);
};
world.setImmediate = (run: () => void, ...rest: unknown[]) =>
  clock === null ? (real.setImmediate as (...args: unknown[]) => unknown)(run, ...rest) : void clock.turn.push(run);
Date.now = () => clock?.ms ?? real.date();
performance.now = () => clock?.ms ?? real.performance();

/** Puts a world's clock in the place of the real one; `null` gives it back. */
export const useClock = (next: Clock | null): void => void (clock = next);

/** Everything that was waiting for nothing but its turn among promises has had it. */
export const settled = (): Promise<void> => new Promise((resolve) => real.setImmediate(resolve));

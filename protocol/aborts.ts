/** How a call learns that its caller left. */

/** What of an `AbortSignal` a call looks at; each is one. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Who wants to know when a signal aborts. */
export interface Abortable {
  aborted(): void;
}

/**
 * The signal of one call. The platform's costs a call more than all else that is made for it, and most calls end with nobody having left.
 * Nor may a request make one when it is asked: an accessor in an object literal is a pair in V8's old space, which keeps what it closes over,
 * the whole call, until a full collection. A listener is told once.
 */
export class CallSignal implements Signal {
  aborted = false;
  reason: unknown = undefined;
  /** One at a time, as a rule. */
  #who: Abortable | null = null;
  #others: Set<Abortable | (() => void)> | null = null;

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const who = this.#who;
    this.#who = null;
    who?.aborted();
    for (const each of this.#others ?? []) {
      if (typeof each === 'function') each();
      else each.aborted();
    }
    this.#others = null;
  }

  watch(who: Abortable): void {
    if (this.#who === null) this.#who = who;
    else (this.#others ??= new Set()).add(who);
  }

  unwatch(who: Abortable): void {
    if (this.#who === who) this.#who = null;
    else this.#others?.delete(who);
  }

  addEventListener(_: 'abort', listener: () => void): void {
    (this.#others ??= new Set()).add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#others?.delete(listener);
  }
}

/** Of other signals one listener each, however many calls share it. */
const watched = new WeakMap<Signal, Set<Abortable>>();

/** Tells `who` when `signal` aborts, until `unwatch`. */
export function watch(signal: Signal, who: Abortable): void {
  if (signal instanceof CallSignal) return signal.watch(who);
  let all = watched.get(signal);
  if (all === undefined) {
    const fresh = new Set<Abortable>();
    signal.addEventListener(
      'abort',
      () => {
        for (const each of fresh) each.aborted();
      },
      { once: true },
    );
    watched.set(signal, fresh);
    all = fresh;
  }
  all.add(who);
}

export function unwatch(signal: Signal, who: Abortable): void {
  if (signal instanceof CallSignal) signal.unwatch(who);
  else watched.get(signal)?.delete(who);
}

/** A signal as the platform's, for who takes no other. */
export function abortSignalOf(signal: Signal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const controller = new AbortController();
  if (signal.aborted) controller.abort(signal.reason);
  else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
  return controller.signal;
}

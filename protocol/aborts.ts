/** Who wants to know when a signal aborts: one listener a signal, however many calls share it. */

export interface Abortable {
  aborted(): void;
}

const watched = new WeakMap<AbortSignal, Set<Abortable>>();

/** Tells `who` when `signal` aborts, until it is deleted from the set returned. */
export function watch(signal: AbortSignal, who: Abortable): Set<Abortable> {
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
  return all;
}

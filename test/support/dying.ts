/** A worker that dies: what a pass asked of others was done, and the pass never knew. */
export interface Dying {
  /** `target`, whose calls count as well. */
  readonly rpc: unknown;
  /** Whether there was such a call. */
  died(): boolean;
  /** Gives `fetch` back. */
  restore(): void;
}

/** Dies at the n-th call from 0 on that leaves the worker, by `fetch` or to `target`: when it was done, and before anyone knew. */
export function dying(n: number, target: object): Dying {
  let left = n;
  let isDead = false;
  const { fetch: realFetch } = globalThis;
  const guard = async <T>(call: () => Promise<T>): Promise<T> => {
    if (isDead) throw new Error('dead');
    if (left-- > 0) return call();
    isDead = true;
    await call();
    throw new Error('died');
  };
  globalThis.fetch = ((...args: Parameters<typeof fetch>) => guard(() => realFetch(...args))) as typeof fetch;
  const rpc = new Proxy(target, {
    get: (of, name) => {
      const value: unknown = Reflect.get(of, name, of);
      return typeof value === 'function'
        ? (...args: unknown[]) => guard(async () => (value as (...args: unknown[]) => unknown).apply(of, args))
        : value;
    },
  });
  return { rpc, died: () => isDead, restore: () => void (globalThis.fetch = realFetch) };
}

/** Agents' machine keys as last seen, per isolate. A stale one costs a retry, never a wrong answer: the shard compares. */
import { type Env, shardHolding } from './env.ts';

const cache = new Map<number, Uint8Array>();
const MAX_KEYS = 4096;

/** x ‖ y; null for an unknown agent. `fresh` asks the shard whatever is cached. */
export async function machineKey(env: Env, agent: number, fresh = false): Promise<Uint8Array | null> {
  const known = fresh ? undefined : cache.get(agent);
  if (known) return known;
  const found = await shardHolding(env, agent).key(agent);
  if (found) rememberKey(agent, found.key);
  return found?.key ?? null;
}

export const isCached = (agent: number): boolean => cache.has(agent);

export function rememberKey(agent: number, key: Uint8Array): void {
  if (cache.size >= MAX_KEYS) cache.delete(cache.keys().next().value!);
  cache.set(agent, key);
}

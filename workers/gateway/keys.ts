/** Agents' machine keys as last seen, per isolate. A stale one costs a retry, never a wrong answer: the shard compares. */
import { shardOf } from '../../protocol/ids.ts';
import { type Env, shardHolding, shardNumbered } from './env.ts';

const cache = new Map<number, Uint8Array>();
/** Some 100 bytes each. */
const MAX_KEYS = 65_536;

/** x ‖ y; null for an unknown agent. `fresh` asks the shard whatever is cached. */
export async function machineKey(env: Env, agent: number, fresh = false): Promise<Uint8Array | null> {
  const known = fresh ? undefined : cache.get(agent);
  if (known) return known;
  const found = await shardHolding(env, agent).key(agent);
  if (found) rememberKey(agent, found.key);
  return found?.key ?? null;
}

export const cachedKey = (agent: number): Uint8Array | undefined => cache.get(agent);

/** Asks the shards for the keys of agents, each shard once, and remembers them. Returns the agents there are, and the shards that did not answer. */
export async function fetchKeys(
  env: Env,
  agents: ReadonlySet<number>,
): Promise<{ readonly found: ReadonlySet<number>; readonly silent: ReadonlySet<number> }> {
  const found = new Set<number>();
  const silent = new Set<number>();
  await Promise.all(
    [...Map.groupBy(agents, shardOf)].map(async ([shard, own]) => {
      try {
        const keys = await shardNumbered(env, shard).keys(own);
        for (const [i, key] of keys.entries()) {
          if (!key) continue;
          rememberKey(own[i], key);
          found.add(own[i]);
        }
      } catch (error) {
        console.error(error);
        silent.add(shard);
      }
    }),
  );
  return { found, silent };
}

export function rememberKey(agent: number, key: Uint8Array): void {
  if (cache.size >= MAX_KEYS) cache.delete(cache.keys().next().value!);
  cache.set(agent, key);
}

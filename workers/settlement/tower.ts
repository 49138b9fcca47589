/**
 * The watchtower's look by the cron: at every session that somebody is leaving, for what its parties signed beyond what the chain has. The second line
 * beside the session objects' own alarms; keeps nothing between looks.
 */
import type { SessionRpc } from '../../durable/session.ts';
import { type Namespace, type SessionFacts, type ShardRpc, shardStub } from '../../durable/shard/api.ts';
import { type TowerRow, watchtowerStub } from '../../durable/watchtower/api.ts';
import { formatId } from '../../protocol/ids.ts';
import { type Log, log as defaultLog, reason } from './log.ts';

export interface TowerEnv {
  readonly SHARD: Namespace;
  readonly SHARDS: string;
  readonly SESSION?: Namespace;
  readonly WATCHTOWER?: Namespace;
}

/** Session objects asked at the same time. */
const ASKED_AT_ONCE = 32;
const PAGE = 100;

let running: Promise<void> | null = null;

/** Looks, unless a look is under way. Never throws. */
export async function runTower(env: TowerEnv, log: Log = defaultLog): Promise<void> {
  if (running || !env.SESSION || !env.WATCHTOWER) return;
  const { SESSION, WATCHTOWER } = env;
  const count = Math.min(Math.max(Number(env.SHARDS) || 1, 1), 256);
  const shards = Array.from({ length: count }, (_, shard) => shardStub(env.SHARD, shard));
  running = Promise.all(shards.map((shard) => look(shard, SESSION, WATCHTOWER, log))).then(() => undefined);
  try {
    await running;
  } finally {
    running = null;
  }
}

/** One shard's sessions. What fails of one session or page is logged, and left to the next look. */
async function look(shard: ShardRpc, sessions: Namespace, tower: Namespace, log: Log): Promise<void> {
  try {
    for (let after: number | undefined = 0; after !== undefined;) {
      const page = await shard.exiting({ after, limit: PAGE });
      after = page.next;
      const rows: TowerRow[] = [];
      for (let at = 0; at < page.items.length; at += ASKED_AT_ONCE) {
        const some = page.items.slice(at, at + ASKED_AT_ONCE);
        rows.push(...(await Promise.all(some.map((facts) => ask(sessions, facts, log)))).flat());
      }
      if (rows.length === 0) continue;
      const answers = await watchtowerStub(tower).answer(rows);
      for (const [i, answer] of answers.entries())
        log('tower', { session: formatId(rows[i].half.session), dir: rows[i].half.dir, answer });
    }
  } catch (error) {
    log('tower_failed', { error: reason(error) });
  }
}

async function ask(sessions: Namespace, facts: SessionFacts, log: Log): Promise<TowerRow[]> {
  const id = formatId(facts.id);
  try {
    return await (sessions.getByName(id) as unknown as SessionRpc).unsettled(facts);
  } catch (error) {
    log('tower_failed', { session: id, error: reason(error) });
    return [];
  }
}

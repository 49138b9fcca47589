/** Token buckets by agent and kind: a burst at once, then so much a second. Kept in memory: a restart fills them. */
import { failure, type Failure } from './api.ts';
import { formatId } from '../../protocol/ids.ts';

export interface Bucket {
  /** What is counted, as people read it. */
  readonly name: string;
  readonly burst: number;
  readonly perSecond: number;
}

interface Level {
  readonly tokens: Float64Array;
  atMs: number;
}

/** Agents remembered before those whose buckets are full again are forgotten. */
const MANY = 8192;

export class Buckets {
  readonly #kinds: readonly Bucket[];
  readonly #levels = new Map<number, Level>();
  #sweepAt = MANY;

  constructor(kinds: readonly Bucket[]) {
    this.#kinds = kinds;
  }

  /** Takes what a bundle costs its agent, by kind, or nothing and says `rate_limited`, or `too_costly` when no waiting helps. */
  take(agent: number, cost: Float64Array, nowMs: number): Failure | null {
    if (cost.every((tokens) => tokens === 0)) return null;
    const level = this.#levelOf(agent, nowMs);
    for (const [i, kind] of this.#kinds.entries()) {
      const lacking = cost[i] - level.tokens[i];
      if (lacking > 0) return refusal(agent, kind, cost[i], lacking);
    }
    for (let i = 0; i < cost.length; i++) level.tokens[i] -= cost[i];
    return null;
  }

  #levelOf(agent: number, nowMs: number): Level {
    let level = this.#levels.get(agent);
    if (level) this.#fill(level, nowMs);
    else {
      if (this.#levels.size >= this.#sweepAt) this.#sweep(nowMs);
      level = { tokens: Float64Array.from(this.#kinds, ({ burst }) => burst), atMs: nowMs };
      this.#levels.set(agent, level);
    }
    return level;
  }

  #fill(level: Level, nowMs: number): void {
    const seconds = Math.max(nowMs - level.atMs, 0) / 1000;
    for (const [i, { burst, perSecond }] of this.#kinds.entries())
      level.tokens[i] = Math.min(level.tokens[i] + seconds * perSecond, burst);
    level.atMs = nowMs;
  }

  #sweep(nowMs: number): void {
    for (const [agent, level] of this.#levels) {
      this.#fill(level, nowMs);
      if (this.#kinds.every(({ burst }, i) => level.tokens[i] === burst)) this.#levels.delete(agent);
    }
    this.#sweepAt = Math.max(MANY, 2 * this.#levels.size);
  }
}

function refusal(agent: number, { name, burst, perSecond }: Bucket, cost: number, lacking: number): Failure {
  const rate = perSecond >= 1 ? `${perSecond} a second` : `one in ${Math.round(1 / perSecond)} seconds`;
  const limit = `${formatId(agent)} may do ${burst} ${name} at once, then ${rate}`;
  if (cost > burst) return failure('too_costly', `${limit}: a bundle with that many is never taken`);
  return failure('rate_limited', limit, { retryAfter: Math.ceil(lacking / perSecond) });
}

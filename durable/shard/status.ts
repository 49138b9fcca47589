/** How a shard stands, all of one moment. Anybody may ask, so after the same frames it is worked out once, and of many who wait once for all. */
import { Head, get } from '../../protocol/cells.ts';
import type { ShardStatus } from './api.ts';
import type { Core } from './core.ts';
import type { Lists } from './lists.ts';
import type { Root, Roots } from './roots.ts';

/** Before it is asked again where too many wait for something else. */
const RETRY_MS = 100;
/** Agents whose balances are added up in the time of a hash. */
const AGENTS_A_HASH = 16;

export class StatusReader {
  readonly #core: Core;
  readonly #lists: Lists;
  readonly #roots: Roots;
  #newest: ShardStatus | null = null;
  /** What those get who ask while one is waited for. */
  #next: Promise<ShardStatus | null> | null = null;

  constructor(core: Core, lists: Lists, roots: Roots) {
    this.#core = core;
    this.#lists = lists;
    this.#roots = roots;
  }

  async read(): Promise<ShardStatus> {
    const asked = this.#core.seq;
    for (;;) {
      if (this.#newest?.seq === this.#core.seq) return this.#newest;
      const next = (this.#next ??= this.#roots.read((root) => this.#make(root)));
      const status = await next;
      if (this.#next === next) this.#next = null;
      if (status && status.seq >= asked) return status;
      // Too many wait for proofs: one more is no matter, but when is theirs to say.
      if (!status) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #make({ seq, shardRoot }: Root): ShardStatus {
    const { engine, time, log, interactions } = this.#core;
    const head = engine.machine.head();
    const agents = get(head, Head.agents);
    this.#roots.charge(agents / AGENTS_A_HASH);
    this.#newest = {
      shard: engine.shard,
      seq,
      time,
      chunks: log.length,
      agents,
      services: get(head, Head.services),
      sessions: get(head, Head.sessions),
      escrows: get(head, Head.escrows),
      outbox: get(head, Head.outbox),
      interactions,
      balances: this.#lists.balances(),
      root: shardRoot,
    };
    return this.#newest;
  }
}

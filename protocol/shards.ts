/**
 * All shards of a deployment as one state, at one moment of the trace: what L1 executes steps on. Total, as the steps are: a shard that the
 * deployment does not have is one where nothing ever happened, and frames posted for it run there.
 */
import { equal } from './bytes.ts';
import { META_PEERS, MessageCell, Peer, Region, get, getBytes, messageSlot } from './cells.ts';
import type { Signing } from './eip712.ts';
import { Engine } from './engine.ts';
import type { VerifyP256 } from './machine.ts';
import type { Foreign } from './messages.ts';
import { type ShardTrie, StateTree } from './trie.ts';

/** What a shard's frames ask of other shards' cells. */
export const foreignOf = (shard: number, trieOf: (shard: number) => ShardTrie): Foreign => ({
  holds: (from, number, hash) => {
    const cell = trieOf(from).read(Region.message, messageSlot(shard, number));
    return get(cell, MessageCell.number) === number && equal(getBytes(cell, MessageCell.hash), hash);
  },
  received: (to, number) => get(trieOf(to).read(Region.meta, META_PEERS + shard), Peer.received) >= number,
});

export interface ShardsOptions {
  /** How many the deployment has. */
  readonly shards: number;
  readonly signing: Signing;
  readonly verify?: VerifyP256;
  /** The cells a shard starts with; without, none. */
  readonly trie?: (shard: number) => ShardTrie | undefined;
}

export class Shards {
  readonly count: number;
  readonly #options: ShardsOptions;
  readonly #engines = new Map<number, Engine>();

  constructor(options: ShardsOptions) {
    this.count = options.shards;
    this.#options = options;
    for (let shard = 0; shard < options.shards; shard++) this.engine(shard);
  }

  /** The engine of any shard 0 … 255. */
  engine(shard: number): Engine {
    const known = this.#engines.get(shard);
    if (known) return known;
    const { shards, signing, verify, trie } = this.#options;
    const foreign = foreignOf(shard, (of) => this.engine(of).trie);
    const engine = new Engine(shard, signing, { verify, shards, foreign, trie: trie?.(shard) });
    this.#engines.set(shard, engine);
    return engine;
  }

  /** Those that anything may have happened on. */
  get engines(): Iterable<Engine> {
    return this.#engines.values();
  }

  tree(): StateTree {
    return new StateTree(Array.from(this.#engines, ([shard, { trie }]) => [shard, trie.root()] as const));
  }
}

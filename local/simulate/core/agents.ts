/** The agents of a simulated Layer Core: their shards, their money, and what they ask for. */
import { encodeBundleBody } from '../../../protocol/bundle.ts';
import { concat } from '../../../protocol/bytes.ts';
import { Signing } from '../../../protocol/eip712.ts';
import { inboxFrame, tickFrame } from '../../../protocol/engine.ts';
import { SIGNATURE_BYTES } from '../../../protocol/half.ts';
import { makeId, shardOf } from '../../../protocol/ids.ts';
import { encodeInboxItem } from '../../../protocol/inbox.ts';
import type { Interaction } from '../../../protocol/ops/index.ts';
import { MemoryShard } from '../../../test/support/memory-shard.ts';
import type { Draws } from '../random.ts';
import { type CoreSetup, DOMAIN, EPOCH, PRICE } from './setup.ts';

const DEPOSIT = 1_000_000_000;

/** What an agent asks for at once. */
export interface Request {
  readonly actor: number;
  readonly interactions: readonly Interaction[];
  /** How many of these need another shard. */
  readonly crossing: number;
}

/** Agents of every shard, each with a service: they take turns among the shards, and each shard numbers its own. */
export class Agents {
  readonly shards: readonly MemoryShard[];
  /** Base units that came in from L1. */
  deposited = 0;
  readonly #setup: CoreSetup;
  readonly #draws: Draws;
  readonly #nonces = new Map<number, number>();

  constructor(setup: CoreSetup, draws: Draws) {
    this.#setup = setup;
    this.#draws = draws;
    const signing = new Signing(DOMAIN);
    this.shards = Array.from({ length: setup.shards }, (_, shard) => new MemoryShard(shard, signing, setup.shards));
    this.#populate();
  }

  /** Before time begins. */
  #populate(): void {
    const { agents, shards } = this.#setup;
    for (const shard of this.shards) shard.run(tickFrame(EPOCH));
    for (let i = 0; i < agents; i++) {
      const key = this.#draws.bytes(64);
      const item = {
        kind: 'register',
        shard: i % shards,
        owner: new Uint8Array(20).fill(7),
        key,
        amount: DEPOSIT,
      } as const;
      this.shards[0].run(inboxFrame(encodeInboxItem(item)));
      this.deposited += DEPOSIT;
    }
    this.quiesce();
    for (let i = 0; i < agents; i++) {
      const agent = this.#agent(i);
      const terms = { active: true, ceiling: 1000, deadlineSeconds: 3600, arbiter: 0, contestSeconds: 0 };
      const publish = { op: 'publish', service: 0, ...terms, metadataHash: new Uint8Array(32) } as const;
      this.shards[i % shards].run(this.bundle(agent, [publish]).frame);
    }
  }
  #agent(i: number): number {
    return makeId(i % this.#setup.shards, 1 + Math.floor(i / this.#setup.shards));
  }

  /** Has all messages arrive, however often answers make new ones. */
  quiesce(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const one of this.shards)
        for (const two of this.shards) if (one !== two && (one.deliver(two) > 0 || one.acknowledge(two))) moved = true;
    }
  }

  /** A bundle of an agent, the next by its nonce. */
  bundle(actor: number, interactions: readonly Interaction[]): { frame: Uint8Array; nonce: number } {
    const nonce = this.#nonces.get(actor) ?? 0;
    this.#nonces.set(actor, nonce + 1);
    const body = encodeBundleBody({ actor, nonce, expiry: 0xe0000000 }, interactions);
    return { frame: concat(body, new Uint8Array(SIGNATURE_BYTES)), nonce };
  }

  /** Calls and transfers of some agent, some of them to other shards. */
  request(): Request {
    const { agents, shards, bundle, cross } = this.#setup;
    const draws = this.#draws;
    const actor = this.#agent(draws.below(agents));
    let crossing = 0;
    const interactions = Array.from({ length: bundle }, (): Interaction => {
      const isFar = shards > 1 && draws.chance(cross);
      const shift = isFar ? 1 + draws.below(shards - 1) : 0;
      const others = Math.floor(agents / shards);
      const peer = makeId((shardOf(actor) + shift) % shards, 1 + draws.below(others));
      if (isFar) crossing += 1;
      // Each agent's service has the agent's own number.
      return draws.chance(0.5) && peer !== actor
        ? { op: 'invoke', service: peer, amount: PRICE }
        : { op: 'transfer', to: peer, amount: 1 };
    });
    return { actor, interactions, crossing };
  }
}

/** A deployment in memory: shards that trade with each other as a source of random numbers will have it, and an L1 that takes what it is given. */
import type { BatchRecord, Cut, ShardRpc } from '../../durable/shard/api.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import { Agent, Escrow, EscrowStatus, Head, Inbox, META_INBOX, Region, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { inboxFrame, tickFrame } from '../../protocol/engine.ts';
import { makeId, shardOf } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type ChunkRecord, decodeChunkRecords } from '../../protocol/trace.ts';
import { compose, finishCut, nextPart } from '../../workers/settlement/compose.ts';
import { orderOf } from '../../workers/settlement/order.ts';
import { Random } from '../reference/random.ts';
import { MemoryShard } from './memory-shard.ts';

export const DOMAIN = { chainId: 31337, root: `0x${'ab'.repeat(20)}` } as const;
const AGENTS_A_SHARD = 2;
const NOTHING = `0x${'00'.repeat(32)}` as const;
const TIP = { batchHash: NOTHING, post: NOTHING, postedAt: 0, inboxCursor: 0 };

export class MemoryWorld {
  readonly shards: readonly MemoryShard[];
  readonly random: Random;
  /** What L1 was given, batch by batch. */
  readonly posted: { readonly record: BatchRecord; readonly records: ChunkRecord[] }[] = [];
  readonly events: string[] = [];
  #time = 1_000_000;

  constructor(count: number, seed: number) {
    this.random = new Random(seed);
    const signing = new Signing(DOMAIN);
    this.shards = Array.from({ length: count }, (_, shard) => new MemoryShard(shard, signing, count));
    this.tick();
    for (let i = 0; i < count * AGENTS_A_SHARD; i++) this.#register(i % count, 1_000_000);
    // Elsewhere they come by message.
    this.quiesce();
    for (const { engine } of this.shards) this.#publish(makeId(engine.shard, 1));
  }

  // --- what agents do ---

  tick(): void {
    this.#time += 1;
    for (const shard of this.shards) shard.run(tickFrame(this.#time));
  }

  #item(item: Parameters<typeof encodeInboxItem>[0]): void {
    this.shards[0].run(inboxFrame(encodeInboxItem(item)));
  }
  #register(shard: number, amount: number): void {
    this.#item({ kind: 'register', shard, owner: new Uint8Array(20).fill(7), key: this.random.bytes(64), amount });
  }
  #submit(actor: number, interactions: readonly Interaction[]): void {
    const shard = this.shards[shardOf(actor)];
    const { machine } = shard.engine;
    const nonce = Agent.nonce.get(machine.cells, machine.agent(actor));
    const body = encodeBundleBody({ actor, nonce, expiry: 0xffffffff }, interactions);
    shard.run(concat(body, new Uint8Array(64)));
  }
  #publish(provider: number): void {
    const terms = {
      ceiling: 1000,
      deadlineSeconds: 600,
      arbiter: 0,
      contestSeconds: 0,
      metadataHash: new Uint8Array(32),
    };
    this.#submit(provider, [{ op: 'publish', service: 0, active: true, ...terms }]);
  }

  #agent(): number {
    const { random } = this;
    return makeId(random.below(this.shards.length), 1 + random.below(AGENTS_A_SHARD));
  }
  #interaction(): Interaction {
    const { random } = this;
    return random.weighted<Interaction>([
      [5, { op: 'transfer', to: this.#agent(), amount: random.below(100) }],
      [1, { op: 'transfer', to: makeId(random.below(this.shards.length), 999), amount: random.below(100) }],
      [4, { op: 'invoke', service: makeId(random.below(this.shards.length), 1), amount: random.below(1200) }],
      [1, { op: 'withdraw', amount: 1 + random.below(9) }],
    ]);
  }

  /** An agent of one shard pays one of another, or of the same. */
  transfer(from: number, to: number, amount = 1): void {
    this.#submit(makeId(from, 1), [{ op: 'transfer', to: makeId(to, 2), amount }]);
  }

  /** A provider answers one of its calls, if there are any. */
  #respond(): void {
    const { engine } = this.random.pick(this.shards);
    const { machine, shard } = engine;
    for (let serial = get(machine.head(), Head.escrows); serial > 0; serial--) {
      const escrow = machine.escrow(makeId(shard, serial));
      if (Escrow.status.get(machine.cells, escrow) !== EscrowStatus.open) continue;
      const payee = Escrow.payee.get(machine.cells, escrow);
      const price = this.random.below(Escrow.amount.get(machine.cells, escrow) + 1);
      this.#submit(payee, [{ op: 'respond', escrow: makeId(shard, serial), price, result: 'fulfilled' }]);
      return;
    }
  }

  /** Something happens somewhere. */
  act(): void {
    const { random, shards } = this;
    const [one, two] = [random.pick(shards), random.pick(shards)];
    random.weighted<() => void>([
      [
        4,
        () =>
          this.#submit(
            this.#agent(),
            Array.from({ length: random.between(1, 4) }, () => this.#interaction()),
          ),
      ],
      [3, () => this.#respond()],
      [6, () => void (one !== two && one.deliver(two, random.between(1, 5)))],
      [3, () => void (one !== two && one.acknowledge(two))],
      [1, () => this.tick()],
      [1, () => this.#register(random.below(shards.length), random.below(50))],
    ])();
  }

  /** Delivers and acknowledges until there is nothing more to. */
  quiesce(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const one of this.shards)
        for (const two of this.shards) if (one !== two && (one.deliver(two) > 0 || one.acknowledge(two))) moved = true;
    }
  }

  // --- settlement ---

  /** The shards, as settlement sees them; `before` is called before each call it makes. */
  rpcs(before: (method: string, shard: number) => void = () => {}): ShardRpc[] {
    return this.shards.map(
      (shard, number) =>
        new Proxy(shard, {
          get(target, name) {
            const value: unknown = Reflect.get(target, name, target);
            if (typeof value !== 'function') return value;
            return async (...args: unknown[]) => {
              before(String(name), number);
              return (value as (...args: unknown[]) => unknown).apply(target, args);
            };
          },
        }) as unknown as ShardRpc,
    );
  }

  get #look() {
    const newest = this.posted.at(-1)?.record;
    const tip = newest ? { ...TIP, batchHash: newest.hash, post: newest.header.post } : TIP;
    return { head: this.posted.length, tip };
  }

  finishCut(rpcs = this.rpcs()): Promise<void> {
    return finishCut(rpcs, (event) => void this.events.push(event));
  }
  /** The record of the next batch, known or made now, if it can be. */
  async compose(rpcs = this.rpcs()): Promise<BatchRecord | null> {
    const [known] = await rpcs[0].batches({ after: this.posted.length, limit: 1 });
    return known ?? this.#record(rpcs);
  }
  /** The next batch made anew, up to a later cut: as when L1 will never take it as it is. */
  async recompose(record: BatchRecord, rpcs = this.rpcs()): Promise<BatchRecord | null> {
    return this.#record(rpcs, record);
  }
  async #record(rpcs: ShardRpc[], instead?: BatchRecord): Promise<BatchRecord | null> {
    const composed = await compose(
      rpcs,
      this.#look,
      (event) => void this.events.push(event),
      instead !== undefined,
      instead,
    );
    if (composed) await rpcs[0].recordBatch(composed.record);
    return composed?.record ?? null;
  }

  /** Gives L1 the next batch, if there is one. */
  async pass(rpcs = this.rpcs()): Promise<BatchRecord | null> {
    await this.finishCut(rpcs);
    const record = await this.compose(rpcs);
    if (!record) return null;
    const order = await orderOf(rpcs, record);
    const total = record.ranges.reduce((sum, { frames }) => sum + frames, 0);
    const records: ChunkRecord[] = [];
    for (let frames = 0; frames < total;) {
      const part = await nextPart(rpcs, order, frames);
      records.push(...decodeChunkRecords(part!.data));
      frames += part!.frames;
    }
    // Two passes: L1 takes the first.
    if (record.number === this.posted.length + 1) this.posted.push({ record, records });
    return record;
  }

  /** Trades on in peace, until everything that happened is at L1. */
  async finish(): Promise<void> {
    do this.quiesce();
    while ((await this.pass()) !== null);
  }

  cutsAt(number: number): Promise<(Cut | null)[]> {
    return Promise.all(this.shards.map((shard) => shard.cutAt(number)));
  }
  get inboxCursor(): number {
    return get(this.shards[0].engine.trie.read(Region.meta, META_INBOX), Inbox.cursor);
  }
}

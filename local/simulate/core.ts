/**
 * Layer Core as it is: the real state transition on several shards, with the product's queue, chunks, messages, cuts and batches, in simulated time. What a
 * chunk or a message takes is what was measured; what is decided, in which order, and what it does to the state is the product's own code.
 */
import type { BatchRecord, ShardRpc } from '../../durable/shard/api.ts';
import { CHUNK_WORK, MESSAGE_WORK } from '../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../durable/shard/prices.ts';
import { FairQueue, type Queued } from '../../durable/shard/queue.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import { Escrow, EscrowStatus, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { FrameKind, inboxFrame, tickFrame } from '../../protocol/engine.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { makeId, shardOf } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { Status } from '../../protocol/status.ts';
import { type ChunkRecord, decodeChunkRecords } from '../../protocol/trace.ts';
import { MemoryShard } from '../../test/support/memory-shard.ts';
import { compose, finishCut, nextPart } from '../../workers/settlement/compose.ts';
import { EventQueue } from './events.ts';
import { Draws } from './random.ts';
import { Sample } from './statistics.ts';

export const DOMAIN = { chainId: 1, root: `0x${'51'.repeat(20)}` } as const;

const ARRIVAL = 0;
const TURN = 1;
const CHUNK = 2;
const MAIL = 3;
const ACK = 4;
const ANSWER = 5;
const BATCH = 6;
const TICK = 7;

/** When simulated time begins, Unix seconds: later than any clock that the product may ask. */
const EPOCH = 2_000_000_000;
const DEPOSIT = 1_000_000_000;
const PRICE = 50;
const NOTHING = `0x${'00'.repeat(32)}` as const;

export interface CoreSetup {
  readonly seed: number;
  readonly shards: number;
  readonly agents: number;
  /** Bundles a second over all shards, interactions in each, and the share of these that needs another shard. */
  readonly bundles: number;
  readonly bundle: number;
  readonly cross: number;
  readonly seconds: number;
  readonly batchSeconds: number;
  /** Seconds of a bundle of 64 in workerd as measured, what the shard reckons it at being its unit. */
  readonly bundleOf64: number;
  /** One-way seconds between shards, and what a lost message costs more. */
  readonly latency: number;
  readonly loss: number;
  readonly resend: number;
  /** Seconds a provider's app takes. */
  readonly app: number;
  /** Shard 0 hears from none of the others, nor they from it, between these seconds. */
  readonly partition?: { readonly from: number; readonly to: number };
}

export interface CoreRun {
  readonly shards: readonly MemoryShard[];
  readonly batches: readonly { readonly record: BatchRecord; readonly records: readonly ChunkRecord[] }[];
  /** Base units that came in from L1. */
  readonly deposited: number;
  /** Interactions that were executed with status ok, and all. */
  readonly succeeded: number;
  readonly interactions: number;
  readonly crossing: number;
  readonly messages: number;
  readonly acks: number;
  /** Seconds: from a bundle's sending to its receipt; from an invoke's to its provider's answer, at home and abroad. */
  readonly finality: Sample;
  readonly nearCall: Sample;
  readonly farCall: Sample;
  /** Work reckoned for all bundles, without messages. */
  readonly workLocal: number;
  /** Interactions a second at which the busiest shard would never rest, by how busy it was. */
  readonly capacity: number;
  readonly postedBytes: number;
  /** What settlement said that did not go as wished: a cut that had to wait, say. */
  readonly events: ReadonlyMap<string, number>;
}

interface Waiting extends Queued {
  readonly frame: Uint8Array;
  readonly sentAt: number;
  readonly count: number;
}

class World {
  readonly shards: readonly MemoryShard[];
  readonly batches: { record: BatchRecord; records: ChunkRecord[] }[] = [];
  readonly noted = new Map<string, number>();
  readonly finality = new Sample();
  readonly nearCall = new Sample();
  readonly farCall = new Sample();
  deposited = 0;
  succeeded = 0;
  interactions = 0;
  crossing = 0;
  messages = 0;
  acks = 0;
  postedBytes = 0;
  workLocal = 0;
  readonly busy: Float64Array;
  readonly #setup: CoreSetup;
  readonly #draws: Draws;
  readonly #events = new EventQueue();
  readonly #queues: FairQueue<Waiting>[];
  readonly #isRunning: Uint8Array;
  readonly #answers: ((() => void)[] | null)[];
  readonly #nonces = new Map<number, number>();
  /** Escrows whose provider works on them, with when their caller sent the invoke. */
  readonly #orders = new Map<number, number>();
  readonly #serving: { escrow: number; payee: number; sentAt: number; isFar: boolean }[] = [];
  readonly #mailDue = new Set<number>();
  readonly #ackDue = new Set<number>();
  #time = 0;

  constructor(setup: CoreSetup) {
    const signing = new Signing(DOMAIN);
    this.#setup = setup;
    this.#draws = Draws.of(setup.seed, 'core');
    this.shards = Array.from({ length: setup.shards }, (_, shard) => new MemoryShard(shard, signing, setup.shards));
    this.busy = new Float64Array(setup.shards);
    this.#isRunning = new Uint8Array(setup.shards);
    this.#queues = this.shards.map(() => new FairQueue<Waiting>());
    this.#answers = this.shards.map(() => null);
    this.#populate();
  }

  /** Agents of every shard, each with a service, before time begins. */
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
    this.#quiesce();
    for (let i = 0; i < agents; i++) {
      const agent = this.#agent(i);
      const terms = { active: true, ceiling: 1000, deadlineSeconds: 3600, arbiter: 0, contestSeconds: 0 };
      const publish = { op: 'publish', service: 0, ...terms, metadataHash: new Uint8Array(32) } as const;
      this.shards[i % shards].run(this.#bundle(agent, [publish]));
    }
  }
  /** Agent i of the population: they take turns among the shards, and each shard numbers its own. */
  #agent(i: number): number {
    return makeId(i % this.#setup.shards, 1 + Math.floor(i / this.#setup.shards));
  }

  #quiesce(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const one of this.shards)
        for (const two of this.shards) if (one !== two && (one.deliver(two) > 0 || one.acknowledge(two))) moved = true;
    }
  }

  #bundle(actor: number, interactions: readonly Interaction[]): Uint8Array {
    const nonce = this.#nonces.get(actor) ?? 0;
    this.#nonces.set(actor, nonce + 1);
    return concat(
      encodeBundleBody({ actor, nonce, expiry: 0xe0000000 }, interactions),
      new Uint8Array(SIGNATURE_BYTES),
    );
  }

  async run(): Promise<void> {
    const { bundles, seconds, batchSeconds } = this.#setup;
    const events = this.#events;
    events.add(this.#draws.exponential(1 / bundles), ARRIVAL);
    events.add(1, TICK);
    events.add(batchSeconds, BATCH);
    while (events.next() && events.time < seconds) {
      this.#time = events.time;
      const { kind, a, b } = events;
      if (kind === ARRIVAL) {
        events.add(this.#time + this.#draws.exponential(1 / bundles), ARRIVAL);
        this.#submit();
      } else if (kind === TURN) this.#turn(a);
      else if (kind === CHUNK) this.#sealed(a);
      else if (kind === MAIL) this.#mail(a, b);
      else if (kind === ACK) this.#acknowledge(a, b);
      else if (kind === ANSWER) this.#answer(a);
      else if (kind === TICK) {
        events.add(this.#time + 1, TICK);
        for (const shard of this.shards) shard.run(tickFrame(EPOCH + Math.floor(this.#time)));
      } else {
        events.add(this.#time + batchSeconds, BATCH);
        await this.#post();
      }
    }
    // Nothing more is sent: what is on its way arrives, and all of it is posted.
    for (const [shard, queue] of this.#queues.entries())
      for (let next = queue.next(); next !== null; next = queue.next()) this.#execute(shard, next);
    do this.#quiesce();
    while (await this.#post());
  }

  /** A bundle of some agent: calls and transfers, some of them to other shards. */
  #submit(): void {
    const { agents, shards, bundle, cross } = this.#setup;
    const draws = this.#draws;
    const mine = draws.below(agents);
    const actor = this.#agent(mine);
    const interactions = Array.from({ length: bundle }, (): Interaction => {
      const isFar = shards > 1 && draws.chance(cross);
      const shift = isFar ? 1 + draws.below(shards - 1) : 0;
      const others = Math.floor(agents / shards);
      const peer = makeId((shardOf(actor) + shift) % shards, 1 + draws.below(others));
      if (isFar) this.crossing += 1;
      // Each agent's service has the agent's own number.
      return draws.chance(0.5) && peer !== actor
        ? { op: 'invoke', service: peer, amount: PRICE }
        : { op: 'transfer', to: peer, amount: 1 };
    });
    this.#enqueue(actor, interactions);
  }

  #enqueue(actor: number, interactions: readonly Interaction[]): void {
    const frame = this.#bundle(actor, interactions);
    const shard = shardOf(actor);
    const work = BUNDLE_WORK + interactions.length * INTERACTION_WORK;
    this.workLocal += work;
    const nonce = this.#nonces.get(actor)! - 1;
    this.#queues[shard].push({
      agent: actor,
      nonce,
      work,
      ready: true,
      frame,
      sentAt: this.#time,
      count: interactions.length,
    });
    this.#events.add(this.#time, TURN, shard);
  }

  /** Seconds that so much reckoned work takes. */
  #seconds(work: number): number {
    return (work / (BUNDLE_WORK + 64 * INTERACTION_WORK)) * this.#setup.bundleOf64;
  }

  /** Runs what waits as one chunk, up to a chunk's work. */
  #turn(shard: number): void {
    const queue = this.#queues[shard];
    if (this.#isRunning[shard] === 1 || !queue.runnable) return;
    const answers: (() => void)[] = [];
    let work = 0;
    while (work < CHUNK_WORK) {
      const next = queue.next();
      if (next === null) break;
      work += next.work;
      answers.push(this.#execute(shard, next));
    }
    this.#occupy(shard, this.#seconds(work));
    this.#answers[shard] = answers;
  }

  #occupy(shard: number, seconds: number): void {
    this.#isRunning[shard] = 1;
    this.busy[shard] += seconds;
    this.#events.add(this.#time + seconds, CHUNK, shard);
  }

  /** Executes a bundle; what is returned is to be done when its chunk is sealed. */
  #execute(shard: number, { frame, sentAt, count }: Waiting): () => void {
    const outcomes = this.shards[shard].run(frame);
    if (outcomes[0].status !== Status.ok) throw new Error(`a bundle was refused: status ${outcomes[0].status}`);
    this.interactions += count;
    const opened: number[] = [];
    for (const { status, value } of outcomes.slice(1)) {
      if (status === Status.ok) this.succeeded += 1;
      if (value !== 0 && shardOf(value) === shard) opened.push(value);
    }
    return () => {
      this.finality.add(this.#time - sentAt);
      const { machine } = this.shards[shard].engine;
      for (const escrow of opened) {
        if (!machine.escrowExists(escrow)) continue;
        const cell = machine.readEscrow(escrow);
        if (get(cell, Escrow.status) === EscrowStatus.open) this.#serve(escrow, get(cell, Escrow.payee), sentAt, false);
        else if (get(cell, Escrow.status) === EscrowStatus.sent) this.#orders.set(escrow, sentAt);
      }
    };
  }

  #sealed(shard: number): void {
    this.#isRunning[shard] = 0;
    for (const answer of this.#answers[shard] ?? []) answer();
    this.#answers[shard] = null;
    for (let to = 0; to < this.shards.length; to++) if (to !== shard) this.#send(shard, to);
    this.#turn(shard);
  }

  /** Has what a shard sent travel, unless some of it is on its way already: they go together. */
  #send(from: number, to: number): void {
    const lane = from * 256 + to;
    if (this.#mailDue.has(lane) || !this.shards[from].hasMail(this.shards[to])) return;
    this.#mailDue.add(lane);
    this.#events.add(this.#time + this.#travel(from, to), MAIL, from, to);
  }

  #travel(from: number, to: number): number {
    const { latency, loss, resend, partition } = this.#setup;
    let delay = latency;
    while (this.#draws.chance(loss)) delay += resend;
    const isCut = partition && (from === 0 || to === 0) && this.#time >= partition.from && this.#time < partition.to;
    return isCut ? partition.to - this.#time + delay : delay;
  }

  #mail(from: number, to: number): void {
    this.#mailDue.delete(from * 256 + to);
    const receiver = this.shards[to];
    const before = receiver.frameLog.length;
    const count = this.shards[from].deliver(receiver);
    this.messages += count;
    if (count > 0) this.busy[to] += this.#seconds(count * MESSAGE_WORK);
    for (let seq = before; seq < receiver.frameLog.length; seq++) this.#received(to, seq);
    const lane = from * 256 + to;
    if (!this.#ackDue.has(lane)) {
      this.#ackDue.add(lane);
      this.#events.add(this.#time + this.#travel(to, from), ACK, from, to);
    }
    this.#send(from, to);
    for (let peer = 0; peer < this.shards.length; peer++) if (peer !== to) this.#send(to, peer);
  }

  /** An order that has opened an escrow here is for its provider to answer. */
  #received(shard: number, seq: number): void {
    const { frameLog, outcomeLog, engine } = this.shards[shard];
    const [{ status, value }] = outcomeLog[seq];
    if (frameLog[seq][0] !== FrameKind.receive || status !== Status.ok || value === 0) return;
    const { machine } = engine;
    if (shardOf(value) !== shard || !machine.escrowExists(value)) return;
    const cell = machine.readEscrow(value);
    const sentAt = this.#orders.get(get(cell, Escrow.link));
    if (sentAt !== undefined && get(cell, Escrow.status) === EscrowStatus.open)
      this.#serve(value, get(cell, Escrow.payee), sentAt, true);
  }

  #acknowledge(from: number, to: number): void {
    this.#ackDue.delete(from * 256 + to);
    if (this.shards[from].acknowledge(this.shards[to])) {
      this.acks += 1;
      this.busy[from] += this.#seconds(MESSAGE_WORK);
    }
  }

  #serve(escrow: number, payee: number, sentAt: number, isFar: boolean): void {
    this.#serving.push({ escrow, payee, sentAt, isFar });
    this.#events.add(this.#time + this.#draws.exponential(this.#setup.app), ANSWER, this.#serving.length - 1);
  }
  #answer(index: number): void {
    const { escrow, payee, sentAt, isFar } = this.#serving[index];
    (isFar ? this.farCall : this.nearCall).add(this.#time - sentAt);
    this.#enqueue(payee, [{ op: 'respond', escrow, price: PRICE, result: 'fulfilled' }]);
  }

  /** Settlement's pass: cuts, composes, puts in order and posts the next batch, if it can. */
  async #post(): Promise<boolean> {
    const rpcs = this.shards.map(({ rpc }): ShardRpc => rpc);
    const log = (event: string): void => void this.noted.set(event, (this.noted.get(event) ?? 0) + 1);
    await finishCut(rpcs, log);
    const newest = this.batches.at(-1)?.record;
    const tip = {
      batchHash: newest?.hash ?? NOTHING,
      post: newest?.header.post ?? NOTHING,
      postedAt: 0,
      inboxCursor: 0,
    };
    const composed = await compose(rpcs, { head: this.batches.length, tip }, log);
    if (!composed) return false;
    const { record, order } = composed;
    await rpcs[0].recordBatch(record);
    const records: ChunkRecord[] = [];
    const total = record.ranges.reduce((sum, { frames }) => sum + frames, 0);
    for (let frames = 0; frames < total;) {
      const part = (await nextPart(rpcs, order, frames))!;
      this.postedBytes += part.data.length;
      records.push(...decodeChunkRecords(part.data));
      frames += part.frames;
    }
    this.batches.push({ record, records });
    return true;
  }
}

/** Runs it to the end, everything posted. */
export async function simulateCore(setup: CoreSetup): Promise<CoreRun> {
  const world = new World(setup);
  await world.run();
  const { shards, batches, deposited, succeeded, interactions, crossing, messages, acks, postedBytes, workLocal } =
    world;
  const { finality, nearCall, farCall, noted: events } = world;
  const busiest = Math.max(...world.busy) / setup.seconds;
  const capacity = interactions / setup.seconds / busiest;
  return {
    shards,
    batches,
    deposited,
    succeeded,
    interactions,
    crossing,
    messages,
    acks,
    postedBytes,
    finality,
    nearCall,
    farCall,
    events,
    capacity,
    workLocal,
  };
}

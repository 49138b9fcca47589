/**
 * Layer Core as it is: the real state transition on several shards, with the product's queue, chunks, messages, cuts and batches, in simulated time. What a
 * chunk or a message takes is what was measured; what is decided, in which order, and what it does to the state is the product's own code.
 */
import { CHUNK_WORK, MESSAGE_WORK } from '../../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../../durable/shard/prices.ts';
import { FairQueue, type Queued } from '../../../durable/shard/queue.ts';
import { Escrow, EscrowStatus, get } from '../../../protocol/cells.ts';
import { FrameKind, tickFrame } from '../../../protocol/engine.ts';
import { shardOf } from '../../../protocol/ids.ts';
import type { Interaction } from '../../../protocol/ops/index.ts';
import { Status } from '../../../protocol/status.ts';
import type { MemoryShard } from '../../../test/support/memory-shard.ts';
import { EventQueue } from '../events.ts';
import { quantile } from '../quantiles.ts';
import { Draws } from '../random.ts';
import { Sample } from '../statistics.ts';
import { Agents } from './agents.ts';
import { type CoreRun, type CoreSetup, EPOCH, PRICE } from './setup.ts';
import { Settlement } from './settlement.ts';

const ARRIVAL = 0;
const TURN = 1;
const CHUNK = 2;
const MAIL = 3;
const ACK = 4;
const ANSWER = 5;
const BATCH = 6;
const TICK = 7;

interface Waiting extends Queued {
  readonly frame: Uint8Array;
  readonly sentAt: number;
  readonly count: number;
}

class World {
  readonly shards: readonly MemoryShard[];
  readonly agents: Agents;
  readonly settlement: Settlement;
  readonly finality = new Sample();
  readonly nearCall = new Sample();
  readonly farCall = new Sample();
  succeeded = 0;
  interactions = 0;
  crossing = 0;
  messages = 0;
  acks = 0;
  workLocal = 0;
  readonly busy: Float64Array;
  readonly #setup: CoreSetup;
  readonly #draws: Draws;
  readonly #events = new EventQueue();
  readonly #queues: FairQueue<Waiting>[];
  readonly #isRunning: Uint8Array;
  readonly #answers: ((() => void)[] | null)[];
  /** Escrows whose provider works on them, with when their caller sent the invoke. */
  readonly #orders = new Map<number, number>();
  readonly #serving: { escrow: number; payee: number; sentAt: number; isFar: boolean }[] = [];
  readonly #mailDue = new Set<number>();
  readonly #ackDue = new Set<number>();
  #time = 0;

  constructor(setup: CoreSetup) {
    this.#setup = setup;
    this.#draws = Draws.of(setup.seed, 'core');
    this.agents = new Agents(setup, this.#draws);
    const { shards } = this.agents;
    this.shards = shards;
    this.settlement = new Settlement(shards);
    this.busy = new Float64Array(setup.shards);
    this.#isRunning = new Uint8Array(setup.shards);
    this.#queues = shards.map(() => new FairQueue<Waiting>());
    this.#answers = shards.map(() => null);
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
        await this.settlement.post();
      }
    }
    // Nothing more is sent: what is on its way arrives, and all of it is posted.
    for (const [shard, queue] of this.#queues.entries())
      for (let next = queue.next(); next !== null; next = queue.next()) this.#execute(shard, next);
    do this.agents.quiesce();
    while (await this.settlement.post());
  }

  #submit(): void {
    const { actor, interactions, crossing } = this.agents.request();
    this.crossing += crossing;
    this.#enqueue(actor, interactions);
  }

  #enqueue(actor: number, interactions: readonly Interaction[]): void {
    const { frame, nonce } = this.agents.bundle(actor, interactions);
    const shard = shardOf(actor);
    const work = BUNDLE_WORK + interactions.length * INTERACTION_WORK;
    this.workLocal += work;
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
    const { chunk, commit } = this.#setup;
    const seconds = this.#seconds(work);
    // A shard that is busy has many bundles to a chunk, and hardly notices what one takes by itself: so that does not count as load.
    this.busy[shard] += seconds;
    this.#isRunning[shard] = 1;
    this.#events.add(this.#time + seconds + chunk + quantile(commit, this.#draws.next()), CHUNK, shard);
    this.#answers[shard] = answers;
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
}

/** Runs it to the end, everything posted. */
export async function simulateCore(setup: CoreSetup): Promise<CoreRun> {
  const world = new World(setup);
  await world.run();
  const { shards, succeeded, interactions, crossing, messages, acks, workLocal } = world;
  const { finality, nearCall, farCall, settlement } = world;
  const { batches, postedBytes, events } = settlement;
  const { deposited } = world.agents;
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

/**
 * Shards on this machine, as `npm run bench -- shard` has them: each a workerd of its own, in whose one thread gateway and shard take turns, and one client
 * whose agents each have a request of several bundles under way, in order. A request's bundles are verified by the gateway and wait; what waits is run in
 * turns (durable/shard/queue.ts) as one chunk, up to a chunk's work; and the chunk is written to disk before its receipts leave, by the same thread, which
 * does nothing meanwhile: SQLite's commit is synchronous. So a chunk has a price of its own, whatever is in it: dear where each request finds the shard
 * idle, next to nothing where many share one.
 */
import { CHUNK_WORK } from '../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../durable/shard/prices.ts';
import { FairQueue, type Queued } from '../../durable/shard/queue.ts';
import { Network } from './network.ts';
import type { ShardCosts } from './inputs.ts';
import { quantile } from './quantiles.ts';
import { Draws } from './random.ts';
import { Sample } from './statistics.ts';

const CLIENT = 0;
const DUE = 0;
const CHUNK = -1;
const SATURATED_SECONDS = 20;
/** A Node timer fires up to a millisecond late, and a request that was due then counts from when it was. */
export const TIMER_SECONDS = 0.001;

export interface ShardSetup {
  readonly seed: number;
  /** Of each shard, each with one request under way; and bundles in it, and interactions in one of these. */
  readonly agents: number;
  readonly perRequest: number;
  readonly interactions: number;
  readonly cores: number;
  readonly costs: ShardCosts;
  /** Seconds of a bundle at the client that signs nothing meanwhile. */
  readonly client: number;
}

interface Waiting extends Queued {
  readonly request: number;
}

/** One workerd. */
interface Workerd {
  readonly queue: FairQueue<Waiting>;
  /** Whether a turn is due or goes on; and what runs in it. */
  hasTurn: boolean;
  chunk: Waiting[];
}

/** The client's thread, the shards' threads, and the cores they share. Requests are numbered by their agents, in turns; agents by their shards. */
class Stack {
  readonly network: Network;
  /** A request has its receipts. */
  answered: (request: number) => void = () => {};
  /** A timer that {@link Network.after} set. */
  due: (request: number) => void = () => {};
  readonly #setup: ShardSetup;
  readonly #draws: Draws;
  readonly #shards: readonly Workerd[];
  readonly #left = new Map<number, number>();
  readonly #work: number;
  /** The shard's share is what it reckons a bundle's work to be; the rest of what was measured is the gateway's. */
  readonly #inShard: number;
  #sent = 0;

  constructor(setup: ShardSetup, shards: number, part: string) {
    this.#setup = setup;
    this.#draws = Draws.of(setup.seed, part);
    this.network = new Network(
      [setup.cores],
      Array.from({ length: 1 + shards }, () => 0),
    );
    this.#shards = Array.from({ length: shards }, () => ({
      queue: new FairQueue<Waiting>(),
      hasTurn: false,
      chunk: [],
    }));
    this.#work = BUNDLE_WORK + setup.interactions * INTERACTION_WORK;
    this.#inShard = Math.min(this.#work * 1e-6, setup.costs.bundle);
  }

  agentOf(request: number): number {
    return request % (this.#setup.agents * this.#shards.length);
  }

  send(request: number): void {
    const { client, perRequest } = this.#setup;
    this.network.serve(CLIENT, request, client * perRequest);
  }

  run(seconds: number): void {
    const { costs, perRequest } = this.#setup;
    const inGateway = (costs.bundle - this.#inShard) * perRequest;
    this.network.run(seconds, {
      timer: (_kind, request) => this.due(request),
      served: (request, station) => {
        if (station === CLIENT) {
          this.network.serve(1 + (this.agentOf(request) % this.#shards.length), request, inGateway);
          return;
        }
        const shard = this.#shards[station - 1];
        if (request === CHUNK) this.#receipts(shard);
        else this.#enqueue(shard, request);
        this.#turn(shard, station);
      },
    });
  }

  #enqueue({ queue }: Workerd, request: number): void {
    const { perRequest } = this.#setup;
    this.#left.set(request, perRequest);
    const agent = this.agentOf(request);
    for (let i = 0; i < perRequest; i++)
      queue.push({ agent, nonce: this.#sent++, work: this.#work, ready: true, request });
  }

  /** Has what waits run as one chunk, up to a chunk's work: what is there when the thread comes to it, after what has reached it already. */
  #turn(shard: Workerd, station: number): void {
    if (shard.hasTurn || !shard.queue.runnable) return;
    shard.hasTurn = true;
    const { commit, chunk } = this.#setup.costs;
    this.network.serve(station, CHUNK, () => {
      for (let sum = 0; sum < CHUNK_WORK; sum += this.#work) {
        const next = shard.queue.next();
        if (next === null) break;
        shard.chunk.push(next);
      }
      return {
        seconds: chunk + this.#inShard * shard.chunk.length,
        rest: quantile(commit, this.#draws.next()),
      };
    });
  }

  #receipts(shard: Workerd): void {
    const ran = shard.chunk;
    shard.chunk = [];
    shard.hasTurn = false;
    for (const { request } of ran) {
      const left = this.#left.get(request)! - 1;
      if (left > 0) this.#left.set(request, left);
      else {
        this.#left.delete(request);
        this.answered(request);
      }
    }
  }
}

/** Seconds from when each of so many requests was due to its receipts, at a rate that does not wait for answers. */
export function simulateShard(
  setup: ShardSetup & { readonly requests: number; /** Bundles a second. */ readonly rate: number },
): Sample {
  const { agents, perRequest, requests, rate } = setup;
  const stack = new Stack(setup, 1, 'shard');
  const timers = Draws.of(setup.seed, 'timers');
  const gap = perRequest / rate;
  /** Of each agent, whether a request is under way, and those that wait for it. */
  const busy = new Uint8Array(agents);
  const behind: number[][] = Array.from({ length: agents }, () => []);
  const sojourn = new Sample();
  // Of every agent at the same rate, one after the other.
  for (let request = 0; request < requests; request++)
    stack.network.after(request * gap + TIMER_SECONDS * timers.next(), DUE, request);
  stack.due = (request) => {
    const agent = stack.agentOf(request);
    if (busy[agent] === 1) behind[agent].push(request);
    else {
      busy[agent] = 1;
      stack.send(request);
    }
  };
  stack.answered = (request) => {
    sojourn.add(stack.network.now - request * gap);
    const agent = stack.agentOf(request);
    const next = behind[agent].shift();
    if (next === undefined) busy[agent] = 0;
    else stack.send(next);
  };
  stack.run(Infinity);
  return sojourn;
}

/** Bundles a second of so many shards that one client keeps busy: every agent sends as fast as its answers come. */
export function simulateScaling(setup: ShardSetup, shards: number): number {
  const stack = new Stack(setup, shards, `scaling ${shards}`);
  let answered = 0;
  stack.answered = (request) => {
    answered += 1;
    stack.send(request);
  };
  for (let request = 0; request < setup.agents * shards; request++) stack.send(request);
  stack.run(SATURATED_SECONDS);
  return (answered * setup.perRequest) / stack.network.now;
}

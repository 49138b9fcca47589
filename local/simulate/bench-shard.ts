/**
 * One shard on this machine, as `npm run bench -- shard` has it: requests of several bundles from some agents, each agent's in order, at a steady
 * rate; the gateway's and the shard's work in one thread; what waits is run in turns (durable/shard/queue.ts) up to a chunk's work, and answered
 * when the chunk is sealed.
 */
import { CHUNK_WORK } from '../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../durable/shard/prices.ts';
import { FairQueue, type Queued } from '../../durable/shard/queue.ts';
import { Network } from './network.ts';
import { Draws } from './random.ts';
import { Sample } from './statistics.ts';

const CLIENT = 0;
const WORKERD = 1;
const ARRIVAL = 0;
const CHUNK = -1;
const SATURATED_SECONDS = 20;

/** A Node timer fires up to a millisecond late, and a request that was due then counts from when it was. */
const TIMER_SECONDS = 0.001;

export interface ShardSetup {
  readonly seed: number;
  readonly agents: number;
  readonly perRequest: number;
  readonly bundle: number;
  /** Seconds of one bundle in workerd, and at the client that signs nothing meanwhile. */
  readonly workerd: number;
  readonly client: number;
  readonly cores: number;
  /** Seconds of a request that no processor is busy with. */
  readonly request: number;
}

/** Agents of the bench, each with one request under way. */
export const MACHINE_AGENTS = 16;

interface Waiting extends Queued {
  readonly request: number;
}

/** Seconds from when a request was due to its receipts. */
export function simulateShard(
  setup: ShardSetup & { readonly requests: number; /** Bundles a second. */ readonly rate: number },
): Sample {
  const { agents, perRequest, bundle, requests, cores, rate } = setup;
  const network = new Network([cores], [0, 0]);
  const draws = Draws.of(setup.seed, 'shard');
  const queue = new FairQueue<Waiting>();
  const work = BUNDLE_WORK + bundle * INTERACTION_WORK;
  /** The shard's share is what it reckons a bundle's work to be; the rest of what was measured is the gateway's. */
  const inShard = Math.min(1, (work * 1e-6) / setup.workerd) * setup.workerd;
  const inGateway = setup.workerd - inShard;
  const gap = (agents * perRequest) / rate;
  const due = new Float64Array(requests);
  /** Of each agent, whether a request is under way, and those that wait for it. */
  const busy = new Uint8Array(agents);
  const behind: number[][] = Array.from({ length: agents }, () => []);
  const left = new Uint16Array(requests).fill(perRequest);
  const nonces = new Uint32Array(agents);
  const sojourn = new Sample();
  let chunk: Waiting[] | null = null;

  const send = (request: number): void => {
    const agent = request % agents;
    busy[agent] = 1;
    network.serve(CLIENT, request, setup.client * perRequest);
  };
  const turn = (): void => {
    if (chunk !== null || !queue.runnable) return;
    chunk = [];
    for (let sum = 0; sum < CHUNK_WORK; sum += work) {
      const next = queue.next();
      if (next === null) break;
      chunk.push(next);
    }
    network.serve(WORKERD, CHUNK, draws.of('exponential', inShard * chunk.length));
  };

  for (let request = 0; request < requests; request++) {
    due[request] = (Math.floor(request / agents) + (request % agents) / agents) * gap;
    network.after(due[request] + TIMER_SECONDS * draws.next(), ARRIVAL, request);
  }
  network.run(Infinity, {
    timer(_kind, request) {
      const agent = request % agents;
      if (busy[agent] === 1) behind[agent].push(request);
      else send(request);
    },
    served(job, station) {
      if (station === CLIENT) {
        network.serve(WORKERD, job, draws.of('exponential', inGateway * perRequest));
        return;
      }
      if (job === CHUNK) {
        const ran = chunk!;
        chunk = null;
        for (const { request } of ran) {
          left[request] -= 1;
          if (left[request] > 0) continue;
          sojourn.add(network.now + setup.request - due[request]);
          const agent = request % agents;
          busy[agent] = 0;
          const next = behind[agent].shift();
          if (next !== undefined) send(next);
        }
      } else {
        const agent = job % agents;
        for (let i = 0; i < perRequest; i++)
          queue.push({ agent, nonce: nonces[agent]++, work, ready: true, request: job });
      }
      turn();
    },
  });
  return sojourn;
}

/** Bundles a second of so many shards, each a workerd of its own, that one client keeps busy: every agent sends as fast as its answers come. */
export function simulateScaling(setup: ShardSetup, shards: number): number {
  const { agents, perRequest, cores } = setup;
  const draws = Draws.of(setup.seed, `scaling ${shards}`);
  // Station 0 is the client; each other one a workerd.
  const network = new Network(
    [cores],
    Array.from({ length: 1 + shards }, () => 0),
  );
  let served = 0;
  const send = (job: number): void => network.serve(CLIENT, job, draws.of('exponential', setup.client * perRequest));
  for (let job = 0; job < agents * shards; job++) send(job);
  network.run(SATURATED_SECONDS, {
    timer: (_kind, job) => send(job),
    served(job, station) {
      if (station === CLIENT)
        network.serve(1 + (job % shards), job, draws.of('exponential', setup.workerd * perRequest));
      else {
        served += perRequest;
        network.after(setup.request, ARRIVAL, job);
      }
    },
  });
  return served / network.now;
}

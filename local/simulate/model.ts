/**
 * The paper's analytical model: queues for a pair, limits of endpoints, relays and shards for all of them together, and the bandwidth of data availability.
 * Pure formulas; docs/simulation.md derives them.
 */
import { type Quantiles, meanExcess, quantile, shareAbove } from './quantiles.ts';

/** Seconds in a queue with one server: waiting, and with the service itself. `Infinity` at a load of 1 or more. */
export interface QueueTimes {
  readonly load: number;
  readonly wait: number;
  readonly sojourn: number;
}

/**
 * M/G/1 by Pollaczek–Khinchine: Poisson arrivals, any service.
 * @param rate arrivals a second
 * @param service mean seconds of service
 * @param moment E[S²] / E[S]²: 1 constant, 2 exponential
 */
export function mg1(rate: number, service: number, moment: number): QueueTimes {
  const load = rate * service;
  const wait = load >= 1 ? Infinity : (load * service * moment) / (2 * (1 - load));
  return { load, wait, sojourn: wait + service };
}

/** M/M/1: exponential service, for which Pollaczek–Khinchine gives `service / (1 − load)`. */
export const mm1 = (rate: number, service: number): QueueTimes => mg1(rate, service, 2);

/** Requests that come at even distances to a thread that is done with one before the next comes, mostly. */
export interface Paced {
  /** Seconds between requests. */
  readonly gap: number;
  /** Seconds of a request that waits for no other, by share of requests. */
  readonly alone: Quantiles;
  /** Seconds of one among others: they share what each would pay alone. */
  readonly shared: number;
}

/** After so many rounds behind a stall nobody waits any more. */
const ROUNDS = 6;

/**
 * D/G/1 in batches: little waits but behind stalls, and what has come meanwhile runs together and is answered together. A request of `T` seconds keeps
 * those of `T₀ = (T − gap)⁺` waiting, who then take `T₁ = shared × T₀ / gap + typical` together, in which others come, who take `T₂`, and so on; who comes
 * in round i is answered after at most `Tᵢ + Tᵢ₊₁` and at least `Tᵢ₊₁` seconds, evenly. So
 * `P(L > x) = P(T > x) + Σᵢ E[(Tᵢ + Tᵢ₊₁ − x)⁺ − (Tᵢ₊₁ − x)⁺] / gap`.
 * @returns seconds that a share `p` of requests stay below; `Infinity` for a thread that can't keep up
 */
export function pacedPercentile({ gap, alone, shared }: Paced, p: number): number {
  if (shared >= gap) return Infinity;
  const typical = quantile(alone, 0.5);
  const share = shared / gap;
  // E[(slope × T₀ + rest − x)⁺] over stalls, of which alone there is any T₀.
  const excess = (slope: number, rest: number, x: number): number =>
    rest >= x
      ? slope * meanExcess(alone, gap) + (rest - x) * shareAbove(alone, gap)
      : slope * meanExcess(alone, gap + (x - rest) / slope);
  const above = (x: number): number => {
    let sum = shareAbove(alone, x);
    let [slope, rest] = [1, 0];
    for (let round = 0; round < ROUNDS; round++) {
      const next = { slope: share * slope, rest: share * rest + (round === 0 ? typical : typical - shared) };
      sum += (excess(slope + next.slope, rest + next.rest, x) - excess(next.slope, next.rest, x)) / gap;
      ({ slope, rest } = next);
    }
    return sum;
  };
  let [low, high] = [0, 4 * quantile(alone, 1)];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (above(middle) > 1 - p) low = middle;
    else high = middle;
  }
  return high;
}

/** What a call of a session takes of processors, seconds. */
export interface CallCosts {
  readonly caller: number;
  readonly relay: number;
  readonly callee: number;
}

/** Calls a second of one pair, both ends and relay on one machine: the busiest thread, or all threads on the cores there are. */
export function pairRate({ caller, relay, callee }: CallCosts, cores: number): number {
  return Math.min(1 / Math.max(caller, relay, callee), cores / (caller + relay + callee));
}

/** What a network has. */
export interface Fleet {
  readonly pairs: number;
  /** Cores that sidecars have, together; a sidecar's thread uses one. */
  readonly endCores: number;
  /** Cores that relays have; a session is on one of them. */
  readonly relayCores: number;
  readonly shards: number;
  /** Share of the shards' interactions that need another shard. */
  readonly cross: number;
  /** Interactions a second that data availability takes. */
  readonly daRate: number;
}

/** What calls ask of it. */
export interface Demand {
  /** Calls a second that each pair wants to make. */
  readonly perPair: number;
  readonly costs: CallCosts;
  /** Of a shard without messages, interactions a second. */
  readonly shardRate: number;
  /** How much more an interaction costs its shards when it crosses. */
  readonly crossCost: number;
  /** Interactions on Core for each call in a session: opening, settling and closing, over the calls of a session's life. */
  readonly corePerCall: number;
}

export const RESOURCES = ['demand', 'ends', 'relays', 'shards', 'data availability'] as const;
export type Resource = (typeof RESOURCES)[number];

/** Calls a second that each resource would let through, were it alone; the least of them is what the network does. */
export type Limits = Readonly<Record<Resource, number>>;

/** Interactions a second that so many shards execute, `cross` of them between two. */
export const coreCapacity = (shards: number, shardRate: number, cross: number, crossCost: number): number =>
  (shards * shardRate) / (1 + cross * (crossCost - 1));

/** Aggregate of Layer Top, and what settles it: calls a second, by what limits them. */
export function limits(fleet: Fleet, demand: Demand): Limits {
  const { caller, relay, callee } = demand.costs;
  const { corePerCall } = demand;
  const perPair = Math.min(demand.perPair, 1 / Math.max(caller, relay, callee));
  const core = coreCapacity(fleet.shards, demand.shardRate, fleet.cross, demand.crossCost);
  return {
    demand: fleet.pairs * perPair,
    ends: fleet.endCores / (caller + callee),
    relays: relay > 0 ? fleet.relayCores / relay : Infinity,
    shards: core / corePerCall,
    'data availability': fleet.daRate / corePerCall,
  };
}

/** What binds, and how many calls a second that leaves. */
export function binding(of: Limits): { readonly resource: Resource; readonly rate: number } {
  let resource: Resource = 'demand';
  for (const name of RESOURCES) if (of[name] < of[resource]) resource = name;
  return { resource, rate: of[resource] };
}

/**
 * The paper's analytical model: queues for a pair, limits of endpoints, relays and shards for all of them together, and the bandwidth of data availability.
 * Pure formulas; docs/simulation.md derives them.
 */

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

/** The share `p` of an M/M/1's sojourn times is below this: they are exponential. */
export const mm1Percentile = (rate: number, service: number, p: number): number =>
  -mm1(rate, service).sojourn * Math.log(1 - p);

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

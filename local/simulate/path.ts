/** The way to ten million calls a second: from this machine on, whatever binds is given more of, until nothing below the target binds. */
import { MODES, type Mode, type ModeCost } from './cost.ts';
import type { Inputs } from './inputs.ts';
import { type Demand, type Fleet, type Limits, type Resource, binding, limits } from './model.ts';

export const TARGET = 10_000_000;
/** A shard's number is a byte. */
const MAX_SHARDS = 256;
const MORE = 10;
const MAX_STEPS = 40;

export interface PathStep {
  readonly fleet: Fleet;
  readonly mode: Mode;
  readonly callsPerSession: number;
  readonly limits: Limits;
  readonly binds: Resource;
  readonly rate: number;
  /** What is done about it, in words; empty at the target. */
  readonly remedy: string;
}

/** How agents trade: calls a second of each, the window between halves, what of Core's work crosses shards. */
export interface Trade {
  readonly perPair: number;
  readonly windowSeconds: number;
  readonly cross: number;
  readonly crossCost: number;
  /** Interactions of a session on Core: it is opened, settled once, closed. */
  readonly perSession: number;
}

/** Halves a second of a session with Poisson calls: one when a window ends, or at the first call after. */
export const halvesPerSecond = (rate: number, windowSeconds: number): number =>
  1 / (windowSeconds + Math.exp(-rate * windowSeconds) / rate);

/** What a call costs when calls are sparse: packets of its own, and its share of a half's signatures and their checks. */
export function sparseCosts(
  { end, packet, sign, verify }: Inputs,
  rate: number,
  windowSeconds: number,
): Demand['costs'] {
  const halves = halvesPerSecond(rate, windowSeconds) / rate;
  return {
    caller: end + halves * sign,
    relay: 2 * packet + halves * 2 * verify,
    callee: end + halves * (sign + verify),
  };
}

export function pathTo(inputs: Inputs, trade: Trade, da: Readonly<Record<Mode, ModeCost>>): PathStep[] {
  const steps: PathStep[] = [];
  let fleet = {
    pairs: 1,
    endCores: inputs.cores,
    relayCores: 1,
    shards: 1,
    cross: 0,
    daRate: da.calldata.interactionsPerSecond,
  };
  let mode: Mode = 'calldata';
  let callsPerSession = 100;
  const costs = sparseCosts(inputs, trade.perPair, trade.windowSeconds);
  const shardRate = 64 / inputs.bundle;
  for (let i = 0; i < MAX_STEPS; i++) {
    const demand = {
      perPair: trade.perPair,
      costs,
      shardRate,
      crossCost: trade.crossCost,
      corePerCall: trade.perSession / callsPerSession,
    };
    const of = limits(fleet, demand);
    const { resource, rate } = binding(of);
    const step = { fleet, mode, callsPerSession, limits: of, binds: resource, rate };
    if (rate >= TARGET) {
      steps.push({ ...step, remedy: '' });
      break;
    }
    const grown = (now: number): number => Math.ceil(Math.min(now * MORE, (now * TARGET * 1.05) / rate));
    let remedy: string;
    if (resource === 'demand') {
      fleet = { ...fleet, pairs: grown(fleet.pairs) };
      remedy = `${fleet.pairs.toLocaleString('en')} pairs`;
    } else if (resource === 'ends') {
      fleet = { ...fleet, endCores: grown(fleet.endCores) };
      remedy = `${fleet.endCores.toLocaleString('en')} cores of sidecars`;
    } else if (resource === 'relays') {
      fleet = { ...fleet, relayCores: grown(fleet.relayCores) };
      remedy = `${fleet.relayCores.toLocaleString('en')} relay threads`;
    } else if (resource === 'data availability' && mode !== 'committee') {
      mode = MODES[MODES.indexOf(mode) + 1];
      fleet = { ...fleet, daRate: da[mode].interactionsPerSecond };
      remedy = `data in mode ${mode}`;
    } else if (resource === 'shards' && fleet.shards < MAX_SHARDS) {
      const shards = Math.min(MAX_SHARDS, Math.max(2, grown(fleet.shards)));
      fleet = { ...fleet, shards, cross: trade.cross };
      remedy = `${shards} shards, ${Math.round(100 * trade.cross)} % of interactions between two`;
    } else {
      callsPerSession *= MORE;
      remedy = `sessions of ${callsPerSession.toLocaleString('en')} calls`;
    }
    steps.push({ ...step, remedy });
  }
  return steps;
}

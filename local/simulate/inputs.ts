/** What the model and the simulation take from a calibration, in seconds and cores. */
import { CHUNK_WORK } from '../../durable/shard/intake.ts';
import { BUNDLE_WORK, INTERACTION_WORK } from '../../durable/shard/prices.ts';
import { type Calibration, figure, machineOf } from './calibration.ts';
import { MEASURED_BUNDLE } from './cost.ts';
import type { CallCosts } from './model.ts';
import { type Quantiles, shifted } from './quantiles.ts';

const MICRO = 1e-6;

export interface Inputs {
  readonly cores: number;
  /** Of one busy pair: what a call costs each thread, seconds; and what the way costs beside, one way between an end and the relay. */
  readonly pair: CallCosts;
  readonly hop: number;
  /** Of sparse calls, each in packets of its own: a call at an end, a packet at a relay. */
  readonly end: number;
  readonly packet: number;
  readonly sign: number;
  readonly verify: number;
  /** A bundle of 64 in a busy workerd with its part of a chunk's own price, and at a client. */
  readonly bundle: number;
  readonly client: number;
  readonly shard: ShardCosts;
  /** Interactions a second of the state transition alone. */
  readonly engine: number;
  readonly bytesPerInteraction: number;
  readonly certificateGas: number;
}

/** Round trip that `npm run bench -- session` emulates for its far pair; agents of `npm run bench -- shard`, and bundles to a request. */
export const FAR_SECONDS = 0.04;
export const MACHINE_AGENTS = 16;
export const PER_REQUEST = 8;

const IDLE_QUANTILES = [
  [0.1, 'softFinalityIdleP10Ms'],
  [0.5, 'softFinalityIdleMs'],
  [0.9, 'softFinalityIdleP90Ms'],
  [0.99, 'softFinalityIdleP99Ms'],
  [0.999, 'softFinalityIdleP999Ms'],
  [1, 'softFinalityIdleMaxMs'],
] as const;

/** Bundles to a chunk when every agent of the bench has a request under way: half of them run while the others come in, as far as a chunk has room. */
export const BUSY_CHUNK: number = Math.min(
  Math.ceil(CHUNK_WORK / (BUNDLE_WORK + MEASURED_BUNDLE * INTERACTION_WORK)),
  (MACHINE_AGENTS * PER_REQUEST) / 2,
);

/** What a shard's thread does, taken apart by what was measured of it busy and idle. */
export interface ShardCosts {
  /** Seconds of the processor of a bundle of 64, and of a chunk, whatever is in it. */
  readonly bundle: number;
  readonly chunk: number;
  /** Seconds that a chunk's commit to disk keeps the thread waiting, by share of chunks. */
  readonly commit: Quantiles;
  /** A request of {@link PER_REQUEST} bundles to an idle shard, by share of requests. */
  readonly idle: Quantiles;
}

/**
 * A request that finds the shard idle is a chunk of its own; of a busy one many share a chunk. Two prices, two figures: `idle = PER_REQUEST × bundle +
 * chunk`, `busy = bundle + chunk / BUSY_CHUNK`. What of an idle request no processor does is the wait for its commit.
 */
function shardCosts(of: (name: NeededOf<'shard'>) => number): ShardCosts {
  const [busy, alone] = [of('workerdCpuMicrosPerBundle') * MICRO, of('workerdCpuMicrosPerIdleRequest') * MICRO];
  const chunk = Math.max(0, (alone - PER_REQUEST * busy) / (1 - PER_REQUEST / BUSY_CHUNK));
  const bundle = Math.max(0, busy - chunk / BUSY_CHUNK);
  const idle = IDLE_QUANTILES.map(([share, name]) => [share, of(name) / 1000] as const);
  const processors = PER_REQUEST * (bundle + of('clientCpuMicrosPerBundle') * MICRO) + chunk;
  return { bundle, chunk, commit: shifted(idle, -processors), idle };
}

/** Figures without which there is no simulation. */
export const NEEDED = {
  core: ['interactionsPerSecond'],
  shard: [
    'workerdCpuMicrosPerBundle',
    'clientCpuMicrosPerBundle',
    'workerdCpuMicrosPerIdleRequest',
    'softFinalityIdleP10Ms',
    'softFinalityIdleMs',
    'softFinalityIdleP90Ms',
    'softFinalityIdleP99Ms',
    'softFinalityIdleP999Ms',
    'softFinalityIdleMaxMs',
  ],
  session: ['endsMicrosPerCall', 'relayMicrosPerCall', 'farP50Ms', 'relayMicrosPerCallSparse', 'halvesPerCallSparse'],
  sidecar: ['cpuPerRequestOnUs'],
  da: ['bytesPerInteraction', 'certificateGas'],
  signatures: ['signMicros', 'verifyMicros'],
} as const;
type NeededSuite = keyof typeof NEEDED;
type NeededOf<S extends NeededSuite> = (typeof NEEDED)[S][number];

export function inputsOf(calibration: Calibration): Inputs {
  const of = <S extends NeededSuite>(suite: S, name: NeededOf<S>): number => figure(calibration, suite, name);
  const ends = of('session', 'endsMicrosPerCall') * MICRO;
  const relay = of('session', 'relayMicrosPerCall') * MICRO;
  const verify = of('signatures', 'verifyMicros') * MICRO;
  // Of a call in packets of its own, the checks of halves' signatures are reckoned apart.
  const sparse = of('session', 'relayMicrosPerCallSparse') * MICRO;
  const halves = of('session', 'halvesPerCallSparse');
  const pair = { caller: ends / 2, relay, callee: ends / 2 };
  const far = of('session', 'farP50Ms') / 1000 - FAR_SECONDS - ends - relay;
  const bundle = of('shard', 'workerdCpuMicrosPerBundle') * MICRO;
  const client = of('shard', 'clientCpuMicrosPerBundle') * MICRO;
  return {
    cores: machineOf(calibration).cores,
    pair,
    hop: Math.max(0, far / 4),
    // Both sidecars of a call that waits for the one before it, with HTTP on both sides.
    end: (of('sidecar', 'cpuPerRequestOnUs') * MICRO) / 2,
    packet: Math.max(0, sparse - halves * 2 * verify) / 2,
    sign: of('signatures', 'signMicros') * MICRO,
    verify,
    bundle,
    client,
    shard: shardCosts((name) => of('shard', name)),
    engine: of('core', 'interactionsPerSecond'),
    ...dataOf(calibration),
  };
}

/** What `agnt2 cost` starts from. */
export const dataOf = (calibration: Calibration): Pick<Inputs, 'bytesPerInteraction' | 'certificateGas'> => ({
  bytesPerInteraction: figure(calibration, 'da', 'bytesPerInteraction'),
  certificateGas: figure(calibration, 'da', 'certificateGas'),
});

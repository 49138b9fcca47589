/** What the model and the simulation take from a calibration, in seconds and cores. */
import { type Calibration, figure, figureOr } from './calibration.ts';
import { MEASURED_BUNDLE } from './cost.ts';
import type { CallCosts } from './model.ts';

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
  /** A bundle of 64 in workerd, and at a client. */
  readonly bundle: number;
  readonly client: number;
  /** What a request to a shard takes beside the processors' time. */
  readonly request: number;
  /** Interactions a second of the state transition alone. */
  readonly engine: number;
  readonly bytesPerInteraction: number;
  readonly certificateGas: number;
}

/** Round trip that `npm run bench -- session` emulates for its far pair, and bundles to a request of `npm run bench -- shard`. */
export const FAR_SECONDS = 0.04;
export const PER_REQUEST = 8;

export function inputsOf(calibration: Calibration): Inputs {
  const of = (suite: string, name: string): number => figure(calibration, suite, name);
  const or = (suite: string, name: string, other: number): number => figureOr(calibration, suite, name) ?? other;
  const ends = of('session', 'endsMicrosPerCall') * MICRO;
  const relay = of('session', 'relayMicrosPerCall') * MICRO;
  const pair = { caller: ends / 2, relay, callee: ends / 2 };
  const far = of('session', 'farP50Ms') / 1000 - FAR_SECONDS - ends - relay;
  const bundle =
    or('shard', 'workerdCpuMicrosPerBundle', (MEASURED_BUNDLE * 1e6) / of('shard', 'interactionsPerSecond')) * MICRO;
  const client = or('shard', 'clientCpuMicrosPerBundle', 0) * MICRO;
  const idle = or('shard', 'softFinalityIdleMs', 0) / 1000;
  return {
    cores: calibration.machine.cores,
    pair,
    hop: Math.max(0, far / 4),
    // Both sidecars of a call that waits for the one before it, with HTTP on both sides; without that figure, the ends alone.
    end: (or('sidecar', 'cpuPerRequestOnUs', ends / MICRO) * MICRO) / 2,
    packet: (or('session', 'relayMicrosPerCallSparse', relay / MICRO) * MICRO) / 2,
    sign: of('signatures', 'signMicros') * MICRO,
    verify: of('signatures', 'verifyMicros') * MICRO,
    bundle,
    client,
    request: Math.max(0, idle - PER_REQUEST * (bundle + client)),
    engine: of('core', 'interactionsPerSecond'),
    bytesPerInteraction: of('da', 'bytesPerInteraction'),
    certificateGas: of('da', 'certificateGas'),
  };
}

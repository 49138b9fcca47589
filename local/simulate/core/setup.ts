/** What is simulated of Layer Core, and what comes of it. */
import type { BatchRecord } from '../../../durable/shard/api.ts';
import type { ChunkRecord } from '../../../protocol/trace.ts';
import type { MemoryShard } from '../../../test/support/memory-shard.ts';
import type { Quantiles } from '../quantiles.ts';
import type { Sample } from '../statistics.ts';

export const DOMAIN = { chainId: 1, root: `0x${'51'.repeat(20)}` } as const;
/** When simulated time begins, Unix seconds: later than any clock that the product may ask. */
export const EPOCH = 2_000_000_000;
/** Base units of a call. */
export const PRICE = 50;

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
  /** Of a chunk, whatever is in it: seconds of the processor, and by share of chunks those until it is on disk. */
  readonly chunk: number;
  readonly commit: Quantiles;
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

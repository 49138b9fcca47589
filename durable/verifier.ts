/**
 * Verifier: one object a deployment, named `verifier`. It executes every batch again from what L1 has of it, and answers what a game needs.
 * It asks nobody: settlement brings it L1's data, and never a shard's.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Hex } from '../protocol/bytes.ts';
import type { CellAnswer } from '../protocol/da/offer.ts';
import type { BatchHeader } from '../protocol/trace.ts';
import type { CarrierProof, KnownBatch, Opening } from '../protocol/verifier.ts';
import type { Failure } from './shard/api.ts';
import type { FaultRecord, GameRecord, VerifierRpc, WatchMetrics } from './verifier/api.ts';
import { VerifierHost } from './verifier/host.ts';

export interface VerifierEnv {
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  readonly SHARDS: string;
}

/** Pages in memory, of all shards together: a third of an object's 128 MB, as a game takes as many once more. */
const RESIDENT_PAGES = 640;

export class Verifier extends DurableObject<VerifierEnv> implements VerifierRpc {
  readonly #host: VerifierHost;

  constructor(ctx: DurableObjectState, env: VerifierEnv) {
    super(ctx, env);
    const shards = Math.min(Math.max(Number(env.SHARDS) || 1, 1), 256);
    this.#host = new VerifierHost(ctx.storage.sql, (work) => ctx.storage.transactionSync(work), {
      shards,
      chainId: Number(env.CHAIN_ID),
      root: env.ROOT_ADDRESS as Hex,
      resident: Math.max(8, Math.floor(RESIDENT_PAGES / shards)),
    });
  }

  standing(): Promise<{ head: number; known: number }> {
    return this.#host.standing();
  }
  batch(number: number): Promise<KnownBatch | null> {
    return this.#host.batch(number);
  }
  begin(header: BatchHeader): Promise<number | Failure> {
    return this.#host.begin(header);
  }
  take(intake: number, records: Uint8Array): Promise<Failure | null> {
    return this.#host.take(intake, records);
  }
  carry(intake: number, carrier: Uint8Array): Promise<Failure | null> {
    return this.#host.carry(intake, carrier);
  }
  finish(intake: number, accumulator: Uint8Array): Promise<KnownBatch | Failure> {
    return this.#host.finish(intake, accumulator);
  }
  drop(number: number): Promise<void> {
    return this.#host.drop(number);
  }
  settle(upTo: number): Promise<void> {
    return this.#host.settle(upTo);
  }
  commitments(number: number, steps: readonly number[]): Promise<Uint8Array[]> {
    return this.#host.commitments(number, steps);
  }
  step(number: number, step: number): Promise<{ opening: Opening; witness: Hex }> {
    return this.#host.step(number, step);
  }
  opening(number: number, index: number): Promise<Opening> {
    return this.#host.opening(number, index);
  }
  carrierProof(number: number): Promise<CarrierProof> {
    return this.#host.carrierProof(number);
  }
  cell(number: number, column: number, row: number): Promise<CellAnswer | null> {
    return this.#host.cell(number, column, row);
  }
  recordGame(game: GameRecord): Promise<void> {
    return this.#host.recordGame(game);
  }
  unsettledGames(count: number, block: number): Promise<number[]> {
    return this.#host.unsettledGames(count, block);
  }
  games(query?: { before?: number; limit?: number }): Promise<GameRecord[]> {
    return this.#host.games(query);
  }
  game(id: number): Promise<GameRecord | null> {
    return this.#host.game(id);
  }
  recordFaults(faults: readonly FaultRecord[]): Promise<void> {
    return this.#host.recordFaults(faults);
  }
  faults(): Promise<FaultRecord[]> {
    return this.#host.faults();
  }
  recordWatch(metrics: WatchMetrics): Promise<void> {
    return this.#host.recordWatch(metrics);
  }
  watch(): Promise<WatchMetrics | null> {
    return this.#host.watch();
  }
}

/** What settlement and the gateway ask of the verifier's object. */
import type { Hex } from '../../protocol/bytes.ts';
import type { CellAnswer } from '../../protocol/da/offer.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import type { CarrierProof, KnownBatch, Opening } from '../../protocol/verifier.ts';
import type { Failure, Namespace } from '../shard/api.ts';

/** A game as L1 has it (`IGame.Play`). */
export interface Play {
  readonly id: number;
  readonly batchHash: Hex;
  readonly number: number;
  readonly dataRoot: Hex;
  readonly challenger: Hex;
  readonly from: number;
  readonly length: number;
  readonly pre: Hex;
  readonly post: Hex;
  readonly reveals: Hex;
  /** Unix seconds. */
  readonly deadline: number;
}

export type GameOutcome = 'challengerWon' | 'challengerLost' | 'batchGone';

interface Move {
  /** Where the game stands after it. */
  readonly play: Play;
  readonly tx: Hex;
  readonly block: number;
  /** Unix seconds. */
  readonly at: number;
}
export type GameMove =
  | (Move & { readonly kind: 'opened' })
  | (Move & { readonly kind: 'revealed'; readonly commitments: readonly Hex[] })
  | (Move & { readonly kind: 'picked'; readonly segment: number })
  | (Move & { readonly kind: 'closed'; readonly outcome: GameOutcome });

export interface GameRecord {
  readonly id: number;
  /** In order; the first opened it. */
  readonly moves: readonly GameMove[];
}

/** Something shown at L1 without a game. */
export interface FaultRecord {
  readonly fault: string;
  /** Of a batch, or of a broken receipt its place. */
  readonly number?: number;
  readonly batchHash?: Hex;
  readonly shard?: number;
  readonly seq?: number;
  readonly reporter: Hex;
  readonly tx: Hex;
  readonly block: number;
}

/** How the newest look of the watch went. */
export interface WatchMetrics {
  readonly atMs: number;
  readonly tookMs: number;
  /** Newest batch at L1, newest verified, newest final. */
  readonly head: number;
  readonly verified: number;
  readonly finalized: number;
  /** Games open: by us, against batches found good, and all. */
  readonly games: { readonly ours: number; readonly hostile: number; readonly open: number };
  /** Batches standing that are not what they say. */
  readonly lying: number;
  /** Unix seconds since when the oldest move of anybody is awaited; none when no game is open. */
  readonly awaitedSince?: number;
  /** Wei: of the sequencer's bond, in open games, of the challenger's account. */
  readonly bondWei: string;
  readonly stakedWei: string;
  readonly challengerWei?: string;
  /** Hours for which the accounts' ether lasts at the rate of the last day; none before anything was spent. */
  readonly runwayHours?: number;
  /** What the runway is reckoned from. */
  readonly samples: readonly { readonly atMs: number; readonly wei: readonly string[] }[];
  /** L1's block up to which faults were looked for. */
  readonly scannedBlock: number;
  readonly error?: string;
}

export interface VerifierRpc {
  /** Number of the newest batch found to be what it says, and of all that is known the newest. */
  standing(): Promise<{ readonly head: number; readonly known: number }>;
  batch(number: number): Promise<KnownBatch | null>;
  /** Starts to take in the batch after `head`. Returns what `take` and `finish` must bring: who begins anew ends what others began. */
  begin(header: BatchHeader): Promise<number | Failure>;
  /** Chunk records (`encodeChunkRecord`), in the order of the batch's data. `overtaken` when another began. */
  take(intake: number, records: Uint8Array): Promise<Failure | null>;
  /** In the place of records, where the data is not in calldata: all of it (`encodeCarrier`), checked against `dataRoot`. */
  carry(intake: number, carrier: Uint8Array): Promise<Failure | null>;
  /** `accumulator`: L1's at the header's cursor. */
  finish(intake: number, accumulator: Uint8Array): Promise<KnownBatch | Failure>;
  /** Forgets batch `number` and all after it. */
  drop(number: number): Promise<void>;
  /** Batches up to `upTo` are final: nothing of them is needed any more. */
  settle(upTo: number): Promise<void>;
  /** Commitments after so many steps of a batch, ascending. */
  commitments(number: number, steps: readonly number[]): Promise<Uint8Array[]>;
  /** What L1 needs to execute a step. */
  step(number: number, step: number): Promise<{ readonly opening: Opening; readonly witness: Hex }>;

  /** A frame of a batch, as L1 takes it. */
  opening(number: number, index: number): Promise<Opening>;
  /** What shows the layout or the encoding of a batch's data to be wrong. */
  carrierProof(number: number): Promise<CarrierProof>;
  /** A cell of a committee's column of a batch; null when its data is not here. */
  cell(number: number, column: number, row: number): Promise<CellAnswer | null>;

  recordGame(game: GameRecord): Promise<void>;
  /** Those of the games 1 … `count` that are not known to have been closed before a block. Forgets all after them. */
  unsettledGames(count: number, block: number): Promise<number[]>;

  /** For the explorer. */
  games(query?: { readonly before?: number; readonly limit?: number }): Promise<GameRecord[]>;
  game(id: number): Promise<GameRecord | null>;
  recordFaults(faults: readonly FaultRecord[]): Promise<void>;
  faults(): Promise<FaultRecord[]>;
  recordWatch(metrics: WatchMetrics): Promise<void>;
  watch(): Promise<WatchMetrics | null>;
}

/** The verifier of the deployment: one object. */
export const verifierStub = (namespace: Namespace): VerifierRpc => namespace.getByName('verifier') as VerifierRpc;

/** A verifier with all it keeps in one SQL storage: in its Durable Object, or in a file in Node. */
import type { Hex } from '../../protocol/bytes.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import { decodeChunkRecords } from '../../protocol/trace.ts';
import { decodeCarrier } from '../../protocol/da/carrier.ts';
import type { CellAnswer } from '../../protocol/da/offer.ts';
import { type CarrierProof, type KnownBatch, type Opening, Verifier } from '../../protocol/verifier.ts';
import { type Failure, failure } from '../shard/api.ts';
import type { FaultRecord, GameRecord, VerifierRpc, WatchMetrics } from './api.ts';
import { SqlVerifierStore, type Together } from './store.ts';

const FAULTS_SHOWN = 100;
/** Many games against one batch ask the same: to answer means to execute the batch. */
const COMMITMENTS_KEPT = 16;

export interface VerifierHostOptions {
  readonly shards: number;
  readonly chainId: number;
  readonly root: Hex;
  /** Pages of 64 KiB that each shard may have in memory; without, all. */
  readonly resident?: number;
}

export class VerifierHost implements VerifierRpc {
  readonly #sql: SqlStorage;
  readonly #store: SqlVerifierStore;
  readonly #verifier: Verifier;
  #intake = 0;
  readonly #commitments = new Map<string, Promise<Uint8Array[]>>();

  constructor(sql: SqlStorage, together: Together, options: VerifierHostOptions) {
    this.#sql = sql;
    this.#store = new SqlVerifierStore(sql, together, options.resident ?? null);
    this.#verifier = new Verifier(options, this.#store);
    sql.exec('CREATE TABLE IF NOT EXISTS games (id INTEGER PRIMARY KEY, closed INTEGER, body TEXT NOT NULL)');
    sql.exec('CREATE TABLE IF NOT EXISTS faults (tx TEXT, place TEXT, body TEXT NOT NULL, PRIMARY KEY (tx, place))');
    sql.exec('CREATE TABLE IF NOT EXISTS watch (id INTEGER PRIMARY KEY, body TEXT NOT NULL)');
  }

  /** The state after the newest good batch, for who runs in the same process. */
  get verifier(): Verifier {
    return this.#verifier;
  }

  async standing(): Promise<{ head: number; known: number }> {
    return { head: this.#verifier.head, known: this.#store.known };
  }
  async batch(number: number): Promise<KnownBatch | null> {
    return this.#verifier.batch(number) ?? null;
  }

  async begin(header: BatchHeader): Promise<number | Failure> {
    const { head } = this.#verifier;
    if (header.number !== head + 1)
      return failure(
        'overtaken',
        `batch ${header.number} does not follow ${head}, the newest that is known to be good`,
      );
    this.#verifier.begin(header);
    return ++this.#intake;
  }
  async take(intake: number, records: Uint8Array): Promise<Failure | null> {
    if (intake !== this.#intake) return overtaken();
    await this.#verifier.take(decodeChunkRecords(records));
    return intake === this.#intake ? null : overtaken();
  }
  async carry(intake: number, carrier: Uint8Array): Promise<Failure | null> {
    if (intake !== this.#intake) return overtaken();
    await this.#verifier.carry(decodeCarrier(carrier));
    return intake === this.#intake ? null : overtaken();
  }
  async finish(intake: number, accumulator: Uint8Array): Promise<KnownBatch | Failure> {
    if (intake !== this.#intake) return overtaken();
    this.#intake += 1;
    return this.#verifier.finish(accumulator);
  }
  async drop(number: number): Promise<void> {
    this.#intake += 1;
    this.#commitments.clear();
    this.#verifier.drop(number);
  }
  async settle(upTo: number): Promise<void> {
    this.#verifier.settle(Math.min(upTo, this.#verifier.head));
  }

  async commitments(number: number, steps: readonly number[]): Promise<Uint8Array[]> {
    const name = [number, ...steps].join();
    const known = this.#commitments.get(name);
    if (known) return known;
    const made = this.#verifier.commitments(number, steps);
    made.catch(() => this.#commitments.delete(name));
    this.#commitments.set(name, made);
    if (this.#commitments.size > COMMITMENTS_KEPT) this.#commitments.delete(this.#commitments.keys().next().value!);
    return made;
  }
  async step(number: number, step: number): Promise<{ opening: Opening; witness: Hex }> {
    return this.#verifier.step(number, step);
  }

  async opening(number: number, index: number): Promise<Opening> {
    return this.#verifier.opening(number, index);
  }
  async carrierProof(number: number): Promise<CarrierProof> {
    return this.#verifier.carrierProof(number);
  }
  async cell(number: number, column: number, row: number): Promise<CellAnswer | null> {
    return this.#verifier.cell(number, column, row);
  }

  // --- games and faults ---

  #bodies<T>(sql: string, ...args: number[]): T[] {
    return this.#sql
      .exec<{ body: string }>(sql, ...args)
      .toArray()
      .map(({ body }) => JSON.parse(body) as T);
  }

  async recordGame(game: GameRecord): Promise<void> {
    const last = game.moves.at(-1)!;
    const closed = last.kind === 'closed' ? last.block : null;
    this.#sql.exec('INSERT OR REPLACE INTO games VALUES (?, ?, ?)', game.id, closed, JSON.stringify(game));
  }
  async unsettledGames(count: number, block: number): Promise<number[]> {
    this.#sql.exec('DELETE FROM games WHERE id > ?', count);
    const settled = new Set(
      Array.from(this.#sql.exec<{ id: number }>('SELECT id FROM games WHERE closed < ?', block), ({ id }) => id),
    );
    return Array.from({ length: count }, (_, i) => i + 1).filter((id) => !settled.has(id));
  }
  async games({ before = Number.MAX_SAFE_INTEGER, limit = 50 } = {}): Promise<GameRecord[]> {
    return this.#bodies('SELECT body FROM games WHERE id < ? ORDER BY id DESC LIMIT ?', before, limit);
  }
  async game(id: number): Promise<GameRecord | null> {
    return this.#bodies<GameRecord>('SELECT body FROM games WHERE id = ?', id)[0] ?? null;
  }
  async recordFaults(faults: readonly FaultRecord[]): Promise<void> {
    for (const fault of faults) {
      const place = `${fault.number ?? ''}:${fault.shard ?? ''}:${fault.seq ?? ''}`;
      this.#sql.exec('INSERT OR REPLACE INTO faults VALUES (?, ?, ?)', fault.tx, place, JSON.stringify(fault));
    }
  }
  async faults(): Promise<FaultRecord[]> {
    return this.#bodies('SELECT body FROM faults ORDER BY rowid DESC LIMIT ?', FAULTS_SHOWN);
  }
  async recordWatch(metrics: WatchMetrics): Promise<void> {
    this.#sql.exec('INSERT OR REPLACE INTO watch VALUES (0, ?)', JSON.stringify(metrics));
  }
  async watch(): Promise<WatchMetrics | null> {
    return this.#bodies<WatchMetrics>('SELECT body FROM watch WHERE id = 0')[0] ?? null;
  }
}

const overtaken = (): Failure => failure('overtaken', 'somebody else began to take in a batch');

/**
 * The sequencer's side of demands. A demand that nobody answers costs the bond, though only its column's member is away: so the sequencer shows every cell
 * itself, from the verifier, which had the data from whoever is left, or else from the shards' logs.
 */
import type { ShardRpc } from '../../durable/shard/api.ts';
import type { VerifierRpc } from '../../durable/verifier/api.ts';
import { equal, unhex } from '../../protocol/bytes.ts';
import { columnRoot, committeeRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { type CellAnswer, cellOf } from '../../protocol/da/offer.ts';
import { answersTo } from '../committee/answers.ts';
import type { CommitteeChain } from '../committee/chain.ts';
import type { Demand } from '../committee/demands.ts';
import { type Log, reason } from './log.ts';
import { wholeOf } from './modes/whole.ts';
import { orderOf, readRecords } from './order.ts';
import type { L1Call } from './sender.ts';

/** What L1 is to be shown of the sequencer's own batches, where least time is left first. */
export async function* cellsShown(
  chain: CommitteeChain,
  shards: readonly ShardRpc[],
  verifier: VerifierRpc | null,
  log: Log,
): AsyncGenerator<L1Call, undefined> {
  const cells = new Cells(chain, shards, verifier, log);
  for await (const { demand, call } of answersTo(chain, (asked) => cells.of(asked))) {
    log('shows', { demand: demand.id, batch: demand.number, column: demand.column, row: demand.row });
    yield call;
  }
}

class Cells {
  readonly #chain: CommitteeChain;
  readonly #shards: readonly ShardRpc[];
  readonly #verifier: VerifierRpc | null;
  readonly #log: Log;
  /** Of the batch that was last asked for: demands mostly are of one. */
  #made: { readonly hash: string; readonly columns: readonly Uint8Array[] } | null = null;

  constructor(chain: CommitteeChain, shards: readonly ShardRpc[], verifier: VerifierRpc | null, log: Log) {
    [this.#chain, this.#shards, this.#verifier, this.#log] = [chain, shards, verifier, log];
  }

  /** null for what is of no batch of ours, or can't be had now: another pass will ask again. */
  async of(demand: Demand): Promise<CellAnswer | null> {
    const { id, number, batchHash, column, row } = demand;
    for (const ask of [() => this.#known(demand), () => this.#logged(demand)]) {
      try {
        const cell = await ask();
        if (cell) return cell;
      } catch (error) {
        this.#log('cannot_show', { demand: id, batch: number, hash: batchHash, column, row, error: reason(error) });
      }
    }
    return null;
  }

  async #known({ number, batchHash, column, row }: Demand): Promise<CellAnswer | null> {
    const batch = await this.#verifier?.batch(number);
    if (batch?.hash !== batchHash || batch.verdict.fault !== null) return null;
    return this.#verifier!.cell(number, column, row);
  }

  async #logged({ number, batchHash, dataRoot, epoch, column, row }: Demand): Promise<CellAnswer | null> {
    if (this.#made?.hash !== batchHash) {
      const [batch] = await this.#shards[0].batches({ after: number - 1, limit: 1 });
      if (batch?.hash !== batchHash) return null;
      const order = await orderOf(this.#shards, batch);
      const whole = await wholeOf(() => readRecords(this.#shards, order));
      if ('cannot' in whole) throw new Error(whole.cannot);
      const columns = encodeColumns(whole.data, (await this.#chain.terms()).code);
      const root = committeeRoot(whole.data.length, epoch, columns.map(columnRoot));
      if (!equal(root, unhex(dataRoot))) throw new Error(`the logs do not give the data of batch ${number}`);
      this.#made = { hash: batchHash, columns };
    }
    return cellOf(this.#made.columns[column], row);
  }
}

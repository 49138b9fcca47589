/** The configured modes, tried in order, batch by batch; and any of them for a batch that was recorded already. */
import type { BatchRecord, ShardRpc } from '../../../durable/shard/api.ts';
import type { Range } from '../../../protocol/schedule.ts';
import type { Chain } from '../chain.ts';
import type { ModeName, Settings } from '../env.ts';
import type { Log } from '../log.ts';
import { readRecords } from '../order.ts';
import { BlobMode } from './blob.ts';
import { CalldataMode } from './calldata.ts';
import { CommitteeMode } from './committee.ts';
import type { Mode, Records, Sealed } from './mode.ts';

/** No mode that is configured takes the batch now. */
export class NoMode extends Error {}

export class Modes {
  readonly #all: readonly Mode[];
  readonly #names: readonly ModeName[];
  readonly #log: Log;

  constructor(
    chain: Chain,
    shards: readonly ShardRpc[],
    settings: Settings,
    orderOf: (batch: BatchRecord) => Promise<readonly Range[]>,
    log: Log,
  ) {
    const recordsOf = async (batch: BatchRecord): Promise<Records> => {
      const order = await orderOf(batch);
      return () => readRecords(shards, order);
    };
    this.#all = [
      new CommitteeMode(chain, settings, log),
      new BlobMode(chain, recordsOf, settings.maxBlobFee),
      new CalldataMode(chain, shards, orderOf),
    ];
    this.#names = settings.modes;
    this.#log = log;
  }

  /** The mode of a recorded batch, whether it is configured (any more) or not. */
  of({ header }: BatchRecord): Mode {
    return this.#all.find(({ da }) => da === header.da)!;
  }

  /** The first mode's that takes the batch; with `failed`, of those after that one. Throws {@link NoMode}. */
  async seal(number: number, records: Records, failed: Mode | null = null): Promise<Sealed> {
    const names = this.#names.slice(failed === null ? 0 : this.#names.indexOf(failed.name) + 1);
    for (const name of names) {
      const sealed = await this.#all.find((mode) => mode.name === name)!.seal(number, records);
      if (!('cannot' in sealed)) return sealed;
      this.#log('mode_cannot', { batch: number, mode: name, why: sealed.cannot });
    }
    throw new NoMode(`no mode takes batch ${number}`);
  }
}

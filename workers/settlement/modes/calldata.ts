/** Frames in calldata: L1 reads them all. Works on any EVM, with no bound on the data. */
import type { BatchRecord, ShardRpc } from '../../../durable/shard/api.ts';
import { hex } from '../../../protocol/bytes.ts';
import { Da } from '../../../protocol/da/carrier.ts';
import type { Range } from '../../../protocol/schedule.ts';
import type { Chain, Look } from '../chain.ts';
import { nextPart, seal } from '../compose.ts';
import { progress } from '../plan.ts';
import { toWire } from '../sender.ts';
import type { Mode, Part, Records, Sealed } from './mode.ts';

const NO_DATA = '0x';

export class CalldataMode implements Mode {
  readonly name = 'calldata';
  readonly da = Da.calldata;
  readonly #chain: Chain;
  readonly #shards: readonly ShardRpc[];
  readonly #orderOf: (batch: BatchRecord) => Promise<readonly Range[]>;

  constructor(chain: Chain, shards: readonly ShardRpc[], orderOf: (batch: BatchRecord) => Promise<readonly Range[]>) {
    this.#chain = chain;
    this.#shards = shards;
    this.#orderOf = orderOf;
  }

  seal(_number: number, records: Records): Promise<Sealed> {
    return seal(records());
  }

  async next(batch: BatchRecord, look: Look, restart: boolean): Promise<Part> {
    const total = batch.ranges.reduce((sum, { frames }) => sum + frames, 0);
    const at = restart ? { part: 0, frames: 0 } : progress(batch, look);
    const part = await nextPart(this.#shards, await this.#orderOf(batch), at.frames);
    const isLast = at.frames + (part?.frames ?? 0) >= total;
    const data = part ? hex(part.data) : NO_DATA;
    const call =
      part && (!isLast || restart)
        ? this.#chain.call('postData', [BigInt(batch.number), at.part, data])
        : this.#chain.call('postBatch', [toWire(batch.header), data]);
    return { call, batch, from: at.frames };
  }
}

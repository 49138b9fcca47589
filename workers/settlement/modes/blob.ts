/** Data in EIP-4844 blobs, as many in a transaction as it takes. L1 keeps them for weeks; the gateway's archive, from the shards' logs, for as long as those. */
import type { BatchRecord } from '../../../durable/shard/api.ts';
import { type Hex, hex, writeUint } from '../../../protocol/bytes.ts';
import { MAX_BLOBS, blobsRoot, encodeBlobs, versionedHash } from '../../../protocol/da/blobs.ts';
import { Da } from '../../../protocol/da/carrier.ts';
import { commitBlob } from '../../../protocol/da/kzg.ts';
import { blobProgress } from '../blobs.ts';
import type { Chain, Look } from '../chain.ts';
import { Inconsistent } from '../order.ts';
import { toWire } from '../sender.ts';
import type { CanNot, Mode, Part, Records, Sealed } from './mode.ts';
import { wholeOf } from './whole.ts';

interface Made {
  readonly length: number;
  readonly steps: number;
  readonly frames: number;
  readonly blobs: readonly Uint8Array[];
  readonly hashes: readonly Hex[];
  readonly dataRoot: Uint8Array;
}

export class BlobMode implements Mode {
  readonly name = 'blob';
  readonly da = Da.blob;
  readonly #chain: Chain;
  readonly #recordsOf: (batch: BatchRecord) => Promise<Records>;
  readonly #maxBlobFee: bigint;
  /** Of the newest batch, by its `dataRoot`: commitments take a second for each blob. */
  #made: Made | null = null;

  constructor(chain: Chain, recordsOf: (batch: BatchRecord) => Promise<Records>, maxBlobFee: bigint) {
    this.#chain = chain;
    this.#recordsOf = recordsOf;
    this.#maxBlobFee = maxBlobFee;
  }

  async seal(_number: number, records: Records): Promise<Sealed | CanNot> {
    const { availability } = await this.#chain.terms();
    if (BigInt(availability) === 0n) return { cannot: 'the deployment takes no blobs' };
    const fee = await this.#chain.client.getBlobBaseFee().catch(() => null);
    if (fee === null) return { cannot: 'L1 has no blobs' };
    if (fee > this.#maxBlobFee) return { cannot: `a unit of blob gas costs ${fee} wei` };
    const made = await this.#make(records);
    if ('cannot' in made) return made;
    const { steps, frames, dataRoot } = made;
    return { da: this.da, steps, frames, dataRoot };
  }

  async #make(records: Records): Promise<Made | CanNot> {
    const whole = await wholeOf(records);
    if ('cannot' in whole) return whole;
    const { data, steps, frames } = whole;
    const blobs = encodeBlobs(data);
    const hashes: Uint8Array[] = [];
    for (const blob of blobs) hashes.push(versionedHash(await commitBlob(blob)));
    const dataRoot = blobsRoot(data.length, hashes);
    return (this.#made = { length: data.length, steps, frames, blobs, hashes: hashes.map(hex), dataRoot });
  }

  async next(batch: BatchRecord, look: Look, restart: boolean): Promise<Part> {
    const { number, header } = batch;
    const isOf = (made: Made | CanNot | null): made is Made =>
      made !== null && !('cannot' in made) && hex(made.dataRoot) === header.dataRoot;
    const made = isOf(this.#made) ? this.#made : await this.#make(await this.#recordsOf(batch));
    if (!isOf(made)) throw new Inconsistent(`the logs do not give the data of batch ${number}`);
    const at = restart ? { part: 0, blobs: 0 } : await blobProgress(this.#chain, number, made.hashes, look.latest);
    const blobs = made.blobs.slice(at.blobs, at.blobs + MAX_BLOBS);
    const isLast = at.blobs + blobs.length === made.blobs.length;
    // To start anew takes a part 0 of its own; the batch brings the rest, which may be nothing.
    if (blobs.length > 0 && (!isLast || restart)) {
      const call = this.#chain.call('postBlobs', [BigInt(number), at.part]);
      return { call: { ...call, blobs }, batch, from: at.blobs };
    }
    const length = new Uint8Array(8);
    writeUint(length, 0, 8, made.length);
    const call = this.#chain.call('postBatch', [toWire(header), hex(length)]);
    return { call: blobs.length > 0 ? { ...call, blobs } : call, batch, from: at.blobs };
  }
}

/** What a way to make data available does for the poster (docs/protocol.md §12). */
import type { BatchRecord } from '../../../durable/shard/api.ts';
import type { Hex } from '../../../protocol/bytes.ts';
import type { ChunkRecord } from '../../../protocol/trace.ts';
import type { Look } from '../chain.ts';
import type { ModeName } from '../env.ts';
import type { L1Call } from '../sender.ts';

/** A batch's frames in the order of its data, page by page; every call begins anew. */
export type Records = () => AsyncIterable<readonly ChunkRecord[]>;

/** What a header says of its data, and what is posted beside it. */
export interface Sealed {
  readonly da: number;
  readonly steps: number;
  readonly frames: number;
  readonly dataRoot: Uint8Array;
  readonly certificate?: Hex;
}

/** Not this batch, not now; and why. */
export interface CanNot {
  readonly cannot: string;
}

/** A call that brings a batch, or a part of it; `from`: what of its data is at L1 already, in frames or blobs. */
export interface Part {
  readonly call: L1Call;
  readonly batch: BatchRecord;
  readonly from: number;
}

export interface Mode {
  readonly name: ModeName;
  readonly da: number;
  /** What the header will say; data that others keep is with them when it returns. Throws only for what is amiss with us. */
  seal(number: number, records: Records): Promise<Sealed | CanNot>;
  /** What L1 needs of a recorded batch next. `restart`: what is there of it is not its own. */
  next(batch: BatchRecord, look: Look, restart: boolean): Promise<Part>;
}

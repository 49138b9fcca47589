/** What was made available of a batch whose data is not in calldata, as it was: its blobs, or columns of it (docs/protocol.md §12). */
import { Reader, Writer } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { HASH_BYTES } from '../hash.ts';
import type { ChunkRecord, PlacedFrame } from '../trace.ts';
import { MAX_RECORD_FRAMES } from '../trace.ts';
import { BLOB_ELEMENTS, decodeBlobs } from './blobs.ts';
import { MAX_MEMBERS, columnBytes, decodeColumns, encodingFault } from './columns.ts';
import { type LayoutFault, faultOf } from './layout.ts';

/** Where a batch's frames are: a header's `da`. */
export const Da = { calldata: 0, blob: 1, committee: 2 } as const;

const BLOB_BYTES = 32 * BLOB_ELEMENTS;

export interface BlobCarrier {
  readonly da: typeof Da.blob;
  /** Bytes of data. */
  readonly length: number;
  /** As posted, byte 0 of each element included. */
  readonly blobs: readonly Uint8Array[];
}

export interface ColumnsCarrier {
  readonly da: typeof Da.committee;
  readonly length: number;
  readonly epoch: number;
  /** How many columns give the data back. */
  readonly k: number;
  /** Of all columns. */
  readonly roots: readonly Uint8Array[];
  /** Under their roots: the `k` columns of data; or any `k + 1` that are not on one polynomial, which shows that there is no data. */
  readonly columns: ReadonlyMap<number, Uint8Array>;
}

export type Carrier = BlobCarrier | ColumnsCarrier;

/** Why a batch is void whatever its frames are; `at` is the byte of the columns that is on no polynomial. */
export type CarrierFault = LayoutFault | { readonly kind: 'encoding'; readonly at: number };

/** The data of a carrier whose encoding is right. */
export const dataOf = (carrier: Carrier): Uint8Array =>
  carrier.da === Da.blob
    ? decodeBlobs(carrier.blobs, carrier.length)
    : decodeColumns(carrier.columns, carrier.length, { n: carrier.roots.length, k: carrier.k });

/** What is wrong with the data of a batch that is said to take `steps` steps; null when its frames can be executed. */
export function faultIn(carrier: Carrier, steps: number): CarrierFault | null {
  const at =
    carrier.da === Da.committee && carrier.columns.size > carrier.k && encodingFault(carrier.columns, carrier.k);
  return typeof at === 'number' ? { kind: 'encoding', at } : faultOf(dataOf(carrier), steps);
}

/** Frames with their places as chunk records: runs of one shard. */
export function recordsOf(placed: readonly PlacedFrame[]): ChunkRecord[] {
  const records: { shard: number; firstSeq: number; frames: Uint8Array[] }[] = [];
  for (const { shard, seq, frame } of placed) {
    const last = records.at(-1);
    const isNext = last?.shard === shard && last.firstSeq + last.frames.length === seq;
    if (isNext && last.frames.length < MAX_RECORD_FRAMES) last.frames.push(frame);
    else records.push({ shard, firstSeq: seq, frames: [frame] });
  }
  return records;
}

/** `da u8 ‖ length u64`, then the blobs; or `epoch u64 ‖ k u8 ‖ n u8 ‖ roots`, then of each column its number and its bytes. */
export function encodeCarrier(carrier: Carrier): Uint8Array {
  const writer = new Writer().u8(carrier.da).u64(carrier.length);
  if (carrier.da === Da.blob) {
    for (const blob of carrier.blobs) writer.bytes(blob);
    return writer.finish();
  }
  writer.u64(carrier.epoch).u8(carrier.k).u8(carrier.roots.length);
  for (const root of carrier.roots) writer.bytes(root);
  for (const [index, column] of carrier.columns) writer.u8(index).bytes(column);
  return writer.finish();
}

/** Throws `malformed`. */
export function decodeCarrier(bytes: Uint8Array): Carrier {
  const reader = new Reader(bytes);
  const [da, length] = [reader.u8(), reader.u64()];
  if (da === Da.blob) {
    const blobs: Uint8Array[] = [];
    while (reader.left > 0) blobs.push(reader.bytes(BLOB_BYTES));
    return { da, length, blobs };
  }
  if (da !== Da.committee) throw malformed('neither blobs nor columns');
  const [epoch, k, n] = [reader.u64(), reader.u8(), reader.u8()];
  if (k < 1 || k > n || n > MAX_MEMBERS) throw malformed('1 to 16 columns, of which at least one is data');
  const roots = Array.from({ length: n }, () => reader.bytes(HASH_BYTES));
  const columns = new Map<number, Uint8Array>();
  while (reader.left > 0) columns.set(reader.u8(), reader.bytes(columnBytes(length, k)));
  return { da, length, epoch, k, roots, columns };
}

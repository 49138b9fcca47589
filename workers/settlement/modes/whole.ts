/** Data outside of calldata, made of a batch's frames: always the same bytes for the same batch, so that any pass can post them. */
import { encodeData } from '../../../protocol/da/layout.ts';
import { MAX_FRAME_BYTES } from '../../../protocol/bundle.ts';
import type { ChunkRecord } from '../../../protocol/trace.ts';
import type { CanNot, Records } from './mode.ts';

/** What a pass holds in memory of one batch; more goes into calldata, part by part. */
export const MAX_DATA_BYTES: number = 2 ** 24;

export interface Whole {
  readonly data: Uint8Array;
  readonly steps: number;
  readonly frames: number;
}

export async function wholeOf(records: Records): Promise<Whole | CanNot> {
  const all: ChunkRecord[] = [];
  let bytes = 0;
  for await (const page of records()) {
    for (const { frames } of page) for (const { length } of frames) bytes += length + 17;
    if (bytes > MAX_DATA_BYTES - MAX_FRAME_BYTES) return { cannot: `more than ${MAX_DATA_BYTES} bytes of data` };
    all.push(...page);
  }
  return encodeData(all);
}

/**
 * The data of a batch whose frames are not in calldata: an index of its frames, then their bytes (docs/protocol.md §12). Any bytes are well formed or have a
 * fault that one proof shows.
 */
import { MAX_FRAME_BYTES } from '../bundle.ts';
import { readUint, writeUint } from '../bytes.ts';
import { stepsOf } from '../engine.ts';
import { malformed } from '../errors.ts';
import type { ChunkRecord, PlacedFrame } from '../trace.ts';

export const ENTRY_BYTES = 17;
/** Bytes before the first entry: the number of frames. */
export const COUNT_BYTES = 4;

/** Where in the data entry `index` stands. */
export const entryAt = (index: number): number => COUNT_BYTES + ENTRY_BYTES * index;

/** One frame's line of the index; the one behind the last frame's closes it. */
export interface Entry {
  readonly firstStep: number;
  readonly shard: number;
  readonly seq: number;
  /** Of the frame's first byte, from the start of the data. */
  readonly offset: number;
}

/** What is wrong with data: the count, the first or the last entry, or entry `index` against the next. */
export type LayoutFault =
  | { readonly kind: 'count' | 'first' | 'last' }
  | { readonly kind: 'next'; readonly index: number };

function writeEntry(data: Uint8Array, index: number, { firstStep, shard, seq, offset }: Entry): void {
  const at = entryAt(index);
  writeUint(data, at, 6, firstStep);
  data[at + 6] = shard;
  writeUint(data, at + 7, 6, seq);
  writeUint(data, at + 13, 4, offset);
}

/** Entry `index`, which must lie within the data. */
export function readEntry(data: Uint8Array, index: number): Entry {
  const at = entryAt(index);
  return {
    firstStep: readUint(data, at, 6),
    shard: data[at + 6],
    seq: readUint(data, at + 7, 6),
    offset: readUint(data, at + 13, 4),
  };
}

/** Records in the order of the trace, as data. Throws `malformed` where there is no frame, or a frame that can't be posted. */
export function encodeData(records: readonly ChunkRecord[]): { data: Uint8Array; steps: number; frames: number } {
  let frames = 0;
  let bytes = 0;
  for (const record of records) {
    frames += record.frames.length;
    for (const { length } of record.frames) {
      if (length === 0 || length > MAX_FRAME_BYTES) throw malformed('a posted frame has 1 to 4096 bytes');
      bytes += length;
    }
  }
  if (frames === 0) throw malformed('data has at least one frame');
  const length = entryAt(frames + 1) + bytes;
  if (length >= 2 ** 32) throw malformed('data has less than 2^32 bytes');
  const data = new Uint8Array(length);
  writeUint(data, 0, COUNT_BYTES, frames);
  let index = 0;
  let firstStep = 0;
  let offset = entryAt(frames + 1);
  for (const { shard, firstSeq, frames: run } of records) {
    for (const [i, frame] of run.entries()) {
      writeEntry(data, index++, { firstStep, shard, seq: firstSeq + i, offset });
      data.set(frame, offset);
      firstStep += stepsOf(frame);
      offset += frame.length;
    }
  }
  writeEntry(data, index, { firstStep, shard: 0, seq: 0, offset });
  return { data, steps: firstStep, frames };
}

/** The first fault of data that is said to take `steps` steps; null when it is well formed. */
export function faultOf(data: Uint8Array, steps: number): LayoutFault | null {
  const frames = data.length < COUNT_BYTES ? 0 : readUint(data, 0, COUNT_BYTES);
  if (frames === 0 || entryAt(frames + 1) > data.length) return { kind: 'count' };
  let entry = readEntry(data, 0);
  if (entry.firstStep !== 0 || entry.offset !== entryAt(frames + 1)) return { kind: 'first' };
  for (let index = 0; index < frames; index++) {
    const next = readEntry(data, index + 1);
    const size = next.offset - entry.offset;
    if (size < 1 || size > MAX_FRAME_BYTES || next.offset > data.length) return { kind: 'next', index };
    const frame = data.subarray(entry.offset, next.offset);
    if (next.firstStep !== entry.firstStep + stepsOf(frame)) return { kind: 'next', index };
    entry = next;
  }
  const { firstStep, shard, seq, offset } = entry;
  return firstStep === steps && shard === 0 && seq === 0 && offset === data.length ? null : { kind: 'last' };
}

/** The frames of well-formed data with their places, as views of it. Throws `malformed` for any other. */
export function decodeData(data: Uint8Array, steps: number): PlacedFrame[] {
  const fault = faultOf(data, steps);
  if (fault !== null)
    throw malformed(`the data's ${fault.kind === 'next' ? `entry ${fault.index + 1}` : fault.kind} is wrong`);
  return Array.from({ length: readUint(data, 0, COUNT_BYTES) }, (_, i) => {
    const { firstStep, shard, seq, offset } = readEntry(data, i);
    return { firstStep, shard, seq, frame: data.subarray(offset, readEntry(data, i + 1).offset) };
  });
}

/**
 * Cutting a batch's data into L1 transactions. Each must fit a node's pool and L1's cap on a transaction's gas, and whatever of a
 * batch already is on L1 must stay useful: where posting resumes is said by frames, never by how an earlier run cut its parts.
 */
import { type ChunkRecord, MAX_RECORD_FRAMES, encodeChunkRecord } from '../../protocol/trace.ts';

/** Largest part, in bytes. Nodes refuse transactions above 128 KiB (geth's `txMaxSize`). */
export const MAX_PART_BYTES = 100_000;
/** EIP-7825's cap is 2^24; the rest is room for an estimate that is too low. */
export const MAX_PART_GAS = 14_000_000;

/** Upper bounds, measured with contracts/test: EIP-7623's floor for a byte, and the tree's work for a frame. */
const GAS_BASE = 400_000;
const GAS_BYTE = 40;
const GAS_FRAME = 900;

/** A bound on the gas of posting one part. */
export const partGas = (bytes: number, frames: number): number => GAS_BASE + GAS_BYTE * bytes + GAS_FRAME * frames;

const RECORD_HEAD = 9;
const FRAME_HEAD = 2;

/** One transaction's worth of data. */
export interface Part {
  readonly data: Uint8Array;
  readonly frames: number;
}

/** The first part of `records` that fits both bounds; null when there are no frames. */
export function firstPart(
  records: readonly ChunkRecord[],
  maxBytes = MAX_PART_BYTES,
  maxGas = MAX_PART_GAS,
): Part | null {
  const taken: Uint8Array[] = [];
  let bytes = 0;
  let frames = 0;
  const fits = (more: number): boolean => bytes + more <= maxBytes && partGas(bytes + more, frames + 1) <= maxGas;
  for (const record of records) {
    let from = 0;
    while (from < record.frames.length) {
      let to = from;
      while (to < record.frames.length && to - from < MAX_RECORD_FRAMES) {
        const more = FRAME_HEAD + record.frames[to].length + (to === from ? RECORD_HEAD : 0);
        // One frame always goes: it is far smaller than any sensible bound.
        if (frames > 0 && !fits(more)) break;
        bytes += more;
        frames += 1;
        to += 1;
      }
      if (to === from) return finish(taken, frames);
      taken.push(
        encodeChunkRecord({
          shard: record.shard,
          firstSeq: record.firstSeq + from,
          frames: record.frames.slice(from, to),
        }),
      );
      from = to;
    }
  }
  return finish(taken, frames);
}

function finish(records: readonly Uint8Array[], frames: number): Part | null {
  if (frames === 0) return null;
  const data = new Uint8Array(records.reduce((sum, record) => sum + record.length, 0));
  let at = 0;
  for (const record of records) {
    data.set(record, at);
    at += record.length;
  }
  return { data, frames };
}

/** Posted data: chunk records, the leaves and root of `dataRoot`, and the batch header (docs/protocol.md §§3, 7). */
import { MAX_FRAME_BYTES } from './bundle.ts';
import { type Hex, Reader, Writer, concat, hex, unhex, writeUint, word } from './bytes.ts';
import { stepsOf } from './engine.ts';
import { malformed } from './errors.ts';
import { keccak } from './hash.ts';
import { Frontier, leafHash } from './log.ts';

/** A run of frames of one shard, as it stands in posted data. */
export interface ChunkRecord {
  readonly shard: number;
  readonly firstSeq: number;
  readonly frames: readonly Uint8Array[];
}

/** Most frames one record can hold; longer chunks are several records. */
export const MAX_RECORD_FRAMES = 0xffff;
/** Most frames {@link cutParts} puts into a part: L1 pays about 500 gas to parse each, however short. */
const MAX_PART_FRAMES = 15_000;

export function encodeChunkRecord({ shard, firstSeq, frames }: ChunkRecord): Uint8Array {
  if (frames.length === 0 || frames.length > MAX_RECORD_FRAMES) throw malformed('a chunk record has 1 to 65535 frames');
  const writer = new Writer().u8(shard).uint(6, firstSeq).u16(frames.length);
  for (const frame of frames) {
    if (frame.length === 0 || frame.length > MAX_FRAME_BYTES) throw malformed('a posted frame has 1 to 4096 bytes');
    writer.u16(frame.length).bytes(frame);
  }
  return writer.finish();
}

/** Bytes of a record before its first frame. */
const RECORD_HEAD = 9;

/** Whole chunk records. Throws `malformed`. */
export function decodeChunkRecords(data: Uint8Array): ChunkRecord[] {
  const reader = new Reader(data);
  const records: ChunkRecord[] = [];
  while (reader.left > 0) {
    const [shard, firstSeq, count] = [reader.u8(), reader.uint(6), reader.u16()];
    if (count === 0) throw malformed('a chunk record without frames');
    const frames: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const length = reader.u16();
      if (length === 0 || length > MAX_FRAME_BYTES) throw malformed(`a frame of ${length} bytes`);
      frames.push(reader.bytes(length));
    }
    records.push({ shard, firstSeq, frames });
  }
  return records;
}

/** One frame where the trace has it. */
export interface PlacedFrame {
  readonly firstStep: number;
  readonly shard: number;
  readonly seq: number;
  readonly frame: Uint8Array;
}

/** All frames of a batch's data in order, with their places and first steps. */
export function placeFrames(records: readonly ChunkRecord[]): PlacedFrame[] {
  const out: PlacedFrame[] = [];
  let firstStep = 0;
  for (const { shard, firstSeq, frames } of records) {
    frames.forEach((frame, i) => {
      out.push({ firstStep, shard, seq: firstSeq + i, frame });
      firstStep += stepsOf(frame);
    });
  }
  return out;
}

/** Leaf hash of a frame under `dataRoot`. */
export function frameLeaf({ firstStep, shard, seq, frame }: PlacedFrame): Uint8Array {
  const head = new Uint8Array(17);
  writeUint(head, 0, 8, firstStep);
  head[8] = shard;
  writeUint(head, 9, 8, seq);
  return leafHash(keccak, concat(head, frame));
}

/** What the contract computes from posted data. */
export function sealData(placed: readonly PlacedFrame[]): { steps: number; dataRoot: Uint8Array } {
  const tree = new Frontier(keccak);
  let steps = 0;
  for (const frame of placed) {
    tree.appendLeaf(frameLeaf(frame));
    steps += stepsOf(frame.frame);
  }
  return { steps, dataRoot: tree.root() };
}

/** Cuts records into parts of at most `maxBytes` and {@link MAX_PART_FRAMES}; a record that does not fit is split between frames. */
export function cutParts(records: readonly ChunkRecord[], maxBytes: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let part: Uint8Array[] = [];
  let bytes = 0;
  let count = 0;
  const flush = (): void => {
    if (part.length > 0) parts.push(concat(...part));
    part = [];
    bytes = 0;
    count = 0;
  };
  for (const { shard, firstSeq, frames } of records) {
    let from = 0;
    let to = 0;
    let size = RECORD_HEAD;
    const close = (): void => {
      if (to > from) part.push(encodeChunkRecord({ shard, firstSeq: firstSeq + from, frames: frames.slice(from, to) }));
      bytes += size;
      from = to;
      size = RECORD_HEAD;
    };
    for (const frame of frames) {
      if (count + 1 > MAX_PART_FRAMES || (count > 0 && bytes + size + 2 + frame.length > maxBytes)) {
        close();
        flush();
      }
      size += 2 + frame.length;
      count += 1;
      to += 1;
    }
    close();
  }
  flush();
  return parts;
}

/** What the sequencer asserts on L1. Hashes as hex: this object lives at the L1 boundary. */
export interface BatchHeader {
  readonly number: number;
  readonly prev: Hex;
  readonly pre: Hex;
  readonly post: Hex;
  readonly steps: number;
  readonly timeFrom: number;
  readonly timeTo: number;
  readonly inboxCursor: number;
  readonly dataRoot: Hex;
  readonly da: number;
}

/** keccak(abi.encode(Batch)): ten words. */
export function batchHash(header: BatchHeader): Hex {
  const field = (value: number | Hex): Uint8Array => (typeof value === 'string' ? unhex(value, 32) : word(value));
  const { number, prev, pre, post, steps, timeFrom, timeTo, inboxCursor, dataRoot, da } = header;
  return hex(
    keccak(concat(...[number, prev, pre, post, steps, timeFrom, timeTo, inboxCursor, dataRoot, da].map(field))),
  );
}

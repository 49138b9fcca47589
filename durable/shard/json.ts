/** Shapes a shard answers reads with, ready for JSON: what docs/api.md and the explorer rely on. */
import type { Hex } from '../../protocol/bytes.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import type { ReceiptJson } from '../../protocol/receipt.ts';

/** A record's fields: numbers for small integers, decimal strings for amounts and wide ones, `shard:serial` for ids, hex for bytes. */
export type RecordJson = Record<string, string | number | boolean | null | PlaceJson | KeyJson>;

/** A workflow's fields and its legs, in order. */
export type WorkflowJson = { id: string; legs: Record<string, string | number | boolean | null>[] } & Record<
  string,
  unknown
>;

/** An interaction's place. */
export interface PlaceJson {
  shard: number;
  seq: string;
  index: number;
}

/** A public machine key. */
export interface KeyJson {
  x: Hex;
  y: Hex;
}

export interface CellJson {
  address: number;
  region: string;
  cell: Hex;
  /** The record's kind and fields; null where nothing is laid out. */
  kind: string | null;
  fields: RecordJson | null;
  /** Only where they were asked for: 12 × 3 from the leaf up, and the shard root of `seq` that they lead to. */
  siblings?: Hex[];
  shardRoot?: Hex;
  seq: string;
}

export interface BundleJson {
  actor: string;
  nonce: number | string;
  expiry: number | string;
  payloadRoot?: Hex;
  signature: Hex;
  interactions: { op: string; fields: Record<string, unknown> }[];
}

export interface FrameJson {
  shard: number;
  seq: string;
  kind: 'tick' | 'inbox' | 'receive' | 'ack' | 'advance' | 'tell' | 'bundle' | 'malformed';
  bytes: Hex;
  steps: { status: string; value: string }[];
  time?: number;
  item?: Record<string, unknown>;
  /** Of a receive: who sent it, and the message with its fields; of a call, its interaction as `{op, fields}`. */
  from?: number;
  message?: Record<string, unknown>;
  /** Of an ack: by whom the messages up to `number` were received. */
  to?: number;
  number?: string;
  escrow?: string;
  workflow?: string;
  leg?: number;
  bundle?: BundleJson;
  chunk: number;
  batch?: number;
  receipt?: ReceiptJson;
}

export interface ChunkJson {
  shard: number;
  number: number;
  firstSeq: string;
  frames: FrameJson[];
  timeMs: number;
  runningHash: Hex;
  batch?: number;
}

export interface EventJson {
  /** Cursor: grows; roughly the time in microseconds. */
  n: number;
  kind: string;
  timeMs: number;
  [field: string]: string | number | boolean;
}

export interface BatchJson {
  number: number;
  header: BatchHeader;
  hash: Hex;
  stateRoot: Hex;
  l1: { state: string; tx?: Hex; block?: number; postedAt?: number; finalAt?: number };
  ranges: { shard: number; firstSeq: string; frames: number }[];
}

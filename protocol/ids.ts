/** Ids: `serial × 256 + shard`, 0 for none (docs/protocol.md §1). */
import { malformed } from './errors.ts';

export const SHARDS = 256;
/** First serial too large for agents, services and capabilities. */
export const SMALL_SERIALS = 2 ** 20;
/** First serial too large for sessions, escrows, workflows and outbox messages. */
export const LARGE_SERIALS = 2 ** 44;

export const makeId = (shard: number, serial: number): number => serial * SHARDS + shard;
/** Its low byte, however large the id: `&` takes a number modulo 2^32, and `%` of one that is no small integer calls out. */
export const shardOf = (id: number): number => id & (SHARDS - 1);
export const serialOf = (id: number): number => Math.floor(id / SHARDS);

/** `0:7` for the id of serial 7 on shard 0. */
export const formatId = (id: number): string => `${shardOf(id)}:${serialOf(id)}`;

/** Inverse of {@link formatId}; throws `malformed`. */
export function parseId(text: string): number {
  const match = /^(0|[1-9]\d{0,2}):(0|[1-9]\d{0,13})$/.exec(text);
  const shard = Number(match?.[1]);
  const serial = Number(match?.[2]);
  if (!match || shard >= SHARDS || serial >= LARGE_SERIALS)
    throw malformed(`expected an id like 0:7, got ${JSON.stringify(text.slice(0, 40))}`);
  return makeId(shard, serial);
}

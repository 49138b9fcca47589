/** Items of the L1 inbox (docs/protocol.md §6): deposits, registrations and operations that owners force. */
import { Reader, Writer, concat } from './bytes.ts';
import { malformed } from './errors.ts';
import { keccak } from './hash.ts';

export type InboxItem =
  | {
      readonly kind: 'register';
      readonly shard: number;
      readonly owner: Uint8Array;
      readonly key: Uint8Array;
      readonly amount: number;
    }
  | { readonly kind: 'deposit'; readonly from: Uint8Array; readonly agent: number; readonly amount: number }
  | { readonly kind: 'withdraw'; readonly owner: Uint8Array; readonly agent: number; readonly amount: number }
  | { readonly kind: 'rotate'; readonly owner: Uint8Array; readonly agent: number; readonly key: Uint8Array }
  /** One interaction of the agent's, as wire bytes: which of them may be so forced, the state transition says. */
  | { readonly kind: 'act'; readonly owner: Uint8Array; readonly agent: number; readonly interaction: Uint8Array };

/** Most bytes of an act's interaction. */
export const MAX_ACT_BYTES = 512;

export function encodeInboxItem(item: InboxItem): Uint8Array {
  const writer = new Writer();
  switch (item.kind) {
    case 'register':
      return writer.u8(1).u8(item.shard).bytes(item.owner).bytes(item.key).uint(7, item.amount).finish();
    case 'deposit':
      return writer.u8(2).bytes(item.from).u32(item.agent).uint(7, item.amount).finish();
    case 'withdraw':
      return writer.u8(3).bytes(item.owner).u32(item.agent).uint(7, item.amount).finish();
    case 'rotate':
      return writer.u8(4).bytes(item.owner).u32(item.agent).bytes(item.key).finish();
    case 'act':
      return writer.u8(5).bytes(item.owner).u32(item.agent).bytes(item.interaction).finish();
  }
}

/** Throws `malformed`. What an act's interaction says is not looked at. */
export function decodeInboxItem(bytes: Uint8Array): InboxItem {
  const reader = new Reader(bytes);
  const kind = reader.u8();
  let item: InboxItem;
  if (kind === 1)
    item = {
      kind: 'register',
      shard: reader.u8(),
      owner: reader.bytes(20),
      key: reader.bytes(64),
      amount: reader.uint(7),
    };
  else if (kind === 2) item = { kind: 'deposit', from: reader.bytes(20), agent: reader.u32(), amount: reader.uint(7) };
  else if (kind === 3)
    item = { kind: 'withdraw', owner: reader.bytes(20), agent: reader.u32(), amount: reader.uint(7) };
  else if (kind === 4) item = { kind: 'rotate', owner: reader.bytes(20), agent: reader.u32(), key: reader.bytes(64) };
  else if (kind === 5) {
    item = { kind: 'act', owner: reader.bytes(20), agent: reader.u32(), interaction: reader.bytes(reader.left) };
    if (item.interaction.length > MAX_ACT_BYTES) throw malformed(`an act of more than ${MAX_ACT_BYTES} bytes`);
  } else throw malformed(`no inbox item of kind ${kind}`);
  reader.end();
  return item;
}

/** acc[n+1] of acc[n] and item n: L1 and the inbox cell keep the same. */
export const accumulate = (accumulator: Uint8Array, item: Uint8Array): Uint8Array =>
  keccak(concat(accumulator, keccak(item)));

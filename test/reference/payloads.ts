/** Messages between shards, to the byte (docs/protocol.md §4a). */
import { concat } from '../../protocol/bytes.ts';
import { type Fields, decode, encode } from './cells.ts';

/** The kinds of fixed form. A call and an item carry what has a form of its own. */
const LAYOUTS = {
  invoke: { order: 7, payer: 4, service: 4, amount: 7, workflow: 7, leg: 1 },
  report: { order: 7, escrow: 7, payee: 4, status: 1, paid: 7, refund: 7, penalty: 7 },
  credit: { agent: 4, amount: 7, calls: 6, volume: 7 },
  leg: { workflow: 7, leg: 1, escrow: 7, payer: 4, service: 4 },
  verdict: { escrow: 7, release: 1 },
  rating: { agent: 4, score: 1 },
  slash: { agent: 4, reporter: 4 },
} as const;
const NUMBERS = { invoke: 2, report: 3, credit: 4, leg: 5, verdict: 6, rating: 7, slash: 8 } as const;
const CALL = 1;
const ITEM = 9;

export const KIND_NAMES: readonly string[] = [
  '',
  'call',
  'invoke',
  'report',
  'credit',
  'leg',
  'verdict',
  'rating',
  'slash',
  'item',
];

export type KindName = keyof typeof LAYOUTS;
export type Payload<K extends KindName> = Fields<(typeof LAYOUTS)[K]>;

const widthOf = (kind: KindName): number => Object.values(LAYOUTS[kind]).reduce((sum, width) => sum + width, 0);

export const encodePayload = <K extends KindName>(kind: K, payload: Payload<K>): Uint8Array =>
  concat(Uint8Array.of(NUMBERS[kind]), encode(LAYOUTS[kind], payload, widthOf(kind)));

export const decodePayload = <K extends KindName>(kind: K, bytes: Uint8Array): Payload<K> =>
  decode(LAYOUTS[kind], bytes.subarray(1)) as Payload<K>;

/** Who calls, what the call brings, and the interaction with what follows it. */
export interface Call {
  readonly actor: bigint;
  readonly value: bigint;
  /** An interaction, then for `open` the actor's key. */
  readonly rest: Uint8Array;
}

const CALL_HEADER = { kind: 1, actor: 4, value: 7 } as const;
const CALL_HEADER_BYTES = 12;

export const encodeCall = (actor: bigint, value: bigint, interaction: Uint8Array, key: Uint8Array): Uint8Array =>
  concat(encode(CALL_HEADER, { kind: BigInt(CALL), actor, value }, CALL_HEADER_BYTES), interaction, key);

export const decodeCall = (bytes: Uint8Array): Call => ({
  ...decode(CALL_HEADER, bytes),
  rest: bytes.subarray(CALL_HEADER_BYTES),
});

export const encodeItem = (item: Uint8Array): Uint8Array => concat(Uint8Array.of(ITEM), item);

/** Messages between shards (docs/protocol.md §4a): what each kind's payload says, and the frames they travel in. */
import { Reader, Writer, concat } from './bytes.ts';
import { malformed } from './errors.ts';

/** Slots of a ring that bundles, and what a shard does by itself, may fill: the others are for what answers. */
export const BUNDLE_SLOTS = 2048;
/** As many as an answer to an escrow may. What a receive or an inbox frame sends may fill all {@link RING_SLOTS}. */
export const ANSWER_SLOTS = 3072;

export const MESSAGE_KINDS = [
  'none',
  'call',
  'invoke',
  'report',
  'credit',
  'leg',
  'verdict',
  'rating',
  'slash',
  'item',
] as const;
export type MessageKind = Exclude<(typeof MESSAGE_KINDS)[number], 'none'>;

/** How each kind's fields stand in its payload. `call` and `item` end with bytes of any length. */
const FORMS = {
  call: { actor: 4, value: 7, rest: 'rest' },
  invoke: { order: 7, payer: 4, service: 4, amount: 7, workflow: 7, leg: 1 },
  report: { order: 7, escrow: 7, payee: 4, status: 1, paid: 7, refund: 7, penalty: 7 },
  credit: { agent: 4, amount: 7, calls: 6, volume: 7 },
  leg: { workflow: 7, leg: 1, escrow: 7, payer: 4, service: 4 },
  verdict: { escrow: 7, release: 1 },
  rating: { agent: 4, score: 1 },
  slash: { agent: 4, reporter: 4 },
  item: { rest: 'rest' },
} as const satisfies Record<MessageKind, Record<string, number | 'rest'>>;

type FieldsOf<Form> = { readonly [F in keyof Form]: Form[F] extends number ? number : Uint8Array };
export type MessageOf<Kind extends MessageKind> = { readonly kind: Kind } & FieldsOf<(typeof FORMS)[Kind]>;
export type Message = { [K in MessageKind]: MessageOf<K> }[MessageKind];

/** The payload: kind byte, then the fields. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new Writer().u8(MESSAGE_KINDS.indexOf(message.kind));
  const values = message as unknown as Readonly<Record<string, number | Uint8Array>>;
  for (const [name, width] of Object.entries(FORMS[message.kind])) {
    const value = values[name];
    if (typeof value === 'number') writer.uint(width as number, value);
    else writer.bytes(value);
  }
  return writer.finish();
}

/** Inverse of {@link encodeMessage}; throws `malformed`. What `rest` holds is not looked at. */
export function decodeMessage(payload: Uint8Array): Message {
  const reader = new Reader(payload);
  const kind = MESSAGE_KINDS[reader.u8()];
  if (kind === undefined || kind === 'none') throw malformed('no such message');
  const message: Record<string, unknown> = { kind };
  for (const [name, width] of Object.entries(FORMS[kind]))
    message[name] = width === 'rest' ? reader.bytes(reader.left) : reader.uint(width);
  reader.end();
  return message as unknown as Message;
}

/** Where `rest` starts in the payload of a call. */
export const CALL_REST = 12;

/** First bytes of the frames that shards put in by themselves. */
export const SystemFrame = { tick: 0x01, inbox: 0x02, receive: 0x03, ack: 0x04, advance: 0x05, tell: 0x06 } as const;

/** The next message from a shard. */
export const receiveFrame = (from: number, payload: Uint8Array): Uint8Array =>
  concat(Uint8Array.of(SystemFrame.receive, from), payload);
/** A shard has all messages up to `number`. */
export const ackFrame = (to: number, number: number): Uint8Array =>
  new Writer().u8(SystemFrame.ack).u8(to).uint(6, number).finish();
/** What time or another record decided about an escrow. */
export const advanceFrame = (escrow: number): Uint8Array =>
  new Writer().u8(SystemFrame.advance).uint(7, escrow).finish();
/** Tells a leg how its workflow was decided. */
export const tellFrame = (workflow: number, leg: number): Uint8Array =>
  new Writer().u8(SystemFrame.tell).uint(7, workflow).u8(leg).finish();

/** What other shards' cells say, where the trace stands. */
export interface Foreign {
  /** Whether the sender's cell for this message to us holds `number` and this payload's hash. */
  holds(from: number, number: number, hash: Uint8Array): boolean;
  /** Whether shard `to` has received our messages up to `number`. */
  received(to: number, number: number): boolean;
}

/** Alone, a shard hears from nobody. */
export const NOBODY: Foreign = { holds: () => false, received: () => false };

/** A message as it left. */
export interface SentMessage {
  readonly to: number;
  readonly number: number;
  readonly kind: MessageKind;
  readonly payload: Uint8Array;
}

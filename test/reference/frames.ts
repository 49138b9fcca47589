/** Frames, bundles and interactions as docs/protocol.md §§3, 4 and 6 write them. Nothing throws: what is malformed is undefined. */
import { big } from './cells.ts';

/** Fields of an interaction or item by the page's names; bytes are bigints too, options left out are missing. */
export type Values = Readonly<Record<string, bigint>>;

export interface Interaction {
  readonly name: string;
  readonly fields: Values;
  /** Its own bytes: what a call carries. */
  readonly raw: Uint8Array;
}

export interface Bundle {
  readonly actor: bigint;
  readonly nonce: bigint;
  readonly expiry: bigint;
  readonly interactions: readonly Interaction[];
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

const MAX = 2n ** 53n - 1n;

/** Thrown inside this file only. */
const MALFORMED = Symbol('malformed');

class Cursor {
  readonly bytes: Uint8Array;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  take(n: number): Uint8Array {
    if (this.at + n > this.bytes.length) throw MALFORMED;
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  fixed(width: number): bigint {
    return big(this.take(width));
  }
  varint(): bigint {
    let value = 0n;
    for (let group = 0n; group < 8n; group++) {
      const byte = this.fixed(1);
      value |= (byte & 127n) << (7n * group);
      if (byte >= 128n) continue;
      if ((byte === 0n && group > 0n) || value > MAX) throw MALFORMED;
      return value;
    }
    throw MALFORMED;
  }
}

/** `name:form`, where a form is `var`, `var` and the bits it may have, a range of a `u8`, or a number of bytes. */
type Schema = readonly (readonly [name: string, read: (from: Cursor) => bigint])[];

function schema(text: string): Schema {
  return text.split(' ').map((field) => {
    const [name, form] = field.split(':');
    const [low, high] = form.split('..').map(Number);
    if (form.startsWith('var')) {
      const bits = BigInt(form.slice(3) || 53);
      return [name, (from) => within(from.varint(), 0n, 2n ** bits - 1n)];
    }
    if (high !== undefined) return [name, (from) => within(from.fixed(1), BigInt(low), BigInt(high))];
    return [name, (from) => from.fixed(low)];
  });
}

function within(value: bigint, low: bigint, high: bigint): bigint {
  if (value < low || value > high) throw MALFORMED;
  return value;
}

function readFields(fields: Schema, from: Cursor, into: Record<string, bigint>): void {
  for (const [name, read] of fields) into[name] = read(from);
}

const OPERATIONS: readonly (readonly [name: string, fields: string])[] = [
  ['register', 'owner:20 keyX:32 keyY:32 amount:var'],
  ['rotate', 'agent:var32 keyX:32 keyY:32 ownerSig:65'],
  ['transfer', 'to:var32 amount:var'],
  ['withdraw', 'amount:var'],
  [
    'publish',
    'service:var32 active:0..1 ceiling:var deadlineSeconds:var arbiter:var32 contestSeconds:var metadataHash:32',
  ],
  ['invoke', 'service:var32 amount:var options:0..15'],
  ['respond', 'escrow:var price:var result:0..2'],
  ['expire', 'escrow:var'],
  ['contest', 'escrow:var'],
  ['rule', 'escrow:var amount:var'],
  ['grant', 'grantee:var32 service:var32 limit:var expiry:var32'],
  ['revoke', 'capability:var32'],
  ['open', 'peer:var32 deposit:var exitDelay:var'],
  ['fund', 'session:var amount:var'],
  ['settle', 'session:var dir:0..1 seq:var calls:var48 paid:var root:32 signature:64'],
  ['exit', 'session:var'],
  ['finalize', 'session:var'],
  ['close', 'session:var paidAB:var paidBA:var callsAB:var48 callsBA:var48 rootAB:32 rootBA:32 signature:64'],
  ['plan', 'deadlineSeconds:var legs:1..12'],
  ['abort', 'workflow:var'],
  ['attest', 'kind:0..1 id:var score:1..5'],
  [
    'slash',
    'session:var dir:0..1 seq0:var calls0:var48 paid0:var root0:32 signature0:64 ' +
      'seq1:var calls1:var48 paid1:var root1:32 signature1:64',
  ],
  ['stake', 'amount:var'],
  ['unstake', ''],
  ['tell', 'workflow:var leg:1'],
];
const SCHEMAS = OPERATIONS.map(([name, fields]) => ({ name, fields: fields === '' ? [] : schema(fields) }));
export const OPERATION_NAMES: readonly string[] = OPERATIONS.map(([name]) => name);

const INVOKE_OPTIONS = ['after:var', 'workflow:var leg:0..11', 'capability:var32', 'back:1..255'].map(schema);
const LEG = schema('payer:var32 service:var32');

function readInteraction(from: Cursor): Interaction {
  const start = from.at;
  const operation = SCHEMAS[Number(from.fixed(1)) - 1];
  if (!operation) throw MALFORMED;
  const { name } = operation;
  const fields: Record<string, bigint> = {};
  readFields(operation.fields, from, fields);
  if (name === 'invoke') {
    for (const [bit, option] of INVOKE_OPTIONS.entries())
      if ((fields.options >> BigInt(bit)) & 1n) readFields(option, from, fields);
    if (fields.after !== undefined && fields.back !== undefined) throw MALFORMED;
    if (fields.after === 0n || fields.capability === 0n) throw MALFORMED;
  }
  if (name === 'plan')
    for (let leg = 0; leg < fields.legs; leg++) {
      const one: Record<string, bigint> = {};
      readFields(LEG, from, one);
      fields[`payer${leg}`] = one.payer;
      fields[`service${leg}`] = one.service;
    }
  return { name, fields, raw: from.bytes.slice(start, from.at) };
}

function readBundle(frame: Uint8Array): Bundle {
  const body = frame.subarray(0, Math.max(0, frame.length - 64));
  const from = new Cursor(body);
  from.fixed(1);
  const count = Number(from.fixed(1)) + 1;
  const flags = within(from.fixed(1), 0n, 1n);
  const actor = from.varint();
  const nonce = from.varint();
  const expiry = from.varint();
  if (flags === 1n) from.take(32);
  const interactions = Array.from({ length: count }, () => readInteraction(from));
  if (from.at !== body.length) throw MALFORMED;
  return { actor, nonce, expiry, interactions, body, signature: frame.slice(body.length) };
}

function total<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error === MALFORMED) return undefined;
    throw error;
  }
}

export const decodeBundle = (frame: Uint8Array): Bundle | undefined => total(() => readBundle(frame));

/** These bytes, if they are exactly one interaction. */
export const decodeWhole = (bytes: Uint8Array): Interaction | undefined => {
  const interaction = decodeInteraction(bytes);
  return interaction?.raw.length === bytes.length ? interaction : undefined;
};

/** The interaction that these bytes begin with. */
export const decodeInteraction = (bytes: Uint8Array): Interaction | undefined =>
  total(() => readInteraction(new Cursor(bytes)));

const ITEMS = [
  ['register', 'shard:1 owner:20 keyX:32 keyY:32 amount:7'],
  ['deposit', 'from:20 agent:4 amount:7'],
  ['withdraw', 'owner:20 agent:4 amount:7'],
  ['rotate', 'owner:20 agent:4 keyX:32 keyY:32'],
  ['act', 'owner:20 agent:4'],
].map(([name, fields]) => ({ name, fields: schema(fields) }));

export interface Item {
  readonly name: string;
  readonly fields: Values;
  /** What follows the fields: an act's interaction. */
  readonly rest: Uint8Array;
}

const MAX_ACT_BYTES = 512;

export function decodeItem(bytes: Uint8Array): Item | undefined {
  return total(() => {
    const from = new Cursor(bytes);
    const item = ITEMS[Number(from.fixed(1)) - 1];
    if (!item) throw MALFORMED;
    const fields: Record<string, bigint> = {};
    readFields(item.fields, from, fields);
    const rest = bytes.subarray(from.at);
    if (rest.length > (item.name === 'act' ? MAX_ACT_BYTES : 0) || (fields.amount ?? 0n) > MAX) throw MALFORMED;
    return { name: item.name, fields, rest };
  });
}

/** How many steps a frame takes. */
export const stepsOf = (frame: Uint8Array): number => (frame[0] === 0x10 && frame.length > 1 ? 2 + frame[1] : 1);

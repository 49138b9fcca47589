/**
 * Cells as docs/protocol.md §2 lays them out: every field a bigint, in the page's order, at the page's width. A layout's
 * widths add up from offset 0, so this table is the page's table once more, and names the field that two states differ in.
 */

export type Layout = Readonly<Record<string, number>>;
export type Fields<L extends Layout> = { readonly [K in keyof L]: bigint };

export const HEAD = {
  time: 4,
  agents: 4,
  services: 4,
  capabilities: 4,
  sessions: 6,
  escrows: 6,
  outbox: 6,
  workflows: 6,
  seq: 6,
  burned: 7,
} as const;
export const INBOX = { accumulator: 32, cursor: 6 } as const;
export const PEER = { sent: 6, acked: 6, received: 6 } as const;
export const AGENT = {
  owner: 20,
  balance: 7,
  stake: 7,
  nonce: 4,
  epoch: 2,
  completed: 4,
  failed: 3,
  volume: 6,
  ratings: 3,
  ratingSum: 3,
  unstakeAt: 4,
  flags: 1,
} as const;
export const KEY = { x: 32, y: 32 } as const;
export const SERVICE = {
  provider: 4,
  flags: 1,
  ceiling: 7,
  deadlineSeconds: 4,
  arbiter: 4,
  contestSeconds: 4,
  metadataHash: 32,
  version: 4,
} as const;
export const CAPABILITY = { grantor: 4, grantee: 4, service: 4, limit: 7, used: 7, expiry: 4, flags: 1 } as const;
export const SESSION = {
  a: 4,
  b: 4,
  depositA: 7,
  depositB: 7,
  paidAB: 7,
  paidBA: 7,
  callsAB: 6,
  callsBA: 6,
  exitAt: 4,
  exitDelay: 4,
  serial: 6,
  status: 1,
  flags: 1,
} as const;
export const ROOTS = { rootAB: 32, rootBA: 32 } as const;
export const ESCROW = {
  serial: 6,
  payer: 4,
  payee: 4,
  service: 4,
  amount: 7,
  paid: 7,
  deadline: 4,
  status: 1,
  workflow: 7,
  link: 7,
  capability: 4,
  arbiter: 4,
  contestSeconds: 4,
  flags: 1,
} as const;
export const OUTBOX = { kind: 1, zero: 1, serial: 6, time: 4, agent: 4, recipient: 20, amount: 7 } as const;
export const WORKFLOW = { serial: 6, planner: 4, legs: 1, status: 1, deadline: 4, done: 2, told: 2 } as const;
export const LEGS = {
  payer0: 4,
  service0: 4,
  escrow0: 7,
  zero0: 1,
  payer1: 4,
  service1: 4,
  escrow1: 7,
  zero1: 1,
  payer2: 4,
  service2: 4,
  escrow2: 7,
  zero2: 1,
  payer3: 4,
  service3: 4,
  escrow3: 7,
  zero3: 1,
} as const;
export const MESSAGE = { number: 6, to: 1, kind: 1, time: 4, agent: 4, amount: 7, hash: 32 } as const;

export const SESSION_STATUS = { open: 1n, exiting: 2n, closed: 3n } as const;
export const ESCROW_STATUS = {
  open: 1n,
  held: 2n,
  fulfilled: 3n,
  refunded: 4n,
  expired: 5n,
  contested: 6n,
  waiting: 7n,
  sent: 8n,
} as const;
export const WORKFLOW_STATUS = { open: 1n, committed: 2n, aborted: 3n } as const;

/** Region numbers, and the word for what stands in them. */
export const REGION = {
  meta: 0,
  agent: 1,
  key: 2,
  service: 3,
  capability: 4,
  session: 5,
  escrow: 6,
  outbox: 7,
  workflow: 8,
  message: 9,
} as const;

/** The layout of the cell at `address` within its shard: what a report of a difference names fields by. */
export function layoutAt(address: number): Layout {
  const slot = address % 2 ** 20;
  switch (Math.floor(address / 2 ** 20) % 16) {
    case REGION.meta:
      return slot === 0 ? HEAD : slot === 1 ? INBOX : PEER;
    case REGION.agent:
      return AGENT;
    case REGION.key:
      return KEY;
    case REGION.service:
      return SERVICE;
    case REGION.capability:
      return CAPABILITY;
    case REGION.session:
      return slot % 4 === 0 ? SESSION : slot % 4 === 3 ? ROOTS : KEY;
    case REGION.escrow:
      return ESCROW;
    case REGION.outbox:
      return OUTBOX;
    case REGION.workflow:
      return slot % 4 === 0 ? WORKFLOW : LEGS;
    default:
      return MESSAGE;
  }
}

/** Writes a number big-endian into the `width` bytes at a place. */
function put(out: Uint8Array, at: number, width: number, value: bigint): void {
  const end = at + width;
  let rest = value;
  let place = end;
  // Six bytes at a time, as numbers: a bigint for every byte would be most of the work.
  for (; rest > 0n; rest >>= 48n) {
    let six = Number(rest & 0xffffffffffffn);
    const stop = place - 6;
    for (; six > 0; six = Math.floor(six / 256)) {
      place -= 1;
      if (place < at) throw new RangeError(`${value} does not fit ${width} bytes`);
      out[place] = six % 256;
    }
    place = stop;
  }
}

/** Big-endian, `width` bytes. */
export function be(width: number, value: bigint): Uint8Array {
  const out = new Uint8Array(width);
  put(out, 0, width, value);
  return out;
}

/** Inverse of {@link be}. */
export function big(bytes: Uint8Array): bigint {
  if (bytes.length < 7) {
    let value = 0;
    for (const byte of bytes) value = value * 256 + byte;
    return BigInt(value);
  }
  let digits = '0x0';
  for (const byte of bytes) digits += (byte < 16 ? '0' : '') + byte.toString(16);
  return BigInt(digits);
}

/** The fields one after the other, then zeros up to `length`. */
export function encode(layout: Layout, fields: Readonly<Record<string, bigint>>, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const name in layout) {
    put(out, at, layout[name], fields[name]);
    at += layout[name];
  }
  return out;
}

/** Inverse of {@link encode}. */
export function decode<L extends Layout>(layout: L, bytes: Uint8Array): Fields<L> {
  const out: Record<string, bigint> = {};
  let at = 0;
  for (const name in layout) out[name] = big(bytes.subarray(at, (at += layout[name])));
  return out as Fields<L>;
}

const BLANKS = new Map<Layout, Readonly<Record<string, bigint>>>();

/** All fields 0. */
export function blank<L extends Layout>(layout: L): Fields<L> {
  let fields = BLANKS.get(layout);
  if (!fields) {
    fields = Object.freeze(Object.fromEntries(Object.keys(layout).map((name) => [name, 0n])));
    BLANKS.set(layout, fields);
  }
  return fields as Fields<L>;
}

/**
 * Packets: the binary messages of sessions and agents' sockets (docs/protocol.md §8). A relay looks at the first byte
 * and, for halves and receipts, at the record; it never parses calls.
 */
import { Reader, Writer, fromUtf8, utf8 } from './bytes.ts';
import { CALL_RECORD_BYTES } from './call.ts';
import { malformed } from './errors.ts';
import { KEY_BYTES } from './keys.ts';
import { type Direction, type Half, SIGNATURE_BYTES, type SignedHalf, covers, decodeHalf, encodeHalf } from './half.ts';

export const PacketType = {
  calls: 0x01,
  half: 0x02,
  receipt: 0x03,
  hello: 0x04,
  records: 0x05,
  bind: 0x06,
  direct: 0x07,
  error: 0x7f,
} as const;

export const PartKind = {
  requestHead: 1,
  requestData: 2,
  requestEnd: 3,
  responseHead: 4,
  responseData: 5,
  responseEnd: 6,
  window: 7,
  cancel: 8,
  responseTrailers: 9,
  stop: 10,
  cut: 11,
} as const;

/** Bytes a stream may send before the other side grants more. */
export const STREAM_WINDOW = 256 * 1024;
/** Largest packet anyone sends; relays refuse larger ones. */
export const MAX_PACKET_BYTES = 1024 * 1024;
/** Largest data part, so that one body never starves the other calls of a packet. */
export const MAX_DATA_BYTES = 64 * 1024;

/** One part of one call. `body` is a view into the packet when decoded. */
export interface Part {
  readonly kind: number;
  readonly call: number;
  readonly body: Uint8Array;
}

export interface RequestHead {
  readonly method: string;
  /** Origin-form: path and query. */
  readonly target: string;
  readonly headers: [string, string][];
  /** On an agent's socket: what the caller says of its escrow. */
  readonly meta?: Record<string, string>;
  /** `websocket`: see `ExchangeRequest`. */
  readonly upgrade?: string;
  /** What of an answer beside head, data and end its caller understands: `trailers`, `interim`, `stop`, `cut`. */
  readonly takes?: readonly string[];
}

export interface ResponseHead {
  /** Below 200 (and not 101): an interim answer; the head of the answer is still to come. */
  readonly status: number;
  /** The phrase beside the status, when it is not the usual one. */
  readonly reason?: string;
  readonly headers: [string, string][];
}

/** What both sides know of a session when they meet again. */
export interface Hello {
  readonly halves: SignedHalf[];
  /** Base units the sender lets its peer owe unsigned. */
  readonly credit: number;
  /** The sender's key for this pairing, x ‖ y; the relay's hello has none. */
  readonly key?: Uint8Array;
}

/** Whether a hello is the relay's word that a payer has contradicted itself: two halves of one direction, and no key. */
export const isAccusation = ({ halves, key }: Hello): boolean =>
  key === undefined && halves.length === 2 && halves[0].half.dir === halves[1].half.dir;

export const encodeCalls = (parts: readonly Part[]): Uint8Array => {
  const writer = new Writer().u8(PacketType.calls);
  for (const part of parts) writer.u8(part.kind).varint(part.call).varint(part.body.length).bytes(part.body);
  return writer.finish();
};

/** Where the parts of a packet are: part i is `kinds[i]` of call `calls[i]`, its body from `starts[i]` to `ends[i]`. */
export class PartIndex {
  readonly kinds: number[] = [];
  readonly calls: number[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];

  /** Throws `malformed`. `packet` includes its type byte. */
  constructor(packet: Uint8Array) {
    const reader = new Reader(packet, 1);
    while (reader.left > 0) {
      this.kinds.push(reader.u8());
      this.calls.push(reader.varint());
      const length = reader.varint();
      if (length > reader.left) throw malformed('call part longer than its packet');
      this.starts.push(reader.at);
      this.ends.push((reader.at += length));
    }
  }
}

/** Throws `malformed`. `packet` includes its type byte. */
export function decodeCalls(packet: Uint8Array): Part[] {
  const { kinds, calls, starts, ends } = new PartIndex(packet);
  return kinds.map((kind, i) => ({ kind, call: calls[i], body: packet.subarray(starts[i], ends[i]) }));
}

const encodeSigned = (type: number, half: Half, signature: Uint8Array): Uint8Array =>
  new Writer().u8(type).bytes(encodeHalf(half)).bytes(signature).finish();

export const encodeHalfPacket = (half: Half, payer: Uint8Array): Uint8Array =>
  encodeSigned(PacketType.half, half, payer);
export const encodeReceiptPacket = (half: Half, payee: Uint8Array): Uint8Array =>
  encodeSigned(PacketType.receipt, half, payee);

/** Halves that one packet holds at most. */
export const MAX_HALVES = 64;

/** Halves of one direction, each admitting no less than the one before: at most {@link MAX_HALVES}. */
export function encodeHalvesPacket(signed: readonly Omit<SignedHalf, 'payee'>[]): Uint8Array {
  const writer = new Writer().u8(PacketType.half);
  for (const { half, payer } of signed) writer.bytes(encodeHalf(half)).bytes(payer);
  return writer.finish();
}

/**
 * The newest half of a half packet, type byte included: the last, which says all that those before it say. Throws `malformed`, also when one of
 * them is of another direction or says more.
 */
export function decodeNewest(packet: Uint8Array): { half: Half; signature: Uint8Array } {
  const reader = new Reader(packet, 1);
  let newest = readSigned(reader);
  for (let n = 1; reader.left > 0; n++) {
    const next = readSigned(reader);
    const follows = next.half.session === newest.half.session && next.half.dir === newest.half.dir;
    if (!follows || next.half.seq === newest.half.seq || !covers(next.half, newest.half) || n === MAX_HALVES)
      throw malformed('halves of a packet follow one another');
    newest = next;
  }
  return newest;
}

const readSigned = (reader: Reader): { half: Half; signature: Uint8Array } => ({
  half: decodeHalf(reader),
  signature: reader.bytes(SIGNATURE_BYTES),
});

/** A receipt packet, or one of a single half, type byte included. Throws `malformed`. */
export function decodeSigned(packet: Uint8Array): { half: Half; signature: Uint8Array } {
  const reader = new Reader(packet, 1);
  const signed = readSigned(reader);
  reader.end();
  return signed;
}

const NO_SIGNATURE = new Uint8Array(SIGNATURE_BYTES);

export function encodeHello(hello: Hello): Uint8Array {
  const writer = new Writer().u8(PacketType.hello).u8(hello.halves.length);
  for (const { half, payer, payee } of hello.halves)
    writer
      .bytes(encodeHalf(half))
      .bytes(payer)
      .bytes(payee ?? NO_SIGNATURE);
  writer.varint(hello.credit);
  if (hello.key !== undefined) writer.bytes(hello.key);
  return writer.finish();
}

/** Throws `malformed`. */
export function decodeHello(packet: Uint8Array): Hello {
  const reader = new Reader(packet, 1);
  const n = reader.u8();
  if (n > 2) throw malformed('more than two halves in a hello');
  const halves: SignedHalf[] = [];
  for (let i = 0; i < n; i++) {
    const half = decodeHalf(reader);
    const payer = reader.bytes(SIGNATURE_BYTES);
    const payee = reader.bytes(SIGNATURE_BYTES);
    halves.push(payee.some((b) => b !== 0) ? { half, payer, payee } : { half, payer });
  }
  const credit = reader.varint();
  if (reader.left === 0) return { halves, credit };
  const key = reader.bytes(KEY_BYTES);
  reader.end();
  return { halves, credit, key };
}

export const encodeBind = (signature: Uint8Array): Uint8Array =>
  new Writer().u8(PacketType.bind).bytes(signature).finish();

/** The signature of a bind packet. Throws `malformed`. */
export function decodeBind(packet: Uint8Array): Uint8Array {
  const reader = new Reader(packet, 1);
  const signature = reader.bytes(SIGNATURE_BYTES);
  reader.end();
  return signature;
}

export function encodeRecords(dir: Direction, records: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer().u8(PacketType.records).u8(dir);
  for (const record of records) writer.bytes(record);
  return writer.finish();
}

/** Throws `malformed`. */
export function decodeRecords(packet: Uint8Array): { dir: Direction; records: Uint8Array[] } {
  const reader = new Reader(packet, 1);
  const dir = reader.u8();
  if (dir > 1 || reader.left % CALL_RECORD_BYTES !== 0) throw malformed('not a records packet');
  const records: Uint8Array[] = [];
  while (reader.left > 0) records.push(reader.bytes(CALL_RECORD_BYTES));
  return { dir: dir as Direction, records };
}

/** What two parties say of a link of their own, by the relay (docs/protocol.md §8). */
export type DirectNote =
  | { readonly kind: 'offer'; readonly url: string; readonly nonce: string }
  /** All that follows comes over the link. */
  | { readonly kind: 'go' }
  /** The link is given up: of what was sent over it, packets from number `from` on follow here. */
  | { readonly kind: 'back'; readonly from: number };

/** A longer note is none. */
export const MAX_DIRECT_BYTES = 1024;

export const encodeDirect = (note: DirectNote): Uint8Array =>
  new Writer()
    .u8(PacketType.direct)
    .bytes(utf8(JSON.stringify(note)))
    .finish();

/** Throws `malformed`. */
export function decodeDirect(packet: Uint8Array): DirectNote {
  if (packet.length > MAX_DIRECT_BYTES) throw malformed(`a note about a link has at most ${MAX_DIRECT_BYTES} bytes`);
  let note: Record<string, unknown>;
  try {
    note = Object(JSON.parse(fromUtf8(packet.subarray(1)))) as Record<string, unknown>;
  } catch {
    throw malformed('a note about a link is JSON');
  }
  const { kind, url, nonce, from } = note;
  if (kind === 'offer' && typeof url === 'string' && typeof nonce === 'string' && /^0x[0-9a-f]{64}$/.test(nonce))
    return { kind, url, nonce };
  if (kind === 'go') return { kind };
  if (kind === 'back' && Number.isSafeInteger(from) && (from as number) >= 0) return { kind, from: from as number };
  throw malformed('no note about a link');
}

export const encodeError = (code: string, detail: string): Uint8Array =>
  new Writer()
    .u8(PacketType.error)
    .bytes(utf8(JSON.stringify({ code, detail })))
    .finish();

/** JSON of a head part. Throws `malformed`. */
export function decodeHead<T extends RequestHead | ResponseHead>(body: Uint8Array): T {
  try {
    const head = JSON.parse(fromUtf8(body)) as T;
    pairsOf(head.headers);
    return head;
  } catch {
    throw malformed('a call head is JSON with headers as pairs');
  }
}

/** Heads longer than this are not kept. */
const MAX_KEPT_HEAD = 512;
const KEPT_HEADS = 64;

/** {@link decodeHead} for heads that come again and again: keeps some, by their bytes. What it gives is shared, and frozen. */
export class HeadReader<T extends RequestHead | ResponseHead> {
  readonly #kept: ({ bytes: Uint8Array; head: T } | undefined)[] = Array.from({ length: KEPT_HEADS });

  /** Throws `malformed`. */
  read(packet: Uint8Array, start: number, end: number): T {
    const length = end - start;
    if (length > MAX_KEPT_HEAD) return decodeHead<T>(packet.subarray(start, end));
    let mix = length;
    for (let at = end - 1, step = (length >> 4) + 1; at >= start; at -= step) mix = (mix * 31 + packet[at]) | 0;
    const slot = (mix ^ (mix >>> 8)) & (KEPT_HEADS - 1);
    const kept = this.#kept[slot];
    if (kept !== undefined && isAt(packet, start, length, kept.bytes)) return kept.head;
    const bytes = packet.slice(start, end);
    const head = deepFreeze(decodeHead<T>(bytes));
    this.#kept[slot] = { bytes, head };
    return head;
  }
}

function isAt(packet: Uint8Array, start: number, length: number, bytes: Uint8Array): boolean {
  if (bytes.length !== length) return false;
  for (let i = 0; i < length; i++) if (packet[start + i] !== bytes[i]) return false;
  return true;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const each of Object.values(value)) deepFreeze(each);
  }
  return value;
}

/** Trailers: what a request end and a trailers part hold. No bytes are no trailers. */
export const encodeTrailers = (trailers: readonly (readonly [string, string])[]): Uint8Array =>
  trailers.length === 0 ? new Uint8Array(0) : utf8(JSON.stringify(trailers));

/** Throws `malformed`. */
export function decodeTrailers(body: Uint8Array): [string, string][] {
  if (body.length === 0) return [];
  try {
    return pairsOf(JSON.parse(fromUtf8(body)));
  } catch {
    throw malformed('trailers are JSON pairs');
  }
}

/** Header of a first-contact call that carries all of the call's own: a Worker's `Headers` would merge equal names, and cookies must not be. */
export const CARRIED_HEADERS = 'agnt2-headers';

/** The reason phrase of its answer, as one such pair: a Worker's own would have to be ASCII. */
export const CARRIED_REASON = 'agnt2-reason';

/** Header pairs as one header value: base64url of their JSON. */
export const packHeaders = (headers: readonly (readonly [string, string])[]): string =>
  btoa(String.fromCharCode(...utf8(JSON.stringify(headers))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** Inverse of {@link packHeaders}; an absent value is no headers. Throws `malformed`. */
export function unpackHeaders(value: string | null): [string, string][] {
  if (value === null) return [];
  try {
    const bytes = Uint8Array.from(atob(value.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    return pairsOf(JSON.parse(fromUtf8(bytes)));
  } catch {
    throw malformed(`${CARRIED_HEADERS} is base64url of JSON pairs`);
  }
}

function pairsOf(value: unknown): [string, string][] {
  const isPair = (pair: unknown): boolean =>
    Array.isArray(pair) && pair.length === 2 && pair.every((x) => typeof x === 'string');
  if (!Array.isArray(value) || !value.every(isPair)) throw malformed('headers are pairs');
  return value as [string, string][];
}

export const encodeHead = (head: RequestHead | ResponseHead): Uint8Array => utf8(JSON.stringify(head));

/** One session over a relay is one object: its name, for Durable Object ids and URLs alike. */
export const sessionRoom = (session: string): string => `/sessions/${session}/socket`;
export const agentRoom = (agent: string): string => `/agents/${agent}/socket`;

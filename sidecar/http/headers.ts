/**
 * Which fields cross the sidecar. Hop-by-hop fields end here (RFC 9110 §7.6.1), and names that only AGNT2 may speak
 * are removed from whatever came from outside before our own are set.
 */
import { refusal } from '../errors.ts';

export type Header = readonly [string, string];

const HOP_BY_HOP = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);
/** Of these only what has a meaning to the next hop goes on, in one spelling: trailers are welcome, the body waits to be wanted. */
const REDUCED: Readonly<Record<string, RegExp>> = {
  te: /(?:^|,)\s*(trailers)\s*(?:$|,)/i,
  expect: /^(100-continue)$/i,
};
/** What a peer could use to look like AGNT2, a payment or a hop of ours. */
const RESERVED = /^(?:x-)?(?:agnt2-|payment-|signature)|^x-payment|^(?:x-forwarded-|forwarded$|via$)/;
/** What no trailer may say: framing, routing, authentication, what the body is (RFC 9110 §6.5.1). */
const NO_TRAILER =
  /^(?:content-(?:encoding|length|range|type)|trailer|authorization|set-cookie|cookie|cache-control|max-forwards|expect|te|host|age|date|location|retry-after|vary|www-authenticate|if-.*|range)$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// eslint-disable-next-line no-control-regex -- control characters are exactly what a field value must not hold.
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LENGTH = /^\d{1,15}$/;

/** What a field's name says of it. */
export interface Name {
  /** As it was spelt: one string for all messages, whose hash is known. */
  readonly name: string;
  readonly lower: string;
  /** Whether it may be a field's name at all. */
  readonly isToken: boolean;
  /** Whether it ends at this hop, or is ours alone to set. */
  readonly stays: boolean;
  readonly mayTrail: boolean;
}

/** The same few names come with every message. Each may keep the head it was cut from in memory, so they have to be few. */
const MAX_KNOWN = 256;
const known = new Map<string, Name>();

export function nameOf(name: string): Name {
  let facts = known.get(name);
  if (facts !== undefined) return facts;
  const lower = name.toLowerCase();
  facts = {
    name,
    lower,
    isToken: TOKEN.test(name),
    stays: lower === 'host' || HOP_BY_HOP.has(lower) || REDUCED[lower] !== undefined || RESERVED.test(lower),
    mayTrail: !NO_TRAILER.test(lower),
  };
  if (known.size >= MAX_KNOWN) known.clear();
  if (name.length <= 64) known.set(name, facts);
  return facts;
}

export const isValue = (value: string): boolean => VALUE.test(value);

/** Pairs from Node's flat list. */
export function pairs(raw: readonly string[]): Header[] {
  const out: Header[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) out.push([raw[i], raw[i + 1]]);
  return out;
}

/** Names that the Connection fields of this message declare hop-by-hop. */
function named(headers: readonly Header[]): Set<string> {
  const names = new Set<string>();
  for (const [name, value] of headers)
    if (nameOf(name).lower === 'connection')
      for (const token of value.split(',')) names.add(token.trim().toLowerCase());
  // A sender can't make us drop what frames the message.
  names.delete('content-length');
  return names;
}

/** The headers that go on to the next hop: none of this one, none that only AGNT2 may set, `host` left to the sender. */
export function endToEnd(headers: readonly Header[]): Header[] {
  let kept: Header[] = [];
  let isNaming = false;
  let values: Record<string, string[]> | null = null;
  for (const header of headers) {
    const { lower, stays } = nameOf(header[0]);
    if (!stays) kept.push(header);
    // Nearly all say no more than this, which names no field that would go on.
    else if (lower === 'connection') isNaming ||= header[1] !== 'keep-alive' && header[1] !== 'close';
    else if (REDUCED[lower] !== undefined) ((values ??= {})[lower] ??= []).push(header[1]);
  }
  if (isNaming) {
    const hop = named(headers);
    kept = kept.filter(([name]) => !hop.has(nameOf(name).lower));
  }
  if (values !== null)
    for (const name of Object.keys(REDUCED)) {
      const match = values[name] === undefined ? null : REDUCED[name].exec(values[name].join());
      if (match !== null) kept.push([name, match[1].toLowerCase()]);
    }
  return kept;
}

/** The trailers that go on. Ones that are no fields at all, from a peer's JSON, are left out: the body before them is through already. */
export const trailing = (trailers: readonly Header[]): Header[] =>
  trailers.length === 0
    ? []
    : endToEnd(trailers).filter(([name, value]) => nameOf(name).isToken && VALUE.test(value) && nameOf(name).mayTrail);

/** Without the announcement of trailers that the framing at hand can't carry. */
export const unannounced = (headers: readonly Header[]): Header[] =>
  headers.filter(([name]) => nameOf(name).lower !== 'trailer');

/** Checks headers that came as JSON from a peer, not through an HTTP parser. Throws `bad_request`. */
export function checkHeaders(headers: readonly Header[]): void {
  for (const [name, value] of headers)
    if (!nameOf(name).isToken || !VALUE.test(value))
      throw refusal('bad_request', 'a header holds what no HTTP header may');
}

/** First value of a header, null when absent. */
export function headerOf(headers: readonly Header[], name: string): string | null {
  for (const [key, value] of headers) if (nameOf(key).lower === name) return value;
  return null;
}

/** The declared length, of which `before` is what fields before said. */
function lengthOf(before: number | null, value: string): number {
  if (before !== null || !LENGTH.test(value))
    throw refusal('bad_request', 'the content-length is not one plain number');
  return Number(value);
}

/** The declared length of the body, null when none is. Throws `bad_request` for several or an unclear one. */
export function contentLength(headers: readonly Header[]): number | null {
  let length: number | null = null;
  for (const [name, value] of headers) if (nameOf(name).lower === 'content-length') length = lengthOf(length, value);
  return length;
}

/** {@link checkHeaders} and {@link contentLength} in one pass. */
export function checkedLength(headers: readonly Header[]): number | null {
  let length: number | null = null;
  for (const [name, value] of headers) {
    const { lower, isToken } = nameOf(name);
    if (!isToken || !VALUE.test(value)) throw refusal('bad_request', 'a header holds what no HTTP header may');
    if (lower === 'content-length') length = lengthOf(length, value);
  }
  return length;
}

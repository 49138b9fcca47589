/** What both ends of an HTTP/2 connection here share (RFC 9113): fields in its form, streams read and ended as bodies. */
import { type OutgoingHttpHeaders, type Http2Stream, constants } from 'node:http2';
import { refusal } from '../errors.ts';
import { type Header, checkHeaders, trailing } from './headers.ts';

/** Bytes either side may send ahead on a stream, and on the connection, before it is read. */
export const STREAM_WINDOW: number = 256 * 1024;
export const CONNECTION_WINDOW: number = 4 * 1024 * 1024;

export const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** Fields that mean something to one HTTP/1.1 connection only; in HTTP/2 whoever sends one is in error (§8.2.2). */
const CONNECTION_FIELD = /^(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings)$/;

/** A head's pseudo-fields and its fields. Throws `bad_request` for what RFC 9113 §8.2 and §8.3 call malformed. */
export function readFields(raw: readonly string[]): { pseudo: ReadonlyMap<string, string>; fields: Header[] } {
  const pseudo = new Map<string, string>();
  const fields: Header[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name, value] = [raw[i], raw[i + 1]];
    if (name.startsWith(':')) {
      if (fields.length > 0 || pseudo.has(name))
        throw refusal('bad_request', 'a pseudo-field is repeated or after a field');
      pseudo.set(name, value);
      continue;
    }
    if (name !== name.toLowerCase()) throw refusal('bad_request', 'a field name of HTTP/2 has no capitals');
    if (CONNECTION_FIELD.test(name)) throw refusal('bad_request', `${name} has no place in HTTP/2`);
    if (name === 'te' && value !== 'trailers') throw refusal('bad_request', 'the only te of HTTP/2 is trailers');
    fields.push([name, value]);
  }
  // What HTTP/2 can say and HTTP/1.1 can't (CR, LF, NUL in a value) must not become another line at the next hop.
  checkHeaders([...pseudo.values(), ''].map((value): Header => ['pseudo', value]));
  checkHeaders(fields);
  return { pseudo, fields: joinCookies(fields) };
}

/** One Cookie field, as HTTP/1.1 has it, of the many it may be split into here (§8.2.3). */
function joinCookies(fields: readonly Header[]): Header[] {
  const crumbs = fields.filter(([name]) => name === 'cookie');
  if (crumbs.length < 2) return [...fields];
  const joined: Header = ['cookie', crumbs.map(([, value]) => value).join('; ')];
  return fields.flatMap((field) => (field[0] !== 'cookie' ? [field] : field === crumbs[0] ? [joined] : []));
}

/** A head as Node's HTTP/2 takes it whole: pseudo-fields first, then the fields in their order, in lower case. */
export function toRaw(pseudo: readonly Header[], headers: readonly Header[]): string[] {
  const raw = pseudo.flat();
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (!CONNECTION_FIELD.test(lower)) raw.push(lower, value);
  }
  return raw;
}

/** Fields as Node's HTTP/2 takes those beside a head, hints and trailers: lower case, those of equal name together. */
export function toOutgoing(headers: readonly Header[]): OutgoingHttpHeaders {
  const out = Object.create(null) as OutgoingHttpHeaders;
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    if (CONNECTION_FIELD.test(key)) continue;
    const known = out[key];
    out[key] = known === undefined ? value : ([known, value].flat() as string[]);
  }
  return out;
}

/** Fields that came after a body, as far as they go on. */
export const trailersOf = (raw: readonly string[]): Header[] => {
  try {
    return trailing(readFields(raw).fields);
  } catch {
    return [];
  }
};

/** Sends these once the last byte of the body is out; needs `waitForTrailers`. */
export function sendTrailers(stream: Http2Stream, trailers: () => readonly Header[]): void {
  stream.on('wantTrailers', () => {
    if (!stream.destroyed) stream.sendTrailers(toOutgoing(trailing(trailers())));
  });
}

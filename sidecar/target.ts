/**
 * The one form of a request target: what is priced is what is hashed is what the app gets. A path that two readers could
 * read differently (dot segments, `//`, escaped slashes) is refused, never repaired: a repaired path is how a paywall is walked around.
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2 https://www.rfc-editor.org/rfc/rfc9112#section-3.2
 */
import { refusal } from './errors.ts';

/** Targets under this are the sidecars' own, inside a session; no app sends or sees them. */
export const CONTROL = '/.agnt2/';

const MAX_TARGET = 8192;
/** What RFC 3986 lets a path and a query hold, escapes aside; `[]|^{}"<>` and the backtick appear in real queries and do no harm there. */
const PATH = /^(?:\/[A-Za-z0-9\-._~!$&'()*+,;=:@%]*)+$/;
const QUERY = /^[\x21\x22\x24-\x7e]*$/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

const bad = (why: string): Error => refusal('bad_target', `the request target ${why}`);

/** One escape of a path: upper-case digits, and no escape at all where none is needed (RFC 3986 §6.2.2.2). */
function plain(escape: string): string {
  const byte = parseInt(escape.slice(1), 16);
  if (byte < 0x20 || byte === 0x7f) throw bad('escapes a control character');
  const char = String.fromCharCode(byte);
  if (char === '.' || char === '/' || char === '\\') throw bad(`escapes ${JSON.stringify(char)}`);
  return byte < 0x80 && UNRESERVED.test(char) ? char : escape.toUpperCase();
}

/** What was normalised last: calls come in runs of the same target. */
let last = { raw: '', normal: '' };

/** Normalises an origin-form target (path and query). Total: the one form, or `bad_target`. */
export function normaliseTarget(raw: string): string {
  if (raw === last.raw && raw !== '') return last.normal;
  const normal = normalised(raw);
  last = { raw, normal };
  return normal;
}

function normalised(raw: string): string {
  if (raw.length > MAX_TARGET) throw bad(`is longer than ${MAX_TARGET} characters`);
  const mark = raw.indexOf('?');
  const path = mark < 0 ? raw : raw.slice(0, mark);
  const query = mark < 0 ? '' : raw.slice(mark);
  if (!path.startsWith('/')) throw bad('does not start with /');
  if (path.includes('//')) throw bad('has an empty path segment');
  if (path.includes('\\')) throw bad('has a backslash');
  if (BAD_ESCAPE.test(raw)) throw bad('has a % that escapes nothing');
  if (!PATH.test(path)) throw bad('has a character that no path may hold');
  if (!QUERY.test(query)) throw bad('has a character that no query may hold');
  const normal = path.replace(/%[0-9A-Fa-f]{2}/g, plain);
  if (/\/\.{1,2}(?:\/|$)/.test(normal)) throw bad('has a dot segment');
  try {
    // Overlong and broken UTF-8 is read differently by different apps (`%c0%ae` is a dot to some).
    decodeURIComponent(normal);
  } catch {
    throw bad('escapes bytes that are no UTF-8');
  }
  if (normal.startsWith(CONTROL)) throw bad(`is under ${CONTROL}, which is the sidecars' own`);
  return normal + query;
}

/** Whether a request's target is in the form it is priced, hashed and forwarded in. Throws `bad_target` for what has none. */
export const isNormal = (method: string, target: string): boolean =>
  target === '*' ? method === 'OPTIONS' : normaliseTarget(target) === target;

/** The path of a normalised target. */
export function pathOf(target: string): string {
  const mark = target.indexOf('?');
  return mark < 0 ? target : target.slice(0, mark);
}

/** Who a request of the local app is for, and its target at that peer. */
export interface Destination {
  /** A directory name, or an id like `0:7`. */
  readonly peer: string;
  readonly target: string;
  /** The peer is named and nothing at it: to OPTIONS that is the whole of it, `*` (RFC 9112 §3.2.4). */
  readonly isBare?: true;
}

/** A directory name: what fits one DNS label, so that `<name>.agnt2` is a host. */
export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PEER_ID = /^\d{1,3}:\d{1,14}$/;
const ABSOLUTE = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^#]*)$/;

const asPeer = (text: string): string => {
  const peer = PEER_ID.test(text) ? text : text.toLowerCase();
  if (!PEER_ID.test(peer) && !NAME.test(peer))
    throw refusal('unknown_name', 'expected a directory name or an id like 0:7');
  return peer;
};

/**
 * Reads what the local app asked for: `http://<name>.agnt2/path` as to a proxy, or `/agents/<name or id>/path`; null for
 * what it asks for outside AGNT2. Throws `bad_target`, `unknown_name`, `not_found`.
 */
export function readDestination(requestTarget: string): Destination | null {
  const absolute = ABSOLUTE.exec(requestTarget);
  if (absolute) {
    const [, scheme, authority, rest] = absolute;
    const host = authority.toLowerCase().replace(/:80$/, '');
    if (scheme.toLowerCase() !== 'http' || !host.endsWith('.agnt2')) return null;
    return {
      peer: asPeer(host.slice(0, -'.agnt2'.length)),
      target: normaliseTarget(rest.startsWith('/') ? rest : `/${rest}`),
      ...(rest === '' && { isBare: true }),
    };
  }
  const match = /^\/agents\/([^/?]+)(.*)$/s.exec(requestTarget);
  if (!match)
    throw refusal('not_found', 'expected /agents/<name or id>/path, or http://<name>.agnt2/path through HTTP_PROXY');
  let peer: string;
  try {
    peer = decodeURIComponent(match[1]);
  } catch {
    throw bad('has a % that escapes nothing');
  }
  return { peer: asPeer(peer), target: normaliseTarget(match[2].startsWith('/') ? match[2] : `/${match[2]}`) };
}

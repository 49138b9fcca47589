/**
 * HTTP/1.1 messages read from bytes, by RFC 9112 at its strictest: what two readers could read in two ways is refused, never repaired (CL with
 * TE, two lengths, bare LF, obs-fold, a coding other than chunked). An own reader because Node's costs a hop twice what all else here does.
 */
import { refusal } from '../errors.ts';
import { type Header, isValue, nameOf } from './headers.ts';

/** The head of a message, and what it says of the connection and of the body's framing. */
export class Head {
  /** Of HTTP/1.x. */
  readonly minor: 0 | 1;
  fields: Header[] = [];
  length: number | null = null;
  isChunked = false;
  host: string | null = null;
  expect: string | null = null;
  upgrade: string | null = null;
  /** The first Keep-Alive field. */
  keepAlive: string | null = null;
  /** Tokens of the Connection field, in small letters; null without one. */
  connection: string[] | null = null;

  constructor(minor: 0 | 1) {
    this.minor = minor;
  }
}
export class RequestHead extends Head {
  method: string;
  target: string;

  constructor(minor: 0 | 1, method: string, target: string) {
    super(minor);
    this.method = method;
    this.target = target;
  }
}
export class ResponseHead extends Head {
  status: number;
  reason: string;

  constructor(minor: 0 | 1, status: number, reason: string) {
    super(minor);
    this.status = status;
    this.reason = reason;
  }
}

const bad = (detail: string): Error => refusal('bad_request', detail);

const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([\x21-\x7e]+) HTTP\/1\.([01])$/;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/;
const LENGTH = /^\d{1,15}$/;
const SP = 0x20;
const HTAB = 0x09;

const isBlank = (code: number): boolean => code === SP || code === HTAB;

/** Field lines from `at` on, without the last CRLF. Throws `bad_request`. */
function eachField(text: string, at: number, take: (name: string, lower: string, value: string) => void): void {
  while (at < text.length) {
    const stop = text.indexOf('\r\n', at);
    const end = stop < 0 ? text.length : stop;
    const colon = text.indexOf(':', at);
    if (colon < 0 || colon > end) throw bad('a header line has no colon');
    const { name, lower, isToken } = nameOf(text.slice(at, colon));
    if (!isToken) throw bad('a header has a name that is none');
    let from = colon + 1;
    let to = end;
    while (from < to && isBlank(text.charCodeAt(from))) from += 1;
    while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
    const value = text.slice(from, to);
    if (!isValue(value)) throw bad('a header holds what no HTTP header may');
    take(name, lower, value);
    at = end + 2;
  }
}

function readFields(head: Head, text: string, at: number): void {
  eachField(text, at, (name, lower, value) => {
    head.fields.push([name, value]);
    switch (lower) {
      case 'content-length':
        if (head.length !== null || !LENGTH.test(value)) throw bad('the content-length is not one plain number');
        head.length = Number(value);
        break;
      case 'transfer-encoding':
        if (head.isChunked || value.toLowerCase() !== 'chunked')
          throw bad('the only transfer coding known is chunked, once');
        head.isChunked = true;
        break;
      case 'host':
        if (head.host !== null) throw bad('the message has several Host fields');
        head.host = value;
        break;
      case 'connection':
        (head.connection ??= []).push(...value.split(',').map((token) => token.trim().toLowerCase()));
        break;
      case 'expect':
        head.expect = head.expect === null ? value.toLowerCase() : `${head.expect}, ${value.toLowerCase()}`;
        break;
      case 'keep-alive':
        head.keepAlive ??= value;
        break;
      case 'upgrade':
        head.upgrade = head.upgrade === null ? value : `${head.upgrade}, ${value}`;
    }
  });
  if (head.isChunked && head.length !== null) throw bad('the message has a length and chunks');
  if (head.isChunked && head.minor === 0) throw bad('HTTP/1.0 knows no transfer codings');
}

/** The first line of a head, and where its fields begin. */
function firstLine(text: string): [line: string, next: number] {
  const end = text.indexOf('\r\n');
  return end < 0 ? [text, text.length] : [text.slice(0, end), end + 2];
}

/** Reads a request's head, of which `text` is every byte before the blank line, as Latin-1. Throws `bad_request`. */
export function readRequest(text: string): RequestHead {
  const [line, next] = firstLine(text);
  const match = REQUEST_LINE.exec(line);
  if (match === null) throw bad('the request line is not one of HTTP/1.1 or HTTP/1.0');
  const head = new RequestHead(match[3] === '1' ? 1 : 0, match[1], match[2]);
  readFields(head, text, next);
  if (head.host === null && head.minor === 1) throw bad('the request has no Host field');
  return head;
}

/** As {@link readRequest}, of a response. */
export function readResponse(text: string): ResponseHead {
  const [line, next] = firstLine(text);
  const match = STATUS_LINE.exec(line);
  const reason = match?.[3] ?? '';
  if (match === null || !isValue(reason)) throw bad('the status line is not one of HTTP/1.1 or HTTP/1.0');
  const head = new ResponseHead(match[1] === '1' ? 1 : 0, Number(match[2]), reason);
  readFields(head, text, next);
  return head;
}

/** Reads trailers. Throws `bad_request`, also for what would frame the message anew. */
export function readTrailers(text: string): Header[] {
  const fields: Header[] = [];
  eachField(text, 0, (name, lower, value) => {
    if (lower === 'content-length' || lower === 'transfer-encoding') throw bad('a trailer frames the message');
    fields.push([name, value]);
  });
  return fields;
}

/** Whether the connection goes on after this message (RFC 9112 §9.3). */
export const persists = ({ minor, connection }: Head): boolean =>
  minor === 1 ? connection === null || !connection.includes('close') : connection?.includes('keep-alive') === true;

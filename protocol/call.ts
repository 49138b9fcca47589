/** One paid HTTP call as bytes: the hashes of its request and response and its record in the call log (docs/protocol.md §5). */
import { Reader, Writer, concat, utf8 } from './bytes.ts';
import { sha } from './hash.ts';

const LF = Uint8Array.of(10);

/** sha(method LF target LF sha(body)); `bodyHash` is the SHA-256 of the body as it was streamed. */
export const requestHash = (method: string, target: string, bodyHash: Uint8Array): Uint8Array =>
  sha(concat(utf8(method), LF, utf8(target), LF, bodyHash));

/** sha(status u16 ‖ sha(body)). */
export const responseHash = (status: number, bodyHash: Uint8Array): Uint8Array =>
  sha(concat(Uint8Array.of(status >> 8, status & 255), bodyHash));

/** The payload leaf of an invoke: what is known before the body has streamed. */
export const requestHead = (method: string, target: string): Uint8Array => sha(concat(utf8(method), LF, utf8(target)));

export interface CallRecord {
  /** Position in the direction's log, from 0. */
  readonly index: number;
  readonly requestHash: Uint8Array;
  readonly responseHash: Uint8Array;
  /** Base units; what the payee charged. */
  readonly price: number;
  /** HTTP status of the response; 0 when there was none. */
  readonly status: number;
  readonly timeMs: number;
}

export const CALL_RECORD_BYTES = 90;

export const encodeCallRecord = (record: CallRecord): Uint8Array =>
  new Writer()
    .u64(record.index)
    .bytes(record.requestHash)
    .bytes(record.responseHash)
    .u64(record.price)
    .u16(record.status)
    .u64(record.timeMs)
    .finish();

/** Throws `malformed`. */
export function decodeCallRecord(bytes: Uint8Array): CallRecord {
  const reader = new Reader(bytes);
  const record = {
    index: reader.u64(),
    requestHash: reader.bytes(32),
    responseHash: reader.bytes(32),
    price: reader.u64(),
    status: reader.u16(),
    timeMs: reader.u64(),
  };
  reader.end();
  return record;
}

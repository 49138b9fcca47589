/** One paid HTTP call as bytes: the hashes of its request and response and its record in the call log (docs/protocol.md §5). */
import { MAX_AMOUNT, concat, readUint, utf8, writeUint } from './bytes.ts';
import { malformed } from './errors.ts';
import { sha } from './hash.ts';

const LF = 10;

/** What the last request hash began with: calls come in runs of the same method and target. */
const last: { method: string; target: string; length: number; bytes: Uint8Array } = {
  method: '',
  target: '',
  length: 2,
  bytes: Uint8Array.of(LF, LF, ...new Uint8Array(32)),
};

/** sha(method LF target LF sha(body)); `bodyHash` is the SHA-256 of the body as it was streamed. */
export function requestHash(method: string, target: string, bodyHash: Uint8Array): Uint8Array {
  if (bodyHash.length !== 32) return sha(concat(utf8(`${method}\n${target}\n`), bodyHash));
  if (last.method !== method || last.target !== target) {
    const prefix = utf8(`${method}\n${target}\n`);
    last.method = method;
    last.target = target;
    last.length = prefix.length;
    last.bytes = concat(prefix, new Uint8Array(32));
  }
  last.bytes.set(bodyHash, last.length);
  return sha(last.bytes);
}

const response = new Uint8Array(34);

/** sha(status u16 ‖ sha(body)). */
export function responseHash(status: number, bodyHash: Uint8Array): Uint8Array {
  if (bodyHash.length !== 32) return sha(concat(Uint8Array.of(status >> 8, status & 255), bodyHash));
  response[0] = status >> 8;
  response[1] = status;
  response.set(bodyHash, 2);
  return sha(response);
}

/** The payload leaf of an invoke: what is known before the body has streamed. */
export const requestHead = (method: string, target: string): Uint8Array => sha(utf8(`${method}\n${target}`));

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

/** Where in a record its price stands. */
const PRICE_AT = 72;

/** The price of the record at `at`. */
export const priceOf = (bytes: Uint8Array, at = 0): number => readUint(bytes, at + PRICE_AT, 8);

export function encodeCallRecord(record: CallRecord, out: Uint8Array = new Uint8Array(CALL_RECORD_BYTES)): Uint8Array {
  writeUint(out, 0, 8, record.index);
  out.set(record.requestHash, 8);
  out.set(record.responseHash, 40);
  writeUint(out, PRICE_AT, 8, record.price);
  writeUint(out, 80, 2, record.status);
  writeUint(out, 82, 8, record.timeMs);
  return out;
}

/** The hashes are views of `bytes`. Throws `malformed`. */
export function decodeCallRecord(bytes: Uint8Array): CallRecord {
  if (bytes.length !== CALL_RECORD_BYTES) throw malformed(`a call record has ${CALL_RECORD_BYTES} bytes`);
  const index = readUint(bytes, 0, 8);
  const price = priceOf(bytes);
  const timeMs = readUint(bytes, 82, 8);
  if (index > MAX_AMOUNT || price > MAX_AMOUNT || timeMs > MAX_AMOUNT) throw malformed('number above 2^53-1');
  return {
    index,
    requestHash: bytes.subarray(8, 40),
    responseHash: bytes.subarray(40, 72),
    price,
    status: readUint(bytes, 80, 2),
    timeMs,
  };
}

/**
 * A body and its trailers as one body, where what carries them has no place for trailers (a Worker's `Request` and `Response`): chunks, each
 * `length u32 ‖ bytes`, then `0 u32 ‖ trailers` to the end, as a request end holds them (docs/protocol.md §8; docs/api.md).
 */
import { concat } from './bytes.ts';
import { malformed } from './errors.ts';
import { decodeTrailers, encodeTrailers } from './packet.ts';

/** Says of a call's body or of its answer's that it is framed; of a call without it that its caller takes a framed answer. */
export const FRAMED = 'agnt2-framed';
export const TAKES_FRAMED = 'agnt2-takes';

type Fields = readonly (readonly [string, string])[];
const PREFIX = 4;
const MAX_TRAILERS = 128 * 1024;

const prefix = (length: number): Uint8Array => {
  const bytes = new Uint8Array(PREFIX);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
};

export async function* framed(body: AsyncIterable<Uint8Array>, trailers: () => Fields): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) if (chunk.length > 0) yield concat(prefix(chunk.length), chunk);
  yield concat(prefix(0), encodeTrailers(trailers()));
}

/** Inverse of {@link framed}, of however it was cut on the way. The body throws `malformed` when it ends before its trailers. */
export function unframed(source: AsyncIterable<Uint8Array>): {
  body: AsyncIterable<Uint8Array>;
  trailers: () => [string, string][];
} {
  let trailers: [string, string][] = [];
  async function* read(): AsyncGenerator<Uint8Array> {
    let held: Uint8Array = new Uint8Array(0);
    /** Of the chunk at hand. */
    let left = 0;
    let isLast = false;
    for await (const bytes of source) {
      held = held.length === 0 ? bytes : concat(held, bytes);
      while (held.length > 0 && !isLast) {
        if (left > 0) {
          const chunk = held.subarray(0, left);
          held = held.subarray(chunk.length);
          left -= chunk.length;
          yield chunk;
          continue;
        }
        if (held.length < PREFIX) break;
        left = new DataView(held.buffer, held.byteOffset).getUint32(0);
        isLast = left === 0;
        held = held.subarray(PREFIX);
      }
      if (isLast && held.length > MAX_TRAILERS) throw malformed('trailers this long are not taken');
    }
    if (!isLast) throw malformed('a framed body ended before its trailers');
    trailers = decodeTrailers(held);
  }
  return { body: { [Symbol.asyncIterator]: read }, trailers: () => trailers };
}

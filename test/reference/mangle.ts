/** Bytes that mean nothing, and bytes that no longer mean what they did. */
import { concat } from '../../protocol/bytes.ts';
import type { Random } from './random.ts';

/** A frame of no use. */
export function junk(random: Random): Uint8Array {
  return random.pick([
    new Uint8Array(),
    random.bytes(random.below(12)),
    Uint8Array.of(0x10),
    Uint8Array.of(0x10, random.below(256)),
    Uint8Array.of(random.below(7), ...random.bytes(random.below(10))),
    Uint8Array.of(0x10, random.below(3), 0, ...random.bytes(random.below(90))),
  ]);
}

/** The same bytes with one of them changed, gone or preceded by others; the first stays. */
export function mutated(random: Random, bytes: Uint8Array): Uint8Array {
  const at = 1 + random.below(bytes.length - 1);
  const [before, rest] = [bytes.subarray(0, at), bytes.subarray(at)];
  return random.pick([
    () => concat(before, Uint8Array.of(rest[0] ^ (1 << random.below(8))), rest.subarray(1)),
    () => concat(before, rest.subarray(1)),
    () => concat(before, random.bytes(1 + random.below(3)), rest),
    // A varint with a zero group too many.
    () => concat(before, Uint8Array.of(rest[0] | 128, 0), rest.subarray(1)),
  ])();
}

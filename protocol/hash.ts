/** The two hashes of the protocol. SHA-256 where HTTP and WebCrypto meet it, keccak where the EVM does. */
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';

let keccaks = 0;
export function keccak(bytes: Uint8Array): Uint8Array {
  keccaks += 1;
  return keccak_256(bytes);
}
/** Hashes computed so far: the unit of cost that benchmarks report. */
export const keccakCount = (): number => keccaks;

export const sha = (bytes: Uint8Array): Uint8Array => sha256(bytes);
export const HASH_BYTES = 32;

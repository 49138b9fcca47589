/** The two hashes of the protocol. SHA-256 where HTTP and WebCrypto meet it, keccak where the EVM does. */
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';

export const keccak = (bytes: Uint8Array): Uint8Array => keccak_256(bytes);
export const sha = (bytes: Uint8Array): Uint8Array => sha256(bytes);
export const HASH_BYTES = 32;

/** Signatures for tests: cheap, but bound to the key and to every bit of the digest that is signed. */
import { Signing } from '../../protocol/eip712.ts';

export const signing = new Signing({ chainId: 1, root: `0x${'42'.repeat(20)}` });

const BOUND = 8;

/** Eight bytes of the struct hash, each mixed with a byte of the key, then nothing. */
export function sign(key: Uint8Array, preimage: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64);
  for (let i = 0; i < BOUND; i++) signature[i] = preimage[34 + i] ^ key[i] ^ key[32 + i];
  return signature;
}

export function verify(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean {
  for (let i = 0; i < BOUND; i++) if (signature[i] !== (preimage[34 + i] ^ key[i] ^ key[32 + i])) return false;
  return true;
}

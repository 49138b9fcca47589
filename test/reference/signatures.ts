/** Signatures for tests. Machine keys': cheap, but bound to the key and to the digest. Owners': real, because the engine asks for no other. */
import { Signing } from '../../protocol/eip712.ts';
import { ownerAddress, signOwner, verifyOwner } from '../../protocol/keys.ts';
import { big } from './cells.ts';
import type { Checks } from './step.ts';

export const signing = new Signing({ chainId: 1, root: `0x${'42'.repeat(20)}` });

const BOUND = 8;

/** Eight bytes of the struct hash, each mixed with two of the key, then nothing. */
export function sign(key: Uint8Array, preimage: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64);
  for (let i = 0; i < BOUND; i++) signature[i] = preimage[34 + i] ^ key[i] ^ key[32 + i];
  return signature;
}

export function verify(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean {
  for (let i = 0; i < BOUND; i++) if (signature[i] !== (preimage[34 + i] ^ key[i] ^ key[32 + i])) return false;
  return true;
}

const SECRETS = new Map(
  [1, 2, 3].map((n) => new Uint8Array(32).fill(n)).map((secret) => [big(ownerAddress(secret)), secret]),
);

/** Owners whose secrets are known. */
export const OWNERS: readonly bigint[] = [...SECRETS.keys()];

/** The owner's signature, or of somebody else when its secret is not known. */
export const signAsOwner = (owner: bigint, preimage: Uint8Array): Uint8Array =>
  signOwner(SECRETS.get(owner) ?? new Uint8Array(32).fill(9), preimage);

export const checks: Checks = { signing, verify, owns: verifyOwner };

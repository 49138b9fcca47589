/**
 * Signatures for tests. Machine keys': cheap, but bound to the key and to the digest, unless real ones are asked for. Owners':
 * real, because the engine asks for no other.
 */
import { Signing } from '../../protocol/eip712.ts';
import { ownerAddress, signOwner, verifyOwner } from '../../protocol/keys.ts';
import { big } from './cells.ts';
import type { Checks } from './step.ts';

export const DOMAIN = { chainId: 1, root: `0x${'42'.repeat(20)}` } as const;
export const signing = new Signing(DOMAIN);

/** How the machine keys of traces are made and sign. */
export interface MachineKeys {
  /** x ‖ y of the key that stands for these 64 bytes. */
  key(bytes: Uint8Array): Uint8Array;
  sign(key: Uint8Array, preimage: Uint8Array): Uint8Array;
  verify(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean;
}

const BOUND = 8;

/** Any bytes are a key; its signature is eight bytes of the struct hash, each mixed with two of the key, then nothing. */
const CHEAP: MachineKeys = {
  key: (bytes) => bytes,
  sign(key, preimage) {
    const signature = new Uint8Array(64);
    for (let i = 0; i < BOUND; i++) signature[i] = preimage[34 + i] ^ key[i] ^ key[32 + i];
    return signature;
  },
  verify(key, preimage, signature) {
    for (let i = 0; i < BOUND; i++) if (signature[i] !== (preimage[34 + i] ^ key[i] ^ key[32 + i])) return false;
    return true;
  },
};

let machineKeys = CHEAP;

/** For whoever runs traces where no signature but a real one is any good. */
export function useMachineKeys(keys: MachineKeys): void {
  machineKeys = keys;
}

export const newKey = (bytes: Uint8Array): Uint8Array => machineKeys.key(bytes);
export const sign = (key: Uint8Array, preimage: Uint8Array): Uint8Array => machineKeys.sign(key, preimage);
export const verify = (key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean =>
  machineKeys.verify(key, preimage, signature);

const SECRETS = new Map(
  [1, 2, 3].map((n) => new Uint8Array(32).fill(n)).map((secret) => [big(ownerAddress(secret)), secret]),
);

/** Owners whose secrets are known. */
export const OWNERS: readonly bigint[] = [...SECRETS.keys()];

/** The owner's signature, or of somebody else when its secret is not known. */
export const signAsOwner = (owner: bigint, preimage: Uint8Array): Uint8Array =>
  signOwner(SECRETS.get(owner) ?? new Uint8Array(32).fill(9), preimage);

export const checks: Checks = { signing, verify, owns: verifyOwner };

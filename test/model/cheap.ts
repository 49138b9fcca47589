/** Signatures that cost nothing, and are done when the world says so. */
import { createHash } from 'node:crypto';
import { equal } from '../../protocol/bytes.ts';

/** Work that takes until the world lets it be done: signatures and their checks. */
export const work: { take<T>(run: () => T): Promise<T> } = { take: () => Promise.reject(new Error('no world')) };

/** What a key signs in these worlds. */
export const cheapSignature = (publicKey: Uint8Array, preimage: Uint8Array): Uint8Array => {
  const half = createHash('sha256').update(publicKey).update(preimage).digest();
  return Uint8Array.from([...half, ...half]);
};

/** In the place of `verifyP256`. */
export const verifyP256 = (key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  work.take(() => equal(cheapSignature(key, preimage), signature));

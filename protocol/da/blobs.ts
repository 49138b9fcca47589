/** Data in EIP-4844 blobs, 31 bytes to a field element (docs/protocol.md §12). The commitments and proofs are a KZG library's, which the caller brings. */
import { concat, writeUint } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { keccak, sha } from '../hash.ts';

export const BLOB_ELEMENTS = 4096;
const ELEMENT_BYTES = 32;
/** A field element's first byte stays zero, so that it is below the modulus. */
const USED_BYTES = 31;
/** Bytes of data in a blob. */
export const BLOB_CAPACITY: number = BLOB_ELEMENTS * USED_BYTES;
/** Most blobs of one transaction (EIP-7594). */
export const MAX_BLOBS = 6;
const BLOBS = 0x01;
/** First byte of a versioned hash of a KZG commitment. */
const VERSION = 0x01;

/** The blobs of data, 131,072 bytes each. */
export function encodeBlobs(data: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(data.length / BLOB_CAPACITY) }, (_, b) => {
    const blob = new Uint8Array(BLOB_ELEMENTS * ELEMENT_BYTES);
    const part = data.subarray(b * BLOB_CAPACITY, (b + 1) * BLOB_CAPACITY);
    for (let i = 0; i * USED_BYTES < part.length; i++)
      blob.set(part.subarray(i * USED_BYTES, (i + 1) * USED_BYTES), i * ELEMENT_BYTES + 1);
    return blob;
  });
}

/** Data of `length` bytes from its blobs, whatever else these hold. Throws `malformed` for another number of blobs, or of another size. */
export function decodeBlobs(blobs: readonly Uint8Array[], length: number): Uint8Array {
  const size = BLOB_ELEMENTS * ELEMENT_BYTES;
  if (blobs.length !== Math.ceil(length / BLOB_CAPACITY) || blobs.some((blob) => blob.length !== size))
    throw malformed(`data of ${length} bytes is in ${Math.ceil(length / BLOB_CAPACITY)} blobs of ${size} bytes`);
  const data = new Uint8Array(blobs.length * BLOB_CAPACITY);
  for (const [b, blob] of blobs.entries())
    for (let i = 0; i < BLOB_ELEMENTS; i++)
      data.set(blob.subarray(i * ELEMENT_BYTES + 1, (i + 1) * ELEMENT_BYTES), b * BLOB_CAPACITY + i * USED_BYTES);
  return data.subarray(0, length);
}

/** Of a commitment of 48 bytes (EIP-4844). */
export function versionedHash(commitment: Uint8Array): Uint8Array {
  const hash = sha(commitment);
  hash[0] = VERSION;
  return hash;
}

/** The `dataRoot` of data in the blobs with these versioned hashes. */
export function blobsRoot(length: number, hashes: readonly Uint8Array[]): Uint8Array {
  const head = new Uint8Array(9);
  head[0] = BLOBS;
  writeUint(head, 1, 8, length);
  const chain = hashes.reduce<Uint8Array>((acc, hash) => keccak(concat(acc, hash)), new Uint8Array(32));
  return keccak(concat(head, chain));
}

/** A field element of a batch's data. */
export interface ElementPlace {
  readonly blob: number;
  readonly element: number;
}

/** The elements that hold `length` bytes of data from `offset` on. */
export function elementsOf(offset: number, length: number): ElementPlace[] {
  const [from, to] = [Math.floor(offset / USED_BYTES), Math.ceil((offset + length) / USED_BYTES)];
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => ({
    blob: Math.floor((from + i) / BLOB_ELEMENTS),
    element: (from + i) % BLOB_ELEMENTS,
  }));
}

/** Modulus of the scalar field of BLS12-381 (EIP-4844 `BLS_MODULUS`), and a primitive root of unity of order 4,096 in it. */
const MODULUS = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;
const ROOT_OF_UNITY = power(7n, (MODULUS - 1n) / BigInt(BLOB_ELEMENTS));

function power(base: bigint, exponent: bigint): bigint {
  let [result, factor] = [1n, base];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * factor) % MODULUS;
    factor = (factor * factor) % MODULUS;
  }
  return result;
}

/** Where the polynomial of a blob takes the value of its element `index`: the root of unity at the index with its twelve bits reversed. */
export function pointOf(index: number): bigint {
  let reversed = 0;
  for (let bit = 0; bit < 12; bit++) reversed |= ((index >> bit) & 1) << (11 - bit);
  return power(ROOT_OF_UNITY, BigInt(reversed));
}

/** The native KZG library gives what the one in JavaScript gives: everybody's commitments and proofs are the same. */
import { expect, test } from 'vitest';
import { hex } from '../protocol/bytes.ts';
import { encodeBlobs } from '../protocol/da/blobs.ts';
import { commitBlob, installKzg, proveBlob, proveElement } from '../protocol/da/kzg.ts';
import { nativeKzg } from './kzg.ts';

const native = await nativeKzg();

// In JavaScript they take seconds.
test.runIf(native)(
  'commitments, proofs of blobs and of elements, and what is no blob',
  { timeout: 120_000 },
  async () => {
    const made: string[][] = [];
    for (const library of [native, null]) {
      installKzg(async () => library);
      const [blob] = encodeBlobs(Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 255));
      const tooLarge = blob.map((byte, i) => (i < 32 ? 255 : byte));
      await expect(commitBlob(tooLarge)).rejects.toThrow();
      made.push([await commitBlob(blob), await proveBlob(blob), await proveElement(blob, 77)].map(hex));
    }
    expect(made[0]).toEqual(made[1]);
  },
);

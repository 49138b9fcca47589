/** Real P-256 keys for random traces: what L1 has to judge. Signatures are deterministic, so that a seed is enough to see a failure again. */
import { createPublicKey, verify as verifyNative, type KeyObject } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { concat, hex, word } from '../../protocol/bytes.ts';
import { keccak, sha } from '../../protocol/hash.ts';
import { verifyP256Sync } from '../../protocol/keys.ts';
import type { MachineKeys } from '../reference/signatures.ts';

const ORDER = p256.Point.CURVE().n;
const KEYS = 32;

const secrets = Array.from({ length: KEYS }, (_, n) => sha(Uint8Array.of(0x6b, n)));
const publics = secrets.map((secret) => p256.getPublicKey(secret, false).slice(1));
const secretOf = new Map(publics.map((key, n) => [hex(key), secrets[n]]));

/** A signature that any verifier of ours has to refuse, though some would not. */
function spoiled(signature: Uint8Array, how: number): Uint8Array {
  const [r, s] = [signature.subarray(0, 32), signature.subarray(32)];
  const [rNumber, sNumber] = [BigInt(hex(r)), BigInt(hex(s))];
  const zero = new Uint8Array(32);
  switch (how) {
    case 0:
      // The other s of the same r: valid, but for our rule.
      return concat(r, word(ORDER - sNumber));
    case 1:
      return concat(zero, s);
    case 2:
      return concat(r, zero);
    case 3:
      return concat(word((rNumber + ORDER) % 2n ** 256n), s);
    case 4:
      return concat(r, word((sNumber + ORDER) % 2n ** 256n));
    case 5:
      return concat(word(ORDER), s);
    default:
      return new Uint8Array(64).fill(0xff);
  }
}
const SPOILED = 7;

/** Secret k and r of a few signatures: the curve's part of signing, done once. Nobody must sign like this who has a secret to lose. */
const nonces = Array.from({ length: 64 }, (_, n) => {
  const k = (BigInt(hex(sha(Uint8Array.of(0x6e, n)))) % (ORDER - 1n)) + 1n;
  return { inverse: p256.Point.Fn.inv(k), r: p256.Point.BASE.multiply(k).toAffine().x % ORDER };
});

function signFast(secret: Uint8Array, preimage: Uint8Array): Uint8Array {
  const digest = sha(preimage);
  const { inverse, r } = nonces[digest[31] % nonces.length];
  const s = (inverse * (BigInt(hex(digest)) + r * BigInt(hex(secret)))) % ORDER;
  return concat(word(r), word(s > ORDER / 2n ? ORDER - s : s));
}

/** Keys as node's crypto has them; null for what is on no curve. */
const natives = new Map<string, KeyObject | null>();

function nativeOf(key: Uint8Array): KeyObject | null {
  const id = hex(key);
  const known = natives.get(id);
  if (known !== undefined) return known;
  let made: KeyObject | null = null;
  try {
    const [x, y] = [key.subarray(0, 32), key.subarray(32)].map((part) => Buffer.from(part).toString('base64url'));
    made = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
  } catch {
    // No key then, and nothing it could have signed.
  }
  if (natives.size > 4096) natives.clear();
  natives.set(id, made);
  return made;
}

const answers = new Map<string, boolean>();

/** `verifyP256Sync`, ten times as fast; now and then both, which must agree. */
function verify(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean {
  const name = String.fromCharCode(...keccak(concat(key, preimage, signature)));
  const known = answers.get(name);
  if (known !== undefined) return known;
  const isLow = signature.length === 64 && BigInt(hex(signature.subarray(32))) <= ORDER / 2n;
  const native = isLow ? nativeOf(key) : null;
  const answer =
    native !== null && verifyNative('sha256', preimage, { key: native, dsaEncoding: 'ieee-p1363' }, signature);
  if (name.charCodeAt(0) < 8 && answer !== verifyP256Sync(key, preimage, signature))
    throw new Error(`two verifiers differ: ${[key, preimage, signature].map(hex).join(' ')}`);
  if (answers.size > 65_536) answers.clear();
  answers.set(name, answer);
  return answer;
}

/** One key in ten is none, and one signature in sixty is spoiled. */
export const realKeys: MachineKeys = {
  key: (bytes) => (bytes[0] % 10 === 9 ? bytes : publics[bytes[0] % KEYS]),
  sign(key, preimage) {
    const secret = secretOf.get(hex(key));
    // As good as any for a key that is on no curve.
    if (!secret) return concat(keccak(preimage), word(1n));
    const signature = signFast(secret, preimage);
    const [dice, how] = keccak(preimage);
    return dice < 4 ? spoiled(signature, how % SPOILED) : signature;
  },
  verify,
};

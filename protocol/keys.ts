/**
 * Two curves (docs/protocol.md §5): machine keys are P-256 through WebCrypto, fast wherever we run and provable on L1
 * by EIP-7951; owners are secp256k1, as wallets have it. Low-s only, on both.
 */
import { p256 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bytesToNumberBE } from '@noble/curves/utils.js';
import { type Hex, concat, equal, hex } from './bytes.ts';
import { malformed } from './errors.ts';
import { keccak, sha } from './hash.ts';

/** A public P-256 key is x ‖ y, 64 bytes. */
export const KEY_BYTES = 64;

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const ORDER = p256.Point.CURVE().n;
const HALF_ORDER = ORDER >> 1n;
const UNCOMPRESSED = Uint8Array.of(4);

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** Whether `s` of a 64-byte signature is in the lower half of the order, as every verifier of ours demands. */
const isLowS = (signature: Uint8Array): boolean => bytesToNumberBE(signature.subarray(32)) <= HALF_ORDER;

function toLowS(signature: Uint8Array): Uint8Array {
  const s = bytesToNumberBE(signature.subarray(32));
  if (s <= HALF_ORDER) return signature;
  const out = signature.slice();
  let rest = ORDER - s;
  for (let i = 63; i >= 32; i--) {
    out[i] = Number(rest & 255n);
    rest >>= 8n;
  }
  return out;
}

/** A key that signs, wherever its secret is. */
export interface SigningKey {
  /** x ‖ y. */
  readonly publicKey: Uint8Array;
  /** 64 bytes r ‖ s, low-s, over the SHA-256 of a preimage. */
  sign(preimage: Uint8Array): Promise<Uint8Array>;
}

/** An agent's (or the sequencer's) signing key. */
export class MachineKey implements SigningKey {
  readonly #private: CryptoKey;
  /** x ‖ y. */
  readonly publicKey: Uint8Array;

  private constructor(key: CryptoKey, publicKey: Uint8Array) {
    this.#private = key;
    this.publicKey = publicKey;
  }

  /** From the 32-byte secret scalar. Throws `malformed` for an invalid one. */
  static async import(secret: Uint8Array): Promise<MachineKey> {
    if (!p256.utils.isValidSecretKey(secret)) throw malformed('not a P-256 secret key');
    const point = p256.getPublicKey(secret, false).slice(1);
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      d: base64url(secret),
      x: base64url(point.slice(0, 32)),
      y: base64url(point.slice(32)),
    };
    return new MachineKey(await crypto.subtle.importKey('jwk', jwk, ECDSA, false, ['sign']), point);
  }

  /** A new secret scalar, for {@link MachineKey.import}. */
  static randomSecret(): Uint8Array {
    return p256.utils.randomSecretKey();
  }

  /** 64 bytes r ‖ s, low-s, over the SHA-256 of `preimage`. */
  async sign(preimage: Uint8Array): Promise<Uint8Array> {
    return toLowS(new Uint8Array(await crypto.subtle.sign(ECDSA, this.#private, preimage as BufferSource)));
  }
}

/** Imported public keys by their hex, so that a busy peer's key is imported once. Bounded; oldest out. */
const imported = new Map<Hex, CryptoKey | null>();
const IMPORTED_MAX = 4096;

async function importPublic(publicKey: Uint8Array): Promise<CryptoKey | null> {
  const id = hex(publicKey);
  let key = imported.get(id);
  if (key === undefined) {
    key = await crypto.subtle
      .importKey('raw', concat(UNCOMPRESSED, publicKey) as BufferSource, ECDSA, false, ['verify'])
      .catch(() => null);
    if (imported.size >= IMPORTED_MAX) imported.delete(imported.keys().next().value!);
    imported.set(id, key);
  }
  return key;
}

/** Verifies by WebCrypto. Total: a key off the curve or a malformed signature is simply not valid. */
export async function verifyP256(publicKey: Uint8Array, preimage: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (publicKey.length !== KEY_BYTES || signature.length !== 64 || !isLowS(signature)) return false;
  const key = await importPublic(publicKey);
  return key !== null && (await crypto.subtle.verify(ECDSA, key, signature as BufferSource, preimage as BufferSource));
}

/** The same answer as {@link verifyP256}, synchronously and ~20 times slower: for the state transition when no verdict was prefetched. */
export function verifyP256Sync(publicKey: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== 64 || !isLowS(signature)) return false;
  try {
    return p256.verify(signature, sha(preimage), concat(UNCOMPRESSED, publicKey), { prehash: false, lowS: true });
  } catch {
    return false;
  }
}

/** Ethereum address of an uncompressed secp256k1 public key (65 bytes). */
const addressOf = (publicKey: Uint8Array): Uint8Array => keccak(publicKey.subarray(1)).subarray(12);

/** An owner's address from its secp256k1 secret. */
export const ownerAddress = (secret: Uint8Array): Uint8Array => addressOf(secp256k1.getPublicKey(secret, false));

/** Owner's 65-byte r ‖ s ‖ v signature over the keccak of `preimage`. */
export function signOwner(secret: Uint8Array, preimage: Uint8Array): Uint8Array {
  const recovered = secp256k1.sign(keccak(preimage), secret, { prehash: false, lowS: true, format: 'recovered' });
  return concat(recovered.subarray(1), Uint8Array.of(27 + recovered[0]));
}

/** A 65-byte signature in 64 bytes: the parity in the top bit of s (EIP-2098). */
export function toCompact(signature: Uint8Array): Uint8Array {
  const out = signature.slice(0, 64);
  if (signature[64] === 28) out[32] |= 0x80;
  return out;
}

/** The address whose key made a {@link toCompact} signature over the keccak of `preimage`; null where nobody's did. Total; high-s is nobody's. */
export function recoverOwner(preimage: Uint8Array, compact: Uint8Array): Uint8Array | null {
  if (compact.length !== 64) return null;
  const recovered = concat(Uint8Array.of(compact[32] >> 7), compact);
  recovered[33] &= 0x7f;
  try {
    const parsed = secp256k1.Signature.fromBytes(recovered, 'recovered');
    return parsed.hasHighS() ? null : addressOf(parsed.recoverPublicKey(keccak(preimage)).toBytes(false));
  } catch {
    return null;
  }
}

/** Whether `signature` (r ‖ s ‖ v) over the keccak of `preimage` recovers to `owner`. Total; high-s is not valid. */
export function verifyOwner(owner: Uint8Array, preimage: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 65 || (signature[64] !== 27 && signature[64] !== 28)) return false;
  try {
    const parsed = secp256k1.Signature.fromBytes(
      concat(Uint8Array.of(signature[64] - 27), signature.subarray(0, 64)),
      'recovered',
    );
    if (parsed.hasHighS()) return false;
    return equal(addressOf(parsed.recoverPublicKey(keccak(preimage)).toBytes(false)), owner);
  } catch {
    return false;
  }
}

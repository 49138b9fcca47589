/**
 * Sealed calls (docs/protocol.md §8): the keys two parties of a session agree on when they meet, and the packets only they
 * can read. By Node's synchronous ciphers where there are any, by WebCrypto elsewhere; the bytes are the same.
 */
import { expand, hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { Writer, concat, utf8, writeUint } from './bytes.ts';
import { Agnt2Error, malformed } from './errors.ts';
import type { Direction } from './half.ts';
import { PacketType } from './packet.ts';

export const TAG_BYTES = 16;
/** Packets under one key. */
const EPOCH = 2 ** 16;
const INFO = utf8('AGNT2 calls');
const NEXT = utf8('AGNT2 next');
const AAD = Uint8Array.of(PacketType.calls);
const ECDH = { name: 'ECDH', namedCurve: 'P-256' } as const;
const UNCOMPRESSED = 4;

/** A key pair of one pairing. The private half leaves it in no form. */
export interface PairingKey {
  /** x ‖ y, 64 bytes. */
  readonly publicKey: Uint8Array;
  /** x of the shared point, 32 bytes. Rejects with `malformed` for a key off the curve. */
  agree(peerKey: Uint8Array): Promise<Uint8Array>;
}

/** AES-256-GCM over a calls packet: its type byte stays, and is authenticated. */
export interface Aead {
  seal(key: Uint8Array, nonce: Uint8Array, packet: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Null for what was not sealed so. */
  open(key: Uint8Array, nonce: Uint8Array, packet: Uint8Array): Uint8Array | null | Promise<Uint8Array | null>;
}

/** What a platform lends for sealing. */
export interface Sealing extends Aead {
  pairingKey(): Promise<PairingKey>;
}

async function webPairingKey(): Promise<PairingKey> {
  const pair = (await crypto.subtle.generateKey(ECDH, false, ['deriveBits'])) as CryptoKeyPair;
  const raw = new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer);
  return {
    publicKey: raw.slice(1),
    async agree(peerKey) {
      const point = concat(Uint8Array.of(UNCOMPRESSED), peerKey) as BufferSource;
      const peer = await crypto.subtle.importKey('raw', point, ECDH, false, []).catch(() => {
        throw malformed('a pairing key is a point of P-256');
      });
      // What TypeScript's two views of WebCrypto agree on.
      const algorithm = { name: 'ECDH', public: peer } as unknown as Parameters<typeof crypto.subtle.deriveBits>[0];
      return new Uint8Array(await crypto.subtle.deriveBits(algorithm, pair.privateKey, 256));
    },
  };
}

const imported = new WeakMap<Uint8Array, Promise<CryptoKey>>();

function aesKey(key: Uint8Array): Promise<CryptoKey> {
  let known = imported.get(key);
  if (known === undefined) {
    known = crypto.subtle.importKey('raw', key as BufferSource, 'AES-GCM', false, ['encrypt', 'decrypt']);
    imported.set(key, known);
  }
  return known;
}

const gcm = (iv: Uint8Array) => ({
  name: 'AES-GCM',
  iv: iv as BufferSource,
  additionalData: AAD as BufferSource,
  tagLength: TAG_BYTES * 8,
});

/** By WebCrypto: every platform has it. */
export const webSealing: Sealing = {
  pairingKey: webPairingKey,
  async seal(key, nonce, packet) {
    const text = packet.slice(1) as BufferSource;
    const sealed = await crypto.subtle.encrypt(gcm(nonce), await aesKey(key), text);
    return concat(AAD, new Uint8Array(sealed));
  },
  async open(key, nonce, packet) {
    const sealed = packet.slice(1) as BufferSource;
    try {
      const text = await crypto.subtle.decrypt(gcm(nonce), await aesKey(key), sealed);
      return concat(AAD, new Uint8Array(text));
    } catch {
      return null;
    }
  },
};

interface NodeCipher {
  setAAD(aad: Uint8Array): void;
  update(bytes: Uint8Array): Uint8Array;
  final(): Uint8Array;
}
type NodeKey = Readonly<Record<never, never>>;
interface NodeCrypto {
  createSecretKey(key: Uint8Array): NodeKey;
  createCipheriv(name: string, key: NodeKey, nonce: Uint8Array): NodeCipher & { getAuthTag(): Uint8Array };
  createDecipheriv(
    name: string,
    key: NodeKey,
    nonce: Uint8Array,
    options: { authTagLength: number },
  ): NodeCipher & { setAuthTag(tag: Uint8Array): void };
}

const secrets = new WeakMap<Uint8Array, NodeKey>();

/** A key as Node likes it: to find out what bare bytes are takes it longer than to seal a packet. */
function secretOf(node: NodeCrypto, key: Uint8Array): NodeKey {
  let known = secrets.get(key);
  if (known === undefined) secrets.set(key, (known = node.createSecretKey(key)));
  return known;
}

/** By Node's own ciphers, which need no turn of the event loop. */
const nodeSealing = (node: NodeCrypto): Sealing => ({
  pairingKey: webPairingKey,
  seal(key, nonce, packet) {
    const cipher = node.createCipheriv('aes-256-gcm', secretOf(node, key), nonce);
    cipher.setAAD(AAD);
    const sealed = new Uint8Array(packet.length + TAG_BYTES);
    sealed[0] = PacketType.calls;
    sealed.set(cipher.update(packet.subarray(1)), 1);
    cipher.final();
    sealed.set(cipher.getAuthTag(), packet.length);
    return sealed;
  },
  open(key, nonce, packet) {
    const end = packet.length - TAG_BYTES;
    if (end < 1) return null;
    const cipher = node.createDecipheriv('aes-256-gcm', secretOf(node, key), nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(AAD);
    cipher.setAuthTag(packet.subarray(end));
    const text = new Uint8Array(end);
    text[0] = PacketType.calls;
    text.set(cipher.update(packet.subarray(1, end)), 1);
    try {
      cipher.final();
      return text;
    } catch {
      return null;
    }
  },
});

const node = (
  globalThis as {
    process?: { versions?: { node?: string }; getBuiltinModule?: (id: string) => NodeCrypto | undefined };
  }
).process?.getBuiltinModule?.('node:crypto');

/** The best this platform has. */
export const platformSealing: Sealing = typeof node?.createCipheriv === 'function' ? nodeSealing(node) : webSealing;

/** What both parties know of a pairing, and the secret only they know. */
export interface PairingSecret {
  readonly secret: Uint8Array;
  /** Pairing keys, x ‖ y. */
  readonly keyA: Uint8Array;
  readonly keyB: Uint8Array;
  readonly separator: Uint8Array;
  readonly session: number;
}

/** The key of the packets that a (`dir` 0) or b sends, 32 bytes. */
export function sealKey({ secret, keyA, keyB, separator, session }: PairingSecret, dir: Direction): Uint8Array {
  const info = new Writer().bytes(INFO).bytes(separator).u64(session).u8(dir).finish();
  return hkdf(sha256, secret, concat(keyA, keyB), info, 32);
}

/** The packets of one direction of a pairing, in their order: they are sealed, or opened, once each. */
export class SealedFlow {
  readonly #aead: Aead;
  #key: Uint8Array;
  #count = 0;

  constructor(aead: Aead, key: Uint8Array) {
    this.#aead = aead;
    this.#key = key;
  }

  /** Goes past a packet. */
  skip(): void {
    this.#next();
  }

  seal(packet: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const nonce = this.#next();
    return this.#aead.seal(this.#key, nonce, packet);
  }

  /** Throws, or rejects with, `bad_seal` for any packet but the next. */
  open(packet: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const nonce = this.#next();
    const opened = this.#aead.open(this.#key, nonce, packet);
    return opened instanceof Promise ? opened.then(authentic) : authentic(opened);
  }

  #next(): Uint8Array {
    if (this.#count > 0 && this.#count % EPOCH === 0) this.#key = expand(sha256, this.#key, NEXT, 32);
    const nonce = new Uint8Array(12);
    writeUint(nonce, 4, 8, this.#count++);
    return nonce;
  }
}

function authentic(packet: Uint8Array | null): Uint8Array {
  if (packet === null)
    throw new Agnt2Error('bad_seal', 'a calls packet that the other party did not seal, here and now');
  return packet;
}

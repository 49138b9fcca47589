/**
 * What goes over the signer's socket, both ways the same frame: `u32 length ‖ u32 id ‖ u8 kind ‖ content`, big-endian,
 * length of what follows it. Requests are answered by id, in any order; kind 0 of an answer is a refusal, 1 a result.
 */
import { fromUtf8, hex, unhex, utf8 } from '../../protocol/bytes.ts';
import type { Announce, Close, Connect, Pairing } from '../../protocol/eip712.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';

export const Kind = {
  /** → {@link Hello} */
  hello: 0,
  /** Domain and agent, once: `{chainId, root, agent}`. */
  start: 1,
  /** Body of a bundle → signature; so are the next four. */
  bundle: 2,
  /** The bytes of a half. */
  half: 3,
  close: 4,
  connect: 5,
  announce: 6,
  /** Makes the next key → x ‖ y. */
  next: 7,
  /** Takes the next key into use, but for the sessions named, as decimal numbers → x ‖ y. */
  promote: 8,
  /** What binds the keys that seal a session's calls → signature. */
  pairing: 9,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export interface Hello {
  /** x ‖ y. */
  readonly publicKey: string;
  /** The key to rotate to, if one was made. */
  readonly nextKey: string | null;
  /** Unix seconds after which it signs no more; null for never. */
  readonly expires: number | null;
}

export interface Frame {
  readonly id: number;
  readonly kind: number;
  readonly content: Uint8Array;
}

const HEAD = 9;
/** A bundle is the longest thing to sign, and is shorter. */
const MAX_FRAME = 256 * 1024;

export function encodeFrame({ id, kind, content }: Frame): Buffer {
  const out = Buffer.allocUnsafe(HEAD + content.length);
  out.writeUInt32BE(HEAD - 4 + content.length, 0);
  out.writeUInt32BE(id, 4);
  out[8] = kind;
  out.set(content, HEAD);
  return out;
}

/** Cuts a stream into frames. `push` throws `malformed` for one that is too short or too long. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0);

  *push(chunk: Buffer): Generator<Frame> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at);
      if (length < HEAD - 4 || length > MAX_FRAME) throw malformed('a frame of no possible length');
      if (bytes.length - at - 4 < length) break;
      yield {
        id: bytes.readUInt32BE(at + 4),
        kind: bytes[at + 8],
        content: new Uint8Array(bytes.subarray(at + HEAD, at + 4 + length)),
      };
      at += 4 + length;
    }
    this.#rest = bytes.subarray(at);
  }
}

/** Collects what is written in one turn into one write. */
export class Writing {
  readonly #write: (bytes: Buffer) => void;
  #frames: Buffer[] = [];

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  push(frame: Frame): void {
    if (this.#frames.push(encodeFrame(frame)) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const frames = this.#frames;
    this.#frames = [];
    this.#write(frames.length === 1 ? frames[0] : Buffer.concat(frames));
  }
}

export const encodeRefusal = (error: unknown): Uint8Array =>
  error instanceof Agnt2Error
    ? utf8(JSON.stringify({ code: error.code, detail: error.detail }))
    : utf8(JSON.stringify({ code: 'internal', detail: 'the signer failed' }));

export function decodeRefusal(content: Uint8Array): Agnt2Error {
  try {
    const { code, detail } = decodeJson(content);
    return new Agnt2Error(String(code), String(detail));
  } catch {
    return malformed('a refusal that is none');
  }
}

export const encodeJson = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

/** Throws `malformed` for anything but an object. */
export function decodeJson(content: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(content));
  } catch {
    throw malformed('no JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('no JSON object');
  return value as Record<string, unknown>;
}

function uint(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed('no number');
  return value as number;
}

export const encodeClose = (close: Close): Uint8Array =>
  encodeJson({ ...close, rootAB: hex(close.rootAB), rootBA: hex(close.rootBA) });
export function decodeClose(content: Uint8Array): Close {
  const json = decodeJson(content);
  return {
    session: uint(json.session),
    paidAB: uint(json.paidAB),
    paidBA: uint(json.paidBA),
    callsAB: uint(json.callsAB),
    callsBA: uint(json.callsBA),
    rootAB: unhex(String(json.rootAB), 32),
    rootBA: unhex(String(json.rootBA), 32),
  };
}

export const encodeConnect = (connect: Connect): Uint8Array => encodeJson({ ...connect, nonce: hex(connect.nonce) });
export function decodeConnect(content: Uint8Array): Connect {
  const { agent, room, timeMs, nonce } = decodeJson(content);
  return { agent: uint(agent), room: String(room), timeMs: uint(timeMs), nonce: unhex(String(nonce), 32) };
}

export const encodeAnnounce = (announce: Announce): Uint8Array =>
  encodeJson({ ...announce, contentHash: hex(announce.contentHash) });
export function decodeAnnounce(content: Uint8Array): Announce {
  const { agent, contentHash, timeMs } = decodeJson(content);
  return { agent: uint(agent), contentHash: unhex(String(contentHash), 32), timeMs: uint(timeMs) };
}

export const encodePairing = (pairing: Pairing): Uint8Array =>
  encodeJson({ ...pairing, key: hex(pairing.key), peerKey: hex(pairing.peerKey) });
export function decodePairing(content: Uint8Array): Pairing {
  const { session, party, key, peerKey } = decodeJson(content);
  if (party !== 0 && party !== 1) throw malformed('no party');
  return { session: uint(session), party, key: unhex(String(key), 64), peerKey: unhex(String(peerKey), 64) };
}

/** Throws `malformed`. */
export function decodeStart(content: Uint8Array): { chainId: number; root: string; agent: number } {
  const { chainId, root, agent } = decodeJson(content);
  return { chainId: uint(chainId), root: String(root), agent: uint(agent) };
}
/** Throws `malformed`. */
export function decodeSessions(content: Uint8Array): number[] {
  const { sessions } = decodeJson(content);
  if (!Array.isArray(sessions)) throw malformed('no list of sessions');
  return sessions.map(uint);
}

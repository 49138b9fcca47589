/** The signer: alone with the key, it builds the digest of what it is shown, and signs what its rules allow. */
import type { Duplex } from 'node:stream';
import { Reader, hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';
import { decodeHalf } from '../../protocol/half.ts';
import type { MachineKey } from '../../protocol/keys.ts';
import { type KeyFile, makeNext, promoteNext } from './keys.ts';
import { Rules, type RuleOptions } from './rules.ts';
import {
  type Frame,
  Frames,
  type Hello,
  Kind,
  Writing,
  decodeAnnounce,
  decodeClose,
  decodeConnect,
  decodePairing,
  decodeSessions,
  decodeStart,
  encodeJson,
  encodeRefusal,
} from './wire.ts';

const MAX_OLD_SESSIONS = 65_536;

export class Signer {
  #keys: KeyFile;
  readonly #rules: Rules;
  #signing: Signing | null = null;
  #domain = '';
  #making: Promise<MachineKey> | null = null;
  /** Sessions that pinned a key of before a rotation. */
  readonly #pinned = new Map<number, MachineKey>();

  constructor(keys: KeyFile, rules: RuleOptions = {}) {
    this.#keys = keys;
    this.#rules = new Rules(rules);
  }

  /** Fixes what it signs for; later only the same again. Throws `wrong_domain`. */
  start(chainId: number, root: string, agent: number): void {
    const domain = `${chainId} ${root.toLowerCase()} ${agent}`;
    if (this.#signing === null) {
      this.#signing = new Signing({ chainId, root: hex(unhex(root, 20)) });
      this.#rules.agent = agent;
      this.#domain = domain;
    } else if (this.#domain !== domain)
      throw new Agnt2Error('wrong_domain', 'this signer was started for another agent or deployment');
  }

  /** Serves one connection until it ends; what is not of the protocol ends it. */
  serve(stream: Duplex): void {
    const frames = new Frames();
    const writing = new Writing((bytes) => void (stream.writable && stream.write(bytes)));
    stream.on('error', () => stream.destroy());
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) {
          const answer = (kind: number, content: Uint8Array): void => writing.push({ id: frame.id, kind, content });
          this.#answer(frame).then(
            (content) => answer(1, content),
            (error: unknown) => answer(0, encodeRefusal(error)),
          );
        }
      } catch {
        stream.destroy();
      }
    });
  }

  /** The rules are applied before the first wait: of two requests the one that came first counts first. */
  async #answer({ kind, content }: Frame): Promise<Uint8Array> {
    switch (kind) {
      case Kind.hello:
        return encodeJson(this.#hello());
      case Kind.start: {
        const { chainId, root, agent } = decodeStart(content);
        this.start(chainId, root, agent);
        return encodeJson(this.#hello());
      }
      case Kind.next:
        return (await this.#next()).publicKey;
      case Kind.promote:
        return this.#promote(decodeSessions(content)).publicKey;
    }
    const signing = this.#signing;
    if (signing === null) throw new Agnt2Error('not_started', 'the signer does not know its deployment yet');
    switch (kind) {
      case Kind.bundle:
        this.#rules.bundle(content);
        return this.#keys.key.sign(signing.bundle(content));
      case Kind.half: {
        const reader = new Reader(content);
        const half = decodeHalf(reader);
        reader.end();
        this.#rules.half(half);
        return this.#keyOf(half.session).sign(signing.half(half));
      }
      case Kind.close: {
        const close = decodeClose(content);
        this.#rules.close(close);
        return this.#keyOf(close.session).sign(signing.close(close));
      }
      case Kind.connect: {
        const connect = decodeConnect(content);
        this.#rules.connect(connect);
        return this.#keys.key.sign(signing.connect(connect));
      }
      case Kind.pairing: {
        const pairing = decodePairing(content);
        this.#rules.pairing();
        return this.#keyOf(pairing.session).sign(signing.pairing(pairing));
      }
      case Kind.announce: {
        const announce = decodeAnnounce(content);
        this.#rules.announce(announce);
        return this.#keys.key.sign(signing.announce(announce));
      }
      default:
        throw malformed('nothing that this signer signs');
    }
  }

  #keyOf(session: number): MachineKey {
    return this.#pinned.get(session) ?? this.#keys.key;
  }

  #hello(): Hello {
    const { key, next } = this.#keys;
    return {
      publicKey: hex(key.publicKey),
      nextKey: next === null ? null : hex(next.publicKey),
      expires: this.#rules.expires,
    };
  }

  async #next(): Promise<MachineKey> {
    if (this.#keys.next !== null) return this.#keys.next;
    this.#making ??= makeNext(this.#keys).finally(() => (this.#making = null));
    const next = await this.#making;
    this.#keys = { ...this.#keys, next };
    return next;
  }

  #promote(sessions: readonly number[]): MachineKey {
    const { key, next } = this.#keys;
    if (next === null) throw new Agnt2Error('no_next_key', 'there is no next key to take into use');
    if (sessions.length > MAX_OLD_SESSIONS) throw malformed('too many sessions');
    promoteNext(this.#keys);
    this.#keys = { ...this.#keys, key: next, next: null };
    for (const session of sessions) if (!this.#pinned.has(session)) this.#pinned.set(session, key);
    return next;
  }
}

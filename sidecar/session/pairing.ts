/** What seals the calls of one pairing: keys agreed in the hellos, bound to the two parties by their machine keys. */
import { equal } from '../../protocol/bytes.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { type PairingKey, SealedFlow, type Sealing, sealKey } from '../../protocol/seal.ts';
import type { EndpointOptions } from './types.ts';

type Bytes = Uint8Array | Promise<Uint8Array>;
type PairingOptions = Pick<EndpointOptions, 'facts' | 'role' | 'key' | 'signing'>;

export class Pairing {
  readonly #options: PairingOptions;
  readonly #sealing: Sealing;
  readonly #own: PairingKey;
  #peerKey: Uint8Array | null = null;
  #bound = false;
  #outgoing: SealedFlow | null = null;
  #incoming: SealedFlow | null = null;
  /** The last packet still being sealed, where the platform takes its time. */
  #tail: Promise<void> | null = null;

  private constructor(options: PairingOptions, sealing: Sealing, own: PairingKey) {
    this.#options = options;
    this.#sealing = sealing;
    this.#own = own;
  }

  static async begin(options: PairingOptions, sealing: Sealing): Promise<Pairing> {
    return new Pairing(options, sealing, await sealing.pairingKey());
  }

  /** Goes into this side's hello. */
  get publicKey(): Uint8Array {
    return this.#own.publicKey;
  }
  /** The peer's machine key has signed for its key and ours. */
  get isBound(): boolean {
    return this.#bound;
  }

  /**
   * Takes the key of the peer's hello; gives what binds ours to it, to be sent. Rejects with `key_required` when there is
   * none, `malformed`.
   */
  async meet(peerKey: Uint8Array | undefined): Promise<Uint8Array> {
    if (peerKey === undefined) throw new Agnt2Error('key_required', 'calls of a session are sealed');
    // Nobody has chosen the same; whoever says so has only repeated it.
    if (equal(peerKey, this.publicKey)) throw malformed("the peer's pairing key is ours");
    const { facts, role, key, signing } = this.#options;
    const secret = await this.#own.agree(peerKey);
    const [keyA, keyB] = role === 'a' ? [this.publicKey, peerKey] : [peerKey, this.publicKey];
    const pairing = { secret, keyA, keyB, separator: signing.separator, session: facts.session };
    this.#outgoing = new SealedFlow(this.#sealing, sealKey(pairing, role === 'a' ? 0 : 1));
    this.#incoming = new SealedFlow(this.#sealing, sealKey(pairing, role === 'a' ? 1 : 0));
    this.#peerKey = peerKey;
    return key.sign(
      signing.pairing({ session: facts.session, party: role === 'a' ? 0 : 1, key: this.publicKey, peerKey }),
    );
  }

  /** Takes the peer's word on the two keys. Rejects with `bad_signature`, `malformed`. */
  async bind(signature: Uint8Array): Promise<void> {
    if (this.#peerKey === null || this.#bound) throw malformed('a bind follows a hello, once');
    const { facts, role, signing } = this.#options;
    const preimage = signing.pairing({
      session: facts.session,
      party: role === 'a' ? 1 : 0,
      key: this.#peerKey,
      peerKey: this.publicKey,
    });
    if (!(await verifyP256(role === 'a' ? facts.keyB : facts.keyA, preimage, signature)))
      throw new Agnt2Error('bad_signature', 'the pairing key is not that of the other party');
    this.#bound = true;
  }

  /** Seals a calls packet and hands it to `send`, in order. */
  seal(packet: Uint8Array, send: (sealed: Uint8Array) => void): void {
    const sealed = this.#outgoing!.seal(packet);
    if (this.#tail === null && sealed instanceof Uint8Array) {
      send(sealed);
      return;
    }
    const before = this.#tail;
    const tail: Promise<void> = Promise.resolve(sealed)
      .then(async (bytes) => {
        await before;
        send(bytes);
      })
      .finally(() => {
        if (this.#tail === tail) this.#tail = null;
      });
    this.#tail = tail;
  }

  /** Opens the next calls packet. Throws, or rejects with, `bad_seal`. */
  open(packet: Uint8Array): Bytes {
    return this.#incoming!.open(packet);
  }
}

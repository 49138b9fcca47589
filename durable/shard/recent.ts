/** Places of the bundles executed last, so that bytes sent twice are recognised as such. */
import { equal } from '../../protocol/bytes.ts';
import { serialOf } from '../../protocol/ids.ts';

const KEPT = 16_384;

/** Agent and nonce as one number: 20 and 32 bits of it. */
const nameOf = (agent: number, nonce: number): number => serialOf(agent) * 2 ** 32 + nonce;

export class Recent {
  readonly #places = new Map<number, { readonly frameHash: Uint8Array; readonly seq: number }>();

  add({ actor, nonce }: { actor: number; nonce: number }, frameHash: Uint8Array, seq: number): void {
    if (this.#places.size >= KEPT) this.#places.delete(this.#places.keys().next().value!);
    this.#places.set(nameOf(actor, nonce), { frameHash, seq });
  }
  /** Where the bundle of this hash is; undefined when it was not executed, or long ago. */
  placeOf({ actor, nonce }: { actor: number; nonce: number }, frameHash: Uint8Array): number | undefined {
    const place = this.#places.get(nameOf(actor, nonce));
    return place && equal(place.frameHash, frameHash) ? place.seq : undefined;
  }
  static readonly kept = KEPT;
}

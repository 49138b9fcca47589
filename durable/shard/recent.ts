/** Places of the frames executed last, so that bytes sent twice are recognised as such. */
import { type Hex, hex } from '../../protocol/bytes.ts';

const KEPT = 16_384;

export class Recent {
  readonly #places = new Map<Hex, number>();

  add(frameHash: Uint8Array, seq: number): void {
    if (this.#places.size >= KEPT) this.#places.delete(this.#places.keys().next().value!);
    this.#places.set(hex(frameHash), seq);
  }
  placeOf(frameHash: Uint8Array): number | undefined {
    return this.#places.get(hex(frameHash));
  }
  static readonly kept = KEPT;
}

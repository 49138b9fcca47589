/** How many calls of each payer are under way on other shards: each holds a slot of a ring there, for as long as that shard's service says. */
import { Escrow, EscrowStatus, REGION_SLOTS, Region, slotOf } from '../../protocol/cells.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { Cell } from '../../protocol/memory.ts';
import { isOrder } from '../../protocol/moves/escrow.ts';

export class Orders {
  readonly #machine: Machine;
  /** A bit for every slot: it is counted. */
  readonly #counted = new Uint32Array(REGION_SLOTS / 32);
  readonly #byPayer = new Map<number, number>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** A record may have changed. */
  look(escrow: Cell): void {
    const machine = this.#machine;
    const { cells } = machine;
    const status = Escrow.status.get(cells, escrow);
    const isOut = (status === EscrowStatus.sent || status === EscrowStatus.held) && isOrder(machine, escrow);
    const slot = slotOf(Region.escrow, Escrow.serial.get(cells, escrow));
    const bit = 1 << slot;
    if (((this.#counted[slot >>> 5] & bit) !== 0) === isOut) return;
    this.#counted[slot >>> 5] ^= bit;
    const payer = Escrow.payer.get(cells, escrow);
    const count = this.of(payer) + (isOut ? 1 : -1);
    if (count > 0) this.#byPayer.set(payer, count);
    else this.#byPayer.delete(payer);
  }

  of(payer: number): number {
    return this.#byPayer.get(payer) ?? 0;
  }
}

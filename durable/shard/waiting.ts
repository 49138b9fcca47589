/**
 * Which calls wait for which: for every slot of a ring, the list of those that wait for what stands there. A call waits for one other, so the
 * lists run through the slots themselves, eight bytes each, where a set for every call that is waited for would take two hundred. Lists that were
 * woken are gone through a few at a time: one call may be what a whole ring has waited for.
 */

/** Behind the last of those that were woken. */
const END = -1;
/** Slots there is room for at first. */
const ROOM = 1024;

export class Waiting {
  readonly #slots: number;
  /** By what is waited for: one more than the slot of the newest that waits for it; 0 for none. */
  #last = new Int32Array(ROOM);
  /** By what waits: one more than the slot of the next, after the newest that of the oldest; 0 for what is in no list. */
  #next = new Int32Array(ROOM);
  /** The list of those that were woken: first and last, as in {@link #last}. */
  #wokenFirst = 0;
  #wokenLast = 0;

  /** `slots`: of the ring. */
  constructor(slots: number) {
    this.#slots = slots;
  }

  /** What stands in `slot` waits for what stands in `first`; no news when it does already, or was woken and not taken yet. */
  add(first: number, slot: number): void {
    this.#makeRoom(Math.max(first, slot));
    if (this.#next[slot] !== 0) return;
    const last = this.#last[first];
    this.#next[slot] = last === 0 ? slot + 1 : this.#next[last - 1];
    if (last !== 0) this.#next[last - 1] = slot + 1;
    this.#last[first] = slot + 1;
  }

  /** Whoever waits for what stands in `first` is to be looked at. */
  wake(first: number): void {
    const last = first < this.#last.length ? this.#last[first] : 0;
    if (last === 0) return;
    const oldest = this.#next[last - 1];
    if (this.#wokenFirst === 0) this.#wokenFirst = oldest;
    else this.#next[this.#wokenLast - 1] = oldest;
    this.#wokenLast = last;
    this.#next[last - 1] = END;
    this.#last[first] = 0;
  }

  get isAwake(): boolean {
    return this.#wokenFirst !== 0;
  }

  /** Takes the slot of the one that was woken first; −1 when there is none. It waits no more, unless it is added again. */
  take(): number {
    const slot = this.#wokenFirst - 1;
    if (slot < 0) return -1;
    this.#wokenFirst = Math.max(this.#next[slot], 0);
    this.#next[slot] = 0;
    return slot;
  }

  /** A ring fills from its first slot on, so there is room for as much of it as was ever used. */
  #makeRoom(slot: number): void {
    let room = this.#next.length;
    while (room <= slot) room *= 2;
    if (room === this.#next.length) return;
    room = Math.min(room, this.#slots);
    const roomier = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const made = new Int32Array(room);
      made.set(old);
      return made;
    };
    this.#last = roomier(this.#last);
    this.#next = roomier(this.#next);
  }
}

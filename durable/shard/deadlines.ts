/**
 * Deadlines of what stands in the slots of a ring, earliest first: a binary heap of numbers, each a deadline and its slot. What ends before its
 * deadline stays in it until it comes up, or until too many have: then the heap is tidied.
 */

/** Entries before it is looked at which still hold. */
const TIDY_AT = 2 ** 16;

export class Deadlines {
  readonly #slots: number;
  readonly #holds: (slot: number, deadline: number) => boolean;
  #heap = new Float64Array(64);
  #size = 0;
  #tidyAt = TIDY_AT;

  /** `slots`: of the ring. `holds`: whether what is in a slot still has that deadline. */
  constructor(slots: number, holds: (slot: number, deadline: number) => boolean) {
    this.#slots = slots;
    this.#holds = holds;
  }

  add(slot: number, deadline: number): void {
    if (this.#size >= this.#tidyAt) this.#tidy();
    if (this.#size === this.#heap.length) {
      const roomier = new Float64Array(2 * this.#size);
      roomier.set(this.#heap);
      this.#heap = roomier;
    }
    this.#heap[this.#size] = deadline * this.#slots + slot;
    this.#rise(this.#size++);
  }

  /** The earliest deadline that still holds, Unix seconds; Infinity for none. */
  get next(): number {
    while (this.#size > 0) {
      const entry = this.#heap[0];
      const deadline = Math.floor(entry / this.#slots);
      if (this.#holds(entry % this.#slots, deadline)) return deadline;
      this.#drop();
    }
    return Infinity;
  }

  /** Takes out the slot with the earliest deadline, if that is before `time`; −1 if none is. */
  take(time: number): number {
    if (this.next >= time) return -1;
    const slot = this.#heap[0] % this.#slots;
    this.#drop();
    return slot;
  }

  #drop(): void {
    this.#size -= 1;
    this.#heap[0] = this.#heap[this.#size];
    this.#sink(0);
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const entry = heap[from];
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (heap[parent] <= entry) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = entry;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const entry = heap[from];
    let at = from;
    for (let child = 2 * at + 1; child < this.#size; child = 2 * at + 1) {
      if (child + 1 < this.#size && heap[child + 1] < heap[child]) child += 1;
      if (heap[child] >= entry) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = entry;
  }

  /** Lets go of what holds no more; what is left is at most one entry a slot, or nearly. */
  #tidy(): void {
    const kept = this.#heap
      .subarray(0, this.#size)
      .filter((entry) => this.#holds(entry % this.#slots, Math.floor(entry / this.#slots)));
    // Ascending order is a heap.
    kept.sort();
    this.#heap.set(kept);
    this.#size = kept.length;
    this.#tidyAt = Math.max(TIDY_AT, 2 * this.#size);
  }
}

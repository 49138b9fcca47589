/**
 * What is to happen in a simulation, by time, and of equal times in the order in which it was added: so that a run follows from its seed alone.
 * A heap of four children over typed arrays, because millions of events wait at once.
 */
const ARITY = 4;
const FIRST_ROOM = 1024;

export class EventQueue {
  /** The event that {@link next} took: its time in seconds, what it is, and whom it concerns. */
  time = 0;
  kind = 0;
  a = 0;
  b = 0;
  /** Events taken so far. */
  taken = 0;
  #count = 0;
  #added = 0;
  #times = new Float64Array(FIRST_ROOM);
  #orders = new Float64Array(FIRST_ROOM);
  /** kind, a, b of each. */
  #what = new Int32Array(3 * FIRST_ROOM);

  get count(): number {
    return this.#count;
  }

  add(time: number, kind: number, a = 0, b = 0): void {
    if (this.#count === this.#times.length) this.#grow();
    const order = this.#added++;
    let at = this.#count++;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      // What is new never goes before what has the same time.
      if (this.#times[parent] <= time) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, time, order, kind, a, b);
  }

  /** Takes the first into the fields; false when nothing is left. */
  next(): boolean {
    if (this.#count === 0) return false;
    const what = this.#what;
    this.time = this.#times[0];
    this.kind = what[0];
    this.a = what[1];
    this.b = what[2];
    this.taken += 1;
    this.#count -= 1;
    if (this.#count > 0) this.#sink(this.#count);
    return true;
  }

  /** Puts the event of slot `last` where it belongs, from the empty root down. */
  #sink(last: number): void {
    const [times, orders, what] = [this.#times, this.#orders, this.#what];
    const [time, order] = [times[last], orders[last]];
    const [kind, a, b] = [what[3 * last], what[3 * last + 1], what[3 * last + 2]];
    const count = this.#count;
    let at = 0;
    for (;;) {
      const first = ARITY * at + 1;
      if (first >= count) break;
      let least = first;
      const end = Math.min(first + ARITY, count);
      for (let child = first + 1; child < end; child++)
        if (times[child] < times[least] || (times[child] === times[least] && orders[child] < orders[least]))
          least = child;
      if (times[least] > time || (times[least] === time && orders[least] > order)) break;
      this.#move(least, at);
      at = least;
    }
    this.#put(at, time, order, kind, a, b);
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from];
    this.#orders[to] = this.#orders[from];
    const what = this.#what;
    what[3 * to] = what[3 * from];
    what[3 * to + 1] = what[3 * from + 1];
    what[3 * to + 2] = what[3 * from + 2];
  }
  #put(at: number, time: number, order: number, kind: number, a: number, b: number): void {
    this.#times[at] = time;
    this.#orders[at] = order;
    const what = this.#what;
    what[3 * at] = kind;
    what[3 * at + 1] = a;
    what[3 * at + 2] = b;
  }

  #grow(): void {
    const room = 2 * this.#times.length;
    const times = new Float64Array(room);
    const orders = new Float64Array(room);
    const what = new Int32Array(3 * room);
    times.set(this.#times);
    orders.set(this.#orders);
    what.set(this.#what);
    [this.#times, this.#orders, this.#what] = [times, orders, what];
  }
}

/**
 * What waits to be executed: a queue for each agent, in the order of its nonces, and turns among the agents, so that whoever floods
 * waits behind itself and nobody else.
 */

/** Work of one agent (estimated microseconds) that runs before the next agent's turn. */
const TURN = 1000;

export interface Queued {
  readonly agent: number;
  readonly nonce: number;
  /** Estimated microseconds. */
  readonly work: number;
  /** Whether it may run: set through {@link FairQueue.wake}. */
  ready: boolean;
}

interface Own<T> {
  items: T[];
  /** Work run in the turn that is going on. */
  spent: number;
}

export class FairQueue<T extends Queued> {
  readonly #agents = new Map<number, Own<T>>();
  /** Agents whose first may run, in the order of their turns. */
  readonly #turns = new Map<number, Own<T>>();
  #count = 0;

  get count(): number {
    return this.#count;
  }
  /** Whether anything may run. */
  get runnable(): boolean {
    return this.#turns.size > 0;
  }
  countOf(agent: number): number {
    return this.#agents.get(agent)?.items.length ?? 0;
  }

  /** Behind everything of its agent with the same nonce or a lower one. */
  push(item: T): void {
    let own = this.#agents.get(item.agent);
    if (!own) this.#agents.set(item.agent, (own = { items: [], spent: 0 }));
    let at = own.items.length;
    while (at > 0 && own.items[at - 1].nonce > item.nonce) at -= 1;
    own.items.splice(at, 0, item);
    this.#count += 1;
    this.#settle(item.agent, own);
  }

  /** Lets an item run that was not ready. */
  wake(item: T): void {
    item.ready = true;
    const own = this.#agents.get(item.agent);
    if (own) this.#settle(item.agent, own);
  }

  /** Takes the next that may run; null when none may. */
  next(): T | null {
    const [turn] = this.#turns;
    if (!turn) return null;
    const [agent, own] = turn;
    const item = own.items.shift()!;
    own.spent += item.work;
    this.#count -= 1;
    if (own.spent >= TURN) {
      own.spent = 0;
      this.#turns.delete(agent);
    }
    this.#settle(agent, own);
    return item;
  }

  /** Keeps an agent among those with turns exactly while its first may run. */
  #settle(agent: number, own: Own<T>): void {
    if (own.items[0]?.ready) {
      if (!this.#turns.has(agent)) this.#turns.set(agent, own);
      return;
    }
    this.#turns.delete(agent);
    if (own.items.length === 0) this.#agents.delete(agent);
  }
}

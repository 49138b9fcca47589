/**
 * Escrows for our services that nobody calls for. An escrow past its deadline costs us reputation and stake, whether its payer ever called or not;
 * so those are declined shortly before, which costs nobody anything. New ones are found by a cursor, not by looking through all again.
 */
import { ZERO_BYTES32 } from '../protocol/bytes.ts';
import { shardOf } from '../protocol/ids.ts';
import type { Core } from './core.ts';
import type { Responder } from './responder.ts';
import type { Store } from './store.ts';

export interface UnaskedOptions {
  readonly agent: number;
  readonly core: Core;
  readonly store: Store;
  readonly responder: Responder;
  /** Milliseconds between looks. */
  readonly everyMs: number;
  readonly now?: () => number;
  readonly onError?: (error: unknown) => void;
}

/** Pages of one look; what is left over comes with the next. */
const MAX_PAGES = 64;
/** Most seconds before a deadline that we decline: the call may still come. */
const MAX_MARGIN = 30;

export class Unasked {
  readonly #options: UnaskedOptions;
  readonly #now: () => number;
  /** Open, and when to decline (ms). */
  readonly #due = new Map<number, number>();
  /** Up to here all is known, but for what waits. */
  #cursor: number;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();

  constructor(options: UnaskedOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
    this.#cursor = shardOf(options.agent);
  }

  /** Milliseconds between looks for services that answer within so many seconds. */
  static paceOf(deadlineSeconds: number): number {
    return Math.min(10_000, Math.max(500, (1000 * deadlineSeconds) / 8));
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#options.everyMs);
    this.#timer.unref();
    void this.look();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#round;
  }

  /** One round, after the one that may be running. */
  look(): Promise<void> {
    return (this.#round = this.#round
      .then(() => this.#look())
      .catch((error: unknown) => this.#options.onError?.(error)));
  }

  async #look(): Promise<void> {
    const { store, responder } = this.#options;
    await this.#find();
    for (const [escrow, dueMs] of this.#due) {
      if (dueMs > this.#now()) continue;
      this.#due.delete(escrow);
      // Whoever takes it first has it: this, or its call.
      if (store.takeEscrow(escrow)) responder.owe({ escrow, price: 0, result: 2, payload: ZERO_BYTES32 });
    }
  }

  /** Notes what is open and not taken. What waits for another call may start any time: from the first of those all is looked at again. */
  async #find(): Promise<void> {
    const { core, store, agent } = this.#options;
    const now = this.#now();
    let waiting: number | null = null;
    for (let page = 0, after = this.#cursor; page < MAX_PAGES; page++) {
      const { escrows, next, upTo } = await core.escrows('payee', agent, 'open,waiting', after);
      for (const { id, status, deadline } of escrows) {
        if (status === 'waiting') waiting ??= id;
        else if (!this.#due.has(id) && !store.isTaken(id)) {
          const left = Math.max(0, 1000 * deadline - now);
          this.#due.set(id, now + left - Math.min(left / 4, 1000 * MAX_MARGIN));
        }
      }
      after = next ?? upTo;
      if (waiting === null) this.#cursor = after;
      if (next === null) break;
    }
    // Just before it: ids of a shard are 256 apart.
    if (waiting !== null) this.#cursor = waiting - 256;
  }
}

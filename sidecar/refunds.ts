/** Follows the escrows we paid into to their end: corrects the budget by what was really charged, and takes back what was never answered. */
import { codeOf } from '../protocol/errors.ts';
import type { Core } from './core.ts';
import type { Metrics } from './metrics.ts';
import type { Policy } from './policy.ts';
import type { PaidEscrow, Store } from './store.ts';
import type { Wallet } from './wallet.ts';

export interface RefundsOptions {
  readonly core: Core;
  readonly wallet: Wallet;
  readonly store: Store;
  readonly policy: Policy;
  readonly metrics: Metrics;
  /** Milliseconds between looks. Default 5,000. */
  readonly everyMs?: number;
  readonly now?: () => number;
  readonly onError?: (error: unknown) => void;
}

/** Escrows looked at per round. */
const PER_ROUND = 64;
/** Seconds past a deadline before we expire: the shard's clock may lag ours. */
const SLACK = 3;

export class Refunds {
  readonly #options: RefundsOptions;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  /** Escrows seen open, and when to look again (ms). */
  readonly #again = new Map<number, number>();

  constructor(options: RefundsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#options.everyMs ?? 5000);
    this.#timer.unref();
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
    const { store, wallet, now = Date.now } = this.#options;
    const due = store.paidEscrows().filter(({ escrow }) => (this.#again.get(escrow) ?? 0) <= now());
    const expirable: PaidEscrow[] = [];
    for (const paid of due.slice(0, PER_ROUND)) if (await this.#ended(paid)) expirable.push(paid);
    if (expirable.length === 0) return;
    await wallet.submit(expirable.map(({ escrow }) => ({ op: 'expire', escrow })));
    for (const paid of expirable) await this.#ended(paid);
  }

  /** Books an escrow that has ended. True when it should be expired. */
  async #ended(paid: PaidEscrow): Promise<boolean> {
    const { core, store, policy, metrics, now = Date.now } = this.#options;
    let charged: number | null = null;
    try {
      const escrow = await core.escrow(paid.escrow);
      if (escrow.status === 'fulfilled') charged = escrow.paid;
      else if (escrow.status === 'refunded' || escrow.status === 'expired' || escrow.status === 'empty') charged = 0;
      else {
        const over = now() / 1000 > escrow.deadline + SLACK;
        // While it is open nothing changes by asking often; near its deadline it is looked at again.
        this.#again.set(
          paid.escrow,
          now() + (over ? 0 : Math.min(60_000, 1000 * Math.max(1, escrow.deadline + SLACK + 1 - now() / 1000))),
        );
        return over;
      }
    } catch (error) {
      // Its ring slot was taken over, so it ended; how is not on the cell any more, and the budget keeps the whole.
      if (codeOf(error) !== 'unknown_escrow') throw error;
      charged = paid.amount;
    }
    store.removePaid(paid.escrow);
    this.#again.delete(paid.escrow);
    policy.correct(paid.atMs, paid.peer, charged - paid.amount);
    metrics.spent.add('route="core"', charged);
    return false;
  }
}

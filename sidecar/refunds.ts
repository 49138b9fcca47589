/** Follows the escrows we paid into to their end: corrects the budget by what was really charged, and takes back what was never answered. */
import { codeOf } from '../protocol/errors.ts';
import { shardOf } from '../protocol/ids.ts';
import type { Core } from './core.ts';
import type { Metrics } from './metrics.ts';
import type { Policy } from './policy/policy.ts';
import type { EscrowFacts } from './core.ts';
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
/** What may still come to something: neither paid nor given back. */
const UNDER_WAY = 'open,sent,held,contested,waiting';
/** Pages looked through for what a crash left without a note. */
const MAX_PAGES = 64;
/** An order is told what became of its escrow within moments; a look this often is early enough. */
const ORDER_MS = 5000;

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

  /**
   * Takes up what we pay for and have no note of: a crash came between the accepted invoke and the note, or its outcome was never known.
   * Whether the budget had counted it nobody knows, so it is not corrected by it.
   */
  async adopt(): Promise<void> {
    const { core, store, wallet } = this.#options;
    let after = shardOf(wallet.agent);
    for (let page = 0; page < MAX_PAGES; page++) {
      const { escrows, next } = await core.escrows('payer', wallet.agent, UNDER_WAY, after);
      for (const { id, payee, amount, deadline } of escrows)
        if (!store.hasPaid(id)) store.addPaid({ escrow: id, peer: payee, amount, deadline, atMs: 0 });
      if (next === null) return;
      after = next;
    }
  }

  async #look(): Promise<void> {
    const { store, wallet, now = Date.now } = this.#options;
    const due = store.paidEscrows().filter(({ escrow }) => (this.#again.get(escrow) ?? 0) <= now());
    const expirable: { paid: PaidEscrow; escrow: number }[] = [];
    for (const paid of due.slice(0, PER_ROUND)) {
      const escrow = await this.#ended(paid);
      if (escrow !== null) expirable.push({ paid, escrow });
    }
    if (expirable.length === 0) return;
    await wallet.submit(expirable.map(({ escrow }) => ({ op: 'expire', escrow })));
    for (const { paid } of expirable) await this.#ended(paid);
  }

  /** Books an escrow or order that has ended. Answers the escrow, on whatever shard, that should be expired; null when there is none. */
  async #ended(paid: PaidEscrow): Promise<number | null> {
    const { core, store, policy, metrics, now = Date.now } = this.#options;
    let charged: number | null = null;
    let service = 0;
    try {
      const escrow = await core.escrow(paid.escrow);
      service = escrow.service;
      if (escrow.status === 'fulfilled') charged = escrow.paid;
      else if (escrow.status === 'refunded' || escrow.status === 'expired' || escrow.status === 'empty') charged = 0;
      else {
        const at = standing(escrow);
        const over = at !== null && now() / 1000 > at.deadline + SLACK;
        const isOrder = at !== escrow;
        // While it is open nothing changes by asking often; near its deadline it is looked at again.
        const untilOver = at === null ? ORDER_MS : 1000 * Math.max(1, at.deadline + SLACK + 1 - now() / 1000);
        this.#again.set(paid.escrow, now() + (over ? (isOrder ? ORDER_MS : 0) : Math.min(60_000, untilOver)));
        return over ? at.id : null;
      }
    } catch (error) {
      // Its ring slot was taken over, so it ended; how is not on the cell any more, and the budget keeps the whole.
      if (codeOf(error) !== 'unknown_escrow') throw error;
      charged = paid.amount;
    }
    store.removePaid(paid.escrow);
    this.#again.delete(paid.escrow);
    policy.correct(paid.atMs, paid.peer, service, paid.amount, charged);
    metrics.spent.add('route="core"', charged);
    return null;
  }
}

/**
 * The escrow that its deadline ends: of an order the one it opened, on the provider's shard. null while there is none,
 * or while it is held: then a workflow or the time to contest ends it, and nobody needs us for that.
 */
function standing(record: EscrowFacts): EscrowFacts | null {
  const escrow = record.status === 'sent' ? record.escrow : record;
  return escrow?.status === 'open' || escrow?.status === 'contested' ? escrow : null;
}

/**
 * Answers on Core: every escrow we took ends in a `respond`, many to a bundle, and none is forgotten by a crash. What is
 * owed is on disk before the caller has its whole answer; after a restart the escrow itself says whether ours arrived.
 */
import { ZERO_BYTES32 } from '../protocol/bytes.ts';
import { codeOf } from '../protocol/errors.ts';
import { STATUSES, Status } from '../protocol/status.ts';
import type { Core } from './core.ts';
import type { Metrics } from './metrics.ts';
import type { PendingRespond, Store } from './store.ts';
import type { Wallet } from './wallet.ts';

export interface ResponderOptions {
  readonly store: Store;
  readonly wallet: Wallet;
  readonly core: Core;
  readonly metrics: Metrics;
  /** Milliseconds a respond waits for others. Default 50. */
  readonly flushMs?: number;
  /** Milliseconds before a respond that found no gateway is tried again. Default 5,000. */
  readonly retryMs?: number;
  readonly onError?: (error: unknown) => void;
}

const MAX_BATCH = 64;
const RESULTS = ['fulfilled', 'failed', 'declined'] as const;

export class Responder {
  readonly #options: ResponderOptions;
  #queue: PendingRespond[] = [];
  #timer: NodeJS.Timeout | null = null;
  #retries = new Set<NodeJS.Timeout>();
  readonly #flights = new Set<Promise<void>>();

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** Responds owed and not yet on Core. */
  get pending(): number {
    return this.#options.store.pendingResponds().length;
  }

  /** Owes one respond, durably, and sends it with the next bundle. */
  owe(respond: PendingRespond): void {
    this.#options.store.oweRespond(respond);
    this.#enqueue(respond);
  }

  /** Takes up what the last run left: answers nobody saw the end of have failed, the others are sent if Core lacks them. */
  async recover(): Promise<void> {
    const { store } = this.#options;
    for (const escrow of store.servingEscrows())
      store.oweRespond({ escrow, price: 0, result: 1, payload: ZERO_BYTES32 });
    await this.#resend(store.pendingResponds());
  }

  #enqueue(respond: PendingRespond): void {
    this.#queue.push(respond);
    if (this.#queue.length >= MAX_BATCH) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), this.#options.flushMs ?? 50);
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#queue.length > 0) {
      const flight = this.#flight(this.#queue.splice(0, MAX_BATCH));
      this.#flights.add(flight);
      void flight.finally(() => this.#flights.delete(flight));
    }
  }

  async #flight(responds: readonly PendingRespond[]): Promise<void> {
    const { wallet, store, metrics, onError } = this.#options;
    try {
      const { outcomes } = await wallet.submit(
        responds.map(({ escrow, price, result }) => ({
          op: 'respond',
          escrow,
          price,
          result: RESULTS[result],
        })),
        responds.map(({ payload }) => payload),
      );
      const congested: PendingRespond[] = [];
      for (const [i, { status }] of outcomes.entries()) {
        const { escrow, price, result } = responds[i];
        metrics.responds.add(`outcome="${status === Status.ok ? RESULTS[result] : STATUSES[status]}"`);
        if (status === Status.congested) {
          congested.push(responds[i]);
          continue;
        }
        // Any other is final: an escrow that isn't open, or whose deadline passed, takes no later respond either.
        store.respondDone(escrow);
        if (status === Status.ok) metrics.earned.add('route="core"', price);
      }
      // The payer's shard has to take what ours sent it before: nothing happened yet.
      if (congested.length > 0) this.#again(congested);
    } catch (error) {
      onError?.(error);
      this.#again(responds);
    }
  }

  /** Sends again what Core hasn't got: an escrow that isn't open any more needs nothing. */
  async #resend(responds: readonly PendingRespond[]): Promise<void> {
    const { core, store, onError } = this.#options;
    const unasked: PendingRespond[] = [];
    for (const respond of responds) {
      try {
        if ((await core.escrow(respond.escrow)).status === 'open') this.#enqueue(respond);
        else store.respondDone(respond.escrow);
      } catch (error) {
        if (codeOf(error) === 'unknown_escrow') store.respondDone(respond.escrow);
        else {
          onError?.(error);
          unasked.push(respond);
        }
      }
    }
    if (unasked.length > 0) this.#again(unasked);
  }

  #again(responds: readonly PendingRespond[]): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      void this.#resend(responds);
    }, this.#options.retryMs ?? 5000);
    this.#retries.add(timer);
  }

  /** Sends everything that waits and waits for its outcome; what can't be sent stays owed on disk. */
  async drain(): Promise<void> {
    this.#send();
    await Promise.all(this.#flights);
    for (const timer of this.#retries) clearTimeout(timer);
    this.#retries.clear();
  }
}

/** Calls above the threshold wait for a person: the sidecar names an approval, the operator grants it on the admin port, once. */
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { refusal } from '../errors.ts';
import type { ApprovalRow, PolicyStore } from './store.ts';

/** How long a call may wait to be granted. */
const PENDING_MS = 24 * 3600 * 1000;
/** Calls that wait; more push out the oldest, so that the app can't fill the disk. */
const MAX_PENDING = 256;

/** An approval as the operator sees it. */
export interface Approval {
  readonly approval: string;
  readonly peer: string;
  readonly service: string | null;
  readonly amount: string;
  readonly state: 'waiting' | 'granted';
  readonly until: string;
}

export class Approvals {
  readonly #store: PolicyStore;
  readonly #now: () => number;
  readonly #rows = new Map<string, ApprovalRow>();

  constructor(store: PolicyStore, now: () => number) {
    this.#store = store;
    this.#now = now;
    for (const row of store.approvals()) this.#rows.set(row.id, row);
  }

  /** Uses up a grant for such a call; null when there is none. It is gone from the disk before anything is spent. */
  take(peer: number, service: number, amount: number): ApprovalRow | null {
    this.#expire();
    for (const row of this.#rows.values()) {
      if (!row.granted || row.peer !== peer || row.service !== service || row.amount < amount) continue;
      this.#remove(row.id);
      return row;
    }
    return null;
  }

  /** Puts a grant back whose call certainly was not made. */
  restore(row: ApprovalRow): void {
    if (row.untilMs > this.#now()) this.#put(row);
  }

  /** The id under which such a call waits: the same one however often it is asked for. */
  ask(peer: number, service: number, amount: number): string {
    this.#expire();
    const waiting = [...this.#rows.values()].filter(({ granted }) => !granted);
    const same = waiting.find((row) => row.peer === peer && row.service === service && row.amount === amount);
    if (same !== undefined) return same.id;
    if (waiting.length >= MAX_PENDING) this.#remove(waiting[0].id);
    const id = hex(crypto.getRandomValues(new Uint8Array(12))).slice(2);
    this.#put({ id, peer, service, amount, granted: false, untilMs: this.#now() + PENDING_MS });
    return id;
  }

  /** Lets one call through within `seconds`. Throws `unknown_approval`. */
  grant(id: string, seconds: number): void {
    this.#put({ ...this.#known(id), granted: true, untilMs: this.#now() + seconds * 1000 });
  }

  /** Throws `unknown_approval`. */
  deny(id: string): void {
    this.#remove(this.#known(id).id);
  }

  list(): Approval[] {
    this.#expire();
    return [...this.#rows.values()].map(({ id, peer, service, amount, granted, untilMs }) => ({
      approval: id,
      peer: formatId(peer),
      service: service === 0 ? null : formatId(service),
      amount: String(amount),
      state: granted ? 'granted' : 'waiting',
      until: new Date(untilMs).toISOString(),
    }));
  }

  #known(id: string): ApprovalRow {
    this.#expire();
    const row = this.#rows.get(id);
    if (row === undefined) throw refusal('unknown_approval', 'no such approval: it was used, denied or has expired');
    return row;
  }

  #put(row: ApprovalRow): void {
    this.#store.saveApproval(row);
    this.#rows.set(row.id, row);
  }

  #remove(id: string): void {
    this.#store.removeApproval(id);
    this.#rows.delete(id);
  }

  #expire(): void {
    const now = this.#now();
    for (const { id, untilMs } of this.#rows.values()) if (untilMs <= now) this.#remove(id);
  }
}

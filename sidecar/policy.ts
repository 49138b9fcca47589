/**
 * The budget: what this agent may spend per call, hour, day and peer. It comes from the config and lives in this process,
 * so the app, or whatever talked it into calling, can't raise it. Money is counted when it is put at risk and corrected when
 * the call's real price is known: parallel calls can't overshoot together.
 */
import { formatId } from '../protocol/ids.ts';
import type { PolicyConfig } from './config.ts';
import { refusal } from './errors.ts';
import type { Spend, Store } from './store.ts';

const HOUR = 60;
const DAY = 24 * 60;
/** Counters reach the disk this often; a crash forgets at most what was reserved in between. */
const FLUSH_MS = 50;

/** Money set aside for one call. Exactly one of the methods counts, the first. */
export interface Reservation {
  /** When it was counted, for {@link Policy.correct}. */
  readonly atMs: number;
  /** The call cost this much (at most what was reserved). */
  settle(price: number): void;
  /** The call cost nothing. */
  release(): void;
}

export class Policy {
  readonly #caps: PolicyConfig;
  readonly #store: Store;
  readonly #now: () => number;
  /** minute → peer → base units. */
  readonly #minutes = new Map<number, Map<number, number>>();
  readonly #perPeer = new Map<number, number>();
  #hour = 0;
  #day = 0;
  /** Minutes before these have left the running sums. */
  #hourFrom = 0;
  #dayFrom = 0;
  readonly #dirty = new Set<string>();
  #timer: NodeJS.Timeout | null = null;

  /** `now` is in milliseconds. */
  constructor(caps: PolicyConfig, store: Store, now: () => number = Date.now) {
    this.#caps = caps;
    this.#store = store;
    this.#now = now;
    const minute = this.#minute();
    this.#hourFrom = minute - HOUR + 1;
    this.#dayFrom = minute - DAY + 1;
    for (const { minute: at, peer, amount } of store.loadSpend()) this.#add(at, peer, amount);
  }

  #minute(): number {
    return Math.floor(this.#now() / 60_000);
  }

  #add(minute: number, peer: number, amount: number): void {
    // A correction may come after its minute has left the sums: then there is nothing to correct.
    if (minute < this.#dayFrom) return;
    let peers = this.#minutes.get(minute);
    if (peers === undefined) this.#minutes.set(minute, (peers = new Map<number, number>()));
    peers.set(peer, (peers.get(peer) ?? 0) + amount);
    this.#perPeer.set(peer, (this.#perPeer.get(peer) ?? 0) + amount);
    this.#day += amount;
    if (minute >= this.#hourFrom) this.#hour += amount;
  }

  #forget(): number {
    const minute = this.#minute();
    for (; this.#hourFrom <= minute - HOUR; this.#hourFrom++)
      for (const amount of this.#minutes.get(this.#hourFrom)?.values() ?? []) this.#hour -= amount;
    for (; this.#dayFrom <= minute - DAY; this.#dayFrom++) {
      for (const [peer, amount] of this.#minutes.get(this.#dayFrom) ?? []) {
        this.#day -= amount;
        const left = this.#perPeer.get(peer)! - amount;
        if (left > 0) this.#perPeer.set(peer, left);
        else this.#perPeer.delete(peer);
      }
      this.#minutes.delete(this.#dayFrom);
    }
    return minute;
  }

  /** Base units spent or at risk now. */
  spent(): { hour: number; day: number } {
    this.#forget();
    return { hour: this.#hour, day: this.#day };
  }

  /** Sets `amount` aside for a call to `peer`. Throws `over_budget`, saying which cap. */
  reserve(peer: number, amount: number): Reservation {
    const minute = this.#forget();
    const over = (cap: string, limit: number): Error =>
      refusal(
        'over_budget',
        `${amount} base units to ${formatId(peer)} would pass the ${cap} cap of ${limit}; the policy in the sidecar's config sets it`,
      );
    if (amount > this.#caps.perCall) throw over('per-call', this.#caps.perCall);
    if (this.#hour + amount > this.#caps.perHour) throw over('hourly', this.#caps.perHour);
    if (this.#day + amount > this.#caps.perDay) throw over('daily', this.#caps.perDay);
    if ((this.#perPeer.get(peer) ?? 0) + amount > this.#caps.perPeer) throw over('per-peer', this.#caps.perPeer);
    const atMs = minute * 60_000;
    if (amount === 0) return { atMs, settle() {}, release() {} };
    this.#add(minute, peer, amount);
    this.#touch(minute, peer);
    let open = true;
    const settle = (price: number): void => {
      if (!open) return;
      open = false;
      this.correct(atMs, peer, Math.min(price, amount) - amount);
    };
    return { atMs, settle, release: () => settle(0) };
  }

  /** Takes back what turned out not to be spent, in the minute in which it was counted. */
  correct(atMs: number, peer: number, difference: number): void {
    const minute = Math.floor(atMs / 60_000);
    this.#forget();
    if (difference === 0 || minute < this.#dayFrom) return;
    this.#add(minute, peer, difference);
    this.#touch(minute, peer);
  }

  #touch(minute: number, peer: number): void {
    this.#dirty.add(`${minute} ${peer}`);
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  /** Writes the counters that changed. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#dirty.size === 0) return;
    const spends: Spend[] = [];
    for (const entry of this.#dirty) {
      const [minute, peer] = entry.split(' ').map(Number);
      spends.push({ minute, peer, amount: this.#minutes.get(minute)?.get(peer) ?? 0 });
    }
    this.#dirty.clear();
    this.#store.saveSpend(spends, this.#dayFrom);
  }
}

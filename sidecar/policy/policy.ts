/**
 * The budget and the other limits on what this agent may spend. They come from the config and live in this process, so the
 * app, or whatever talked it into calling, can't raise them. Money is counted when it is put at risk and corrected when the
 * call's real price is known: parallel calls can't overshoot together. On disk the counters run ahead of the calls, so that
 * a crash may count too much, never too little.
 */
import { formatId } from '../../protocol/ids.ts';
import { refusal } from '../errors.ts';
import type { PricedService } from '../prices.ts';
import { type Approval, Approvals } from './approvals.ts';
import { Circuit } from './breaker.ts';
import type { PolicyConfig } from './config.ts';
import { PriceDrift } from './drift.ts';
import type { ApprovalRow, PeerRow, PolicyStore, Spend } from './store.ts';

const HOUR = 60;
const DAY = 24 * 60;
/** What may be written late, because the disk errs on the safe side without it, is written this often. */
const FLUSH_MS = 1000;
/** Calls that the disk is ahead by, at most, while a minute is young; later as much again as the minute has seen. */
const AHEAD_CALLS = 63;
/** The disk runs ahead by no more than this part of what is left under the tightest cap. */
const AHEAD_PART = 16;

/** Money set aside for one call. Exactly one of the methods counts, the first. */
export interface Reservation {
  /** When it was counted, for {@link Policy.correct}. */
  readonly atMs: number;
  /** The call cost this much (at most what was reserved). */
  settle(price: number): void;
  /** The call cost nothing, and was not made. */
  release(): void;
}

/** What one minute spent on one service. */
interface Entry {
  readonly minute: number;
  readonly peer: number;
  readonly service: number;
  amount: number;
  /** As the disk has it: never less than `amount` of the running minute. */
  saved: number;
}

interface PeerState {
  firstPaidMs: number;
  readonly circuit: Circuit;
}

export class Policy {
  #config: PolicyConfig;
  readonly #store: PolicyStore;
  readonly #now: () => number;
  readonly #approvals: Approvals;
  readonly #drift: PriceDrift;
  /** minute → service, or −peer where the service is unknown → entry. */
  readonly #minutes = new Map<number, Map<number, Entry>>();
  readonly #perPeer = new Map<number, number>();
  readonly #perService = new Map<number, number>();
  readonly #peers = new Map<number, PeerState>();
  #hour = 0;
  #day = 0;
  /** Minutes before these have left the running sums. */
  #hourFrom = 0;
  #dayFrom = 0;
  readonly #dirty = new Set<Entry>();
  readonly #dirtyPeers = new Set<number>();
  #timer: NodeJS.Timeout | null = null;

  /** `now` is in milliseconds. */
  constructor(config: PolicyConfig, store: PolicyStore, now: () => number = Date.now) {
    this.#config = config;
    this.#store = store;
    this.#now = now;
    this.#approvals = new Approvals(store, now);
    this.#drift = new PriceDrift(store);
    const minute = this.#minute();
    this.#hourFrom = minute - HOUR + 1;
    this.#dayFrom = minute - DAY + 1;
    for (const { minute: at, peer, service, amount } of store.spends()) {
      if (at < this.#dayFrom) continue;
      const entry = this.#entry(at, peer, service);
      entry.saved = amount;
      this.#add(entry, amount);
    }
    for (const { peer, firstPaidMs, ...circuit } of store.peers())
      this.#peers.set(peer, { firstPaidMs, circuit: new Circuit(circuit) });
  }

  /** Other limits from now on; what is spent already counts against them. */
  configure(config: PolicyConfig): void {
    this.#config = config;
  }

  #minute(): number {
    return Math.floor(this.#now() / 60_000);
  }

  #entry(minute: number, peer: number, service: number): Entry {
    let entries = this.#minutes.get(minute);
    if (entries === undefined) this.#minutes.set(minute, (entries = new Map<number, Entry>()));
    const key = service === 0 ? -peer : service;
    let entry = entries.get(key);
    if (entry === undefined) entries.set(key, (entry = { minute, peer, service, amount: 0, saved: 0 }));
    return entry;
  }

  #add(entry: Entry, amount: number): void {
    entry.amount += amount;
    bump(this.#perPeer, entry.peer, amount);
    if (entry.service !== 0) bump(this.#perService, entry.service, amount);
    this.#day += amount;
    if (entry.minute >= this.#hourFrom) this.#hour += amount;
  }

  #forget(): number {
    const minute = this.#minute();
    for (; this.#hourFrom <= minute - HOUR; this.#hourFrom++)
      for (const { amount } of this.#minutes.get(this.#hourFrom)?.values() ?? []) this.#hour -= amount;
    for (; this.#dayFrom <= minute - DAY; this.#dayFrom++) {
      for (const { peer, service, amount } of this.#minutes.get(this.#dayFrom)?.values() ?? []) {
        this.#day -= amount;
        bump(this.#perPeer, peer, -amount);
        if (service !== 0) bump(this.#perService, service, -amount);
      }
      this.#minutes.delete(this.#dayFrom);
    }
    return minute;
  }

  #peer(peer: number): PeerState {
    let state = this.#peers.get(peer);
    if (state === undefined) this.#peers.set(peer, (state = { firstPaidMs: 0, circuit: new Circuit() }));
    return state;
  }

  /** Base units spent or at risk now. */
  spent(): { hour: number; day: number } {
    this.#forget();
    return { hour: this.#hour, day: this.#day };
  }

  /** Circuits that are open now. */
  get openCircuits(): number {
    let open = 0;
    for (const { circuit } of this.#peers.values()) if (circuit.isOpen) open += 1;
    return open;
  }

  /**
   * Sets `amount` aside for a call to `peer`. Throws, naming the setting and its value: `over_call_cap`, `over_hour_cap`,
   * `over_day_cap`, `over_peer_cap`, `over_service_cap`, `over_new_peer_cap`, `circuit_open`, `price_rise`, `approval_needed`.
   */
  reserve(peer: number, amount: number, service = 0): Reservation {
    const config = this.#config;
    const nowMs = this.#now();
    const minute = this.#forget();
    const state = this.#peers.get(peer);
    if (config.breaker !== null && state?.circuit.isOpen === true) this.#checkCircuit(peer, state.circuit, nowMs);
    const atMs = minute * 60_000;
    if (amount === 0) {
      if (config.breaker !== null) state?.circuit.enter(nowMs);
      return { atMs, settle() {}, release() {} };
    }
    const room = this.#room(peer, amount, service, state, nowMs);
    let grant: ApprovalRow | null = null;
    if (config.approveAbove !== null && amount > config.approveAbove) grant = this.#approved(peer, service, amount);
    const entry = this.#entry(minute, peer, service);
    this.#add(entry, amount);
    if (entry.amount > entry.saved) this.#runAhead(entry, amount, room - amount);
    else this.#touch(entry);
    if (config.breaker !== null) state?.circuit.enter(nowMs);
    let open = true;
    const end = (price: number): boolean => {
      if (!open) return false;
      open = false;
      this.correct(atMs, peer, service, amount, Math.min(price, amount));
      return true;
    };
    return {
      atMs,
      settle: (price) => void end(price),
      release: () => {
        if (end(0) && grant !== null) this.#approvals.restore(grant);
      },
    };
  }

  #checkCircuit(peer: number, circuit: Circuit, nowMs: number): void {
    const waitMs = circuit.waitMs(nowMs);
    if (waitMs === 0) return;
    const seconds = Math.ceil(waitMs / 1000);
    throw refusal(
      'circuit_open',
      `${formatId(peer)} failed too often (policy.breaker of the sidecar's config); one call may try again in ${seconds} s`,
      undefined,
      { retryAfter: seconds },
    );
  }

  /** What is left under the tightest cap before this call; throws when the call would pass one. */
  #room(peer: number, amount: number, service: number, state: PeerState | undefined, nowMs: number): number {
    const { perCall, perHour, perDay, perPeer, perService, newPeer, priceRise } = this.#config;
    const over = (code: string, setting: string, limit: number, whose = ''): Error =>
      refusal(
        code,
        `${amount} base units to ${formatId(peer)} would pass ${setting} = ${limit} of the sidecar's config${whose}`,
      );
    if (priceRise !== null && this.#drift.waits(service))
      throw refusal(
        'price_rise',
        `${formatId(service)} costs over policy.priceRise = ${priceRise} % more than it did; the operator has to accept it on the admin port`,
      );
    // In this order a cap that the config leaves out never refuses before the one it is taken from.
    if (this.#day + amount > perDay) throw over('over_day_cap', 'policy.perDay', perDay);
    if (this.#hour + amount > perHour) throw over('over_hour_cap', 'policy.perHour', perHour);
    if (amount > perCall) throw over('over_call_cap', 'policy.perCall', perCall);
    const toPeer = perPeer - (this.#perPeer.get(peer) ?? 0);
    const toService = perService - (this.#perService.get(service) ?? 0);
    const isNew =
      newPeer !== null &&
      (state === undefined || state.firstPaidMs === 0 || nowMs < state.firstPaidMs + newPeer.seconds * 1000);
    const toNew = isNew ? newPeer.cap - (this.#perPeer.get(peer) ?? 0) : Infinity;
    if (amount > toNew)
      throw over(
        'over_new_peer_cap',
        'policy.newPeer.cap',
        newPeer!.cap,
        `, which holds until ${newPeer!.seconds} s after a peer was first paid`,
      );
    if (amount > toPeer) throw over('over_peer_cap', 'policy.perPeer', perPeer);
    if (service !== 0 && amount > toService) throw over('over_service_cap', 'policy.perService', perService);
    return Math.min(perHour - this.#hour, perDay - this.#day, toPeer, service === 0 ? Infinity : toService, toNew);
  }

  #approved(peer: number, service: number, amount: number): ApprovalRow {
    const grant = this.#approvals.take(peer, service, amount);
    if (grant !== null) return grant;
    const approval = this.#approvals.ask(peer, service, amount);
    throw refusal(
      'approval_needed',
      `${amount} base units to ${formatId(peer)} are more than policy.approveAbove = ${this.#config.approveAbove}; the operator may grant approval ${approval} on the admin port`,
      undefined,
      { approval },
    );
  }

  /** Writes the counter, with something on top so that not every call waits for the disk. */
  #runAhead(entry: Entry, amount: number, room: number): void {
    const wish = Math.max(amount * AHEAD_CALLS, entry.amount);
    const saved = entry.amount + Math.min(wish, Math.floor(room / AHEAD_PART));
    try {
      this.#save([{ ...entry, amount: saved }]);
    } catch (error) {
      // What the disk doesn't know of must not be spent.
      this.#add(entry, -amount);
      throw error;
    }
    entry.saved = saved;
    this.#touch(entry);
  }

  /** A call reserved in the minute of `atMs` cost `price` in the end. */
  correct(atMs: number, peer: number, service: number, reserved: number, price: number): void {
    const minute = Math.floor(atMs / 60_000);
    this.#forget();
    if (price > 0) this.#paid(peer);
    // A correction may come after its minute has left the sums: then there is nothing to correct.
    if (price === reserved || minute < this.#dayFrom) return;
    const entry = this.#entry(minute, peer, service);
    this.#add(entry, Math.max(price - reserved, -entry.amount));
    this.#touch(entry);
  }

  #paid(peer: number): void {
    const state = this.#peer(peer);
    if (state.firstPaidMs !== 0) return;
    state.firstPaidMs = this.#now();
    this.#dirtyPeers.add(peer);
    this.#later();
  }

  /** Reports how a call that was let through ended; null when that says nothing of the peer. */
  report(peer: number, isGood: boolean | null): void {
    const { breaker } = this.#config;
    if (breaker === null) return;
    let state = this.#peers.get(peer);
    if (isGood === null) return state?.circuit.void();
    // Of a peer that never failed nothing has to be remembered, unless shares are counted: then its successes too.
    if (state === undefined) state = this.#peer(peer);
    const wasOpen = state.circuit.isOpen;
    if (!state.circuit.report(isGood, this.#now(), breaker)) return;
    this.#dirtyPeers.add(peer);
    if (state.circuit.isOpen === wasOpen) this.#later();
    else this.flush();
  }

  // ---- what a person decides ----

  approvals(): Approval[] {
    return this.#approvals.list();
  }
  /** Throws `unknown_approval`. */
  grant(id: string): void {
    this.#approvals.grant(id, this.#config.approvalSeconds);
  }
  /** Throws `unknown_approval`. */
  deny(id: string): void {
    this.#approvals.deny(id);
  }

  /** Looks at a peer's prices as they were just fetched. */
  see(services: readonly PricedService[]): void {
    const { priceRise } = this.#config;
    if (priceRise !== null) for (const service of services) this.#drift.see(service, priceRise);
  }
  priceRises(): { service: string; rise: number | null }[] {
    return this.#drift.list();
  }
  /** Throws `not_found`. */
  acceptPrices(service: number): void {
    this.#drift.accept(service);
  }

  // ---- the disk ----

  #touch(entry: Entry): void {
    if (entry.saved === entry.amount) return;
    this.#dirty.add(entry);
    this.#later();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#write(false);
    }, FLUSH_MS).unref();
  }

  /** Writes the counters as they are; nothing runs ahead any more. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#write(true);
  }

  #write(all: boolean): void {
    // The running minute stays ahead, else its next call would wait for the disk again.
    const minute = this.#minute();
    const entries = [...this.#dirty].filter((entry) => all || entry.minute < minute || entry.amount > entry.saved);
    if (entries.length === 0 && this.#dirtyPeers.size === 0) {
      if (this.#dirty.size > 0) this.#later();
      return;
    }
    this.#save(entries);
    for (const entry of entries) {
      entry.saved = entry.amount;
      this.#dirty.delete(entry);
    }
    this.#dirtyPeers.clear();
    if (this.#dirty.size > 0) this.#later();
  }

  #save(spends: readonly Spend[]): void {
    const peers = [...this.#dirtyPeers].map((peer): PeerRow => {
      const { firstPaidMs, circuit } = this.#peers.get(peer)!;
      return { peer, firstPaidMs, ...circuit.saved };
    });
    this.#store.save(spends, peers, this.#dayFrom);
  }
}

function bump(sums: Map<number, number>, key: number, amount: number): void {
  const sum = (sums.get(key) ?? 0) + amount;
  if (sum > 0) sums.set(key, sum);
  else sums.delete(key);
}

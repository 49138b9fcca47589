/**
 * One direction of a session as one of its parties keeps it: the call log, what was signed of it, what was not. Pure
 * bookkeeping, no clock and no socket; the endpoint persists what these hand out before it sends it.
 */
import {
  CALL_RECORD_BYTES,
  type CallRecord,
  decodeCallRecord,
  encodeCallRecord,
  priceOf,
} from '../../protocol/call.ts';
import { equal, hex } from '../../protocol/bytes.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { type Direction, type Half, type SignedHalf, covers } from '../../protocol/half.ts';
import { Frontier, pathThrough, sha } from '../../protocol/log.ts';
import { room } from '../../protocol/whole.ts';
import { RecordQueue } from './queue.ts';
import type { SessionStore } from './store.ts';
import type { CallProof } from './types.ts';

/** Zero-priced calls cost no credit, but each unsigned one is kept; a payer this far behind has stopped signing. */
export const MAX_UNSIGNED_CALLS = 65_536;
/** Calls whose fate a lost socket hid; more than were in flight can't be. */
const MAX_ORPHANS = 65_536;
/** Records read from the store, and sent, at once. */
export const READ_RECORDS = 4096;

const conflict = (detail: string): Agnt2Error => new Agnt2Error('log_conflict', detail);
const rejected = (detail: string): Agnt2Error => new Agnt2Error('record_rejected', detail);

/** What both sides of a direction share. */
abstract class Ledger {
  readonly session: number;
  readonly dir: Direction;
  protected readonly store: SessionStore;
  /** Newest half its payer signed. */
  half: SignedHalf | null;
  /** Newest half with both signatures. */
  receipt: SignedHalf | null;
  /** Sum of the prices of all records. */
  accrued: number;
  /** See `DirectionSnapshot`. */
  allowance: number;
  /** Log over the first leaves, and their price; the rest waits in `pending` until a half counts it. */
  protected frontier: Frontier;
  protected sum: number;
  protected readonly pending = new RecordQueue();
  /** Of the pending ones, how many the store has. */
  #saved: number;
  /** Why nothing may be built on what the store has: a log that is not the one its newest half counts. */
  readonly conflict: Agnt2Error | null;

  constructor(session: number, dir: Direction, store: SessionStore) {
    this.session = session;
    this.dir = dir;
    this.store = store;
    const saved = store.load(dir);
    this.half = saved?.half ?? null;
    this.receipt = saved?.receipt ?? null;
    this.allowance = saved?.allowance ?? 0;
    this.frontier = new Frontier(sha, saved?.leaves ?? 0, saved?.stack ?? []);
    this.sum = saved?.sum ?? 0;
    this.accrued = this.sum;
    for (const bytes of store.records(dir, this.frontier.size, store.count(dir)))
      this.push(bytes, decodeCallRecord(bytes).price);
    this.#saved = this.pending.length;
    this.conflict = this.#conflictHere();
  }

  /** What a peer gave back of a lost log is in the store before it is checked, and a process may have ended there. */
  #conflictHere(): Agnt2Error | null {
    const half = this.half?.half;
    if (half === undefined || half.calls < this.frontier.size || half.calls > this.size) return null;
    try {
      this.checkAgainst(half);
      return null;
    } catch (error) {
      if (error instanceof Agnt2Error) return error;
      throw error;
    }
  }

  get size(): number {
    return this.frontier.size + this.pending.length;
  }
  /** Base units the newest half admits. */
  get paid(): number {
    return this.half?.half.paid ?? 0;
  }
  get unsigned(): { calls: number; value: number } {
    if (this.restoring) return { calls: 0, value: 0 };
    return { calls: this.size - (this.half?.half.calls ?? 0), value: this.accrued - this.paid };
  }
  /** Whether the newest half counts calls whose records are not here (yet). */
  get restoring(): boolean {
    return this.half !== null && this.size < this.half.half.calls;
  }

  protected push(bytes: Uint8Array, price: number): void {
    this.pending.push(bytes);
    this.accrued += price;
  }

  /** Price of the first `calls` records; `calls` is at or above the frontier. */
  protected sumAt(calls: number): number {
    return this.sum + this.pending.cost(calls - this.frontier.size);
  }

  /** Moves the frontier up to `calls` leaves. False, and nothing changes, if the root then isn't `root`. */
  protected advance(calls: number, root: Uint8Array | null): boolean {
    const frontier = this.frontier.clone();
    const n = calls - frontier.size;
    for (let i = 0; i < n; i++) frontier.append(this.pending.at(i));
    if (root !== null && !equal(frontier.root(), root)) return false;
    this.commit();
    this.sum = this.sumAt(calls);
    this.frontier = frontier;
    this.pending.drop(n);
    this.#saved -= n;
    return true;
  }

  /** How many records are not in the store yet. */
  get uncommitted(): number {
    return this.pending.length - this.#saved;
  }

  /** Writes them. */
  commit(): void {
    if (this.#saved === this.pending.length) return;
    this.store.append(this.dir, this.frontier.size + this.#saved, this.pending.copies(this.#saved));
    this.#saved = this.pending.length;
  }

  /** Writes everything. */
  save(): void {
    this.store.transaction(() => {
      this.commit();
      const { half, receipt, allowance, sum, frontier } = this;
      this.store.save(this.dir, { half, receipt, allowance, sum, stack: frontier.stack, leaves: frontier.size });
    });
    this.pending.trim();
  }

  /** Records from `from` up, of the log as it stands: at most {@link READ_RECORDS}. */
  recordsFrom(from: number): Uint8Array[] {
    this.commit();
    return from >= this.size ? [] : this.store.records(this.dir, from, Math.min(this.size, from + READ_RECORDS));
  }

  /** Throws `not_signed` while no half counts the call, `unknown_call` while its record is not here. */
  prove(index: number): CallProof {
    const half = [this.receipt, this.half].find((signed) => signed !== null && index < signed.half.calls);
    if (!half) throw new Agnt2Error('not_signed', `no half counts call ${index} yet`);
    if (!(index >= 0) || this.size < half.half.calls)
      throw new Agnt2Error('unknown_call', `no record of call ${index}`);
    this.commit();
    const [record] = this.store.records(this.dir, index, index + 1);
    const path = pathThrough(half.half.calls, index, (from, to) => this.#rootOf(from, to));
    return { dir: this.dir, record: decodeCallRecord(record), half, path };
  }

  /** A receipt over a half at least as new as the one held. */
  keepReceipt(signed: SignedHalf): void {
    if (this.receipt === null || signed.half.calls >= this.receipt.half.calls) this.receipt = signed;
    if (this.half !== null && this.half.half.seq === signed.half.seq) this.half = { ...this.half, payee: signed.payee };
  }

  /** The log must be the one a half from outside counts: after restoring it, or when the half came late. */
  protected checkAgainst(target: Half): void {
    const held = target.calls >= this.frontier.size;
    const sum = held ? this.sumAt(target.calls) : this.#sumOf(target.calls);
    const same = held ? this.advance(target.calls, target.root) : equal(this.#rootOf(0, target.calls), target.root);
    if (sum !== target.paid || !same)
      throw conflict(`the log here is not the one a half over ${target.calls} calls was signed for`);
  }

  /** While a log comes back, its frontier is all of it that stays in memory; the half has the root of the whole. */
  protected saveResumed(): void {
    if (this.restoring) this.advance(this.size, null);
    this.save();
  }

  #sumOf(calls: number): number {
    let sum = 0;
    for (const bytes of this.#stored(0, calls)) sum += priceOf(bytes);
    return sum;
  }
  #rootOf(from: number, to: number): Uint8Array {
    const frontier = new Frontier(sha);
    for (const bytes of this.#stored(from, to)) frontier.append(bytes);
    return frontier.root();
  }
  /** Records of the store, a few at a time: a log is longer than memory. */
  *#stored(from: number, to: number): Generator<Uint8Array> {
    for (let at = from; at < to; at += READ_RECORDS)
      yield* this.store.records(this.dir, at, Math.min(to, at + READ_RECORDS));
  }

  /** Of records sent again, those above this log; the others must be the ones held. */
  protected fresh(records: readonly Uint8Array[]): Uint8Array[] {
    if (records.length === 0) return [];
    const from = decodeCallRecord(records[0]).index;
    if (from > this.size) throw conflict(`records from ${from}, the log has ${this.size}`);
    this.commit();
    const known = this.store.records(this.dir, from, Math.min(this.size, from + records.length));
    for (let i = 0; i < known.length; i++) {
      if (!equal(known[i], records[i])) throw conflict(`two records of call ${from + i}`);
    }
    return records.slice(known.length);
  }
}

/** The direction in which this side pays. */
export class PayerLedger extends Ledger {
  #orphans = new Map<string, number[]>();
  #orphanCount = 0;

  /**
   * Takes the record of a call that just ended, and reads it. Throws `record_rejected` unless it is the next one, over
   * exactly these hashes, at most at this price.
   */
  accept(
    bytes: Uint8Array,
    expected: { requestHash: Uint8Array; responseHash: Uint8Array; status: number; max: number },
  ): CallRecord {
    if (bytes.length !== CALL_RECORD_BYTES) throw rejected('a response end is a call record');
    const record = decodeCallRecord(bytes);
    const { index, requestHash, responseHash, price, status } = record;
    if (index !== this.size) throw rejected(`record ${index}, the log has ${this.size}`);
    if (!equal(requestHash, expected.requestHash)) throw rejected(`record ${index} is of another request`);
    if (!equal(responseHash, expected.responseHash)) throw rejected(`record ${index} is of another response`);
    if (status !== expected.status) throw rejected(`record ${index} has another status`);
    if (price > expected.max) throw rejected(`record ${index} charges ${price}, at most ${expected.max} was agreed`);
    if (this.#orphanCount > 0) this.#forgetOrphans();
    this.push(bytes, price);
    return record;
  }

  /** Remembers a call whose socket went: its record may be sent again. */
  orphan(requestHash: Uint8Array, max: number): void {
    if (this.#orphanCount >= MAX_ORPHANS) return;
    const key = hex(requestHash);
    const same = this.#orphans.get(key);
    if (same) same.push(max);
    else this.#orphans.set(key, [max]);
    this.#orphanCount += 1;
  }

  /**
   * Records the payee sends again: those this side lost, then those it never saw. One it did ask for is accepted up to
   * the price it agreed to. One it can't remember asking for, after a crash, is accepted while all such records of the
   * session stay within `credit`; beyond, throws `record_rejected`.
   */
  resume(records: readonly Uint8Array[], credit: number): void {
    for (const bytes of this.fresh(records)) {
      const record = decodeCallRecord(bytes);
      if (record.index !== this.size) throw rejected(`record ${record.index}, the log has ${this.size}`);
      if (this.unsigned.calls >= MAX_UNSIGNED_CALLS) throw rejected(`more than ${MAX_UNSIGNED_CALLS} records at once`);
      if (!this.restoring) this.#match(record, credit);
      this.push(bytes, record.price);
      if (this.half !== null && this.size === this.half.half.calls) this.checkAgainst(this.half.half);
    }
    this.saveResumed();
  }

  #match(record: CallRecord, credit: number): void {
    const key = hex(record.requestHash);
    const same = this.#orphans.get(key);
    const at = same?.findIndex((max) => record.price <= max) ?? -1;
    if (at >= 0) {
      same!.splice(at, 1);
      if (same!.length === 0) this.#orphans.delete(key);
      this.#orphanCount -= 1;
      return;
    }
    if (record.price === 0) return;
    if (this.allowance + record.price > credit)
      throw rejected(`record ${record.index} is of a call nobody here made, and the credit for such is spent`);
    this.allowance += record.price;
  }

  #forgetOrphans(): void {
    this.#orphans.clear();
    this.#orphanCount = 0;
  }

  /** The half to be signed after `before`: over everything accepted, or over at most `more` calls than that. */
  next(more = Infinity, before: Half | undefined = this.half?.half): Half {
    // A store may know more of the log than was signed before a crash; a half over less can't be made any more.
    const calls = Math.min(this.size, Math.max((before?.calls ?? 0) + more, this.frontier.size));
    this.advance(calls, null);
    return {
      session: this.session,
      dir: this.dir,
      seq: (before?.seq ?? 0) + 1,
      calls,
      paid: this.sum,
      root: this.frontier.root(),
    };
  }

  /** Now signed; to be saved, then sent. */
  signed(half: Half, payer: Uint8Array): void {
    this.half = { half, payer };
  }

  /** A half this side signed in a life it has forgotten. True when it was newer. */
  adopt(signed: SignedHalf): boolean {
    const mine = this.half?.half;
    if (mine && signed.half.seq <= mine.seq) return false;
    if (mine && !covers(signed.half, mine)) throw conflict('a half of this key goes back');
    this.half = signed;
    if (this.size >= signed.half.calls) this.checkAgainst(signed.half);
    return true;
  }
}

/** The direction in which this side is paid. */
export class PayeeLedger extends Ledger {
  /** Prices of calls being served. */
  reserved = 0;

  /** Records a served call; the bytes go into its response end. */
  append(requestHash: Uint8Array, responseHash: Uint8Array, price: number, status: number, timeMs: number): Uint8Array {
    const record = { index: this.size, requestHash, responseHash, price, status, timeMs };
    const bytes = encodeCallRecord(record, room(CALL_RECORD_BYTES));
    this.push(bytes, price);
    return bytes;
  }

  /** Base units at risk if one more call at `price` were served: all that is recorded or being served, less what was signed. */
  exposure(price: number): number {
    return this.accrued + this.reserved + price - this.paid;
  }

  /**
   * A half whose payer's signature was verified. It is money and kept in any case, when it admits more; false when it is
   * an old one. Throws `half_mismatch` when it doesn't add up with this side's log: to be reported, and served no more.
   */
  accept(signed: SignedHalf): boolean {
    const { half } = signed;
    const newest = this.half?.half;
    if (newest && half.seq <= newest.seq) {
      if (half.seq < newest.seq || !equal(half.root, newest.root) || half.paid !== newest.paid) return false;
      return true;
    }
    if (newest && !covers(half, newest)) throw new Agnt2Error('half_mismatch', 'a half went back');
    if (half.paid > this.paid) this.half = signed;
    if (half.calls > this.size)
      throw new Agnt2Error('half_mismatch', `a half over ${half.calls} calls, ${this.size} were served`);
    const sum = this.sumAt(half.calls);
    if (half.paid !== sum)
      throw new Agnt2Error('half_mismatch', `a half of ${half.paid}, the calls it counts cost ${sum}`);
    if (!this.advance(half.calls, half.root)) throw new Agnt2Error('half_mismatch', 'a half over other records');
    this.half = signed;
    return true;
  }

  /** A newer half found in the peer's hello; its records may be missing here. True when it was newer. */
  adopt(signed: SignedHalf): boolean {
    const newest = this.half?.half;
    if (newest && signed.half.seq <= newest.seq) return false;
    if (newest && !covers(signed.half, newest)) throw conflict('a half of the peer goes back');
    this.half = signed;
    if (this.size >= signed.half.calls) this.checkAgainst(signed.half);
    return true;
  }

  /** Records the payer still has of a log this side lost. */
  resume(records: readonly Uint8Array[]): void {
    for (const bytes of this.fresh(records)) {
      const record = decodeCallRecord(bytes);
      if (record.index !== this.size) throw conflict(`record ${record.index}, the log has ${this.size}`);
      // A payer signs all it has before it says hello, so it has nothing beyond its newest half.
      if (!this.restoring) throw conflict(`a record of call ${record.index}, which was never served`);
      this.push(bytes, record.price);
      if (this.half !== null && this.size === this.half.half.calls) this.checkAgainst(this.half.half);
    }
    this.saveResumed();
  }
}

/**
 * The machine that operations run on: one shard's cells, its clock and counters, and the few moves that several
 * operations share. Checks never write, and an operation writes only after its last check, so a failed step changes nothing.
 */
import {
  Agent,
  EXISTS,
  Escrow,
  EscrowStatus,
  type Field,
  Head,
  META_HEAD,
  OUTBOX_RETENTION,
  OUTBOX_WITHDRAWAL,
  Outbox,
  Region,
  Service,
  Session,
  SessionStatus,
  get,
  getBytes,
  set,
  setBytes,
  slotOf,
} from './cells.ts';
import type { Signing } from './eip712.ts';
import { payOut } from './half.ts';
import { LARGE_SERIALS, SMALL_SERIALS, makeId, serialOf, shardOf } from './ids.ts';
import { type Outcome, STATUSES, Status, type StatusName } from './status.ts';
import type { ShardTrie } from './trie.ts';

/**
 * Answers whether a P-256 signature is valid; must agree with `verifyP256Sync`. Who knows the answer by other means need
 * not ask for the preimage, which takes hashing: by `body`, say, the bytes that it is made from, where they are one piece.
 */
export type VerifyP256 = (
  publicKey: Uint8Array,
  preimage: () => Uint8Array,
  signature: Uint8Array,
  body?: Uint8Array,
) => boolean;

/** Outcomes without a value are shared: most steps have one, and nobody writes to an outcome. */
const PLAIN = Object.fromEntries(STATUSES.map((name, status) => [name, { status, value: 0 }])) as {
  readonly [K in StatusName]: Outcome;
};
const OK = PLAIN.ok;
export const ok = (value = 0): Outcome => (value === 0 ? OK : { status: Status.ok, value });
export const fail = (name: StatusName): Outcome => PLAIN[name];

/** Largest number of each width that is exact. */
const LARGEST = Array.from({ length: 8 }, (_, width) => Math.min(256 ** width - 1, Number.MAX_SAFE_INTEGER));
const addSaturating = (cell: Uint8Array, field: Field, amount: number): void =>
  set(cell, field, Math.min(get(cell, field) + amount, LARGEST[field.width]));

const isEscrowDone = (cell: Uint8Array): boolean => {
  const status = get(cell, Escrow.status);
  return status !== EscrowStatus.open && status !== EscrowStatus.held;
};
const isSessionDone = (cell: Uint8Array): boolean => {
  const status = get(cell, Session.status);
  return status === SessionStatus.empty || status === SessionStatus.closed;
};

export class Machine {
  readonly shard: number;
  readonly trie: ShardTrie;
  readonly signing: Signing;
  readonly verify: VerifyP256;

  constructor(shard: number, trie: ShardTrie, signing: Signing, verify: VerifyP256) {
    this.shard = shard;
    this.trie = trie;
    this.signing = signing;
    this.verify = verify;
  }

  get time(): number {
    return get(this.head(), Head.time);
  }

  head(): Uint8Array {
    return this.trie.read(Region.meta, META_HEAD);
  }
  editHead(): Uint8Array {
    return this.trie.edit(Region.meta, META_HEAD);
  }

  isLocal(id: number): boolean {
    return shardOf(id) === this.shard;
  }

  // --- agents ---

  /** Whether the id names an agent of this shard (the shard bits are the caller's check). */
  agentExists(id: number): boolean {
    const serial = serialOf(id);
    return serial > 0 && serial < SMALL_SERIALS && (get(this.readAgent(id), Agent.flags) & EXISTS) !== 0;
  }
  readAgent(id: number): Uint8Array {
    return this.trie.read(Region.agent, serialOf(id));
  }
  editAgent(id: number): Uint8Array {
    return this.trie.edit(Region.agent, serialOf(id));
  }
  /** x ‖ y. */
  keyOf(id: number): Uint8Array {
    return this.trie.read(Region.key, serialOf(id));
  }
  balance(id: number): number {
    return get(this.readAgent(id), Agent.balance);
  }
  credit(id: number, amount: number): void {
    const cell = this.editAgent(id);
    set(cell, Agent.balance, get(cell, Agent.balance) + amount);
  }
  debit(id: number, amount: number): void {
    this.credit(id, -amount);
  }

  hasAgentRoom(): boolean {
    return get(this.head(), Head.agents) + 1 < SMALL_SERIALS;
  }
  /** Creates an agent; {@link hasAgentRoom} must hold. Returns its id. */
  createAgent(owner: Uint8Array, key: Uint8Array, balance: number): number {
    const id = makeId(this.shard, this.#nextSerial(Head.agents));
    const cell = this.editAgent(id);
    setBytes(cell, Agent.owner, owner);
    set(cell, Agent.balance, balance);
    set(cell, Agent.flags, EXISTS);
    this.trie.edit(Region.key, serialOf(id)).set(key);
    return id;
  }
  rotateKey(id: number, key: Uint8Array): number {
    const cell = this.editAgent(id);
    const epoch = get(cell, Agent.epoch) + 1;
    set(cell, Agent.epoch, epoch);
    this.trie.edit(Region.key, serialOf(id)).set(key);
    return epoch;
  }
  epochExhausted(id: number): boolean {
    return get(this.readAgent(id), Agent.epoch) === 0xffff;
  }

  /** Counts answered calls and what they earned; both saturate. */
  addReputation(id: number, completed: number, volume: number): void {
    const cell = this.editAgent(id);
    addSaturating(cell, Agent.completed, completed);
    addSaturating(cell, Agent.volume, volume);
  }

  // --- serials and rings ---

  #nextSerial(counter: Field): number {
    const head = this.editHead();
    const serial = get(head, counter) + 1;
    set(head, counter, serial);
    return serial;
  }

  /** Whether the ring's next slot is free or done, so that {@link takeSlot} may follow; with `reserve`, whether that many more are. */
  #ringHasRoom(counter: Field, region: number, done: (cell: Uint8Array) => boolean, reserve = 0): boolean {
    const serial = get(this.head(), counter) + 1 + reserve;
    return serial < LARGE_SERIALS && done(this.trie.read(region, slotOf(region, serial)));
  }
  /** The ring's next serial; its slot is emptied. */
  #takeSlot(counter: Field, region: number): number {
    const serial = this.#nextSerial(counter);
    this.trie.edit(region, slotOf(region, serial)).fill(0);
    return serial;
  }

  // --- escrows ---

  readEscrow(id: number): Uint8Array {
    return this.trie.read(Region.escrow, slotOf(Region.escrow, serialOf(id)));
  }
  editEscrow(id: number): Uint8Array {
    return this.trie.edit(Region.escrow, slotOf(Region.escrow, serialOf(id)));
  }
  escrowExists(id: number): boolean {
    return serialOf(id) > 0 && get(this.readEscrow(id), Escrow.serial) === serialOf(id);
  }
  hasEscrowRoom(): boolean {
    return this.#ringHasRoom(Head.escrows, Region.escrow, isEscrowDone);
  }
  /** {@link hasEscrowRoom} must hold. Pins the service's terms as they are now. Returns the new escrow's id. */
  openEscrow(escrow: { payer: number; payee: number; service: number; amount: number }): number {
    const serial = this.#takeSlot(Head.escrows, Region.escrow);
    const id = makeId(this.shard, serial);
    const cell = this.editEscrow(id);
    set(cell, Escrow.serial, serial);
    set(cell, Escrow.payer, escrow.payer);
    set(cell, Escrow.payee, escrow.payee);
    set(cell, Escrow.service, escrow.service);
    set(cell, Escrow.amount, escrow.amount);
    const terms = this.readService(escrow.service);
    set(cell, Escrow.deadline, this.time + get(terms, Service.deadlineSeconds));
    set(cell, Escrow.arbiter, get(terms, Service.arbiter));
    set(cell, Escrow.contestSeconds, get(terms, Service.contestSeconds));
    set(cell, Escrow.status, EscrowStatus.open);
    return id;
  }
  /** Pays `price` to the payee and the rest back. */
  releaseEscrow(id: number, price: number): void {
    const cell = this.editEscrow(id);
    const payee = get(cell, Escrow.payee);
    this.credit(payee, price);
    this.credit(get(cell, Escrow.payer), get(cell, Escrow.amount) - price);
    this.addReputation(payee, 1, price);
    set(cell, Escrow.paid, price);
    set(cell, Escrow.status, EscrowStatus.fulfilled);
  }
  /** Gives the whole amount back and counts a failure of the payee. */
  refundEscrow(id: number, status: number): void {
    const cell = this.editEscrow(id);
    this.credit(get(cell, Escrow.payer), get(cell, Escrow.amount));
    addSaturating(this.editAgent(get(cell, Escrow.payee)), Agent.failed, 1);
    set(cell, Escrow.paid, 0);
    set(cell, Escrow.status, status);
  }

  // --- sessions: quads of state, key a, key b, roots ---

  readSession(id: number, part = 0): Uint8Array {
    return this.trie.read(Region.session, slotOf(Region.session, serialOf(id)) + part);
  }
  editSession(id: number, part = 0): Uint8Array {
    return this.trie.edit(Region.session, slotOf(Region.session, serialOf(id)) + part);
  }
  sessionExists(id: number): boolean {
    return serialOf(id) > 0 && get(this.readSession(id), Session.serial) === serialOf(id);
  }
  hasSessionRoom(): boolean {
    return this.#ringHasRoom(Head.sessions, Region.session, isSessionDone);
  }
  /** {@link hasSessionRoom} must hold. Pins both parties' keys. Returns the new session's id. */
  openSession(a: number, b: number, deposit: number, exitDelay: number): number {
    const serial = this.#takeSlot(Head.sessions, Region.session);
    const id = makeId(this.shard, serial);
    const cell = this.editSession(id);
    set(cell, Session.a, a);
    set(cell, Session.b, b);
    set(cell, Session.depositA, deposit);
    set(cell, Session.exitDelay, exitDelay);
    set(cell, Session.serial, serial);
    set(cell, Session.status, SessionStatus.open);
    this.editSession(id, 1).set(this.keyOf(a));
    this.editSession(id, 2).set(this.keyOf(b));
    this.editSession(id, 3).fill(0);
    return id;
  }
  /** Which party an agent is of a session: 0 a, 1 b, −1 neither. */
  partyOf(session: Uint8Array, agent: number): -1 | 0 | 1 {
    return agent === get(session, Session.a) ? 0 : agent === get(session, Session.b) ? 1 : -1;
  }
  /** Splits the deposits by what was paid, counts reputation, closes. */
  payOutSession(id: number): void {
    const cell = this.editSession(id);
    const [a, b] = [get(cell, Session.a), get(cell, Session.b)];
    const [depositA, depositB] = [get(cell, Session.depositA), get(cell, Session.depositB)];
    const { outA, outB } = payOut(depositA, depositB, get(cell, Session.paidAB), get(cell, Session.paidBA));
    this.credit(a, outA);
    this.credit(b, outB);
    this.addReputation(b, get(cell, Session.callsAB), Math.max(outB - depositB, 0));
    this.addReputation(a, get(cell, Session.callsBA), Math.max(outA - depositA, 0));
    set(cell, Session.status, SessionStatus.closed);
  }

  // --- outbox ---

  /** With `reserve`, whether so many slots stay free behind it: times only grow along the ring, so the last one speaks for all. */
  hasOutboxRoom(reserve = 0): boolean {
    return this.#ringHasRoom(
      Head.outbox,
      Region.outbox,
      (cell) => get(cell, Outbox.kind) === 0 || get(cell, Outbox.time) + OUTBOX_RETENTION < this.time,
      reserve,
    );
  }
  /** Puts a payment to an L1 address into the outbox; {@link hasOutboxRoom} must hold. Returns the outbox id. */
  sendWithdrawal(agent: number, recipient: Uint8Array, amount: number): number {
    const serial = this.#takeSlot(Head.outbox, Region.outbox);
    const cell = this.trie.edit(Region.outbox, slotOf(Region.outbox, serial));
    set(cell, Outbox.kind, OUTBOX_WITHDRAWAL);
    set(cell, Outbox.serial, serial);
    set(cell, Outbox.time, this.time);
    set(cell, Outbox.agent, agent);
    setBytes(cell, Outbox.recipient, recipient);
    set(cell, Outbox.amount, amount);
    return makeId(this.shard, serial);
  }
  /** The whole of a withdrawal, whether a bundle asks for it (and leaves L1's slots free) or the owner at L1. */
  withdraw(agent: number, amount: number, reserve = 0): Outcome {
    if (amount === 0) return fail('zero_amount');
    if (this.balance(agent) < amount) return fail('insufficient_balance');
    if (!this.hasOutboxRoom(reserve)) return fail('region_full');
    this.debit(agent, amount);
    return ok(this.sendWithdrawal(agent, getBytes(this.readAgent(agent), Agent.owner), amount));
  }

  // --- services ---

  readService(id: number): Uint8Array {
    return this.trie.read(Region.service, serialOf(id));
  }
  serviceExists(id: number): boolean {
    const serial = serialOf(id);
    return serial > 0 && serial < SMALL_SERIALS && (get(this.readService(id), Service.flags) & EXISTS) !== 0;
  }
  hasServiceRoom(): boolean {
    return get(this.head(), Head.services) + 1 < SMALL_SERIALS;
  }
  /** A new service's id; {@link hasServiceRoom} must hold. */
  nextService(): number {
    return makeId(this.shard, this.#nextSerial(Head.services));
  }
  editService(id: number): Uint8Array {
    return this.trie.edit(Region.service, serialOf(id));
  }
}

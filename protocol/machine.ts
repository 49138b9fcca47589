/**
 * The machine that operations run on: one shard's cells, its clock and counters, and the few moves that several
 * operations share. Checks never write, and an operation writes only after its last check, so a failed step changes nothing.
 * Cells go by handle (`memory.ts`): `agent(id)` and its like find one or answer {@link NONE}, `edit` makes it writable.
 */
import {
  Agent,
  EXISTS,
  Escrow,
  EscrowStatus,
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
  slotOf,
} from './cells.ts';
import type { Signing } from './eip712.ts';
import type { UintField } from './field.ts';
import { SIGNATURE_BYTES, payOut } from './half.ts';
import { LARGE_SERIALS, SMALL_SERIALS, makeId, serialOf, shardOf } from './ids.ts';
import { type Cell, type Edit, type Memory, NONE } from './memory.ts';
import { Status } from './status.ts';
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

const NO_FRAME = new Uint8Array(0);
/** Largest number of each width that is exact. */
const LARGEST = Array.from({ length: 8 }, (_, width) => Math.min(256 ** width - 1, Number.MAX_SAFE_INTEGER));

export class Machine {
  readonly shard: number;
  readonly trie: ShardTrie;
  readonly cells: Memory;
  readonly signing: Signing;
  readonly verify: VerifyP256;
  /** The frame being executed: where the bytes fields of an operation are. */
  frame: Uint8Array = NO_FRAME;
  /** The id or number the last step made, 0 if none. */
  value = 0;

  constructor(shard: number, trie: ShardTrie, signing: Signing, verify: VerifyP256) {
    this.shard = shard;
    this.trie = trie;
    this.cells = trie.memory;
    this.signing = signing;
    this.verify = verify;
  }

  /** The status of a step that made `value`. */
  ok(value: number): number {
    this.value = value;
    return Status.ok;
  }

  /** The cell for writing; it must not be {@link NONE}. */
  edit(cell: Cell): Edit {
    return this.trie.mark(cell);
  }

  // --- the head ---

  #head(): Cell {
    return this.trie.cell(Region.meta, META_HEAD);
  }
  get time(): number {
    return Head.time.get(this.cells, this.#head());
  }
  set time(time: number) {
    Head.time.set(this.cells, this.trie.make(Region.meta, META_HEAD), time);
  }
  /** Frames executed. */
  get seq(): number {
    return Head.seq.get(this.cells, this.#head());
  }
  set seq(seq: number) {
    Head.seq.set(this.cells, this.trie.make(Region.meta, META_HEAD), seq);
  }

  isLocal(id: number): boolean {
    return shardOf(id) === this.shard;
  }

  // --- bytes of the frame ---

  /** Bytes of the frame, from where a field starts. */
  bytes(at: number, length: number): Uint8Array {
    return this.frame.subarray(at, at + length);
  }
  /** Whether the signature at a place of the frame is by the P-256 key in a cell. */
  isSigned(key: Cell, preimage: () => Uint8Array, signature: number): boolean {
    return this.verify(this.#bytesOf(key), preimage, this.bytes(signature, SIGNATURE_BYTES));
  }
  /** A copy. */
  #bytesOf(cell: Cell): Uint8Array {
    return this.cells.bytes.slice(cell, cell + 64);
  }

  // --- agents ---

  /** {@link NONE} unless the id is an agent's (the shard bits are the caller's check). */
  agent(id: number): Cell {
    const serial = serialOf(id);
    if (serial >= SMALL_SERIALS) return NONE;
    const cell = this.trie.cell(Region.agent, serial);
    return serial > 0 && (Agent.flags.get(this.cells, cell) & EXISTS) !== 0 ? cell : NONE;
  }
  /** x ‖ y of an agent that exists. */
  key(id: number): Cell {
    return this.trie.cell(Region.key, serialOf(id));
  }
  #editAgent(id: number): Edit {
    return this.trie.make(Region.agent, serialOf(id));
  }
  balance(id: number): number {
    return Agent.balance.get(this.cells, this.trie.cell(Region.agent, serialOf(id)));
  }
  credit(id: number, amount: number): void {
    const cell = this.#editAgent(id);
    Agent.balance.set(this.cells, cell, Agent.balance.get(this.cells, cell) + amount);
  }
  debit(id: number, amount: number): void {
    this.credit(id, -amount);
  }

  hasAgentRoom(): boolean {
    return Head.agents.get(this.cells, this.#head()) + 1 < SMALL_SERIALS;
  }
  /** Creates an agent; {@link hasAgentRoom} must hold. `owner` is 20 bytes, `key` x ‖ y. Returns its id. */
  createAgent(owner: Uint8Array, key: Uint8Array, balance: number): number {
    const serial = this.nextSerial(Head.agents);
    const cell = this.trie.make(Region.agent, serial);
    Agent.owner.set(this.cells, cell, owner);
    Agent.balance.set(this.cells, cell, balance);
    Agent.flags.set(this.cells, cell, EXISTS);
    this.#put(this.trie.make(Region.key, serial), key);
    return makeId(this.shard, serial);
  }
  /** Replaces a key by x ‖ y; the epoch must not be exhausted. Returns the new epoch. */
  rotateKey(id: number, key: Uint8Array): number {
    const cell = this.#editAgent(id);
    const epoch = Agent.epoch.get(this.cells, cell) + 1;
    Agent.epoch.set(this.cells, cell, epoch);
    this.#put(this.trie.make(Region.key, serialOf(id)), key);
    return epoch;
  }
  epochExhausted(id: number): boolean {
    return Agent.epoch.get(this.cells, this.agent(id)) === 0xffff;
  }

  /** Counts answered calls and what they earned; both saturate. */
  addReputation(id: number, completed: number, volume: number): void {
    const cell = this.#editAgent(id);
    this.#addSaturating(cell, Agent.completed, completed);
    this.#addSaturating(cell, Agent.volume, volume);
  }
  /** Counts a call that was paid for and not answered; saturates. */
  addFailure(id: number): void {
    this.#addSaturating(this.#editAgent(id), Agent.failed, 1);
  }
  #addSaturating(cell: Edit, field: UintField, amount: number): void {
    field.set(this.cells, cell, Math.min(field.get(this.cells, cell) + amount, LARGEST[field.width]));
  }

  #put(cell: Edit, bytes: Uint8Array): void {
    this.cells.bytes.set(bytes, cell);
  }
  #copy(cell: Edit, from: Cell): void {
    this.cells.bytes.copyWithin(cell, from, from + 64);
  }

  // --- serials and rings ---

  /** Counts one more of a kind. Returns its serial. */
  nextSerial(counter: UintField): number {
    const head = this.trie.make(Region.meta, META_HEAD);
    const serial = counter.get(this.cells, head) + 1;
    counter.set(this.cells, head, serial);
    return serial;
  }
  /**
   * What stands where the ring's next serial goes (after `reserve` more): free if it reads as zeros, to be taken over if
   * it is done. null when serials are used up.
   */
  nextSlot(counter: UintField, region: number, reserve = 0): Cell | null {
    const serial = counter.get(this.cells, this.#head()) + 1 + reserve;
    return serial < LARGE_SERIALS ? this.trie.cell(region, slotOf(region, serial)) : null;
  }
  /** The slot of a new serial, emptied. */
  takeSlot(region: number, serial: number): Edit {
    const cell = this.trie.make(region, slotOf(region, serial));
    this.cells.words.fill(0, cell >>> 2, (cell >>> 2) + 16);
    return cell;
  }

  // --- escrows ---

  /** {@link NONE} unless the id is that of the escrow in its slot. */
  escrow(id: number): Cell {
    const serial = serialOf(id);
    const cell = this.trie.cell(Region.escrow, slotOf(Region.escrow, serial));
    return serial > 0 && Escrow.serial.get(this.cells, cell) === serial ? cell : NONE;
  }
  hasEscrowRoom(): boolean {
    const old = this.nextSlot(Head.escrows, Region.escrow);
    if (old === null) return false;
    const status = Escrow.status.get(this.cells, old);
    return status !== EscrowStatus.open && status !== EscrowStatus.held;
  }
  /** {@link hasEscrowRoom} must hold. Pins the service's terms as they are now. Returns the new escrow's id. */
  openEscrow(payer: number, payee: number, service: number, amount: number): number {
    const { cells } = this;
    const serial = this.nextSerial(Head.escrows);
    const cell = this.takeSlot(Region.escrow, serial);
    const terms = this.service(service);
    Escrow.serial.set(cells, cell, serial);
    Escrow.payer.set(cells, cell, payer);
    Escrow.payee.set(cells, cell, payee);
    Escrow.service.set(cells, cell, service);
    Escrow.amount.set(cells, cell, amount);
    Escrow.deadline.set(cells, cell, this.time + Service.deadlineSeconds.get(cells, terms));
    Escrow.arbiter.set(cells, cell, Service.arbiter.get(cells, terms));
    Escrow.contestSeconds.set(cells, cell, Service.contestSeconds.get(cells, terms));
    Escrow.status.set(cells, cell, EscrowStatus.open);
    return makeId(this.shard, serial);
  }
  /** Pays `price` to the payee and the rest back. */
  releaseEscrow(escrow: Cell, price: number): void {
    const { cells } = this;
    const cell = this.edit(escrow);
    const payee = Escrow.payee.get(cells, cell);
    this.credit(payee, price);
    this.credit(Escrow.payer.get(cells, cell), Escrow.amount.get(cells, cell) - price);
    this.addReputation(payee, 1, price);
    Escrow.paid.set(cells, cell, price);
    Escrow.status.set(cells, cell, EscrowStatus.fulfilled);
  }
  /** Gives the whole amount back and counts a failure of the payee. */
  refundEscrow(escrow: Cell, status: number): void {
    const { cells } = this;
    const cell = this.edit(escrow);
    this.credit(Escrow.payer.get(cells, cell), Escrow.amount.get(cells, cell));
    this.addFailure(Escrow.payee.get(cells, cell));
    Escrow.paid.set(cells, cell, 0);
    Escrow.status.set(cells, cell, status);
  }

  // --- sessions: quads of state, key a, key b, roots ---

  /** {@link NONE} unless the id is that of the session in its quad. */
  session(id: number): Cell {
    const cell = this.sessionPart(id, 0);
    return serialOf(id) > 0 && Session.serial.get(this.cells, cell) === serialOf(id) ? cell : NONE;
  }
  /** A cell of a session's quad: 1 key a, 2 key b, 3 roots. */
  sessionPart(id: number, part: number): Cell {
    return this.trie.cell(Region.session, slotOf(Region.session, serialOf(id)) + part);
  }
  hasSessionRoom(): boolean {
    const old = this.nextSlot(Head.sessions, Region.session);
    if (old === null) return false;
    const status = Session.status.get(this.cells, old);
    return status === SessionStatus.empty || status === SessionStatus.closed;
  }
  /** {@link hasSessionRoom} must hold. Pins both parties' keys. Returns the new session's id. */
  openSession(a: number, b: number, deposit: number, exitDelay: number): number {
    const { cells, trie } = this;
    const serial = this.nextSerial(Head.sessions);
    const cell = this.takeSlot(Region.session, serial);
    Session.a.set(cells, cell, a);
    Session.b.set(cells, cell, b);
    Session.depositA.set(cells, cell, deposit);
    Session.exitDelay.set(cells, cell, exitDelay);
    Session.serial.set(cells, cell, serial);
    Session.status.set(cells, cell, SessionStatus.open);
    const slot = slotOf(Region.session, serial);
    this.#copy(trie.make(Region.session, slot + 1), this.key(a));
    this.#copy(trie.make(Region.session, slot + 2), this.key(b));
    this.#copy(trie.make(Region.session, slot + 3), NONE);
    return makeId(this.shard, serial);
  }
  /** Which party of a session an agent is: 0 a, 1 b, −1 neither. */
  party(session: Cell, agent: number): -1 | 0 | 1 {
    return agent === Session.a.get(this.cells, session) ? 0 : agent === Session.b.get(this.cells, session) ? 1 : -1;
  }
  /** Splits the deposits by what was paid, counts reputation, closes. */
  payOutSession(session: Cell): void {
    const { cells } = this;
    const cell = this.edit(session);
    const [a, b] = [Session.a.get(cells, cell), Session.b.get(cells, cell)];
    const [depositA, depositB] = [Session.depositA.get(cells, cell), Session.depositB.get(cells, cell)];
    const { outA, outB } = payOut(depositA, depositB, Session.paidAB.get(cells, cell), Session.paidBA.get(cells, cell));
    this.credit(a, outA);
    this.credit(b, outB);
    this.addReputation(b, Session.callsAB.get(cells, cell), Math.max(outB - depositB, 0));
    this.addReputation(a, Session.callsBA.get(cells, cell), Math.max(outA - depositA, 0));
    Session.status.set(cells, cell, SessionStatus.closed);
  }

  // --- outbox ---

  /** With `reserve`, whether so many slots stay free behind it: times only grow along the ring, so the last one speaks for all. */
  hasOutboxRoom(reserve = 0): boolean {
    const { cells } = this;
    const old = this.nextSlot(Head.outbox, Region.outbox, reserve);
    if (old === null) return false;
    return Outbox.kind.get(cells, old) === 0 || Outbox.time.get(cells, old) + OUTBOX_RETENTION < this.time;
  }
  /** Puts a payment to an L1 address into the outbox; {@link hasOutboxRoom} must hold. Returns the outbox id. */
  sendWithdrawal(agent: number, recipient: Uint8Array, amount: number): number {
    const { cells } = this;
    const serial = this.nextSerial(Head.outbox);
    const cell = this.takeSlot(Region.outbox, serial);
    Outbox.kind.set(cells, cell, OUTBOX_WITHDRAWAL);
    Outbox.serial.set(cells, cell, serial);
    Outbox.time.set(cells, cell, this.time);
    Outbox.agent.set(cells, cell, agent);
    Outbox.recipient.set(cells, cell, recipient);
    Outbox.amount.set(cells, cell, amount);
    return makeId(this.shard, serial);
  }
  /** The whole of a withdrawal, whether a bundle asks for it (and leaves L1's slots free) or the owner at L1. Returns the status. */
  withdraw(agent: number, amount: number, reserve = 0): number {
    if (amount === 0) return Status.zero_amount;
    if (this.balance(agent) < amount) return Status.insufficient_balance;
    if (!this.hasOutboxRoom(reserve)) return Status.region_full;
    this.debit(agent, amount);
    return this.ok(this.sendWithdrawal(agent, Agent.owner.get(this.cells, this.agent(agent)), amount));
  }

  // --- services ---

  /** {@link NONE} unless the id is a service's. */
  service(id: number): Cell {
    const serial = serialOf(id);
    if (serial >= SMALL_SERIALS) return NONE;
    const cell = this.trie.cell(Region.service, serial);
    return serial > 0 && (Service.flags.get(this.cells, cell) & EXISTS) !== 0 ? cell : NONE;
  }
  hasServiceRoom(): boolean {
    return Head.services.get(this.cells, this.#head()) + 1 < SMALL_SERIALS;
  }
  /** A new service with nothing but its existence; {@link hasServiceRoom} must hold. Returns its id. */
  createService(): number {
    const serial = this.nextSerial(Head.services);
    Service.flags.set(this.cells, this.trie.make(Region.service, serial), EXISTS);
    return makeId(this.shard, serial);
  }

  // --- as bytes, for who shows or compares them: copies ---

  head(): Uint8Array {
    return this.trie.read(Region.meta, META_HEAD);
  }
  agentExists(id: number): boolean {
    return this.agent(id) !== NONE;
  }
  serviceExists(id: number): boolean {
    return this.service(id) !== NONE;
  }
  escrowExists(id: number): boolean {
    return this.escrow(id) !== NONE;
  }
  sessionExists(id: number): boolean {
    return this.session(id) !== NONE;
  }
  readAgent(id: number): Uint8Array {
    return this.trie.read(Region.agent, serialOf(id));
  }
  /** x ‖ y. */
  keyOf(id: number): Uint8Array {
    return this.trie.read(Region.key, serialOf(id));
  }
  readService(id: number): Uint8Array {
    return this.trie.read(Region.service, serialOf(id));
  }
  readEscrow(id: number): Uint8Array {
    return this.trie.read(Region.escrow, slotOf(Region.escrow, serialOf(id)));
  }
  readSession(id: number, part = 0): Uint8Array {
    return this.trie.read(Region.session, slotOf(Region.session, serialOf(id)) + part);
  }
  /** Which party an agent is of a session: 0 a, 1 b, −1 neither. */
  partyOf(session: Uint8Array, agent: number): -1 | 0 | 1 {
    return agent === get(session, Session.a) ? 0 : agent === get(session, Session.b) ? 1 : -1;
  }
}

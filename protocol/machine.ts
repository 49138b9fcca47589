/**
 * The machine that operations run on: one shard's cells, its clock and counters, and the few moves that several
 * operations share. Checks never write, and an operation writes only after its last check, so a failed step changes nothing.
 * Cells go by handle (`memory.ts`): `agent(id)` and its like find one or answer {@link NONE}, `edit` makes it writable.
 */
import {
  Agent,
  Capability,
  EXISTS,
  Escrow,
  EscrowStatus,
  Head,
  LEGS_A_CELL,
  LEG_BYTES,
  META_HEAD,
  META_PEERS,
  MessageCell,
  OUTBOX_RETENTION,
  OUTBOX_WITHDRAWAL,
  Outbox,
  Peer,
  Region,
  Service,
  Session,
  SessionStatus,
  Workflow,
  WorkflowStatus,
  get,
  messageSlot,
  slotOf,
} from './cells.ts';
import type { Signing } from './eip712.ts';
import type { UintField } from './field.ts';
import { SIGNATURE_BYTES } from './half.ts';
import { keccak } from './hash.ts';
import { LARGE_SERIALS, SMALL_SERIALS, makeId, serialOf, shardOf } from './ids.ts';
import { type Cell, type Edit, type Memory, NONE } from './memory.ts';
import { BUNDLE_SLOTS, type Message, type SentMessage, encodeMessage } from './messages.ts';
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
/** Where an agent's counts stop. */
const MAX_COMPLETED = 2 ** 32 - 1;
const MAX_FAILED = 2 ** 24 - 1;
const MAX_VOLUME = 2 ** 48 - 1;

export class Machine {
  readonly shard: number;
  readonly trie: ShardTrie;
  readonly cells: Memory;
  readonly signing: Signing;
  readonly verify: VerifyP256;
  /** How many shards the deployment has. */
  readonly shards: number;
  /** The frame being executed: where the bytes fields of an operation are. */
  frame: Uint8Array = NO_FRAME;
  /** Where in the frame the machine key (x ‖ y) is that a foreign actor of `open` brought; 0 for an actor of this shard. */
  actorKey = 0;
  /** The id or number the last step made, 0 if none. */
  value = 0;
  /** Slots of a ring that what runs now may fill. */
  slots = BUNDLE_SLOTS;
  /** Messages sent since somebody took them. */
  sent: SentMessage[] = [];

  constructor(shard: number, trie: ShardTrie, signing: Signing, verify: VerifyP256, shards: number) {
    this.shard = shard;
    this.shards = shards;
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

  /** Where the head is, once there is one: it never moves. */
  #headAt: Cell = NONE;

  #head(): Cell {
    if (this.#headAt === NONE) this.#headAt = this.trie.cell(Region.meta, META_HEAD);
    return this.#headAt;
  }
  #editHead(): Edit {
    return this.#head() === NONE ? this.trie.make(Region.meta, META_HEAD) : this.trie.mark(this.#head());
  }
  get time(): number {
    return Head.time.get(this.cells, this.#head());
  }
  set time(time: number) {
    Head.time.set(this.cells, this.#editHead(), time);
  }
  /** Frames executed. */
  get seq(): number {
    return Head.seq.get(this.cells, this.#head());
  }
  set seq(seq: number) {
    Head.seq.set(this.cells, this.#editHead(), seq);
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
  /** Takes from a balance that is enough; nothing from a foreign agent, whose message brought what it pays. */
  debit(id: number, amount: number): void {
    if (this.isLocal(id)) this.credit(id, -amount);
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
    this.put(this.trie.make(Region.key, serial), key);
    return makeId(this.shard, serial);
  }
  /** Replaces a key by x ‖ y; the epoch must not be exhausted. Returns the new epoch. */
  rotateKey(id: number, key: Uint8Array): number {
    const cell = this.#editAgent(id);
    const epoch = Agent.epoch.get(this.cells, cell) + 1;
    Agent.epoch.set(this.cells, cell, epoch);
    this.put(this.trie.make(Region.key, serialOf(id)), key);
    return epoch;
  }
  epochExhausted(id: number): boolean {
    return Agent.epoch.get(this.cells, this.agent(id)) === 0xffff;
  }

  /** Pays for answered calls, and counts them and what they earned; both saturate. */
  earn(id: number, amount: number, completed: number, volume: number): void {
    const { cells } = this;
    const cell = this.#editAgent(id);
    Agent.balance.set(cells, cell, Agent.balance.get(cells, cell) + amount);
    Agent.completed.set(cells, cell, Math.min(Agent.completed.get(cells, cell) + completed, MAX_COMPLETED));
    Agent.volume.set(cells, cell, Math.min(Agent.volume.get(cells, cell) + volume, MAX_VOLUME));
  }
  /** Counts a call that was paid for and not answered; saturates. */
  addFailure(id: number): void {
    const { cells } = this;
    const cell = this.#editAgent(id);
    Agent.failed.set(cells, cell, Math.min(Agent.failed.get(cells, cell) + 1, MAX_FAILED));
  }

  /** Writes a cell's first bytes. */
  put(cell: Edit, bytes: Uint8Array): void {
    this.cells.bytes.set(bytes, cell);
  }
  /** Copies a whole cell. */
  copy(cell: Edit, from: Cell): void {
    this.cells.bytes.copyWithin(cell, from, from + 64);
  }

  // --- serials and rings ---

  /** Counts one more of a kind. Returns its serial. */
  nextSerial(counter: UintField): number {
    const head = this.#editHead();
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
    const { words } = this.cells;
    for (let word = cell >>> 2; word < (cell >>> 2) + 16; word++) words[word] = 0;
    return cell;
  }

  #takeId(counter: UintField): number {
    return counter.get(this.cells, this.#head()) + 1 < LARGE_SERIALS ? makeId(this.shard, this.nextSerial(counter)) : 0;
  }
  #clearQuad(region: number, id: number): Edit {
    const slot = slotOf(region, serialOf(id));
    for (let part = 1; part < 4; part++) this.copy(this.trie.make(region, slot + part), NONE);
    return this.takeSlot(region, serialOf(id));
  }

  // --- escrows ---

  /** {@link NONE} unless the id is that of the escrow in its slot. */
  escrow(id: number): Cell {
    const serial = serialOf(id);
    const cell = this.trie.cell(Region.escrow, slotOf(Region.escrow, serial));
    return serial > 0 && Escrow.serial.get(this.cells, cell) === serial ? cell : NONE;
  }
  /** The last serial of an escrow that was given. */
  get escrows(): number {
    return Head.escrows.get(this.cells, this.#head());
  }
  set escrows(serial: number) {
    Head.escrows.set(this.cells, this.trie.make(Region.meta, META_HEAD), serial);
  }
  /** Takes the next serial, come what may. Returns the id, 0 when serials are used up. */
  takeEscrowId(): number {
    return this.#takeId(Head.escrows);
  }
  /** Whether the slot of a new id holds no escrow that is still under way. */
  hasEscrowSlot(id: number): boolean {
    const status = Escrow.status.get(this.cells, this.trie.cell(Region.escrow, slotOf(Region.escrow, serialOf(id))));
    return status === EscrowStatus.empty || (status >= EscrowStatus.fulfilled && status <= EscrowStatus.expired);
  }
  /** A record under a new id, for which {@link hasEscrowSlot} holds; no status yet. */
  createEscrow(id: number, payer: number, service: number, amount: number, workflow: number, leg: number): Edit {
    const { cells } = this;
    const cell = this.takeSlot(Region.escrow, serialOf(id));
    Escrow.serial.set(cells, cell, serialOf(id));
    Escrow.payer.set(cells, cell, payer);
    Escrow.service.set(cells, cell, service);
    Escrow.amount.set(cells, cell, amount);
    if (workflow !== 0) {
      Escrow.workflow.set(cells, cell, workflow);
      Escrow.flags.set(cells, cell, leg << 4);
    }
    return cell;
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
  /** Takes the next serial, come what may. Returns the id, 0 when serials are used up. */
  takeSessionId(): number {
    return this.#takeId(Head.sessions);
  }
  /** Whether the quad of a new id holds no session that is still open. */
  hasSessionSlot(id: number): boolean {
    const status = Session.status.get(this.cells, this.sessionPart(id, 0));
    return status === SessionStatus.empty || status === SessionStatus.closed;
  }
  /** Empties the quad of a new id, for which {@link hasSessionSlot} holds. */
  clearSession(id: number): Edit {
    return this.#clearQuad(Region.session, id);
  }
  /** Which party of a session an agent is: 0 a, 1 b, −1 neither. */
  party(session: Cell, agent: number): -1 | 0 | 1 {
    return agent === Session.a.get(this.cells, session) ? 0 : agent === Session.b.get(this.cells, session) ? 1 : -1;
  }

  // --- workflows: quads of state and legs, four to a cell ---

  /** {@link NONE} unless the id is that of the workflow in its quad. */
  workflow(id: number): Cell {
    const serial = serialOf(id);
    const cell = this.trie.cell(Region.workflow, slotOf(Region.workflow, serial));
    return serial > 0 && Workflow.serial.get(this.cells, cell) === serial ? cell : NONE;
  }
  /** Takes the next serial, come what may. Returns the id, 0 when serials are used up. */
  takeWorkflowId(): number {
    return this.#takeId(Head.workflows);
  }
  /** Id of the workflow planned last, 0 when there was none. */
  newestWorkflow(): number {
    const serial = Head.workflows.get(this.cells, this.#head());
    return serial === 0 ? 0 : makeId(this.shard, serial);
  }
  /** Whether the quad of a new id holds no workflow that may still pay or refund a leg. */
  hasWorkflowSlot(id: number): boolean {
    const { cells } = this;
    const cell = this.trie.cell(Region.workflow, slotOf(Region.workflow, serialOf(id)));
    const done = Workflow.done.get(cells, cell);
    if (Workflow.status.get(cells, cell) === WorkflowStatus.open)
      return done === 0 && this.time > Workflow.deadline.get(cells, cell);
    return Workflow.told.get(cells, cell) === done;
  }
  /** Empties the quad of a new id, for which {@link hasWorkflowSlot} holds. */
  clearWorkflow(id: number): Edit {
    return this.#clearQuad(Region.workflow, id);
  }
  /** A leg's part of its cell. */
  leg(id: number, leg: number): Cell {
    const part = 1 + Math.floor(leg / LEGS_A_CELL);
    const cell = this.trie.cell(Region.workflow, slotOf(Region.workflow, serialOf(id)) + part);
    return (cell + LEG_BYTES * (leg % LEGS_A_CELL)) as Cell;
  }
  editLeg(id: number, leg: number): Edit {
    const part = 1 + Math.floor(leg / LEGS_A_CELL);
    const cell = this.trie.make(Region.workflow, slotOf(Region.workflow, serialOf(id)) + part);
    return (cell + LEG_BYTES * (leg % LEGS_A_CELL)) as Edit;
  }

  // --- capabilities ---

  /** {@link NONE} unless the id is a capability's. */
  capability(id: number): Cell {
    const serial = serialOf(id);
    if (serial >= SMALL_SERIALS) return NONE;
    const cell = this.trie.cell(Region.capability, serial);
    return serial > 0 && (Capability.flags.get(this.cells, cell) & EXISTS) !== 0 ? cell : NONE;
  }
  hasCapabilityRoom(): boolean {
    return Head.capabilities.get(this.cells, this.#head()) + 1 < SMALL_SERIALS;
  }
  /** A new capability with nothing but its existence; {@link hasCapabilityRoom} must hold. Returns its id. */
  createCapability(): number {
    const serial = this.nextSerial(Head.capabilities);
    Capability.flags.set(this.cells, this.trie.make(Region.capability, serial), EXISTS);
    return makeId(this.shard, serial);
  }

  // --- messages to other shards ---

  /** The meta cell for another shard. */
  peer(shard: number): Cell {
    return this.trie.cell(Region.meta, META_PEERS + shard);
  }
  /** Whether two messages to a shard find room, as for who runs now; a shard reaches itself. */
  reaches(shard: number, slots = this.slots): boolean {
    if (shard === this.shard) return true;
    const peer = this.peer(shard);
    return Peer.sent.get(this.cells, peer) - Peer.acked.get(this.cells, peer) + 2 <= slots;
  }
  /** Sends a message; {@link reaches} must have held. `amount` is what travels in it, `agent` whose it is. Returns its number. */
  send(to: number, agent: number, amount: number, message: Message): number {
    const { cells } = this;
    const peer = this.trie.make(Region.meta, META_PEERS + to);
    const number = Peer.sent.get(cells, peer) + 1;
    Peer.sent.set(cells, peer, number);
    const payload = encodeMessage(message);
    const cell = this.trie.make(Region.message, messageSlot(to, number));
    MessageCell.number.set(cells, cell, number);
    MessageCell.to.set(cells, cell, to);
    MessageCell.kind.set(cells, cell, payload[0]);
    MessageCell.time.set(cells, cell, this.time);
    MessageCell.agent.set(cells, cell, agent);
    MessageCell.amount.set(cells, cell, amount);
    MessageCell.hash.set(cells, cell, keccak(payload));
    this.sent.push({ to, number, kind: message.kind, payload });
    return number;
  }
  /** Takes base units out of the world. */
  burn(amount: number): void {
    const head = this.#editHead();
    Head.burned.set(this.cells, head, Head.burned.get(this.cells, head) + amount);
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
    const cell = this.#createWithdrawal(agent, amount);
    Outbox.recipient.set(this.cells, cell, recipient);
    return makeId(this.shard, Outbox.serial.get(this.cells, cell));
  }
  /** As {@link sendWithdrawal}, to the agent's owner. */
  sendToOwner(agent: number, amount: number): number {
    const cell = this.#createWithdrawal(agent, amount);
    Outbox.recipient.copy(this.cells, cell, Agent.owner, this.agent(agent));
    return makeId(this.shard, Outbox.serial.get(this.cells, cell));
  }
  /** All of an outbox record but who gets it. */
  #createWithdrawal(agent: number, amount: number): Edit {
    const { cells } = this;
    const serial = this.nextSerial(Head.outbox);
    const cell = this.takeSlot(Region.outbox, serial);
    Outbox.kind.set(cells, cell, OUTBOX_WITHDRAWAL);
    Outbox.serial.set(cells, cell, serial);
    Outbox.time.set(cells, cell, this.time);
    Outbox.agent.set(cells, cell, agent);
    Outbox.amount.set(cells, cell, amount);
    return cell;
  }
  /** The whole of a withdrawal, whether a bundle asks for it (and leaves L1's slots free) or the owner at L1. Returns the status. */
  withdraw(agent: number, amount: number, reserve = 0): number {
    if (amount === 0) return Status.zero_amount;
    if (this.balance(agent) < amount) return Status.insufficient_balance;
    if (!this.hasOutboxRoom(reserve)) return Status.region_full;
    this.debit(agent, amount);
    return this.ok(this.sendToOwner(agent, amount));
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

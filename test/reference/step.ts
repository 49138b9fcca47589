/** What one step works with: the state, its shard, and the things every operation does (docs/protocol.md §§1, 2, 4a). */
import { concat } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import type { Signing } from '../../protocol/eip712.ts';
import {
  AGENT,
  CAPABILITY,
  ESCROW,
  type Fields,
  HEAD,
  KEY,
  MESSAGE,
  OUTBOX,
  PEER,
  SERVICE,
  SESSION,
  WORKFLOW,
  be,
  big,
} from './cells.ts';
import { Refused, check } from './statuses.ts';
import { type KindName, type Payload, encodePayload } from './payloads.ts';
import { LARGE, SMALL, type World, makeId, place, serialOf, shardOf } from './world.ts';

export interface Checks {
  readonly signing: Signing;
  /** Whether a machine key (x ‖ y) signed the preimage. */
  readonly verify: (key: Uint8Array, preimage: Uint8Array, signature: Uint8Array) => boolean;
  /** Whether an owner's address signed the preimage. */
  readonly owns: (owner: Uint8Array, preimage: Uint8Array, signature: Uint8Array) => boolean;
}

const OUTBOX_RETENTION = 2n ** 20n;
const OUTBOX_RESERVE = 2n ** 16n;
/** How full a ring of messages may get, by who sends. */
export const ROOM = { answer: 4096n, respond: 3072n, other: 2048n } as const;

const min = (x: bigint, y: bigint): bigint => (x < y ? x : y);
/** A counter of `width` bytes that stops at its largest value. */
export const saturated = (width: number, value: bigint): bigint => min(value, 2n ** BigInt(8 * width) - 1n);

type Ring = 'sessions' | 'escrows' | 'workflows';

export class Step {
  readonly world: World;
  readonly checks: Checks;
  readonly shard: number;
  /** One of {@link ROOM}. */
  readonly room: bigint;
  /** Shards that this step has seen room for. */
  readonly #roomTo = new Set<number>();
  /** Serials taken: kept even when the step is refused. */
  readonly taken: Ring[] = [];

  constructor(world: World, checks: Checks, shard: number, room: bigint) {
    this.world = world;
    this.checks = checks;
    this.shard = shard;
    this.room = room;
  }

  get head(): Fields<typeof HEAD> {
    return this.world.read(place.head(this.shard), HEAD);
  }
  setHead(change: Partial<Fields<typeof HEAD>>): void {
    this.world.update(place.head(this.shard), HEAD, change);
  }
  get time(): bigint {
    return this.head.time;
  }
  isHere(id: bigint): boolean {
    return shardOf(id) === this.shard;
  }

  /** The next serial of a ring, whatever becomes of it. */
  takeSerial(ring: Ring): bigint {
    const serial = this.head[ring] + 1n;
    check(serial < LARGE, 'region_full');
    this.setHead({ [ring]: serial });
    this.taken.push(ring);
    return serial;
  }

  /** Whether these checks hold. They must write nothing. */
  passes(checks: () => void): boolean {
    try {
      checks();
      return true;
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  /** Does again what a refusal must not undo. */
  retakeSerials(): void {
    for (const ring of this.taken) this.setHead({ [ring]: this.head[ring] + 1n });
  }

  /** The next serial of a region without a ring, given on success. */
  giveSerial(region: 'agents' | 'services' | 'capabilities'): bigint {
    const serial = this.head[region] + 1n;
    check(serial < SMALL, 'region_full');
    this.setHead({ [region]: serial });
    return makeId(this.shard, serial);
  }

  #small<L extends typeof AGENT | typeof SERVICE | typeof CAPABILITY>(
    id: bigint,
    layout: L,
    at: (id: bigint) => number,
    status: string,
  ): Fields<L> {
    check(serialOf(id) > 0n && serialOf(id) < SMALL, status);
    const record = this.world.read(at(id), layout);
    check(((record.flags as bigint) & 1n) === 1n, status);
    return record;
  }
  agent(id: bigint): Fields<typeof AGENT> {
    return this.#small(id, AGENT, place.agent, 'unknown_agent');
  }
  service(id: bigint): Fields<typeof SERVICE> {
    return this.#small(id, SERVICE, place.service, 'unknown_service');
  }
  capability(id: bigint): Fields<typeof CAPABILITY> {
    return this.#small(id, CAPABILITY, place.capability, 'unknown_capability');
  }

  #large<L extends typeof ESCROW | typeof SESSION | typeof WORKFLOW>(
    id: bigint,
    layout: L,
    at: (id: bigint) => number,
    status: string,
  ): Fields<L> {
    check(serialOf(id) > 0n, status);
    const record = this.world.read(at(id), layout);
    check(record.serial === serialOf(id), status);
    return record;
  }
  escrow(id: bigint): Fields<typeof ESCROW> {
    return this.#large(id, ESCROW, place.escrow, 'unknown_escrow');
  }
  session(id: bigint): Fields<typeof SESSION> {
    return this.#large(id, SESSION, place.session, 'unknown_session');
  }
  workflow(id: bigint): Fields<typeof WORKFLOW> {
    return this.#large(id, WORKFLOW, place.workflow, 'unknown_workflow');
  }

  setEscrow(id: bigint, change: Partial<Fields<typeof ESCROW>>): void {
    this.world.update(place.escrow(id), ESCROW, change);
  }
  setSession(id: bigint, change: Partial<Fields<typeof SESSION>>): void {
    this.world.update(place.session(id), SESSION, change);
  }
  setWorkflow(id: bigint, change: Partial<Fields<typeof WORKFLOW>>): void {
    this.world.update(place.workflow(id), WORKFLOW, change);
  }
  setAgent(id: bigint, change: Partial<Fields<typeof AGENT>>): void {
    this.world.update(place.agent(id), AGENT, change);
  }
  credit(id: bigint, amount: bigint): void {
    this.setAgent(id, { balance: this.world.read(place.agent(id), AGENT).balance + amount });
  }
  key(id: bigint): Fields<typeof KEY> {
    return this.world.read(place.key(id), KEY);
  }

  newAgent(owner: bigint, key: Fields<typeof KEY>, balance: bigint): bigint {
    const id = this.giveSerial('agents');
    this.setAgent(id, { owner, balance, flags: 1n });
    this.world.write(place.key(id), KEY, key);
    return id;
  }

  /** A new outbox record; `reserve` is what must stay free behind it. */
  newWithdrawal(agent: bigint, recipient: bigint, amount: bigint, reserved: boolean): bigint {
    const serial = this.head.outbox + 1n;
    // Times only grow along the ring: where the last slot of the reserve is free, all before it are.
    check(this.#outboxFree(reserved ? serial + OUTBOX_RESERVE : serial), 'region_full');
    const at = place.outbox(this.shard, serial);
    this.world.forgotten += this.world.read(at, OUTBOX).amount;
    this.setHead({ outbox: serial });
    this.world.write(at, OUTBOX, { kind: 1n, zero: 0n, serial, time: this.time, agent, recipient, amount });
    return makeId(this.shard, serial);
  }
  #outboxFree(serial: bigint): boolean {
    if (serial >= LARGE) return false;
    const old = this.world.read(place.outbox(this.shard, serial), OUTBOX);
    return old.kind === 0n || this.time - old.time > OUTBOX_RETENTION;
  }

  /** Room for two messages to a shard: asked once a step, before the first is sent there. */
  needRoom(to: number): void {
    if (this.#roomTo.has(to)) return;
    const { sent, acked } = this.world.read(place.peer(this.shard, to), PEER);
    check(sent - acked + 2n <= this.room, 'congested');
    this.#roomTo.add(to);
  }

  /** Sends a message of this kind, returns its number. */
  send<K extends KindName>(to: number, kind: K, payload: Payload<K>, agent: bigint, amount: bigint): bigint {
    return this.sendBytes(to, encodePayload(kind, payload), agent, amount);
  }
  sendBytes(to: number, payload: Uint8Array, agent: bigint, amount: bigint): bigint {
    this.needRoom(to);
    const peer = place.peer(this.shard, to);
    const number = this.world.read(peer, PEER).sent + 1n;
    this.world.update(peer, PEER, { sent: number });
    const kind = BigInt(payload[0]);
    const hash = big(keccak(payload));
    const message = { number, to: BigInt(to), kind, time: this.time, agent, amount, hash };
    this.world.write(place.message(this.shard, to, number), MESSAGE, message);
    this.world.mail.push({ from: this.shard, to, number, payload });
    return number;
  }

  /** Whether a machine key signed. */
  signed(key: Fields<typeof KEY>, preimage: Uint8Array, signature: Uint8Array): boolean {
    return this.checks.verify(concat(be(32, key.x), be(32, key.y)), preimage, signature);
  }
}

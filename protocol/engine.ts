/**
 * The state transition (docs/protocol.md §3): frames in, outcomes out. Total: any bytes on any state have one outcome.
 * `execute` runs a whole frame, `run` without making anything; `stepsOf` says how many steps L1 counts in it.
 */
import { Agent, Inbox, META_INBOX, RING_SLOTS, Region } from './cells.ts';
import { BUNDLE, Bundle, MAX_INTERACTIONS } from './bundle.ts';
import { MAX_AMOUNT, concat, readUint, writeUint } from './bytes.ts';
import type { Signing } from './eip712.ts';
import { codeOf } from './errors.ts';
import { keccak } from './hash.ts';
import { shardOf } from './ids.ts';
import { accumulate } from './inbox.ts';
import { verifyP256Sync } from './keys.ts';
import { Machine, type VerifyP256 } from './machine.ts';
import { NONE } from './memory.ts';
import { BUNDLE_SLOTS, type Foreign, NOBODY, type SentMessage, SystemFrame } from './messages.ts';
import { takeItem } from './moves/inbox.ts';
import { expire } from './ops/expire.ts';
import { MAX_NUMBERS, runOp } from './ops/index.ts';
import { tell } from './ops/tell.ts';
import { PlainRun } from './plain/run.ts';
import { acknowledge, receive } from './receive.ts';
import { type Outcome, Status, type StatusName } from './status.ts';
import { ShardTrie } from './trie.ts';

export const FrameKind = { ...SystemFrame, bundle: BUNDLE } as const;

/** Most steps of a frame: a bundle's opening and its interactions. */
const MAX_STEPS = 1 + MAX_INTERACTIONS;
/** First time no tick may have: with it, no deadline overflows its four bytes. */
const TIME_END = 0xf0000000;

/** Steps of a frame, from its first two bytes alone. */
export const stepsOf = (frame: Uint8Array): number =>
  frame[0] === FrameKind.bundle && frame.length > 1 ? 2 + frame[1] : 1;

export function tickFrame(time: number): Uint8Array {
  const frame = new Uint8Array(5);
  frame[0] = FrameKind.tick;
  writeUint(frame, 1, 4, time);
  return frame;
}
export const inboxFrame = (item: Uint8Array): Uint8Array => concat(Uint8Array.of(FrameKind.inbox), item);

/** Where the trace stands inside a frame: 0 between frames, 1 in an accepted bundle, 2 in a refused one. */
export type Context = 0 | 1 | 2;

/** keccak(state root ‖ context): the state of the trace between two steps. */
export function commitment(stateRoot: Uint8Array, context: Context = 0): Uint8Array {
  const word = new Uint8Array(32);
  word[31] = context;
  return keccak(concat(stateRoot, word));
}

const verifyInPlace: VerifyP256 = (key, preimage, signature) => verifyP256Sync(key, preimage(), signature);

export interface EngineOptions {
  /** Answers for P-256 signatures; without, they are checked in place. */
  readonly verify?: VerifyP256;
  /** The state to start from; without, an empty one. */
  readonly trie?: ShardTrie;
  /** Shards the deployment has, 1 to 256; without, this one alone. */
  readonly shards?: number;
  /** What other shards' cells say where the trace stands; without, no message ever comes. */
  readonly foreign?: Foreign;
}

/** Executes one shard's frames in order. */
export class Engine {
  readonly machine: Machine;
  /** Status of each step of the last frame. */
  readonly statuses: Uint8Array = new Uint8Array(MAX_STEPS);
  /** The id or number that each step of the last frame made, 0 if none. */
  readonly values: Float64Array = new Float64Array(MAX_STEPS);
  readonly #bundle = new Bundle();
  readonly #plain: PlainRun;
  /** Whether the bundle at hand is there to be run by it. */
  #isLoaded = false;
  readonly #foreign: Foreign;

  constructor(shard: number, signing: Signing, options: EngineOptions = {}) {
    const { verify = verifyInPlace, trie = new ShardTrie(), shards = 1, foreign = NOBODY } = options;
    this.machine = new Machine(shard, trie, signing, verify, shards);
    this.#foreign = foreign;
    this.#plain = new PlainRun(trie);
  }

  /** The messages sent since this was last asked, in order. */
  takeSent(): readonly SentMessage[] {
    const { sent } = this.machine;
    if (sent.length > 0) this.machine.sent = [];
    return sent;
  }

  get shard(): number {
    return this.machine.shard;
  }
  get trie(): ShardTrie {
    return this.machine.trie;
  }
  /** Frames executed: the place the next frame must have. */
  get seq(): number {
    return this.machine.seq;
  }

  /** Executes the frame at place `seq`; one outcome a step. `bundle` is the frame decoded, where somebody did already. */
  execute(seq: number, frame: Uint8Array, bundle?: Bundle): Outcome[] {
    const steps = this.run(seq, frame, bundle);
    return Array.from({ length: steps }, (_, i) => ({ status: this.statuses[i], value: this.values[i] }));
  }

  /** As {@link execute}, but leaves the outcomes in `statuses` and `values`, until the next frame. Returns how many steps there are. */
  run(seq: number, frame: Uint8Array, bundle?: Bundle): number {
    const steps = stepsOf(frame);
    const { machine } = this;
    if (seq !== machine.seq) return this.#refuse(steps, Status.out_of_order, Status.bundle_refused);
    machine.seq = seq + 1;
    machine.frame = frame;
    machine.slots = BUNDLE_SLOTS;
    if (frame[0] === FrameKind.bundle) return this.#runBundle(steps, frame, bundle);
    machine.value = 0;
    this.statuses[0] = this.#runSingle(frame);
    this.values[0] = machine.value;
    return steps;
  }

  #refuse(steps: number, opening: number, rest: number): number {
    this.statuses.fill(rest, 0, steps);
    this.values.fill(0, 0, steps);
    this.statuses[0] = opening;
    return steps;
  }

  #runSingle(frame: Uint8Array): number {
    const { machine } = this;
    switch (frame[0]) {
      case FrameKind.tick:
        return this.#tick(frame);
      case FrameKind.inbox:
        machine.slots = RING_SLOTS;
        return this.#inbox(frame.subarray(1));
      case FrameKind.receive:
        machine.slots = RING_SLOTS;
        return receive(machine, this.#foreign);
      case FrameKind.ack:
        return acknowledge(machine, this.#foreign);
      case FrameKind.advance:
        return this.#unasked(expire, 8);
      case FrameKind.tell:
        return this.#unasked(tell, 9);
      default:
        return Status.malformed;
    }
  }

  #tick(frame: Uint8Array): number {
    const time = frame.length === 5 ? readUint(frame, 1, 4) : TIME_END;
    if (time >= TIME_END) return Status.malformed;
    if (time <= this.machine.time) return Status.stale_time;
    this.machine.time = time;
    return Status.ok;
  }

  #runBundle(steps: number, frame: Uint8Array, decoded?: Bundle): number {
    const { machine, statuses, values } = this;
    const bundle = this.#take(frame, decoded);
    const opening = this.open(bundle);
    if (!bundle || opening !== Status.ok) return this.#refuse(steps, opening, Status.bundle_refused);
    const { actor, codes, numbers, starts } = bundle;
    statuses[0] = Status.ok;
    values[0] = 0;
    const count = steps - 1;
    const plain = this.#isLoaded ? this.#plain : null;
    const agent = machine.agent(actor);
    for (let i = 0; i < count; i++) {
      if (plain) {
        const end = plain.run(agent, actor, i, count, values);
        while (i < end) statuses[++i] = Status.ok;
        if (i === count) break;
        if (bundle === this.#bundle) bundle.decodeAt(i, plain.startOf(i));
      }
      machine.value = 0;
      statuses[i + 1] = runOp(machine, actor, codes[i], numbers, i * MAX_NUMBERS, starts[i], starts[i + 1]);
      values[i + 1] = machine.value;
    }
    return steps;
  }

  /** Opens a bundle, null for what only looks like one. Returns the status. */
  open(bundle: Bundle | null): number {
    const { machine } = this;
    const refused = bundle ? this.admit(bundle) : 'malformed';
    if (!bundle || refused) return Status[refused ?? 'malformed'];
    const agent = machine.edit(machine.agent(bundle.actor));
    Agent.nonce.set(machine.cells, agent, Agent.nonce.get(machine.cells, agent) + 1);
    return Status.ok;
  }

  /** The bundle to be run, null if it is malformed. */
  #take(frame: Uint8Array, decoded?: Bundle): Bundle | null {
    this.#isLoaded = false;
    if (decoded?.frame === frame) {
      this.#isLoaded = this.#plain.load(frame, decoded.starts[0], decoded.count);
      return decoded;
    }
    try {
      const bundle = this.#bundle;
      const first = bundle.open(frame);
      this.#isLoaded = this.#plain.load(frame, first, bundle.count);
      if (!this.#isLoaded) bundle.decode(frame);
      return bundle;
    } catch (error) {
      if (codeOf(error) === 'malformed') return null;
      throw error;
    }
  }

  /** Why a bundle would be refused here and now; null when it would be accepted. Writes nothing. */
  admit(bundle: Bundle): StatusName | null {
    const { machine } = this;
    const { cells } = machine;
    if (shardOf(bundle.actor) !== machine.shard) return 'wrong_shard';
    const agent = machine.agent(bundle.actor);
    if (agent === NONE) return 'unknown_agent';
    const nonce = Agent.nonce.get(cells, agent);
    if (bundle.nonce !== nonce || nonce === 0xffffffff) return 'bad_nonce';
    if (bundle.expiry < machine.time) return 'expired';
    const { body, signature } = bundle;
    const valid = machine.verify(machine.keyOf(bundle.actor), () => machine.signing.bundle(body), signature, body);
    return valid ? null : 'bad_signature';
  }

  #inbox(bytes: Uint8Array): number {
    const { machine } = this;
    const { cells } = machine;
    if (machine.shard !== 0) return Status.wrong_shard;
    const cell = machine.trie.make(Region.meta, META_INBOX);
    Inbox.accumulator.set(cells, cell, accumulate(Inbox.accumulator.get(cells, cell), bytes));
    Inbox.cursor.set(cells, cell, Inbox.cursor.get(cells, cell) + 1);
    return takeItem(machine, bytes);
  }

  /** An operation that nobody signed for, because it needs nobody's right: `id` u56 names its record. */
  #unasked(op: typeof expire | typeof tell, length: number): number {
    const { machine } = this;
    const { frame } = machine;
    if (frame.length !== length) return Status.malformed;
    // By its last byte: above 2^53 a double has lost it. No record has such an id, as none has 0.
    if (frame[7] !== machine.shard) return Status.wrong_shard;
    const named = readUint(frame, 1, 7);
    const id = named > MAX_AMOUNT ? 0 : named;
    return op === expire ? expire.run(machine, 0, id) : tell.run(machine, 0, id, frame[8]);
  }
}

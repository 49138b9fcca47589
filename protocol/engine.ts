/**
 * The state transition (docs/protocol.md §3): frames in, outcomes out. Total: any bytes on any state have one outcome.
 * `execute` runs a whole frame, `run` without making anything; `stepsOf` says how many steps L1 counts in it.
 */
import { Agent, Inbox, META_INBOX, Region } from './cells.ts';
import { BUNDLE, Bundle, MAX_INTERACTIONS } from './bundle.ts';
import { concat, equal, readUint, writeUint } from './bytes.ts';
import type { Signing } from './eip712.ts';
import { codeOf } from './errors.ts';
import { keccak } from './hash.ts';
import { shardOf } from './ids.ts';
import { type InboxItem, accumulate, decodeInboxItem } from './inbox.ts';
import { verifyP256Sync } from './keys.ts';
import { Machine, type VerifyP256 } from './machine.ts';
import { NONE } from './memory.ts';
import { MAX_NUMBERS, runOp } from './ops/index.ts';
import { type Outcome, Status, type StatusName } from './status.ts';
import { ShardTrie } from './trie.ts';

export const FrameKind = { tick: 0x01, inbox: 0x02, receive: 0x03, bundle: BUNDLE } as const;

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

/** The value of `parse`, or null when it throws `malformed`; anything else is a bug and goes through. */
function parsed<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch (error) {
    if (codeOf(error) === 'malformed') return null;
    throw error;
  }
}

const verifyInPlace: VerifyP256 = (key, preimage, signature) => verifyP256Sync(key, preimage(), signature);

/** Executes one shard's frames in order. */
export class Engine {
  readonly machine: Machine;
  /** Status of each step of the last frame. */
  readonly statuses: Uint8Array = new Uint8Array(MAX_STEPS);
  /** The id or number that each step of the last frame made, 0 if none. */
  readonly values: Float64Array = new Float64Array(MAX_STEPS);
  readonly #bundle = new Bundle();

  constructor(shard: number, signing: Signing, verify: VerifyP256 = verifyInPlace, trie = new ShardTrie()) {
    this.machine = new Machine(shard, trie, signing, verify);
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
    if (seq !== machine.seq) return this.#refuse(steps, Status.out_of_order, Status.out_of_order);
    machine.seq = seq + 1;
    machine.frame = frame;
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
    if (frame[0] === FrameKind.tick) return this.#tick(frame);
    if (frame[0] === FrameKind.inbox) return this.#inbox(frame.subarray(1));
    return Status.malformed;
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
    const bundle = decoded?.frame === frame ? decoded : this.#decode(frame);
    const refused = bundle ? this.admit(bundle) : 'malformed';
    if (!bundle || refused) return this.#refuse(steps, Status[refused ?? 'malformed'], Status.bundle_refused);
    const { actor, codes, numbers } = bundle;
    const agent = machine.edit(machine.agent(actor));
    Agent.nonce.set(machine.cells, agent, Agent.nonce.get(machine.cells, agent) + 1);
    statuses[0] = Status.ok;
    values[0] = 0;
    for (let i = 0; i < steps - 1; i++) {
      machine.value = 0;
      statuses[i + 1] = runOp(machine, actor, codes[i], numbers, i * MAX_NUMBERS);
      values[i + 1] = machine.value;
    }
    return steps;
  }

  #decode(frame: Uint8Array): Bundle | null {
    try {
      this.#bundle.decode(frame);
      return this.#bundle;
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
    const item = parsed(() => decodeInboxItem(bytes));
    return item ? this.#apply(item) : Status.malformed;
  }

  #apply(item: InboxItem): number {
    const { machine } = this;
    switch (item.kind) {
      case 'register': {
        if (item.shard !== machine.shard) return this.#payBack(0, item.owner, item.amount, 'wrong_shard');
        if (!machine.hasAgentRoom()) return this.#payBack(0, item.owner, item.amount, 'region_full');
        return machine.ok(machine.createAgent(item.owner, item.key, item.amount));
      }
      case 'deposit': {
        if (!machine.isLocal(item.agent)) return this.#payBack(item.agent, item.from, item.amount, 'wrong_shard');
        if (!machine.agentExists(item.agent)) return this.#payBack(item.agent, item.from, item.amount, 'unknown_agent');
        machine.credit(item.agent, item.amount);
        return Status.ok;
      }
      case 'withdraw': {
        const refused = this.#forced(item.agent, item.owner);
        return refused ? Status[refused] : machine.withdraw(item.agent, item.amount);
      }
      case 'rotate': {
        const refused = this.#forced(item.agent, item.owner);
        if (refused) return Status[refused];
        if (machine.epochExhausted(item.agent)) return Status.epoch_exhausted;
        return machine.ok(machine.rotateKey(item.agent, item.key));
      }
    }
  }

  /** Why `owner` may not force an operation of `agent`. */
  #forced(agent: number, owner: Uint8Array): StatusName | null {
    const { machine } = this;
    if (!machine.isLocal(agent)) return 'wrong_shard';
    const cell = machine.agent(agent);
    if (cell === NONE) return 'unknown_agent';
    return equal(Agent.owner.get(machine.cells, cell), owner) ? null : 'not_owner';
  }

  /** Money that found no agent goes back to L1. */
  #payBack(agent: number, recipient: Uint8Array, amount: number, why: StatusName): number {
    if (this.machine.hasOutboxRoom()) this.machine.value = this.machine.sendWithdrawal(agent, recipient, amount);
    return Status[why];
  }
}

/**
 * The state transition (docs/protocol.md §3): frames in, outcomes out. Total: any bytes on any state have one outcome.
 * `execute` runs a whole frame; `stepsOf` says how many steps L1 counts in it.
 */
import { Agent, Head, Inbox, META_INBOX, Region, get, getBytes, set, setBytes } from './cells.ts';
import { BUNDLE, type Bundle, MAX_FRAME_BYTES, decodeBundle } from './bundle.ts';
import { concat, equal, readUint, writeUint } from './bytes.ts';
import type { Signing } from './eip712.ts';
import { codeOf } from './errors.ts';
import { keccak } from './hash.ts';
import { shardOf } from './ids.ts';
import { type InboxItem, accumulate, decodeInboxItem } from './inbox.ts';
import { verifyP256Sync } from './keys.ts';
import { Machine, type VerifyP256, fail, ok } from './machine.ts';
import { runInteraction } from './ops/index.ts';
import { type Outcome, Status, type StatusName } from './status.ts';
import { ShardTrie } from './trie.ts';

export const FrameKind = { tick: 0x01, inbox: 0x02, receive: 0x03, bundle: BUNDLE } as const;

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
    return get(this.machine.head(), Head.seq);
  }

  /** Executes the frame at place `seq`; one outcome a step. */
  execute(seq: number, frame: Uint8Array): Outcome[] {
    if (seq !== this.seq) return Array.from({ length: stepsOf(frame) }, () => fail('out_of_order'));
    set(this.machine.editHead(), Head.seq, seq + 1);
    if (frame[0] === FrameKind.tick) return [this.#tick(frame)];
    if (frame[0] === FrameKind.inbox) return [this.#inbox(frame.subarray(1))];
    if (frame[0] === FrameKind.bundle) return this.#bundle(frame);
    return [fail('malformed')];
  }

  #tick(frame: Uint8Array): Outcome {
    const time = frame.length === 5 ? readUint(frame, 1, 4) : TIME_END;
    if (time >= TIME_END) return fail('malformed');
    if (time <= this.machine.time) return fail('stale_time');
    set(this.machine.editHead(), Head.time, time);
    return ok();
  }

  #bundle(frame: Uint8Array): Outcome[] {
    const bundle = frame.length <= MAX_FRAME_BYTES ? parsed(() => decodeBundle(frame)) : null;
    const refused = bundle ? this.admit(bundle) : 'malformed';
    if (!bundle || refused) {
      return [
        fail(refused ?? 'malformed'),
        ...Array.from({ length: stepsOf(frame) - 1 }, () => fail('bundle_refused')),
      ];
    }
    const agent = this.machine.editAgent(bundle.actor);
    set(agent, Agent.nonce, get(agent, Agent.nonce) + 1);
    const outcomes = [ok()];
    for (const interaction of bundle.interactions)
      outcomes.push(runInteraction(this.machine, bundle.actor, interaction));
    return outcomes;
  }

  /** Why a bundle would be refused here and now; null when it would be accepted. Writes nothing. */
  admit(bundle: Bundle): StatusName | null {
    const { machine } = this;
    if (shardOf(bundle.actor) !== machine.shard) return 'wrong_shard';
    if (!machine.agentExists(bundle.actor)) return 'unknown_agent';
    const nonce = get(machine.readAgent(bundle.actor), Agent.nonce);
    if (bundle.nonce !== nonce || nonce === 0xffffffff) return 'bad_nonce';
    if (bundle.expiry < machine.time) return 'expired';
    const { body, signature } = bundle;
    const valid = machine.verify(machine.keyOf(bundle.actor), () => machine.signing.bundle(body), signature, body);
    return valid ? null : 'bad_signature';
  }

  #inbox(bytes: Uint8Array): Outcome {
    const { machine } = this;
    if (machine.shard !== 0) return fail('wrong_shard');
    const cell = machine.trie.edit(Region.meta, META_INBOX);
    setBytes(cell, Inbox.accumulator, accumulate(getBytes(cell, Inbox.accumulator), bytes));
    set(cell, Inbox.cursor, get(cell, Inbox.cursor) + 1);
    const item = parsed(() => decodeInboxItem(bytes));
    return item ? this.#apply(item) : fail('malformed');
  }

  #apply(item: InboxItem): Outcome {
    const { machine } = this;
    switch (item.kind) {
      case 'register': {
        if (item.shard !== machine.shard) return this.#payBack(0, item.owner, item.amount, 'wrong_shard');
        if (!machine.hasAgentRoom()) return this.#payBack(0, item.owner, item.amount, 'region_full');
        return ok(machine.createAgent(item.owner, item.key, item.amount));
      }
      case 'deposit': {
        if (!machine.isLocal(item.agent)) return this.#payBack(item.agent, item.from, item.amount, 'wrong_shard');
        if (!machine.agentExists(item.agent)) return this.#payBack(item.agent, item.from, item.amount, 'unknown_agent');
        machine.credit(item.agent, item.amount);
        return ok();
      }
      case 'withdraw': {
        const refused = this.#forced(item.agent, item.owner);
        return refused ? fail(refused) : machine.withdraw(item.agent, item.amount);
      }
      case 'rotate': {
        const refused = this.#forced(item.agent, item.owner);
        if (refused) return fail(refused);
        if (machine.epochExhausted(item.agent)) return fail('epoch_exhausted');
        return ok(machine.rotateKey(item.agent, item.key));
      }
    }
  }

  /** Why `owner` may not force an operation of `agent`. */
  #forced(agent: number, owner: Uint8Array): StatusName | null {
    const { machine } = this;
    if (!machine.isLocal(agent)) return 'wrong_shard';
    if (!machine.agentExists(agent)) return 'unknown_agent';
    const cell = machine.readAgent(agent);
    return equal(getBytes(cell, Agent.owner), owner) ? null : 'not_owner';
  }

  /** Money that found no agent goes back to L1. */
  #payBack(agent: number, recipient: Uint8Array, amount: number, why: StatusName): Outcome {
    const value = this.machine.hasOutboxRoom() ? this.machine.sendWithdrawal(agent, recipient, amount) : 0;
    return { status: Status[why], value };
  }
}

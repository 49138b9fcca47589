/** Shards for tests: the real state transition, each frame with its receipt, messages carried between them as soon as they are sent. */
import { BUNDLE } from '../../protocol/bundle.ts';
import { ZERO_BYTES32, equal } from '../../protocol/bytes.ts';
import { MessageCell, Peer, META_PEERS, Region, get, getBytes, messageSlot } from '../../protocol/cells.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { Engine } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import type { MachineKey } from '../../protocol/keys.ts';
import type { Machine } from '../../protocol/machine.ts';
import { type SentMessage, receiveFrame } from '../../protocol/messages.ts';
import { type SignedReceipt, extendRunning, outcomesHash, signReceipt } from '../../protocol/receipt.ts';
import { Status } from '../../protocol/status.ts';
import { shardOf } from '../../protocol/ids.ts';

export interface TestFrame {
  readonly bytes: Uint8Array;
  readonly signed: SignedReceipt;
}

interface Shard {
  readonly engine: Engine;
  readonly frames: TestFrame[];
  running: Uint8Array;
}

export class TestShards {
  /** Messages stay where they are while this is set. */
  held = false;
  readonly #signing: Signing;
  readonly #shards: readonly Shard[];
  readonly #waiting: { readonly from: number; readonly message: SentMessage }[] = [];
  /** `from:to:number` of messages received → the frame's seq. */
  readonly #received = new Map<string, number>();
  readonly #sent = new Map<string, SentMessage['kind']>();

  constructor(signing: Signing, count: number) {
    this.#signing = signing;
    const foreign = (shard: number) => ({
      holds: (from: number, number: number, hash: Uint8Array): boolean => {
        const cell = this.machine(from).trie.read(Region.message, messageSlot(shard, number));
        return get(cell, MessageCell.number) === number && equal(getBytes(cell, MessageCell.hash), hash);
      },
      received: (to: number, number: number): boolean =>
        get(this.machine(to).trie.read(Region.meta, META_PEERS + shard), Peer.received) >= number,
    });
    this.#shards = Array.from({ length: count }, (_, shard) => ({
      engine: new Engine(shard, signing, { shards: count, foreign: foreign(shard) }),
      frames: [],
      running: ZERO_BYTES32,
    }));
  }

  get count(): number {
    return this.#shards.length;
  }
  engine(shard: number): Engine {
    return this.#shards[shard].engine;
  }
  machine(shard: number): Machine {
    return this.#shards[shard].engine.machine;
  }
  /** The machine an id lives on. */
  holding(id: number): Machine {
    return this.machine(shardOf(id));
  }
  frames(shard: number): TestFrame[] {
    return this.#shards[shard].frames;
  }

  /** Where this very bundle stands already. */
  placeOf(shard: number, frame: Uint8Array): number {
    return this.frames(shard).findIndex((known) => known.bytes[0] === BUNDLE && equal(known.bytes, frame));
  }

  /** What became of a message: the frame that received it, `sent` while none has, null for one that never left. */
  message(from: number, to: number, number: number): TestFrame | 'sent' | null {
    const key = `${from}:${to}:${number}`;
    const seq = this.#received.get(key);
    return seq === undefined ? (this.#sent.has(key) ? 'sent' : null) : this.frames(to)[seq];
  }
  kindOf(from: number, to: number, number: number): string | undefined {
    return this.#sent.get(`${from}:${to}:${number}`);
  }

  /** Executes a frame, then whatever it sent elsewhere. */
  async append(shard: number, frame: Uint8Array, key: MachineKey): Promise<SignedReceipt> {
    const signed = await this.#append(shard, frame, key);
    await this.deliver(key);
    return signed;
  }

  async deliver(key: MachineKey): Promise<void> {
    while (!this.held && this.#waiting.length > 0) {
      const { from, message } = this.#waiting.shift()!;
      const { seq } = this.engine(message.to);
      const { outcomes } = await this.#append(message.to, receiveFrame(from, message.payload), key);
      if (outcomes[0].status === Status.no_message) throw new Error('a message came out of order');
      this.#received.set(`${from}:${message.to}:${message.number}`, seq);
    }
  }

  async #append(shard: number, frame: Uint8Array, key: MachineKey): Promise<SignedReceipt> {
    const own = this.#shards[shard];
    const { seq } = own.engine;
    const outcomes = own.engine.execute(seq, frame);
    for (const message of own.engine.takeSent()) {
      this.#sent.set(`${shard}:${message.to}:${message.number}`, message.kind);
      this.#waiting.push({ from: shard, message });
    }
    const frameHash = keccak(frame);
    own.running = extendRunning(own.running, frameHash);
    const receipt = {
      shard,
      seq,
      frameHash,
      runningHash: own.running,
      outcomesHash: outcomesHash(outcomes),
      promisedBy: 2_000_000_000,
    };
    const signed = await signReceipt(key, this.#signing, receipt, outcomes);
    own.frames.push({ bytes: frame, signed });
    return signed;
  }
}

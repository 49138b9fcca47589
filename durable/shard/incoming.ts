/** Messages from other shards (docs/protocol.md §4a) that have come and not run yet: in order, each once. */
import { MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import { Peer } from '../../protocol/cells.ts';
import { codeOf } from '../../protocol/errors.ts';
import type { Machine } from '../../protocol/machine.ts';
import { receiveFrame } from '../../protocol/messages.ts';
import { messageCall } from '../../protocol/receive.ts';
import { type Delivery, type Failure, failure } from './api.ts';
import { type Answers, NO_ANSWERS, askFor } from './verdicts.ts';

/** Messages of one shard that may wait here; the others stay where they are. */
const MAX_WAITING = 4096;

/** A message as a frame, with what is known of the signatures inside it. */
export interface Arrived {
  readonly frame: Uint8Array;
  answers: Answers;
  ready: boolean;
}

export class Incoming {
  readonly #machine: Machine;
  readonly #epoch: () => number;
  readonly #wake: () => void;
  readonly #queues = new Map<number, Arrived[]>();
  /** Who waits for a turn to be over. */
  #waiters: (() => void)[] = [];

  /** `epoch`: number of this shard's newest cut. `wake`: something is here to be run. */
  constructor(machine: Machine, epoch: () => number, wake: () => void) {
    this.#machine = machine;
    this.#epoch = epoch;
    this.#wake = wake;
  }

  /** Takes messages `first` and following, as far as they are the next ones, and answers when they have run, or can't yet. */
  async take(from: number, epoch: number, first: number, payloads: readonly Uint8Array[]): Promise<Delivery | Failure> {
    const { shard, shards } = this.#machine;
    if (!Number.isInteger(from) || from < 0 || from >= shards || from === shard)
      return failure('wrong_shard', `no messages come from shard ${from}`);
    if (payloads.some(({ length }) => length + 2 > MAX_FRAME_BYTES))
      return failure('malformed', 'a message is longer than a frame');
    // What was sent after a cut is received after the same cut: else the batch would hold an answer without its question.
    if (epoch > this.#epoch()) return { received: this.#received(from), later: true };
    const queue = this.#queue(from);
    const next = this.#received(from) + queue.length + 1;
    if (first <= next)
      for (const payload of payloads.slice(next - first, next - first + MAX_WAITING - queue.length))
        queue.push(this.#arrived(from, payload));
    if (queue.length > 0) await this.#turn();
    return { received: this.#received(from) };
  }

  /** Queues with something that may run, by sender. */
  *queues(): Generator<[from: number, queue: Arrived[]]> {
    for (const [from, queue] of this.#queues) if (queue[0]?.ready) yield [from, queue];
  }
  get isWaiting(): boolean {
    for (const _ of this.queues()) return true;
    return false;
  }

  /** A turn is over: whoever waits for it looks again. */
  turnOver(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#wake();
    });
  }
  #received(from: number): number {
    return Peer.received.get(this.#machine.cells, this.#machine.peer(from));
  }
  #queue(from: number): Arrived[] {
    let queue = this.#queues.get(from);
    if (!queue) this.#queues.set(from, (queue = []));
    return queue;
  }

  #arrived(from: number, payload: Uint8Array): Arrived {
    const frame = receiveFrame(from, payload);
    const call = callOf(frame);
    const arrived: Arrived = { frame, answers: NO_ANSWERS, ready: call === null };
    if (call)
      askFor(this.#machine, call)
        .then((answers) => {
          arrived.answers = answers;
        })
        // Then it is checked while it runs.
        .catch(() => {})
        .finally(() => {
          arrived.ready = true;
          this.#wake();
        });
    return arrived;
  }
}

/** The call in a receive frame; null for other messages. */
function callOf(frame: Uint8Array): ReturnType<typeof messageCall> {
  try {
    return messageCall(frame);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

/** Messages from other shards (docs/protocol.md §4a) that have come and not run yet: in order, each once. */
import { MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import { Peer } from '../../protocol/cells.ts';
import { codeOf } from '../../protocol/errors.ts';
import type { Machine } from '../../protocol/machine.ts';
import { receiveFrame } from '../../protocol/messages.ts';
import { messageCall } from '../../protocol/receive.ts';
import { type Delivery, type Failure, failure } from './api.ts';
import { type Answers, NO_ANSWERS, askFor, isOutdated } from './verdicts.ts';

/** Messages that may wait here, of all shards together and of one at least; the others stay where they are. */
const MAX_WAITING = 16_384;
const MIN_WAITING = 64;
/** How long a delivery is held that can't go on: its sender would only ask again. */
const HOLD_MS = 400;
/** How often the signatures inside a message are asked for before it runs. */
const MAX_ASKED = 3;

type Call = ReturnType<typeof messageCall>;

/** A message as a frame, with what is known of the signatures inside it. */
export interface Arrived {
  readonly frame: Uint8Array;
  readonly call: Call;
  answers: Answers;
  asked: number;
  ready: boolean;
}

interface Queue {
  readonly items: Arrived[];
  /** The first found no room for its answer: it waits for an ack. */
  isBlocked: boolean;
}

interface Waiter {
  readonly from: number;
  /** What had been received when it began to wait. */
  readonly since: number;
  readonly tell: () => void;
}

export interface IncomingHost {
  /** Number of this shard's newest cut. */
  epoch(): number;
  /** Something is here to be run. */
  wake(): void;
  /** So many messages of a shard have come. */
  came(from: number, count: number): void;
}

export class Incoming {
  readonly #machine: Machine;
  readonly #host: IncomingHost;
  readonly #queues = new Map<number, Queue>();
  #waiters: Waiter[] = [];

  constructor(machine: Machine, host: IncomingHost) {
    this.#machine = machine;
    this.#host = host;
  }

  /** Takes messages `first` and following, as far as they are the next ones, and answers when some have run, or none can. */
  async take(from: number, epoch: number, first: number, payloads: readonly Uint8Array[]): Promise<Delivery | Failure> {
    const { shard, shards } = this.#machine;
    if (!Number.isInteger(from) || from < 0 || from >= shards || from === shard)
      return failure('wrong_shard', `no messages come from shard ${from}`);
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(first) || first < 1)
      return failure('malformed', 'messages and cuts are numbered');
    if (payloads.some(({ length }) => length + 2 > MAX_FRAME_BYTES))
      return failure('malformed', 'a message is longer than a frame');
    // What was sent after a cut is received after the same cut: else the batch would hold an answer without its question.
    if (epoch > this.#host.epoch()) return { ...this.#standing(from), later: true };
    const queue = this.#queue(from);
    const since = this.#received(from);
    const next = since + queue.items.length + 1;
    if (first <= next) {
      const room = Math.max(MIN_WAITING, Math.floor(MAX_WAITING / shards)) - queue.items.length;
      const fresh = payloads.slice(next - first, next - first + Math.max(room, 0));
      for (const payload of fresh) queue.items.push(this.#arrived(from, payload));
      if (fresh.length > 0) this.#host.came(from, fresh.length);
    }
    if (queue.items.length > 0) await this.#progress(from, since);
    return this.#standing(from);
  }

  /** Queues of which the first may run, by sender. */
  *queues(): Generator<[from: number, items: Arrived[]]> {
    for (const [from, { items, isBlocked }] of this.#queues) if (!isBlocked && items[0]?.ready) yield [from, items];
  }
  get isWaiting(): boolean {
    for (const { items, isBlocked } of this.#queues.values()) if (!isBlocked && items[0]?.ready) return true;
    return false;
  }

  /** The first message of a shard found no room for its answer. */
  block(from: number): void {
    this.#queue(from).isBlocked = true;
  }
  /** An ack has made room. */
  unblock(): void {
    for (const queue of this.#queues.values()) queue.isBlocked = false;
  }

  /** Whether a message must wait because a session has come that it is signed over: what is new is asked for. */
  mustAsk(arrived: Arrived): boolean {
    if (!arrived.call || arrived.asked >= MAX_ASKED || !isOutdated(this.#machine, arrived.answers)) return false;
    arrived.ready = false;
    this.#ask(arrived, arrived.call);
    return true;
  }

  /** A turn is over: whoever waits for progress looks again. */
  turnOver(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#received(waiter.from) > waiter.since) waiter.tell();
      else this.#waiters.push(waiter);
    }
  }

  #progress(from: number, since: number): Promise<void> {
    return new Promise((resolve) => {
      const tell = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const waiter = { from, since, tell };
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        resolve();
      }, HOLD_MS);
      this.#waiters.push(waiter);
      this.#host.wake();
    });
  }
  #standing(from: number): Delivery {
    return { received: this.#received(from), epoch: this.#host.epoch() };
  }
  #received(from: number): number {
    return Peer.received.get(this.#machine.cells, this.#machine.peer(from));
  }
  #queue(from: number): Queue {
    let queue = this.#queues.get(from);
    if (!queue) this.#queues.set(from, (queue = { items: [], isBlocked: false }));
    return queue;
  }

  #arrived(from: number, payload: Uint8Array): Arrived {
    const frame = receiveFrame(from, payload);
    const call = callOf(frame);
    const arrived: Arrived = { frame, call, answers: NO_ANSWERS, asked: 0, ready: call === null };
    if (call) this.#ask(arrived, call);
    return arrived;
  }

  #ask(arrived: Arrived, call: NonNullable<Call>): void {
    arrived.asked += 1;
    askFor(this.#machine, call)
      .then((answers) => {
        arrived.answers = answers;
      })
      // Then it is checked while it runs.
      .catch(() => {})
      .finally(() => {
        arrived.ready = true;
        this.#host.wake();
      });
  }
}

/** The call in a receive frame; null for other messages, and for what no shard has written. */
export function callOf(frame: Uint8Array): Call {
  try {
    return messageCall(frame);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

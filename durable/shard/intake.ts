/**
 * Bundles on their way into the log: taken or refused at once, waiting in turns, run together as one chunk.
 *
 * What is taken is answered soon. Bounds are of time: the shard estimates how long what waits will take, by what it took lately, and refuses
 * more than {@link MAX_WAIT_MS} of it with `overloaded` before it costs anything. An agent that floods is refused first: turns go round, and
 * whoever has less waiting than its share is taken also when others have filled the time.
 */
import { Bundle, decodeBundle } from '../../protocol/bundle.ts';
import { equal } from '../../protocol/bytes.ts';
import { Agent, get } from '../../protocol/cells.ts';
import { keccak } from '../../protocol/hash.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { type Failure, type Submission, type SubmitResult, failure } from './api.ts';
import { Buckets } from './buckets.ts';
import { Core, type Executed } from './core.ts';
import { Lane } from './lane.ts';
import type { Orders } from './orders.ts';
import { BUCKETS, isSigned, opensIn, priceOf } from './prices.ts';
import { FairQueue, type Queued } from './queue.ts';
import { type Answers, NO_ANSWERS, askFor, isOutdated, opensMissing } from './verdicts.ts';

/** Longest that a bundle may expect to wait, unless the deployment says otherwise. */
export const MAX_WAIT_MS = 500;
/** Bundles that may wait at once, for their memory's sake; of one agent, what one request can bring. */
const MAX_WAITING = 8192;
const MAX_WAITING_OF_AGENT = 1024;
/** Interactions of bundles that wait decoded, 100 bytes each: beyond, only the bytes are kept, and decoded again when their turn comes. */
const MAX_DECODED = 2 ** 16;
/** Work (estimated microseconds) after which a chunk ends, so that whatever else the object is asked for gets its turn. */
export const CHUNK_WORK = 25_000;
/** Receiving a message. */
export const MESSAGE_WORK = 10;
/** How often signatures inside one bundle are asked for before it runs. */
const MAX_ASKED = 3;

interface Waiting extends Queued {
  readonly frame: Uint8Array;
  /** While there is room for it. */
  readonly decoded: Bundle | null;
  readonly key: Uint8Array;
  answers: Answers;
  asked: number;
  readonly answer: (result: SubmitResult | Promise<SubmitResult>) => void;
  readonly fail: (error: unknown) => void;
}

const bundleOf = ({ decoded, frame }: Waiting): Bundle => decoded ?? decodeBundle(frame);

/** What the object lends. */
export interface IntakeHost {
  /** Runs `work`, which moves state and log; when it throws, the object starts over. */
  together<T>(work: () => T): T;
  receipt(executed: Executed, promisedBy: number): Promise<SubmitResult>;
}

export class Intake {
  readonly #core: Core;
  readonly #host: IntakeHost;
  readonly #queue = new FairQueue<Waiting>();
  readonly #lane: Lane;
  readonly #orders: Orders;
  readonly #buckets = new Buckets(BUCKETS);
  /** Work of the turn before this one: done when this one starts. */
  #lastWork = 0;
  /** Interactions that wait decoded. */
  #decoded = 0;
  /** For one that is not kept so. */
  readonly #room = new Bundle();
  #scheduled = false;

  /** `orders`: what is under way on other shards. `maxWaitMs`: see {@link MAX_WAIT_MS}. */
  constructor(core: Core, host: IntakeHost, orders: Orders, maxWaitMs: number) {
    this.#core = core;
    this.#host = host;
    this.#orders = orders;
    this.#lane = new Lane(maxWaitMs);
  }

  /** Messages of another shard have come: they take time, too, and a shard that sends many takes no more of it than an agent would. */
  came(from: number, count: number): void {
    this.#lane.enter(-1 - from, count * MESSAGE_WORK, Date.now());
  }
  /** They have run. */
  ran(from: number, count: number): void {
    if (count === 0) return;
    this.#lane.leave(-1 - from, count * MESSAGE_WORK);
    this.#lastWork += count * MESSAGE_WORK;
    this.#schedule();
  }

  /** Results in the order of the items. */
  submit(items: readonly Submission[]): Promise<SubmitResult[]> {
    const nowMs = Date.now();
    // Behind one that there is no room for, those of its agent would find their nonces too far.
    const putOff = new Map<number, Failure>();
    return Promise.all(items.map((item) => this.#take(item, nowMs, putOff)));
  }

  #take({ frame, key }: Submission, nowMs: number, putOff: Map<number, Failure>): Promise<SubmitResult> | Failure {
    const { engine } = this.#core;
    const isFull = this.#decoded >= MAX_DECODED;
    const bundle = Core.decode(frame, isFull ? this.#room : undefined);
    if (!bundle) return failure('malformed', 'not one whole canonical bundle');
    if (shardOf(bundle.actor) !== engine.shard)
      return failure('wrong_shard', `agent ${formatId(bundle.actor)} lives on another shard`);
    // What can't run any more costs its agent nothing: anybody can send it again.
    const hopeless = this.#stranger(bundle, key) ?? this.#past(bundle);
    if (hopeless) return hopeless;
    const { work, tokens } = priceOf(engine.machine, bundle, this.#orders);
    const full = putOff.get(bundle.actor) ?? this.#noRoom(bundle.actor, work);
    if (full) putOff.set(bundle.actor, full);
    const refused = full ?? this.#buckets.take(bundle.actor, tokens, nowMs);
    if (refused) return refused;
    this.#lane.enter(bundle.actor, work, nowMs);
    const decoded = isFull ? null : bundle;
    this.#decoded += decoded?.count ?? 0;
    return new Promise((answer, fail) => {
      const { actor: agent, nonce } = bundle;
      const ready = !isSigned(bundle);
      const waiting = { agent, nonce, work, ready, frame, decoded, key, answers: NO_ANSWERS, asked: 0, answer, fail };
      this.#queue.push(waiting);
      if (!ready) this.#ask(waiting);
      this.#schedule();
    });
  }

  /** Why there is no room for so much more work of an agent; null when there is. */
  #noRoom(agent: number, work: number): Failure | null {
    const queue = this.#queue;
    const isFull = queue.count >= MAX_WAITING || queue.countOf(agent) >= MAX_WAITING_OF_AGENT;
    const retryAfter = isFull ? 1 : this.#lane.full(agent, work);
    if (retryAfter === 0) return null;
    return failure('overloaded', 'too much is waiting to run: nothing of this bundle was done', { retryAfter });
  }

  /** Fetches the answers that a bundle's execution will ask for; until then its agent's turn goes by. */
  #ask(waiting: Waiting): void {
    waiting.asked += 1;
    askFor(this.#core.engine.machine, bundleOf(waiting)).then((answers) => {
      waiting.answers = answers;
      this.#queue.wake(waiting);
      this.#schedule();
    }, waiting.fail);
  }

  #schedule(): void {
    if (this.#scheduled || (!this.#queue.runnable && this.#lastWork === 0)) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.#turn();
      this.#schedule();
    }, 0);
  }

  /** Runs what waits as one chunk, up to a chunk's size. No await inside: state and log move together. */
  #turn(): void {
    const nowMs = Date.now();
    this.#lane.done(this.#lastWork, nowMs);
    this.#lastWork = 0;
    const accepted: { waiting: Waiting; executed: Executed }[] = [];
    const refused: { waiting: Waiting; why: Failure }[] = [];
    const promisedBy = this.#host.together(() => {
      while (this.#lastWork < CHUNK_WORK && !this.#core.full) {
        const waiting = this.#queue.next();
        if (!waiting) break;
        if (this.#mustAsk(waiting)) continue;
        this.#lastWork += waiting.work;
        this.#lane.leave(waiting.agent, waiting.work);
        this.#decoded -= waiting.decoded?.count ?? 0;
        const bundle = bundleOf(waiting);
        const why = this.#refusal(waiting, bundle, nowMs);
        if (why) refused.push({ waiting, why });
        else {
          if (accepted.length === 0) this.#core.tick(nowMs);
          const { key, answers } = waiting;
          accepted.push({ waiting, executed: this.#core.executeBundle(bundle, key, answers) });
        }
      }
      return this.#core.seal(nowMs)?.promisedBy ?? 0;
    });
    for (const { waiting, why } of refused) waiting.answer(why);
    for (const { waiting, executed } of accepted) {
      this.#host.receipt(executed, promisedBy).then(waiting.answer, waiting.fail);
    }
  }

  /** Puts a bundle back when a session has come that it is signed over, to ask for what is new. */
  #mustAsk(waiting: Waiting): boolean {
    if (waiting.asked >= MAX_ASKED || !isOutdated(this.#core.engine.machine, waiting.answers)) return false;
    waiting.ready = false;
    this.#queue.push(waiting);
    this.#ask(waiting);
    return true;
  }

  /** Why a bundle must not enter the log, asked right before it would run. */
  #refusal({ key, answers }: Waiting, bundle: Bundle, nowMs: number): Failure | null {
    const { machine } = this.#core.engine;
    const stranger = this.#stranger(bundle, key);
    if (stranger) return stranger;
    const status = this.#core.refusal(bundle, key);
    if (status === 'bad_nonce') return this.#past(bundle) ?? this.#gap(bundle);
    const time = Math.max(machine.time, Math.floor(nowMs / 1000));
    if (status === 'expired' || (status === null && bundle.expiry < time))
      return failure('expired', `expired at ${bundle.expiry}; the shard's time is ${time}`);
    if (status) return failure(status, `refused: ${status}`);
    return isOutdated(machine, answers) || opensMissing(machine, answers, opensIn(bundle))
      ? failure('too_early', 'it is signed over a session that it opens itself: wait for the receipt of the open')
      : null;
  }

  /** Unless the bundle is by the agent as it is now. */
  #stranger({ actor }: Bundle, key: Uint8Array): Failure | null {
    const { machine } = this.#core.engine;
    if (!machine.agentExists(actor)) return failure('unknown_agent', `there is no agent ${formatId(actor)}`);
    const current = machine.keyOf(actor);
    if (equal(current, key)) return null;
    return failure('stale_key', `agent ${formatId(actor)} has another key now`, { key: current });
  }

  #expected(actor: number): number {
    return get(this.#core.engine.machine.readAgent(actor), Agent.nonce);
  }

  /** Whether its nonce was used: by itself, or by another. */
  #past(bundle: Bundle): Failure | null {
    if (bundle.nonce >= this.#expected(bundle.actor)) return null;
    const seq = this.#core.recent.placeOf(bundle, keccak(bundle.frame));
    if (seq === undefined) return this.#gap(bundle);
    const place = `${this.#core.engine.shard}:${seq}`;
    return failure('replayed', `this bundle was executed as frame ${place}: fetch its receipt`, { place });
  }

  #gap({ actor, nonce }: Bundle): Failure {
    const expected = this.#expected(actor);
    return failure('bad_nonce', `expected nonce ${expected}, got ${nonce}`, { expected });
  }
}

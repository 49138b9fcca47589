/**
 * What a shard does by itself, in chunks of its own: receiving and acknowledging messages, advancing what is decided or
 * overdue (docs/protocol.md §§4a, 4b). It wakes for what comes, after every chunk, and by alarm; an idle shard sleeps.
 */
import { Status } from '../../protocol/status.ts';
import { SystemFrame, ackFrame } from '../../protocol/messages.ts';
import { invoke } from '../../protocol/ops/invoke.ts';
import { plan } from '../../protocol/ops/plan.ts';
import type { Core, Executed } from './core.ts';
import { Incoming } from './incoming.ts';
import { Outgoing, type Receiver } from './outgoing.ts';
import { Sweeper } from './sweeper.ts';

/** Receive frames of one chunk, so that bundles get their turn. */
const MAX_RECEIVED = 1024;
/** Unacknowledged messages that are worth an ack of their own; fewer go with the next chunk, or after a while. */
const ACK_AT_ONCE = 256;
const ACK_AFTER_MS = 1000;
/** A message that finds no room for its answer is tried again after this. */
const CONGESTED_MS = 50;
/** How long undelivered messages may lie if the object is put to sleep meanwhile. */
const ALARM_MS = 5000;

/** What the object lends. */
export interface MailHost {
  /** Runs `work`, which moves state and log; when it throws, the object starts over. */
  together<T>(work: () => T): T;
  /** The object of another shard. */
  peer(shard: number): Receiver;
  /** Number of the newest cut. */
  epoch(): number;
  /** Wakes the object at a time (Unix milliseconds), also after it was put to sleep. */
  alarm(atMs: number): void;
}

export class Mail {
  readonly #core: Core;
  readonly #host: MailHost;
  readonly incoming: Incoming;
  readonly outgoing: Outgoing;
  readonly sweeper: Sweeper;
  #scheduled = false;
  #alarmAt = Infinity;
  /** When the oldest ack that is due became due. */
  #ackSince = Infinity;
  /** The shard's time as of the last look at deadlines. */
  #sweptAt = 0;
  /** The shard's time when something it did by itself was refused: not again until time has moved. */
  #refusedAt = -1;

  constructor(sql: SqlStorage, core: Core, host: MailHost) {
    const { machine } = core.engine;
    this.#core = core;
    this.#host = host;
    this.sweeper = new Sweeper(machine);
    this.incoming = new Incoming(
      machine,
      () => host.epoch(),
      () => this.#schedule(),
    );
    this.outgoing = new Outgoing(
      sql,
      machine,
      (shard) => host.peer(shard),
      () => host.epoch(),
      () => this.#onReceived(),
    );
    core.hasReceived = (to, number) => this.outgoing.hasReceived(to, number);
    core.onSent = (sent) => this.outgoing.keep(sent);
    core.onExecuted = (executed) => this.#note(executed);
    core.onChunk = () => this.#afterChunk();
  }

  /** After the log was replayed. */
  restore(): void {
    this.outgoing.restore();
    this.sweeper.restore();
    this.#schedule();
  }

  /** A frame ran: what it made may want advancing one day. */
  #note({ frame, bundle }: Executed): void {
    const { statuses, values } = this.#core.engine;
    if (bundle)
      for (let i = 0; i < bundle.count; i++) {
        if (statuses[i + 1] !== Status.ok) continue;
        if (bundle.codes[i] === invoke.code) this.sweeper.noteEscrow(values[i + 1]);
        else if (bundle.codes[i] === plan.code) this.sweeper.noteWorkflow(values[i + 1]);
      }
    else if (frame[0] === SystemFrame.receive && statuses[0] === Status.ok) this.sweeper.noteEscrow(values[0]);
  }

  /** A chunk was appended: what it sent leaves when it is durable, and it may have decided something. */
  #afterChunk(): void {
    this.outgoing.pump();
    if (this.#hasWork()) this.#schedule();
    this.#setAlarm();
  }

  /** The alarm went off. */
  wake(): void {
    this.#alarmAt = Infinity;
    this.outgoing.pump();
    this.#turn(true);
    this.#setAlarm();
  }

  #onReceived(): void {
    const count = this.outgoing.due().reduce((sum, { count: n }) => sum + n, 0);
    if (count === 0) return;
    if (count >= ACK_AT_ONCE) this.#schedule();
    else if (this.#ackSince === Infinity) {
      this.#ackSince = Date.now();
      this.#schedule(ACK_AFTER_MS);
    }
  }

  #schedule(afterMs = 0): void {
    if (this.#scheduled && afterMs === 0) return;
    if (afterMs === 0) this.#scheduled = true;
    setTimeout(() => {
      if (afterMs === 0) this.#scheduled = false;
      this.#turn(false);
    }, afterMs);
  }

  #hasWork(): boolean {
    if (this.incoming.isWaiting || this.#acksDue(Date.now())) return true;
    if (this.#refusedAt === this.#core.time) return false;
    for (const _ of this.sweeper.frames(false)) return true;
    return this.#core.time > this.#sweptAt;
  }

  #acksDue(nowMs: number): boolean {
    const due = this.outgoing.due();
    return due.some(({ count }) => count >= ACK_AT_ONCE) || (due.length > 0 && nowMs - this.#ackSince >= ACK_AFTER_MS);
  }

  /** One chunk of what is to be done; nothing when there is nothing. With `byAlarm`, time moves first. */
  #turn(byAlarm: boolean): void {
    const nowMs = Date.now();
    let again = false;
    this.#host.together(() => {
      const isOverdue = byAlarm && this.sweeper.nextDue * 1000 <= nowMs;
      if (this.incoming.isWaiting || this.#acksDue(nowMs) || isOverdue) this.#core.tick(nowMs);
      again = this.#receive();
      this.#acknowledge();
      again = this.#sweep() || again;
      this.#core.seal(nowMs);
    });
    this.incoming.turnOver();
    if (again) this.#schedule();
  }

  /** Runs what has come. Returns whether more of it can run at once. */
  #receive(): boolean {
    let left = MAX_RECEIVED;
    for (const [, queue] of this.incoming.queues()) {
      while (queue[0]?.ready) {
        if (left-- === 0 || this.#core.full) return true;
        const { frame, answers } = queue[0];
        if (this.#core.executeMessage(frame, answers) === Status.congested) {
          this.#schedule(CONGESTED_MS);
          break;
        }
        queue.shift();
      }
    }
    return false;
  }

  #acknowledge(): void {
    // With something else they cost nearly nothing; alone they wait until they are many, or old.
    if (!this.#core.isPending && !this.#acksDue(Date.now())) return;
    for (const { to, number } of this.outgoing.due()) {
      this.#core.execute(ackFrame(to, number));
      this.outgoing.settled(to, number);
    }
    this.#ackSince = Infinity;
  }

  /** Advances what is decided, and, when time has moved, what is overdue. Returns whether there may be more. */
  #sweep(): boolean {
    const { time } = this.#core;
    if (this.#refusedAt === time) return false;
    const ticked = time > this.#sweptAt;
    let count = 0;
    for (const frame of this.sweeper.frames(ticked)) {
      if (this.#core.full) return true;
      this.#core.execute(frame);
      if (this.#core.engine.statuses[0] !== Status.ok) {
        this.#refusedAt = time;
        return false;
      }
      count += 1;
    }
    this.#sweptAt = time;
    return count > 0;
  }

  #setAlarm(): void {
    const { nextDue } = this.sweeper;
    const at = Math.min(this.outgoing.isBusy ? Date.now() + ALARM_MS : Infinity, nextDue * 1000);
    // One that is set for about then will do.
    if (at === Infinity || this.#alarmAt <= at + 1000) return;
    this.#alarmAt = at;
    this.#host.alarm(at);
  }
}

/**
 * What a shard does by itself, in chunks of its own: receiving and acknowledging messages, advancing what is decided or
 * overdue (docs/protocol.md §§4a, 4b). It wakes for what comes, after every chunk, and by alarm; an idle shard sleeps.
 */
import { Status } from '../../protocol/status.ts';
import { ackFrame } from '../../protocol/messages.ts';
import type { Core } from './core.ts';
import { Incoming } from './incoming.ts';
import { Outgoing, type Receiver } from './outgoing.ts';
import { Sweeper } from './sweeper.ts';

/** Receive frames of one chunk, so that bundles get their turn. */
const MAX_RECEIVED = 1024;
/** Unacknowledged messages that are worth an ack of their own; fewer go with the next chunk, or after a while. */
const ACK_AT_ONCE = 256;
const ACK_AFTER_MS = 1000;
/** How soon it is seen that this shard has made the cut that an ack waits for. */
const CUT_MS = 500;
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
  /** So many messages of a shard have come, or have run: bundles wait for those. */
  came(from: number, count: number): void;
  ran(from: number, count: number): void;
}

export class Mail {
  readonly #core: Core;
  readonly #host: MailHost;
  readonly incoming: Incoming;
  readonly outgoing: Outgoing;
  readonly sweeper: Sweeper;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAt = Infinity;
  #alarmAt = Infinity;
  /** When the oldest ack that is due became due. */
  #ackSince = Infinity;
  /** The shard's time when something it did by itself was refused: not again until time has moved. */
  #refusedAt = -1;

  constructor(sql: SqlStorage, core: Core, host: MailHost) {
    const { machine } = core.engine;
    this.#core = core;
    this.#host = host;
    this.sweeper = new Sweeper(machine);
    this.incoming = new Incoming(machine, {
      epoch: () => host.epoch(),
      wake: () => this.#schedule(),
      came: (from, count) => host.came(from, count),
    });
    this.outgoing = new Outgoing(
      sql,
      machine,
      (shard) => host.peer(shard),
      () => host.epoch(),
      () => this.#awaitAcks(),
    );
    core.hasReceived = (to, number) => this.outgoing.hasReceived(to, number);
    core.onSent = (sent) => this.outgoing.keep(sent);
    core.onExecuted = (executed) => this.sweeper.note(executed, core.engine.statuses, core.engine.values);
    core.onChunk = () => this.#afterChunk();
  }

  /** After the log was replayed. */
  restore(): void {
    this.outgoing.restore();
    this.sweeper.restore(() => this.#core.rest());
    this.#schedule();
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
    this.#refusedAt = -1;
    this.outgoing.pump();
    this.#turn();
  }

  /** Messages are known to have arrived: a few acks wait for more, or for a cut. */
  #awaitAcks(): void {
    const count = this.outgoing.due().reduce((sum, { count: n }) => sum + n, 0);
    if (count > 0) this.#ackSince = Math.min(this.#ackSince, Date.now());
    if (count >= ACK_AT_ONCE) this.#schedule();
    else if (count > 0) this.#schedule(Math.max(this.#ackSince + ACK_AFTER_MS - Date.now(), 0));
    else if (this.outgoing.waitsForCut) this.#schedule(CUT_MS);
  }

  /** One timer, for whatever comes first: its turn sees to the rest. */
  #schedule(afterMs = 0): void {
    const at = Date.now() + afterMs;
    if (this.#timerAt <= at) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      this.#turn();
    }, afterMs);
  }

  #hasWork(): boolean {
    const mayAdvance = this.#refusedAt !== this.#core.time && this.sweeper.isBusy;
    return mayAdvance || this.incoming.isWaiting || this.#acksDue(Date.now());
  }

  #acksDue(nowMs: number): boolean {
    const due = this.outgoing.due();
    return due.some(({ count }) => count >= ACK_AT_ONCE) || (due.length > 0 && nowMs - this.#ackSince >= ACK_AFTER_MS);
  }

  /** One chunk of what is to be done; nothing when there is nothing. */
  #turn(): void {
    const nowMs = Date.now();
    this.#host.together(() => {
      const isOverdue = this.sweeper.nextDue * 1000 <= nowMs;
      if (this.incoming.isWaiting || this.#acksDue(nowMs) || isOverdue) this.#core.tick(nowMs);
      this.#receive();
      this.#sweep();
      this.#acknowledge(nowMs);
      this.#core.seal(nowMs);
    });
    this.incoming.turnOver();
    if (this.#hasWork()) this.#schedule();
    else this.#awaitAcks();
    this.#setAlarm();
  }

  /** Runs what has come, of every sender a share. */
  #receive(): void {
    const queues = [...this.incoming.queues()];
    const share = Math.ceil(MAX_RECEIVED / queues.length);
    for (const [from, items] of queues) {
      let count = 0;
      while (count < share && items[count]?.ready && !this.#core.full) {
        if (this.incoming.mustAsk(items[count])) break;
        const { frame, answers } = items[count];
        if (this.#core.executeMessage(frame, answers) === Status.congested) {
          this.incoming.block(from);
          break;
        }
        count += 1;
      }
      items.splice(0, count);
      this.#host.ran(from, count);
    }
  }

  /** With something else acks cost nearly nothing; alone they wait until they are many, or old. */
  #acknowledge(nowMs: number): void {
    if (!this.#core.isPending && !this.#acksDue(nowMs)) return;
    const due = this.outgoing.due();
    for (const { to, number } of due) {
      this.#core.execute(ackFrame(to, number));
      this.outgoing.settled(to, number);
    }
    if (due.length > 0) this.incoming.unblock();
    this.#ackSince = Infinity;
  }

  /** Advances what is decided or overdue. */
  #sweep(): void {
    const { time } = this.#core;
    if (this.#refusedAt === time) return;
    for (const frame of this.sweeper.frames()) {
      if (this.#core.full) return;
      this.#core.execute(frame);
      if (this.#core.engine.statuses[0] === Status.ok) continue;
      this.#refusedAt = time;
      return;
    }
  }

  #setAlarm(): void {
    const isUnderWay = this.outgoing.isBusy || this.#refusedAt === this.#core.time;
    const at = Math.min(isUnderWay ? Date.now() + ALARM_MS : Infinity, this.sweeper.nextDue * 1000);
    // One that is set for about then will do.
    if (at === Infinity || this.#alarmAt <= at + 1000) return;
    this.#alarmAt = at;
    this.#host.alarm(at);
  }
}

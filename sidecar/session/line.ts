/**
 * The socket an endpoint has at the time: packets come off it one at a time, and what another may rely on leaves only once the store has it. Of calls both
 * sides know, so that the records of a few milliseconds go into the store together.
 */
import { Agnt2Error } from '../../protocol/errors.ts';
import { PacketType, encodeError } from '../../protocol/packet.ts';
import { CONGESTION_POLL_MS, HIGH_WATER } from '../../protocol/parts.ts';
import { asError } from './context.ts';
import type { PayeeLedger, PayerLedger } from './ledger.ts';
import type { Counters, EndpointOptions, EndpointState, PacketSocket } from './types.ts';

/** Packets waiting behind a signature check; a peer that sends more before it is done has lost all measure. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Records wait for the store so long, or until there are so many. */
const COMMIT_MS = 10;
const COMMIT_CALLS = 64;

export interface LineContext {
  readonly payer: PayerLedger;
  readonly payee: PayeeLedger;
  readonly counters: Counters;
  readonly onError: EndpointOptions['onError'];
  /** Takes a packet; with a promise, those behind it wait for that. */
  readonly handle: (packet: Uint8Array) => Promise<void> | undefined;
  /** The socket is of no more use; the endpoint is in `state` without it. */
  readonly part: (state: EndpointState) => void;
  /** What came breaks the accounting. */
  readonly stop: (error: Agnt2Error) => void;
}

export class Line {
  readonly #context: LineContext;
  #socket: PacketSocket | null = null;
  #detached: (reason: string) => void = () => {};
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #busy = false;
  #committing: ReturnType<typeof setTimeout> | null = null;
  readonly #commitNow = (): void => this.commit();

  constructor(context: LineContext) {
    this.#context = context;
  }

  /** Bytes taken and not yet sent. */
  get buffered(): number {
    return this.#socket?.buffered() ?? 0;
  }

  /** Resolves, after a turn for others, when the socket has little left to send, or is gone. */
  async room(): Promise<void> {
    do await new Promise((resolve) => setTimeout(resolve, CONGESTION_POLL_MS));
    while (this.buffered > HIGH_WATER);
  }

  /** Takes a new socket, in place of the one before. Resolves with the reason when this one is of no more use. */
  attach(socket: PacketSocket): Promise<string> {
    this.detach('replaced', 'waiting');
    this.#socket = socket;
    return new Promise((resolve) => {
      this.#detached = resolve;
      socket.listen(
        (packet) => {
          if (this.#socket === socket) this.#receive(packet);
        },
        (reason) => {
          if (this.#socket === socket) this.detach(reason, 'offline');
        },
      );
    });
  }

  detach(reason: string, state: EndpointState): void {
    const socket = this.#socket;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#context.part(state);
    if (socket === null) return;
    this.#socket = null;
    socket.close(reason);
    this.#detached(reason);
  }

  send(packet: Uint8Array): void {
    const socket = this.#socket;
    if (socket === null) return;
    const isCalls = packet[0] === PacketType.calls;
    if (!isCalls) this.commit();
    this.#context.counters.packetsOut += 1;
    this.#context.counters.bytesOut += packet.length;
    socket.send(packet);
    if (isCalls) this.commitSoon();
  }

  /** Puts all records into the store. */
  commit(): void {
    if (this.#committing !== null) clearTimeout(this.#committing);
    this.#committing = null;
    this.#context.payer.commit();
    this.#context.payee.commit();
  }

  /** {@link commit}, with what comes in the next milliseconds: the other side has it as well. */
  commitSoon(): void {
    const { payer, payee } = this.#context;
    const uncommitted = payer.uncommitted + payee.uncommitted;
    if (uncommitted >= COMMIT_CALLS) this.commit();
    else if (uncommitted > 0) this.#committing ??= setTimeout(this.#commitNow, COMMIT_MS);
  }

  /** The last packet of a type that waits behind the one at hand. */
  lastWaiting(type: number): Uint8Array | undefined {
    return this.#waiting.findLast((packet) => packet[0] === type);
  }

  /** Packets one at a time: a half is checked before the calls behind it, which count on it. */
  #receive(packet: Uint8Array): void {
    this.#context.counters.packetsIn += 1;
    this.#context.counters.bytesIn += packet.length;
    if (!this.#busy) {
      this.#dispatch(packet);
      return;
    }
    this.#waiting.push(packet);
    this.#waitingBytes += packet.length;
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#drop(new Agnt2Error('overloaded', 'too many packets wait'));
  }

  #dispatch(packet: Uint8Array): void {
    try {
      const pending = this.#context.handle(packet);
      if (pending === undefined) return;
      this.#busy = true;
      pending
        .catch((error: unknown) => this.onBad(asError(error)))
        .finally(() => {
          this.#busy = false;
          while (!this.#busy && this.#waiting.length > 0) {
            const next = this.#waiting.shift()!;
            this.#waitingBytes -= next.length;
            this.#dispatch(next);
          }
        });
    } catch (error) {
      this.onBad(asError(error));
    }
  }

  /** What breaks the accounting stops the session; what is merely no packet costs the socket. */
  onBad(error: Agnt2Error): void {
    if (error.code === 'log_conflict' || error.code === 'record_rejected' || error.code === 'half_mismatch')
      this.#context.stop(error);
    else this.#drop(error);
  }

  #drop(error: Agnt2Error): void {
    this.#context.onError?.(error);
    this.#socket?.send(encodeError(error.code, error.detail));
    this.detach(error.code, 'offline');
  }
}

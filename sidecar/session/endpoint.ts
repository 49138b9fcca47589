/**
 * One party of one session (docs/protocol.md §§5, 8): calls both ways over one socket, halves signed by window. Nothing
 * on a call's path signs, hashes a tree or writes to a disk: it hashes its two bodies and appends a record.
 *
 * What each side risks is one number, its own `credit`. As payee it serves while what it recorded or is serving exceeds
 * what is signed by no more than that; as payer it signs only for records it checked, and accepts records it can't
 * remember asking for (after a crash, before its peer's first call or answer) for no more than that in the
 * life of a session.
 *
 * Presence comes from the relay: an error packet `peer_online` to both when both are there anew. It starts a pairing:
 * old calls are lost, each side says hello, then sends the records the other's hello doesn't count. Because a socket
 * keeps order, nothing of an older pairing can follow a hello.
 */
import { fromUtf8 } from '../../protocol/bytes.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import type { Direction, SignedHalf } from '../../protocol/half.ts';
import { MAX_PACKET_BYTES, PacketType, encodeError } from '../../protocol/packet.ts';
import { type CallingContext, PaidCall } from './call.ts';
import type { EndpointContext } from './context.ts';
import { Countersigner } from './countersigner.ts';
import { Desk } from './desk.ts';
import { Gate } from './gate.ts';
import { PayeeLedger, PayerLedger } from './ledger.ts';
import { Line } from './line.ts';
import { Resumption } from './resumption.ts';
import { Signer } from './signer.ts';
import { Status } from './status.ts';
import {
  type CallProof,
  type Counters,
  type EndpointOptions,
  type EndpointState,
  type PacketSocket,
  type SessionCall,
  type SessionCallOptions,
  noCounters,
} from './types.ts';

const DRAIN_MS = 10_000;

export class SessionEndpoint {
  readonly #options: EndpointOptions;
  readonly #payer: PayerLedger;
  readonly #payee: PayeeLedger;
  readonly #status = new Status();
  readonly #line: Line;
  readonly #gate: Gate;
  readonly #signer: Signer;
  readonly #countersigner: Countersigner;
  readonly #resumption: Resumption;
  readonly #calling: CallingContext;
  #deposits: { own: number; peer: number };

  readonly counters: Counters = noCounters();

  constructor(options: EndpointOptions) {
    const { facts, role, store } = options;
    const payDir: Direction = role === 'a' ? 0 : 1;
    const payer = new PayerLedger(facts.session, payDir, store);
    const payee = new PayeeLedger(facts.session, (1 - payDir) as Direction, store);
    const { counters } = this;
    const status = this.#status;
    const stop = (error: Agnt2Error): void => this.#stop(error);
    this.#options = options;
    this.#payer = payer;
    this.#payee = payee;
    this.#deposits =
      role === 'a' ? { own: facts.depositA, peer: facts.depositB } : { own: facts.depositB, peer: facts.depositA };
    const line = (this.#line = new Line({
      payer,
      payee,
      counters,
      onError: options.onError,
      handle: (packet) => this.#handle(packet),
      part: (state) => this.#resumption.part(state),
      stop,
    }));
    const [ownKey, peerKey] = role === 'a' ? [facts.keyA, facts.keyB] : [facts.keyB, facts.keyA];
    const context: EndpointContext = { options, payer, payee, ownKey, peerKey, status, line, counters, stop };
    const gate = (this.#gate = new Gate({
      waitMs: options.peerWaitMs ?? 10_000,
      ready: () => status.state === 'ready',
      shut: () => status.shut(),
      owed: () => payer.unsigned.value,
      credit: () => this.#signer.credit,
      full: () => {
        this.#settle();
        this.#signer.schedule();
      },
      half: () => this.#resumption.mux?.settleSoon(),
    }));
    const desk = new Desk(options, payee, counters, {
      shut: () => status.shut(),
      coverage: () => this.#deposits.peer + payer.paid,
      // What is risked as payer and as payee is one credit together.
      unasked: () => payer.allowance,
      changed: () => status.changedSoon(),
    });
    const signer = (this.#signer = new Signer(context, gate));
    const countersigner = (this.#countersigner = new Countersigner(context));
    this.#resumption = new Resumption(context, { gate, desk, signer, countersigner });
    this.#calling = {
      ledger: payer,
      over: (maxPrice) => {
        gate.release(maxPrice);
        status.changed();
      },
      recorded: () => {
        line.commitSoon();
        signer.schedule();
      },
      broken: stop,
    };
    const conflict = payer.conflict ?? payee.conflict;
    if (conflict !== null) stop(conflict);
  }

  get state(): EndpointState {
    return this.#status.state;
  }
  /** What stopped the session, if anything did. */
  get error(): Agnt2Error | null {
    return this.#status.stopped;
  }
  /** Base units recorded, signed or not: what we owe and what the peer owes. */
  get accrued(): { pays: number; earns: number } {
    this.#settle();
    return { pays: this.#payer.accrued, earns: this.#payee.accrued };
  }
  /** Base units no half covers yet, both ways. */
  get unsigned(): { pays: number; earns: number } {
    this.#settle();
    return { pays: this.#payer.unsigned.value, earns: this.#payee.unsigned.value };
  }
  get inFlight(): { outgoing: number; incoming: number } {
    return this.#resumption.mux?.inFlight ?? { outgoing: 0, incoming: 0 };
  }

  /** Newest halves: `pays` by us, `earns` by the peer (what a settle needs), `receipts` those with both signatures. */
  halves(): {
    pays: SignedHalf | null;
    earns: SignedHalf | null;
    receipts: { pays: SignedHalf | null; earns: SignedHalf | null };
  } {
    return {
      pays: this.#payer.half,
      earns: this.#payee.half,
      receipts: { pays: this.#payer.receipt, earns: this.#payee.receipt },
    };
  }

  /** After a `fund` landed. */
  setDeposits(depositA: number, depositB: number): void {
    this.#deposits = this.#options.role === 'a' ? { own: depositA, peer: depositB } : { own: depositB, peer: depositA };
  }

  // ---- calls ----

  /**
   * Calls the peer. Waits while the peer is not there, and while calls in flight would pass the credit it gives. Rejects
   * with `peer_offline`, `session_stopped`, `session_closed`, `insufficient_deposit`, `session_lost`,
   * `deadline_exceeded`, `cancelled`, or the code the peer refused with (`over_price`, `over_credit`, …).
   */
  call(request: ExchangeRequest, options: SessionCallOptions): Promise<SessionCall> {
    const { maxPrice, deadlineMs } = options;
    if (!Number.isSafeInteger(maxPrice) || maxPrice < 0) return Promise.reject(malformed('maxPrice is an amount'));
    const shut = this.#status.shut();
    if (shut !== null) return Promise.reject(shut);
    if (this.#gate.pass(maxPrice)) return this.#enter(request, options);
    const began = performance.now();
    return this.#gate
      .wait(maxPrice, request.signal, deadlineMs)
      .then(() =>
        this.#enter(
          request,
          deadlineMs === undefined
            ? options
            : { ...options, deadlineMs: Math.max(0, deadlineMs - (performance.now() - began)) },
        ),
      );
  }

  /** A call that is through the gate. */
  #enter(request: ExchangeRequest, options: SessionCallOptions): Promise<SessionCall> {
    const { maxPrice } = options;
    const { mux } = this.#resumption;
    if (mux === null) {
      this.#gate.release(maxPrice);
      return Promise.reject(new Agnt2Error('session_lost', 'the other party left'));
    }
    if (maxPrice > 0 && this.#isOverDeposit()) {
      this.#gate.release(maxPrice);
      this.#status.changed();
      return Promise.reject(
        new Agnt2Error('insufficient_deposit', 'the deposit does not cover this call; fund the session'),
      );
    }
    this.counters.callsOut += 1;
    return new Promise((resolve, reject) =>
      mux.start(request, new PaidCall(this.#calling, request, options, resolve, reject)),
    );
  }

  /** Accounts for all answers that were handed on. */
  #settle(): void {
    this.#resumption.mux?.settle();
  }

  #isOverDeposit(): boolean {
    const isOver = (): boolean => this.#payer.accrued + this.#gate.promised - this.#payee.paid > this.#deposits.own;
    if (!isOver()) return false;
    // Calls that are over may have cost less than they were promised.
    this.#settle();
    return isOver();
  }

  // ---- the socket ----

  /**
   * Takes a new socket, in place of the one before. The relay says when the peer is there. Resolves with the reason when
   * this socket is of no more use: closed, replaced, or dropped for what came over it.
   */
  attach(socket: PacketSocket): Promise<string> {
    if (this.#status.isClosed()) {
      socket.close('session_closed');
      return Promise.resolve('session_closed');
    }
    return this.#line.attach(socket);
  }

  /** Serves and calls no more. What was signed and recorded stays, for settling. */
  #stop(error: Agnt2Error): void {
    const status = this.#status;
    if (status.stopped !== null || status.state === 'closed') return;
    status.stopped = error;
    this.#payee.save();
    this.#payer.save();
    this.#options.onError?.(error);
    this.#line.send(encodeError(error.code, error.detail));
    status.state = 'stopped';
    this.#signer.cancel();
    this.#resumption.lose(new Agnt2Error('session_lost', error.message));
    this.#gate.open();
    status.changed();
  }

  #handle(packet: Uint8Array): Promise<void> | undefined {
    if (packet.length > MAX_PACKET_BYTES) throw malformed('packet too large');
    switch (packet[0]) {
      case PacketType.calls:
        return this.#resumption.onCalls(packet);
      case PacketType.half:
        return this.#status.state === 'offline' ? undefined : this.#countersigner.onHalf(packet);
      case PacketType.receipt:
        return this.#signer.onReceipt(packet);
      case PacketType.hello:
        return this.#resumption.onHello(packet);
      case PacketType.records:
        this.#resumption.onRecords(packet);
        return;
      case PacketType.bind:
        return this.#resumption.onBind(packet);
      case PacketType.error:
        return this.#onErrorPacket(packet);
      default:
        throw malformed(`packet type ${packet[0]}`);
    }
  }

  async #onErrorPacket(packet: Uint8Array): Promise<void> {
    let code = 'malformed';
    let detail = '';
    try {
      const body = JSON.parse(fromUtf8(packet.subarray(1))) as { code?: unknown; detail?: unknown };
      code = String(body.code).slice(0, 64);
      detail = String(body.detail).slice(0, 400);
    } catch {
      throw malformed('an error packet is JSON');
    }
    if (code === 'peer_online') return this.#resumption.greet();
    if (code === 'peer_offline') {
      if (this.#status.state === 'ready' || this.#status.state === 'resuming') this.#resumption.part('waiting');
      return;
    }
    this.#options.onError?.(new Agnt2Error(code, detail));
  }

  // ---- the end ----

  /**
   * Ends the use of the session in good order: no new calls either way, those in flight finish, both sides sign the last
   * half and hold its receipt. Rejects with `drain_timeout`; the halves at hand then settle all but `unsigned`.
   */
  async drain(timeoutMs = DRAIN_MS): Promise<void> {
    this.#status.draining = true;
    this.#settle();
    this.#gate.open();
    this.#countersigner.thankNow();
    this.#signer.schedule();
    await this.#status.until(
      () =>
        this.inFlight.outgoing + this.inFlight.incoming === 0 &&
        this.#settled(this.#payer) &&
        this.#settled(this.#payee),
      timeoutMs,
    );
  }

  /** Signs what is accepted and waits for its receipt, without ending anything. Rejects with `drain_timeout`. */
  async flush(timeoutMs = DRAIN_MS): Promise<void> {
    this.#settle();
    this.#signer.signNow();
    await this.#status.until(() => this.#settled(this.#payer), timeoutMs);
  }

  #settled(ledger: PayerLedger | PayeeLedger): boolean {
    return ledger.unsigned.calls === 0 && (ledger.half === null || ledger.receipt?.half.seq === ledger.half.half.seq);
  }

  /** Ends this endpoint now: calls in flight are lost, everything recorded is in the store. */
  close(): void {
    if (this.#status.isClosed()) return;
    this.#resumption.mux?.flush();
    this.#line.detach('closed', 'offline');
    this.#status.state = 'closed';
    this.#signer.cancel();
    this.#countersigner.cancel();
    this.#gate.open();
    this.#status.changed();
  }

  /**
   * Proof of one call, by default of those we pay for. Throws `not_signed` while no half counts it, `unknown_call` while
   * its record is not here.
   */
  proveCall(index: number, dir: Direction = this.#payer.dir): CallProof {
    this.#settle();
    return (dir === this.#payer.dir ? this.#payer : this.#payee).prove(index);
  }
}

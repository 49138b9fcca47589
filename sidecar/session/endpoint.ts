/**
 * One party of one session (docs/protocol.md §§5, 8): calls both ways over one socket, halves signed by window. Nothing
 * on a call's path signs or hashes a tree: it hashes its two bodies and appends a record.
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
import { CALL_RECORD_BYTES, decodeCallRecord } from '../../protocol/call.ts';
import { equal, fromUtf8 } from '../../protocol/bytes.ts';
import { Agnt2Error, codeOf, malformed } from '../../protocol/errors.ts';
import { type Direction, type Half, type SignedHalf, encodeHalf } from '../../protocol/half.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { inclusionPath, leafHash, sha } from '../../protocol/log.ts';
import {
  MAX_HALVES,
  MAX_PACKET_BYTES,
  PacketType,
  decodeBind,
  decodeHello,
  decodeNewest,
  decodeRecords,
  decodeSigned,
  encodeBind,
  encodeError,
  encodeHalvesPacket,
  encodeHello,
  encodeReceiptPacket,
  encodeRecords,
} from '../../protocol/packet.ts';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { CallMux } from '../../protocol/mux.ts';
import { platformSealing } from '../../protocol/seal.ts';
import { type CallingContext, PaidCall } from './call.ts';
import { Desk } from './desk.ts';
import { Gate } from './gate.ts';
import { PayeeLedger, PayerLedger } from './ledger.ts';
import { Pairing } from './pairing.ts';
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
import { signDelay, stretched } from './window.ts';

const RECORDS_PER_PACKET = Math.floor((MAX_PACKET_BYTES - 2) / CALL_RECORD_BYTES);
/** Packets waiting behind a signature check; a peer that sends more before it is done has lost all measure. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
const MAX_UNRECEIPTED = 4096;
/** Milliseconds between receipts of a busy session. */
const RECEIPT_MS = 50;
const DRAIN_MS = 10_000;

export class SessionEndpoint {
  readonly #options: EndpointOptions;
  readonly #payDir: Direction;
  readonly #payer: PayerLedger;
  readonly #payee: PayeeLedger;
  readonly #ownKey: Uint8Array;
  readonly #peerKey: Uint8Array;
  readonly #rule: { ms: number; calls: number };
  #deposits: { own: number; peer: number };
  #state: EndpointState = 'offline';
  #stopped: Agnt2Error | null = null;
  #draining = false;

  #socket: PacketSocket | null = null;
  #detached: (reason: string) => void = () => {};
  #mux: CallMux | null = null;
  /** Counts pairings; what began in an older one must not speak in this one. */
  #pairing = 0;
  #greeted = false;
  /** What seals the calls of this pairing; null before this side has said hello. */
  #sealed: Pairing | null = null;
  /** The peer has called or answered since this endpoint began: records of before are all here. */
  #sure = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #busy = false;

  /** What the peer lets us owe unsigned; its hello says. */
  #peerCredit = 0;
  readonly #gate: Gate;
  readonly #desk: Desk;
  readonly #calling: CallingContext;
  #signing: Promise<void> | null = null;
  #signTimer: ReturnType<typeof setTimeout> | null = null;
  #lastSignedMs = -Infinity;
  /** How long the last signature over a half took, and the last over a receipt. */
  #signTookMs = 0;
  #thankTookMs = 0;
  #thankedMs = -Infinity;
  /** The newest half of the peer's that waits for its receipt. */
  #unthanked: SignedHalf | null = null;
  #thanking = false;
  #thankTimer: ReturnType<typeof setTimeout> | null = null;
  /** Our halves without a receipt yet, by seq. */
  #unreceipted = new Map<number, SignedHalf>();
  #watchers = new Set<() => void>();

  readonly counters: Counters = noCounters();

  constructor(options: EndpointOptions) {
    const { facts, role, store } = options;
    this.#options = options;
    this.#payDir = role === 'a' ? 0 : 1;
    this.#payer = new PayerLedger(facts.session, this.#payDir, store);
    this.#payee = new PayeeLedger(facts.session, (1 - this.#payDir) as Direction, store);
    this.#ownKey = role === 'a' ? facts.keyA : facts.keyB;
    this.#peerKey = role === 'a' ? facts.keyB : facts.keyA;
    this.#deposits =
      role === 'a' ? { own: facts.depositA, peer: facts.depositB } : { own: facts.depositB, peer: facts.depositA };
    this.#gate = new Gate({
      waitMs: options.peerWaitMs ?? 10_000,
      ready: () => this.#state === 'ready',
      shut: () => this.#shut(),
      owed: () => this.#payer.unsigned.value,
      credit: () => this.#peerCredit,
      full: () => this.#schedule(),
    });
    this.#desk = new Desk(options, this.#payee, this.counters, {
      shut: () => this.#shut(),
      coverage: () => this.#deposits.peer + this.#payer.paid,
      // What is risked as payer and as payee is one credit together.
      unasked: () => this.#payer.allowance,
      // The mux forgets a call only after it has said how it ended, and who drains waits for that.
      changed: () => {
        if (this.#watchers.size > 0) setTimeout(() => this.#changed(), 0);
      },
    });
    this.#rule = { ms: options.windowMs ?? 20, calls: options.windowCalls ?? 256 };
    this.#calling = {
      ledger: this.#payer,
      over: (maxPrice) => {
        this.#gate.release(maxPrice);
        this.#changed();
      },
      recorded: () => this.#schedule(),
      broken: (error) => this.#stop(error),
    };
  }

  get state(): EndpointState {
    return this.#state;
  }
  /** What stopped the session, if anything did. */
  get error(): Agnt2Error | null {
    return this.#stopped;
  }
  /** Base units recorded, signed or not: what we owe and what the peer owes. */
  get accrued(): { pays: number; earns: number } {
    return { pays: this.#payer.accrued, earns: this.#payee.accrued };
  }
  /** Base units no half covers yet, both ways. */
  get unsigned(): { pays: number; earns: number } {
    return { pays: this.#payer.unsigned.value, earns: this.#payee.unsigned.value };
  }
  get inFlight(): { outgoing: number; incoming: number } {
    return this.#mux?.inFlight ?? { outgoing: 0, incoming: 0 };
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
    const shut = this.#shut();
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
    const mux = this.#mux;
    if (mux === null) {
      this.#gate.release(maxPrice);
      return Promise.reject(new Agnt2Error('session_lost', 'the other party left'));
    }
    if (maxPrice > 0 && this.#payer.accrued + this.#gate.promised - this.#payee.paid > this.#deposits.own) {
      this.#gate.release(maxPrice);
      this.#changed();
      return Promise.reject(
        new Agnt2Error('insufficient_deposit', 'the deposit does not cover this call; fund the session'),
      );
    }
    this.counters.callsOut += 1;
    return new Promise((resolve, reject) =>
      mux.start(request, new PaidCall(this.#calling, request, options, resolve, reject)),
    );
  }

  #shut(): Agnt2Error | null {
    if (this.#state === 'closed') return new Agnt2Error('session_closed', 'this endpoint was closed');
    if (this.#stopped !== null) return new Agnt2Error('session_stopped', this.#stopped.message);
    if (this.#draining) return new Agnt2Error('session_draining', 'this session is being closed');
    return null;
  }

  // ---- signing ----

  /** Signs now, later, or not at all, as the window rule says. */
  #schedule(): void {
    if (this.#signing !== null || this.#stopped !== null || this.#state === 'closed') return;
    const wanted = this.#draining || (this.#gate.waiting && this.#state === 'ready');
    const pressed = wanted && this.#payer.unsigned.calls > 0;
    const delay = pressed
      ? 0
      : signDelay(
          { ...this.#rule, ms: stretched(this.#rule.ms, this.#signTookMs) },
          this.#payer.unsigned,
          this.#peerCredit,
          performance.now() - this.#lastSignedMs,
        );
    if (delay === Infinity) return;
    if (delay === 0) {
      void this.#startSigning();
    } else
      this.#signTimer ??= setTimeout(() => {
        this.#signTimer = null;
        this.#schedule();
      }, delay);
  }

  #startSigning(): Promise<void> {
    this.#cancelTimer();
    this.#signing = this.#sign()
      .catch((error: unknown) => this.#stop(asError(error)))
      .finally(() => {
        this.#signing = null;
        this.#gate.open();
        this.#schedule();
        this.#changed();
      });
    return this.#signing;
  }

  /** A half over what was accepted, or one for each call of it: signed, persisted, then sent. */
  async #sign(): Promise<void> {
    const payer = this.#payer;
    const each = this.#rule.calls === 1;
    const halves = [payer.next(each ? 1 : Infinity)];
    while (each && halves.length < MAX_HALVES && halves.at(-1)!.calls < payer.size)
      halves.push(payer.next(1, halves.at(-1)));
    this.#lastSignedMs = performance.now();
    const { key, signing } = this.#options;
    const signatures = await Promise.all(halves.map((half) => key.sign(signing.half(half))));
    if (this.#state === 'closed') return;
    this.#signTookMs = performance.now() - this.#lastSignedMs;
    // The newest says all that the others say.
    payer.signed(halves.at(-1)!, signatures.at(-1)!);
    payer.save();
    const signed = halves.map((half, i) => ({ half, payer: signatures[i] }));
    const newest = signed.at(-1)!;
    this.#unreceipted.set(newest.half.seq, newest);
    if (this.#unreceipted.size > MAX_UNRECEIPTED) this.#unreceipted.delete(this.#unreceipted.keys().next().value!);
    this.counters.windowsOut += signed.length;
    // Also while the peer is away: the relay keeps the newest.
    this.#send(encodeHalvesPacket(signed));
  }

  #cancelTimer(): void {
    if (this.#signTimer !== null) clearTimeout(this.#signTimer);
    this.#signTimer = null;
  }

  /** Countersigns off the packets' path; money does not wait for it, and the newest half's receipt is one for all before. */
  #countersign(signed: SignedHalf): void {
    this.#unthanked = signed;
    if (this.#thanking) return;
    this.#thanking = true;
    const due = stretched(RECEIPT_MS, this.#thankTookMs) - (performance.now() - this.#thankedMs);
    if (due <= 0 || this.#draining) void this.#thank();
    else this.#thankTimer = setTimeout(() => void this.#thank(), due);
  }

  async #thank(): Promise<void> {
    const signed = this.#unthanked!;
    this.#unthanked = null;
    this.#thankTimer = null;
    this.#thankedMs = performance.now();
    try {
      const payee = await this.#options.key.sign(this.#options.signing.half(signed.half));
      this.#thanking = false;
      if (this.#state === 'closed') return;
      this.#thankTookMs = performance.now() - this.#thankedMs;
      this.#payee.keepReceipt({ ...signed, payee });
      this.#payee.save();
      this.#send(encodeReceiptPacket(signed.half, payee));
      this.#changed();
    } catch (error) {
      this.#thanking = false;
      this.#stop(asError(error));
      return;
    }
    if (this.#unthanked !== null) this.#countersign(this.#unthanked);
  }

  /** What waits for its turn to be countersigned has it now. */
  #thankNow(): void {
    if (this.#thankTimer === null) return;
    clearTimeout(this.#thankTimer);
    void this.#thank();
  }

  // ---- the socket ----

  /**
   * Takes a new socket, in place of the one before. The relay says when the peer is there. Resolves with the reason when
   * this socket is of no more use: closed, replaced, or dropped for what came over it.
   */
  attach(socket: PacketSocket): Promise<string> {
    if (this.#state === 'closed') {
      socket.close('session_closed');
      return Promise.resolve('session_closed');
    }
    this.#detach('replaced', 'waiting');
    this.#socket = socket;
    return new Promise((resolve) => {
      this.#detached = resolve;
      socket.listen(
        (packet) => {
          if (this.#socket === socket) this.#receive(packet);
        },
        (reason) => {
          if (this.#socket === socket) this.#detach(reason, 'offline');
        },
      );
    });
  }

  #detach(reason: string, state: EndpointState): void {
    const socket = this.#socket;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#part(state);
    if (socket === null) return;
    this.#socket = null;
    socket.close(reason);
    this.#detached(reason);
  }

  /** The pairing is over: its calls are lost, what it recorded is not. */
  #part(state: EndpointState): void {
    const mux = this.#mux;
    this.#pairing += 1;
    this.#greeted = false;
    this.#sealed = null;
    this.#mux = null;
    if (this.#state !== 'closed' && this.#state !== 'stopped') this.#state = state;
    mux?.close();
    this.#commit();
    this.#changed();
  }

  #commit(): void {
    this.#payer.commit();
    this.#payee.commit();
  }

  #send(packet: Uint8Array): void {
    const socket = this.#socket;
    if (socket === null) return;
    // Before anything leaves that another may rely on, this side can't forget it any more.
    this.#commit();
    this.counters.packetsOut += 1;
    this.counters.bytesOut += packet.length;
    socket.send(packet);
  }

  /** Packets one at a time: a half is checked before the calls behind it, which count on it. */
  #receive(packet: Uint8Array): void {
    this.counters.packetsIn += 1;
    this.counters.bytesIn += packet.length;
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
      const pending = this.#handle(packet);
      if (pending === undefined) return;
      this.#busy = true;
      pending
        .catch((error: unknown) => this.#onBad(asError(error)))
        .finally(() => {
          this.#busy = false;
          while (!this.#busy && this.#waiting.length > 0) {
            const next = this.#waiting.shift()!;
            this.#waitingBytes -= next.length;
            this.#dispatch(next);
          }
        });
    } catch (error) {
      this.#onBad(asError(error));
    }
  }

  /** What breaks the accounting stops the session; what is merely no packet costs the socket. */
  #onBad(error: Agnt2Error): void {
    if (error.code === 'log_conflict' || error.code === 'record_rejected' || error.code === 'half_mismatch')
      this.#stop(error);
    else this.#drop(error);
  }

  #drop(error: Agnt2Error): void {
    this.#options.onError?.(error);
    this.#socket?.send(encodeError(error.code, error.detail));
    this.#detach(error.code, 'offline');
  }

  /** Serves and calls no more. What was signed and recorded stays, for settling. */
  #stop(error: Agnt2Error): void {
    if (this.#stopped !== null || this.#state === 'closed') return;
    this.#stopped = error;
    this.#payee.save();
    this.#payer.save();
    this.#options.onError?.(error);
    this.#send(encodeError(error.code, error.detail));
    this.#state = 'stopped';
    this.#cancelTimer();
    const mux = this.#mux;
    this.#mux = null;
    // Not inside a packet of its own calls. They are lost: the peer may have served them, so nobody may make them elsewhere.
    queueMicrotask(() => mux?.close(new Agnt2Error('session_lost', error.message)));
    this.#gate.open();
    this.#changed();
  }

  #handle(packet: Uint8Array): Promise<void> | undefined {
    if (packet.length > MAX_PACKET_BYTES) throw malformed('packet too large');
    switch (packet[0]) {
      case PacketType.calls:
        return this.#onCalls(packet);
      case PacketType.half:
        return this.#state === 'offline' ? undefined : this.#onHalf(packet);
      case PacketType.receipt:
        return this.#onReceipt(packet);
      case PacketType.hello:
        return this.#onHello(packet);
      case PacketType.records:
        this.#onRecords(packet);
        return;
      case PacketType.bind:
        return this.#onBind(packet);
      case PacketType.error:
        return this.#onErrorPacket(packet);
      default:
        throw malformed(`packet type ${packet[0]}`);
    }
  }

  #onCalls(packet: Uint8Array): Promise<void> | undefined {
    const sealed = this.#sealed;
    // Calls of an older pairing, until the hello of this one.
    if (sealed === null || !sealed.isBound) return;
    const opened = sealed.open(packet);
    if (opened instanceof Uint8Array) {
      this.#takeCalls(opened);
      return;
    }
    return opened.then((calls) => {
      if (sealed === this.#sealed) this.#takeCalls(calls);
    });
  }

  #takeCalls(packet: Uint8Array): void {
    if (this.#state !== 'ready') return;
    this.#sure = true;
    this.#mux!.receive(packet);
  }

  #onHalf(packet: Uint8Array): Promise<void> | undefined {
    const { half, signature } = decodeNewest(packet);
    this.#assertOurs(half, this.#payee.dir);
    // A newer one was verified: whatever this is, that one says all it could say.
    if (half.seq < (this.#payee.half?.half.seq ?? 0)) return;
    return this.#takeHalf({ half, payer: signature });
  }

  async #takeHalf(signed: SignedHalf): Promise<void> {
    const { half } = signed;
    const later = this.#newestWaiting();
    if (
      later !== null &&
      later.half.seq > half.seq &&
      (await verifyP256(this.#peerKey, this.#options.signing.half(later.half), later.payer))
    ) {
      if (!this.#isClosed()) this.#acceptHalf(later);
      return;
    }
    await this.#checkHalf(half, this.#payee.dir, this.#peerKey, signed.payer);
    if (!this.#isClosed()) this.#acceptHalf(signed);
  }

  /** The last half that waits behind the one at hand: good, it makes those before it superfluous. */
  #newestWaiting(): SignedHalf | null {
    const packet = this.#waiting.findLast((each) => each[0] === PacketType.half);
    if (packet === undefined) return null;
    try {
      const { half, signature } = decodeNewest(packet);
      this.#assertOurs(half, this.#payee.dir);
      return { half, payer: signature };
    } catch {
      // It will have its own turn.
      return null;
    }
  }

  #acceptHalf(signed: SignedHalf): void {
    // Held back by the relay for a side that has since lost its log: the hello brings it, with the records.
    if (this.#payee.restoring || (this.#state !== 'ready' && signed.half.calls > this.#payee.size)) return;
    if (!this.#payee.accept(signed)) return;
    this.#payee.save();
    this.counters.windowsIn += 1;
    this.#changed();
    this.#countersign(signed);
  }

  async #onReceipt(packet: Uint8Array): Promise<void> {
    const { half, signature } = decodeSigned(packet);
    await this.#checkHalf(half, this.#payDir, this.#peerKey, signature);
    if (this.#isClosed()) return;
    this.#keepReceipt(half, signature);
  }

  /** A receipt counts for a half this side signed, byte for byte: the newest, or an older one still on its way. */
  #keepReceipt(half: Half, payee: Uint8Array): void {
    const newest = this.#payer.half;
    const signed = half.seq === newest?.half.seq ? newest : this.#unreceipted.get(half.seq);
    if (!signed || !equal(encodeHalf(signed.half), encodeHalf(half))) return;
    for (const seq of this.#unreceipted.keys()) if (seq <= half.seq) this.#unreceipted.delete(seq);
    this.#payer.keepReceipt({ half, payer: signed.payer, payee });
    this.#payer.save();
    this.#changed();
  }

  /** Asked after every wait: what was being checked when the endpoint closed must not reach its store. */
  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #assertOurs(half: Half, dir: Direction): void {
    if (half.session !== this.#options.facts.session || half.dir !== dir)
      throw malformed('a half of another session or direction');
  }

  async #checkHalf(half: Half, dir: Direction, key: Uint8Array, signature: Uint8Array): Promise<void> {
    this.#assertOurs(half, dir);
    if (!(await verifyP256(key, this.#options.signing.half(half), signature)))
      throw new Agnt2Error('bad_signature', 'a half not signed by its party');
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
    if (code === 'peer_online') return this.#greet();
    if (code === 'peer_offline') {
      if (this.#state === 'ready' || this.#state === 'resuming') this.#part('waiting');
      return;
    }
    this.#options.onError?.(new Agnt2Error(code, detail));
  }

  /** Both are there: sign what is open, say what is known. */
  async #greet(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#part('resuming');
    this.#cancelTimer();
    const pairing = this.#pairing;
    while (
      pairing === this.#pairing &&
      (this.#signing !== null || (this.#payer.unsigned.calls > 0 && this.#stopped === null && !this.#payer.restoring))
    ) {
      await (this.#signing ?? this.#startSigning());
    }
    const sealed = await Pairing.begin(this.#options, this.#options.sealing ?? platformSealing);
    if (pairing !== this.#pairing) return;
    this.#sealed = sealed;
    this.#send(encodeHello({ halves: this.#known(), credit: this.#options.credit, key: sealed.publicKey }));
  }

  /** A half whose records are not all here is not known: the peer shall send them from the start. */
  #known(): SignedHalf[] {
    return [this.#payer, this.#payee].flatMap(({ half, restoring }) => (half !== null && !restoring ? [half] : []));
  }

  /** The peer's, which answers ours; or, before the peer is there, the relay's: what it keeps for a side that lost its own. */
  async #onHello(packet: Uint8Array): Promise<void> {
    if (this.#state === 'offline' || this.#state === 'ready' || this.#state === 'closed') return;
    const pairing = this.#pairing;
    const isRelays = this.#state === 'waiting';
    const hello = decodeHello(packet);
    const calls = [0, 0];
    for (const signed of hello.halves) {
      const { half, payer, payee } = signed;
      const mine = half.dir === this.#payDir;
      await this.#checkHalf(half, half.dir, mine ? this.#ownKey : this.#peerKey, payer);
      if (this.#isClosed()) return;
      calls[half.dir] = half.calls;
      if (mine) {
        const receipted =
          payee !== undefined && (await verifyP256(this.#peerKey, this.#options.signing.half(half), payee));
        if (this.#isClosed()) return;
        if (this.#payer.adopt({ half, payer })) this.#payer.save();
        if (receipted) this.#keepReceipt(half, payee);
      } else {
        const receipted =
          payee !== undefined && (await verifyP256(this.#ownKey, this.#options.signing.half(half), payee));
        if (this.#isClosed()) return;
        if (this.#payee.adopt({ half, payer })) this.#payee.save();
        if (this.#payee.half?.half.seq !== half.seq) continue;
        if (receipted) {
          this.#payee.keepReceipt({ half, payer, payee });
          this.#payee.save();
        } else if (!this.#payee.restoring) this.#countersign({ half, payer });
      }
    }
    if (isRelays || pairing !== this.#pairing || this.#sealed === null) return;
    const bind = await this.#sealed.meet(hello.key);
    if (pairing !== this.#pairing) return;
    this.#peerCredit = hello.credit;
    for (const ledger of [this.#payer, this.#payee])
      this.#sendRecords(ledger.dir, ledger.recordsFrom(calls[ledger.dir]));
    this.#send(encodeBind(bind));
    this.counters.resumes += 1;
    this.#greeted = true;
    this.#becomeReady();
  }

  #sendRecords(dir: Direction, records: Uint8Array[]): void {
    for (let at = 0; at < records.length; at += RECORDS_PER_PACKET) {
      this.#send(encodeRecords(dir, records.slice(at, at + RECORDS_PER_PACKET)));
    }
  }

  #onRecords(packet: Uint8Array): void {
    // Before the peer's hello they are of an older pairing, and follow what this side said in another life.
    if (!this.#greeted || (this.#state !== 'resuming' && this.#state !== 'ready')) return;
    const { dir, records } = decodeRecords(packet);
    if (dir === this.#payDir) this.#payer.resume(records, this.#sure ? 0 : this.#options.credit);
    else {
      const restored = this.#payee.restoring;
      this.#payee.resume(records);
      if (restored && !this.#payee.restoring && this.#payee.receipt?.half.seq !== this.#payee.half!.half.seq)
        this.#countersign(this.#payee.half!);
    }
    this.#becomeReady();
    this.#schedule();
  }

  async #onBind(packet: Uint8Array): Promise<void> {
    const sealed = this.#sealed;
    // Before the peer's hello it is of an older pairing.
    if (!this.#greeted || sealed === null) return;
    await sealed.bind(decodeBind(packet));
    if (sealed === this.#sealed) this.#becomeReady();
  }

  /** Once the peer's hello is in, its key is its own, and no record is missing. */
  #becomeReady(): void {
    const sealed = this.#sealed;
    if (this.#state !== 'resuming' || !this.#greeted || !sealed?.isBound) return;
    if (this.#payer.restoring || this.#payee.restoring) return;
    const send = (packet: Uint8Array): void => {
      if (this.#mux === mux) this.#send(packet);
    };
    const mux: CallMux = new CallMux({
      send: (packet) => {
        if (this.#mux === mux) sealed.seal(packet, send);
      },
      buffered: () => this.#socket?.buffered() ?? 0,
      numbering: this.#options.role === 'a' ? 'even' : 'odd',
      handler: (request, meta, call) => this.#desk.answer(request, meta, call),
    });
    this.#mux = mux;
    this.#state = 'ready';
    this.#gate.open();
    this.#changed();
  }

  // ---- the end ----

  /**
   * Ends the use of the session in good order: no new calls either way, those in flight finish, both sides sign the last
   * half and hold its receipt. Rejects with `drain_timeout`; the halves at hand then settle all but `unsigned`.
   */
  async drain(timeoutMs = DRAIN_MS): Promise<void> {
    this.#draining = true;
    this.#gate.open();
    this.#thankNow();
    this.#schedule();
    await this.#until(
      () =>
        this.inFlight.outgoing + this.inFlight.incoming === 0 &&
        this.#settled(this.#payer) &&
        this.#settled(this.#payee),
      timeoutMs,
    );
  }

  /** Signs what is accepted and waits for its receipt, without ending anything. Rejects with `drain_timeout`. */
  async flush(timeoutMs = DRAIN_MS): Promise<void> {
    await this.#until(() => this.#settled(this.#payer), timeoutMs);
  }

  #settled(ledger: PayerLedger | PayeeLedger): boolean {
    return ledger.unsigned.calls === 0 && (ledger.half === null || ledger.receipt?.half.seq === ledger.half.half.seq);
  }

  /** Ends this endpoint now: calls in flight are lost, everything recorded is in the store. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#mux?.flush();
    this.#detach('closed', 'offline');
    this.#state = 'closed';
    this.#cancelTimer();
    if (this.#thankTimer !== null) clearTimeout(this.#thankTimer);
    this.#gate.open();
    this.#changed();
  }

  /**
   * Proof of one call, by default of those we pay for. Throws `not_signed` while no half counts it, `unknown_call` while
   * its record is not here.
   */
  proveCall(index: number, dir: Direction = this.#payDir): CallProof {
    const ledger = dir === this.#payDir ? this.#payer : this.#payee;
    const half = [ledger.receipt, ledger.half].find((signed) => signed !== null && index < signed.half.calls);
    if (!half) throw new Agnt2Error('not_signed', `no half counts call ${index} yet`);
    if (!(index >= 0) || ledger.size < half.half.calls)
      throw new Agnt2Error('unknown_call', `no record of call ${index}`);
    const records = ledger.recordsFrom(0).slice(0, half.half.calls);
    const leaves = records.map((record) => leafHash(sha, record));
    return { dir, record: decodeCallRecord(records[index]), half, path: inclusionPath(sha, leaves, index) };
  }

  #changed(): void {
    for (const watch of this.#watchers) watch();
  }

  #until(reached: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Agnt2Error): void => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        if (error) reject(error);
        else resolve();
      };
      const watch = (): void => {
        if (reached()) end();
        else if (this.#stopped !== null || this.#state === 'closed')
          end(this.#stopped ?? new Agnt2Error('session_closed', 'this endpoint was closed'));
      };
      const timer = setTimeout(
        () => end(new Agnt2Error('drain_timeout', `not signed by both within ${timeoutMs} ms`)),
        timeoutMs,
      );
      this.#watchers.add(watch);
      watch();
    });
  }
}

const asError = (error: unknown): Agnt2Error =>
  error instanceof Agnt2Error
    ? error
    : new Agnt2Error(codeOf(error), error instanceof Error ? error.message : String(error), { cause: error });

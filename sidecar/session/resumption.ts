/**
 * One pairing after another (docs/protocol.md §5): from the word that both parties are there, through their hellos, keys
 * and records, to the calls of the two.
 */
import { Agnt2Error } from '../../protocol/errors.ts';
import type { SignedHalf } from '../../protocol/half.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { CallMux } from '../../protocol/mux.ts';
import {
  decodeBind,
  decodeHello,
  decodeRecords,
  encodeBind,
  encodeHello,
  encodeRecords,
  isAccusation,
} from '../../protocol/packet.ts';
import { platformSealing } from '../../protocol/seal.ts';
import { type EndpointContext, asError, checkHalf } from './context.ts';
import { catchOut, contradicted, hearAccusation } from './contradiction.ts';
import type { Countersigner } from './countersigner.ts';
import type { Desk } from './desk.ts';
import type { Gate } from './gate.ts';
import { Pairing } from './pairing.ts';
import type { Signer } from './signer.ts';
import type { EndpointState } from './types.ts';

export interface ResumptionParts {
  readonly gate: Gate;
  readonly desk: Desk;
  readonly signer: Signer;
  readonly countersigner: Countersigner;
}

export class Resumption {
  readonly #context: EndpointContext;
  readonly #parts: ResumptionParts;
  /** The calls of this pairing, while the endpoint is ready. */
  mux: CallMux | null = null;
  /** Counts pairings; what began in an older one must not speak in this one. */
  #pairing = 0;
  #greeted = false;
  /** This side has sent what the peer misses, and its bind: calls may follow. */
  #told = false;
  /** Counts hellos answered; an older answer that is still being sent ends. */
  #answers = 0;
  /** What seals the calls of this pairing; null before this side has said hello. */
  #sealed: Pairing | null = null;
  /** The peer has called or answered since this endpoint began: records of before are all here. */
  #sure = false;

  constructor(context: EndpointContext, parts: ResumptionParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** The pairing is over: its calls are lost, what it recorded is not. */
  part(state: EndpointState): void {
    const { status, line } = this.#context;
    const mux = this.mux;
    this.#pairing += 1;
    this.#answers += 1;
    this.#greeted = false;
    this.#told = false;
    this.#sealed = null;
    this.mux = null;
    if (status.state !== 'closed' && status.state !== 'stopped') status.state = state;
    mux?.close();
    line.commit();
    status.changed();
  }

  /** Both are there: sign what is open, say what is known. */
  async greet(): Promise<void> {
    const { status, options, line } = this.#context;
    if (status.isClosed()) return;
    this.part('resuming');
    this.#parts.signer.cancel();
    const pairing = this.#pairing;
    while (pairing === this.#pairing) {
      const signing = this.#parts.signer.rest();
      if (signing === null) break;
      await signing;
    }
    const sealed = await Pairing.begin(options, options.sealing ?? platformSealing);
    if (pairing !== this.#pairing) return;
    this.#sealed = sealed;
    line.send(encodeHello({ halves: this.#known(), credit: options.credit, key: sealed.publicKey }));
  }

  /** A half whose records are not all here is not known: the peer shall send them from the start. */
  #known(): SignedHalf[] {
    const { payer, payee } = this.#context;
    return [payer, payee].flatMap(({ half, restoring }) => (half !== null && !restoring ? [half] : []));
  }

  /** The peer's, which answers ours; or, before the peer is there, the relay's: what it keeps for a side that lost its own. */
  async onHello(packet: Uint8Array): Promise<void> {
    const { status, payer, line } = this.#context;
    if (status.state === 'offline' || status.state === 'closed') return;
    const hello = decodeHello(packet);
    if (isAccusation(hello)) return hearAccusation(this.#context, hello.halves);
    if (status.state === 'ready') return;
    const pairing = this.#pairing;
    const isRelays = status.state === 'waiting';
    const calls = [0, 0];
    for (const signed of hello.halves) {
      if (!(await (signed.half.dir === payer.dir ? this.#adoptOwn(signed) : this.#adoptPeers(signed)))) return;
      calls[signed.half.dir] = signed.half.calls;
    }
    if (isRelays || pairing !== this.#pairing || this.#sealed === null) return;
    const bind = await this.#sealed.meet(hello.key);
    if (pairing !== this.#pairing) return;
    this.#parts.signer.credit = hello.credit;
    this.#greeted = true;
    this.#answer(calls, bind).catch((error: unknown) => line.onBad(asError(error)));
  }

  /**
   * The records behind those `calls`, by direction, then the bind. A log is longer than memory: piece after piece, as the
   * socket takes them, and other packets come in between.
   */
  async #answer(calls: readonly number[], bind: Uint8Array): Promise<void> {
    const { payer, payee, line, counters } = this.#context;
    const answer = (this.#answers += 1);
    this.#told = false;
    for (const ledger of [payer, payee]) {
      for (let at = calls[ledger.dir]; at < ledger.size;) {
        const records = ledger.recordsFrom(at);
        line.send(encodeRecords(ledger.dir, records));
        at += records.length;
        if (at < ledger.size) await line.room();
        if (answer !== this.#answers) return;
      }
    }
    line.send(encodeBind(bind));
    counters.resumes += 1;
    this.#told = true;
    this.#becomeReady();
  }

  /** A half this side signed, as the peer keeps it. False when the endpoint was closed meanwhile. */
  async #adoptOwn({ half, payer: signature, payee }: SignedHalf): Promise<boolean> {
    const { options, payer, ownKey, peerKey, status } = this.#context;
    await checkHalf(options, half, half.dir, ownKey, signature);
    if (status.isClosed()) return false;
    const receipted = payee !== undefined && (await verifyP256(peerKey, options.signing.half(half), payee));
    if (status.isClosed()) return false;
    if (payer.adopt({ half, payer: signature })) payer.save();
    if (receipted) this.#parts.signer.keepReceipt(half, payee);
    return true;
  }

  /** A half the peer signed. False when the endpoint was closed meanwhile. */
  async #adoptPeers({ half, payer: signature, payee: receipt }: SignedHalf): Promise<boolean> {
    const { options, payee, ownKey, peerKey, status } = this.#context;
    await checkHalf(options, half, half.dir, peerKey, signature);
    if (status.isClosed()) return false;
    const receipted = receipt !== undefined && (await verifyP256(ownKey, options.signing.half(half), receipt));
    if (status.isClosed()) return false;
    const kept = contradicted(this.#context, half);
    if (kept !== null)
      catchOut(this.#context, kept, { half, payer: signature }, () => payee.adopt({ half, payer: signature }));
    if (payee.adopt({ half, payer: signature })) payee.save();
    if (payee.half?.half.seq !== half.seq) return true;
    if (receipted) {
      payee.keepReceipt({ half, payer: signature, payee: receipt });
      payee.save();
    } else if (!payee.restoring) this.#parts.countersigner.countersign({ half, payer: signature });
    return true;
  }

  onRecords(packet: Uint8Array): void {
    const { status, options, payer, payee } = this.#context;
    // Before the peer's hello they are of an older pairing, and follow what this side said in another life.
    if (!this.#greeted || (status.state !== 'resuming' && status.state !== 'ready')) return;
    const { dir, records } = decodeRecords(packet);
    const restored = dir === payer.dir ? payer.restoring : payee.restoring;
    if (dir === payer.dir) {
      payer.resume(records, this.#sure ? 0 : options.credit);
      // This side's hello could not say it, and its peer may never have had it.
      if (restored && !payer.restoring) this.#parts.signer.repeat();
    } else {
      payee.resume(records);
      if (restored && !payee.restoring && payee.receipt?.half.seq !== payee.half!.half.seq)
        this.#parts.countersigner.countersign(payee.half!);
    }
    this.#becomeReady();
    this.#parts.signer.schedule();
  }

  async onBind(packet: Uint8Array): Promise<void> {
    const sealed = this.#sealed;
    // Before the peer's hello it is of an older pairing.
    if (!this.#greeted || sealed === null) return;
    await sealed.bind(decodeBind(packet));
    if (sealed !== this.#sealed) return;
    const { payer, payee, stop } = this.#context;
    // It comes behind all the records that the peer has.
    if (payer.restoring || payee.restoring)
      stop(new Agnt2Error('records_lost', 'a half counts calls whose records neither party has any more'));
    else this.#becomeReady();
  }

  /** Once the peer's hello is in and answered, its key is its own, and no record is missing. */
  #becomeReady(): void {
    const { status, payer, payee, line, options } = this.#context;
    const { gate, desk } = this.#parts;
    const sealed = this.#sealed;
    if (status.state !== 'resuming' || !this.#told || !sealed?.isBound) return;
    if (payer.restoring || payee.restoring) return;
    const send = (packet: Uint8Array): void => {
      if (this.mux === mux) line.send(packet);
    };
    const mux: CallMux = new CallMux({
      send: (packet) => {
        if (this.mux === mux) sealed.seal(packet, send);
      },
      buffered: () => line.buffered,
      numbering: options.role === 'a' ? 'even' : 'odd',
      handler: (request, meta, call) => desk.answer(request, meta, call),
      settled: () => line.commit(),
    });
    this.mux = mux;
    status.state = 'ready';
    gate.open();
    status.changed();
  }

  onCalls(packet: Uint8Array): Promise<void> | undefined {
    const sealed = this.#sealed;
    // Calls of an older pairing, until the hello of this one.
    if (sealed === null || !sealed.isBound) return;
    const opened = sealed.open(packet);
    if (opened instanceof Uint8Array) {
      this.#take(opened);
      return;
    }
    return opened.then((calls) => {
      if (sealed === this.#sealed) this.#take(calls);
    });
  }

  #take(calls: Uint8Array): void {
    if (this.#context.status.state !== 'ready') return;
    this.#sure = true;
    this.mux!.receive(calls);
  }

  /** The session stops. Its calls are lost: the peer may have served them, so nobody may make them elsewhere. */
  lose(error: Agnt2Error): void {
    const mux = this.mux;
    this.mux = null;
    // Not inside a packet of its own calls.
    queueMicrotask(() => mux?.close(error));
  }
}

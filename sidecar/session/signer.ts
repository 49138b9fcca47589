/** What a payer signs, when, and the receipts it gets for it. */
import { equal } from '../../protocol/bytes.ts';
import { type Half, type SignedHalf, encodeHalf } from '../../protocol/half.ts';
import { MAX_HALVES, decodeSigned, encodeHalvesPacket } from '../../protocol/packet.ts';
import { type EndpointContext, asError, checkHalf } from './context.ts';
import type { Gate } from './gate.ts';
import { type WindowRule, signDelay, stretched } from './window.ts';

const MAX_UNRECEIPTED = 4096;

export class Signer {
  readonly #context: EndpointContext;
  readonly #gate: Gate;
  readonly #rule: WindowRule;
  /** What the peer lets us owe unsigned; its hello says. */
  credit = 0;
  #signing: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Somebody waits for what is accepted to be signed. */
  #pressed = false;
  #lastSignedMs = -Infinity;
  /** How long the last signature took. */
  #tookMs = 0;
  /** Our halves without a receipt yet, by seq. */
  #unreceipted = new Map<number, SignedHalf>();

  constructor(context: EndpointContext, gate: Gate) {
    this.#context = context;
    this.#gate = gate;
    this.#rule = { ms: context.options.windowMs ?? 20, calls: context.options.windowCalls ?? 256 };
  }

  /** Signs now, later, or not at all, as the window rule says. */
  schedule(): void {
    const { status, payer } = this.#context;
    if (this.#signing !== null || status.stopped !== null || status.state === 'closed') return;
    const wanted = this.#pressed || status.draining || (this.#gate.waiting && status.state === 'ready');
    const pressed = wanted && payer.unsigned.calls > 0;
    const delay = pressed
      ? 0
      : signDelay(
          { ...this.#rule, ms: stretched(this.#rule.ms, this.#tookMs) },
          payer.unsigned,
          this.credit,
          performance.now() - this.#lastSignedMs,
        );
    if (delay === Infinity) return;
    if (delay === 0) {
      void this.#start();
    } else
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.schedule();
      }, delay);
  }

  /** Signs all that is accepted, without waiting for the window. */
  signNow(): void {
    this.#pressed = true;
    this.schedule();
  }

  /** The signature being made, or the next there is to make now; null when nothing is left to be signed. */
  rest(): Promise<void> | null {
    if (this.#signing !== null) return this.#signing;
    const { status, payer } = this.#context;
    return payer.unsigned.calls > 0 && status.stopped === null && !payer.restoring ? this.#start() : null;
  }

  /** What was to be signed later is not. */
  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #start(): Promise<void> {
    this.cancel();
    this.#signing = this.#sign()
      .catch((error: unknown) => this.#context.stop(asError(error)))
      .finally(() => {
        this.#signing = null;
        this.#gate.open();
        this.schedule();
        this.#context.status.changed();
      });
    return this.#signing;
  }

  /** A half over what was accepted, or one for each call of it: signed, persisted, then sent. */
  async #sign(): Promise<void> {
    const { payer, options, status, counters, line } = this.#context;
    this.#pressed = false;
    const each = this.#rule.calls === 1;
    const halves = [payer.next(each ? 1 : Infinity)];
    while (each && halves.length < MAX_HALVES && halves.at(-1)!.calls < payer.size)
      halves.push(payer.next(1, halves.at(-1)));
    this.#lastSignedMs = performance.now();
    const { key, signing } = options;
    const signatures = await Promise.all(halves.map((half) => key.sign(signing.half(half))));
    if (status.isClosed()) return;
    this.#tookMs = performance.now() - this.#lastSignedMs;
    // The newest says all that the others say.
    payer.signed(halves.at(-1)!, signatures.at(-1)!);
    payer.save();
    const signed = halves.map((half, i) => ({ half, payer: signatures[i] }));
    const newest = signed.at(-1)!;
    this.#unreceipted.set(newest.half.seq, newest);
    if (this.#unreceipted.size > MAX_UNRECEIPTED) this.#unreceipted.delete(this.#unreceipted.keys().next().value!);
    counters.windowsOut += signed.length;
    // Also while the peer is away: the relay keeps the newest.
    line.send(encodeHalvesPacket(signed));
  }

  /** Sends the newest half once more. */
  repeat(): void {
    const { payer, line } = this.#context;
    if (payer.half !== null) line.send(encodeHalvesPacket([payer.half]));
  }

  async onReceipt(packet: Uint8Array): Promise<void> {
    const { options, payer, peerKey, status } = this.#context;
    const { half, signature } = decodeSigned(packet);
    await checkHalf(options, half, payer.dir, peerKey, signature);
    if (!status.isClosed()) this.keepReceipt(half, signature);
  }

  /** A receipt counts for a half this side signed, byte for byte: the newest, or an older one still on its way. */
  keepReceipt(half: Half, payee: Uint8Array): void {
    const { payer, status } = this.#context;
    const newest = payer.half;
    const signed = half.seq === newest?.half.seq ? newest : this.#unreceipted.get(half.seq);
    if (!signed || !equal(encodeHalf(signed.half), encodeHalf(half))) return;
    for (const seq of this.#unreceipted.keys()) if (seq <= half.seq) this.#unreceipted.delete(seq);
    payer.keepReceipt({ half, payer: signed.payer, payee });
    payer.save();
    status.changed();
  }
}

/** What a payee takes of its payer's halves, and the receipts it signs for them. */
import type { SignedHalf } from '../../protocol/half.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { PacketType, decodeNewest, encodeReceiptPacket } from '../../protocol/packet.ts';
import { type EndpointContext, asError, assertOurs, checkHalf } from './context.ts';
import { catchOut, contradicted } from './contradiction.ts';
import { stretched } from './window.ts';

/** Milliseconds between receipts of a busy session. */
const RECEIPT_MS = 50;

export class Countersigner {
  readonly #context: EndpointContext;
  /** The newest half of the peer's that waits for its receipt. */
  #unthanked: SignedHalf | null = null;
  #thanking = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** How long the last signature took. */
  #tookMs = 0;
  #thankedMs = -Infinity;

  constructor(context: EndpointContext) {
    this.#context = context;
  }

  onHalf(packet: Uint8Array): Promise<void> | undefined {
    const { options, payee } = this.#context;
    const { half, signature } = decodeNewest(packet);
    assertOurs(options, half, payee.dir);
    const kept = contradicted(this.#context, half);
    if (kept !== null) return this.#catch(kept, { half, payer: signature });
    // A newer one was verified: whatever this is, that one says all it could say.
    if (half.seq < (payee.half?.half.seq ?? 0)) return;
    return this.#take({ half, payer: signature });
  }

  async #catch(kept: SignedHalf, signed: SignedHalf): Promise<void> {
    const { options, payee, peerKey, status } = this.#context;
    await checkHalf(options, signed.half, payee.dir, peerKey, signed.payer);
    if (!status.isClosed()) catchOut(this.#context, kept, signed, () => payee.accept(signed));
  }

  async #take(signed: SignedHalf): Promise<void> {
    const { options, payee, peerKey, status } = this.#context;
    const { half } = signed;
    const later = this.#newestWaiting();
    if (
      later !== null &&
      later.half.seq > half.seq &&
      (await verifyP256(peerKey, options.signing.half(later.half), later.payer))
    ) {
      if (!status.isClosed()) this.#accept(later);
      return;
    }
    await checkHalf(options, half, payee.dir, peerKey, signed.payer);
    if (!status.isClosed()) this.#accept(signed);
  }

  /** The last half that waits behind the one at hand: good, it makes those before it superfluous. */
  #newestWaiting(): SignedHalf | null {
    const { options, payee, line } = this.#context;
    const packet = line.lastWaiting(PacketType.half);
    if (packet === undefined) return null;
    try {
      const { half, signature } = decodeNewest(packet);
      assertOurs(options, half, payee.dir);
      if (contradicted(this.#context, half) === null) return { half, payer: signature };
    } catch {
      // As below.
    }
    // It will have its own turn.
    return null;
  }

  #accept(signed: SignedHalf): void {
    const { payee, status, counters } = this.#context;
    // Held back by the relay for a side that has since lost its log: the hello brings it, with the records.
    if (payee.restoring || (status.state !== 'ready' && signed.half.calls > payee.size)) return;
    if (!payee.accept(signed)) return;
    payee.save();
    counters.windowsIn += 1;
    status.changed();
    this.countersign(signed);
  }

  /** Countersigns off the packets' path; money does not wait for it, and the newest half's receipt is one for all before. */
  countersign(signed: SignedHalf): void {
    this.#unthanked = signed;
    if (this.#thanking) return;
    this.#thanking = true;
    const due = stretched(RECEIPT_MS, this.#tookMs) - (performance.now() - this.#thankedMs);
    if (due <= 0 || this.#context.status.draining) void this.#thank();
    else this.#timer = setTimeout(() => void this.#thank(), due);
  }

  /** What waits for its turn to be countersigned has it now. */
  thankNow(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    void this.#thank();
  }

  /** What waits for its turn has none any more. */
  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #thank(): Promise<void> {
    const { options, payee, status, line, stop } = this.#context;
    const signed = this.#unthanked!;
    this.#unthanked = null;
    this.#timer = null;
    this.#thankedMs = performance.now();
    try {
      const signature = await options.key.sign(options.signing.half(signed.half));
      this.#thanking = false;
      if (status.isClosed()) return;
      this.#tookMs = performance.now() - this.#thankedMs;
      payee.keepReceipt({ ...signed, payee: signature });
      payee.save();
      line.send(encodeReceiptPacket(signed.half, signature));
      status.changed();
    } catch (error) {
      this.#thanking = false;
      stop(asError(error));
      return;
    }
    if (this.#unthanked !== null) this.countersign(this.#unthanked);
  }
}

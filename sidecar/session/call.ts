/** A call of ours from its head to its record. */
import { type CallRecord, decodeCallRecord, requestHash, responseHash } from '../../protocol/call.ts';
import type { Agnt2Error } from '../../protocol/errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { Meter, encodeRate } from '../../protocol/meter.ts';
import type { CallSink, Digests, OpenCall } from '../../protocol/mux.ts';
import type { PayerLedger } from './ledger.ts';
import type { SessionCall, SessionCallOptions } from './types.ts';

export interface CallingContext {
  readonly ledger: PayerLedger;
  /** Once a call: it is over, whatever came of it; what it was promised is free again. */
  readonly over: (maxPrice: number) => void;
  /** There is more to sign. */
  readonly recorded: () => void;
  /** The payee's record is not of the call made. */
  readonly broken: (error: Agnt2Error) => void;
}

/** Has no promise of its record until somebody asks for it: most ask when it is there. */
export class PaidCall implements CallSink, SessionCall {
  readonly #context: CallingContext;
  readonly #method: string;
  readonly #target: string;
  readonly #maxPrice: number;
  readonly #rate: SessionCallOptions['rate'];
  readonly meter: Meter | null;
  readonly deadlineMs: number | undefined;
  readonly #onRecord: SessionCallOptions['onRecord'];
  readonly #resolve: (call: SessionCall) => void;
  readonly #reject: (error: unknown) => void;
  #open: OpenCall | null = null;
  #record: CallRecord | null = null;
  #over = false;

  constructor(
    context: CallingContext,
    { method, target }: ExchangeRequest,
    { maxPrice, rate, deadlineMs, onRecord }: SessionCallOptions,
    resolve: (call: SessionCall) => void,
    reject: (error: unknown) => void,
  ) {
    this.#context = context;
    this.#method = method;
    this.#target = target;
    this.#maxPrice = maxPrice;
    this.#rate = rate;
    this.meter = rate === undefined ? null : new Meter(rate, maxPrice);
    this.deadlineMs = deadlineMs;
    this.#onRecord = onRecord;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Asked for once, so not kept for as long as the call lasts. */
  get meta(): Record<string, string> {
    const max = String(this.#maxPrice);
    return this.#rate === undefined ? { max } : { max, rate: encodeRate(this.#rate) };
  }

  get response(): ExchangeResponse {
    return this.#open!.response;
  }

  get record(): Promise<CallRecord> {
    const record = this.#open!.end.then((end) => this.#record ?? decodeCallRecord(end));
    record.catch(() => {});
    return record;
  }

  onOpen(open: OpenCall): void {
    this.#open = open;
    this.#resolve(this);
  }

  onRefused(error: unknown): void {
    this.#reject(error);
  }

  onEnd(end: Uint8Array, { requestBody, responseBody }: Digests, status: number): void {
    try {
      this.#record = this.#context.ledger.accept(end, {
        requestHash: requestHash(this.#method, this.#target, requestBody),
        responseHash: responseHash(status, responseBody),
        status,
        // Both have counted the same bytes: more than that is not owed.
        max: this.meter?.price ?? this.#maxPrice,
      });
    } catch (error) {
      this.#context.broken(error as Agnt2Error);
      throw error;
    } finally {
      this.#end();
      this.#context.recorded();
    }
    this.#onRecord?.(this.#record);
  }

  onLost({ requestBody }: Digests, complete: boolean): void {
    if (complete) this.#context.ledger.orphan(requestHash(this.#method, this.#target, requestBody), this.#maxPrice);
  }

  onFailed(): void {
    this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#context.over(this.#maxPrice);
  }
}

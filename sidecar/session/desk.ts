/** Where calls of the peer are priced, weighed against what is at risk, handed to the app, and recorded. */
import { requestHash, responseHash } from '../../protocol/call.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { Meter, encodeRate } from '../../protocol/meter.ts';
import type { Digests, IncomingHandle, Served } from '../../protocol/mux.ts';
import { isOverCredit } from './credit.ts';
import { MAX_UNSIGNED_CALLS, type PayeeLedger } from './ledger.ts';
import type { Counters, EndpointOptions } from './types.ts';

export interface DeskContext {
  /** Why no call is answered any more. */
  readonly shut: () => Agnt2Error | null;
  /** Base units the peer can pay in all: its deposit and what we paid it. */
  readonly coverage: () => number;
  /** Base units accepted as payer without having been asked for, as far as they share the payee's credit. */
  readonly unasked: () => number;
  readonly changed: () => void;
}

const amount = (text: string | undefined): number | null => {
  const value = Number(text);
  return text !== undefined && /^\d{1,16}$/.test(text) && Number.isSafeInteger(value) ? value : null;
};

/** A call that has its response, on its way to a record. */
class Serving implements Served {
  readonly #payee: PayeeLedger;
  readonly #context: DeskContext;
  readonly #request: ExchangeRequest;
  readonly response: ExchangeResponse;
  /** The most it may cost, and what counts how much of that it does. */
  readonly #price: number;
  readonly #meter: Meter | null;
  readonly #onCharged: EndpointOptions['onCharged'];

  constructor(
    payee: PayeeLedger,
    context: DeskContext,
    request: ExchangeRequest,
    response: ExchangeResponse,
    price: number,
    meter: Meter | null,
    onCharged: EndpointOptions['onCharged'],
  ) {
    this.#payee = payee;
    this.#context = context;
    this.#request = request;
    this.response = response;
    this.#price = price;
    this.#meter = meter;
    this.#onCharged = onCharged;
  }

  end({ requestBody, responseBody }: Digests): Uint8Array {
    const { method, target } = this.#request;
    const { status } = this.response;
    this.#payee.reserved -= this.#price;
    const charged = status >= 500 ? 0 : (this.#meter?.price ?? this.#price);
    const bytes = this.#payee.append(
      requestHash(method, target, requestBody),
      responseHash(status, responseBody),
      charged,
      status,
      Date.now(),
    );
    this.#onCharged?.(charged);
    this.#context.changed();
    return bytes;
  }

  dropped(why: 'failed' | 'fault' | 'lost', digests: Digests, complete: boolean): void {
    if (why === 'lost' && complete) {
      // Served, and the socket went before the end: the payer, who asked for it, gets the record on resume.
      this.end(digests);
      this.#payee.commit();
      return;
    }
    this.#payee.reserved -= this.#price;
    // A caller that breaks its own call has read what it wanted of the answer.
    if (why !== 'failed') {
      this.#payee.allowance += this.#meter?.price ?? this.#price;
      this.#payee.save();
    }
    this.#context.changed();
  }
}

export class Desk {
  readonly #options: Pick<EndpointOptions, 'handler' | 'quote' | 'credit' | 'onCharged'>;
  readonly #payee: PayeeLedger;
  readonly #counters: Counters;
  readonly #context: DeskContext;

  constructor(
    options: Pick<EndpointOptions, 'handler' | 'quote' | 'credit' | 'onCharged'>,
    payee: PayeeLedger,
    counters: Counters,
    context: DeskContext,
  ) {
    this.#options = options;
    this.#payee = payee;
    this.#counters = counters;
    this.#context = context;
  }

  /** Answers a call, or refuses it before the app sees it. */
  answer(request: ExchangeRequest, meta: Readonly<Record<string, string>>, call: IncomingHandle): Promise<Served> {
    let price: number;
    try {
      price = this.#admit(request, meta, call);
    } catch (error) {
      this.#counters.refused += 1;
      return Promise.reject(error);
    }
    this.#payee.reserved += price;
    this.#counters.callsIn += 1;
    const failed = (error: unknown): never => {
      this.#payee.reserved -= price;
      this.#context.changed();
      throw error;
    };
    try {
      return this.#options.handler!(request, { price }).then(
        (response) =>
          new Serving(this.#payee, this.#context, request, response, price, call.meter, this.#options.onCharged),
        failed,
      );
    } catch (error) {
      return Promise.reject(error).catch(failed);
    }
  }

  /** The most a call that may be served can cost. Throws unless it keeps what is at risk within credit and the payer's deposit. */
  #admit(request: ExchangeRequest, meta: Readonly<Record<string, string>>, call: IncomingHandle): number {
    const { handler, quote, credit } = this.#options;
    const payee = this.#payee;
    if (handler === undefined) throw new Agnt2Error('unsupported', 'this agent answers no calls in this session');
    const shut = this.#context.shut();
    if (shut !== null) throw shut;
    const max = amount(meta.max);
    if (max === null) throw malformed('a session call says the most it may cost');
    const quoted = quote?.(request) ?? 0;
    const rate = typeof quoted === 'number' ? undefined : quoted.rate;
    // A payer that counts otherwise would refuse the record.
    if (meta.rate !== undefined && (rate === undefined || meta.rate !== encodeRate(rate)))
      throw new Agnt2Error('over_price', 'the call is counted by another rate');
    const most = typeof quoted === 'number' ? quoted : quoted.price;
    const price = rate === undefined || rate.base > max ? most : Math.min(most, max);
    if (rate !== undefined) call.meter = new Meter(rate, price);
    if (!Number.isSafeInteger(price) || price < 0) throw new Agnt2Error('internal', `quoted ${price}`);
    if (price > max) throw new Agnt2Error('over_price', `the call costs ${price}, at most ${max} was agreed`);
    if (payee.unsigned.calls >= MAX_UNSIGNED_CALLS)
      throw new Agnt2Error('over_credit', `${MAX_UNSIGNED_CALLS} calls are unsigned`);
    if (price === 0) return 0;
    // A call served and never recorded (its socket went with the request half sent) is a loss; those, too, stay within credit.
    const atRisk = { exposure: payee.exposure(price), spoilt: payee.allowance, unasked: this.#context.unasked() };
    if (isOverCredit(atRisk, credit))
      throw new Agnt2Error('over_credit', `unsigned calls would pass the credit of ${credit}`);
    if (payee.accrued + payee.reserved + price > this.#context.coverage()) {
      throw new Agnt2Error('insufficient_deposit', "the payer's deposit does not cover this call");
    }
    return price;
  }
}

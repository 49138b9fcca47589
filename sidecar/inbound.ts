/** First-contact calls: from the gateway's socket, through the escrow's checks, to the app, and back with a respond on Core. */
import { encodeCallRecord, requestHash, responseHash } from '../protocol/call.ts';
import { ZERO_BYTES32 } from '../protocol/bytes.ts';
import { codeOf } from '../protocol/errors.ts';
import { parseId } from '../protocol/ids.ts';
import { sha } from '../protocol/log.ts';
import type { App } from './app.ts';
import { refusal } from './errors.ts';
import { type EscrowCheck, checkEscrow, readClaim } from './escrow.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import { EMPTY } from './http/body.ts';
import type { Metrics } from './metrics.ts';
import { Meter } from '../protocol/meter.ts';
import type { Digests, IncomingHandle, Served } from '../protocol/mux.ts';
import { type PricedService, offerOf } from './prices.ts';
import type { Responder } from './responder.ts';
import type { Store } from './store.ts';
import { isNormal } from './target.ts';

export interface InboundOptions {
  readonly check: EscrowCheck;
  readonly app: Pick<App, 'serve'>;
  readonly store: Store;
  readonly responder: Responder;
  readonly metrics: Metrics;
  /** Our published services. */
  readonly services: () => readonly PricedService[];
  /** Joins a session somebody opened with us; throws a coded refusal. */
  readonly join: (session: number) => Promise<void>;
}

/** Status an answer must not reach to be charged: the app's own failures are free, as in a session. */
const FAILED = 500;

export class Inbound {
  readonly #options: InboundOptions;
  #inFlight = 0;
  #stopping = false;

  constructor(options: InboundOptions) {
    this.#options = options;
  }

  /** Calls at the app. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Refuses new calls from here on. */
  stop(): void {
    this.#stopping = true;
  }

  /** The handler of the agent's socket (see `IncomingHandler` of the mux). */
  readonly handle = async (
    request: ExchangeRequest,
    meta: Readonly<Record<string, string>>,
    call: IncomingHandle,
  ): Promise<Served> => {
    try {
      return await this.#route(request, meta, call);
    } catch (error) {
      this.#options.metrics.refusals.add(`code="${codeOf(error)}"`);
      throw error;
    }
  };

  async #route(
    request: ExchangeRequest,
    meta: Readonly<Record<string, string>>,
    call: IncomingHandle,
  ): Promise<Served> {
    if (this.#stopping) throw refusal('agent_offline', 'this agent is going down');
    if (meta.session !== undefined) {
      await this.#options.join(parseId(meta.session));
      return {
        response: { status: 204, headers: [], body: EMPTY },
        end: (digests) => record(request, 204, 0, digests),
      };
    }
    // A peer's sidecar sends normal targets; one that isn't may be read differently by whoever hashed, priced or routes it.
    if (!isNormal(request.method, request.target))
      throw refusal('bad_target', 'the request target is not in its normal form');
    if (request.upgrade !== undefined) throw refusal('session_required', 'WebSockets go over a session');
    const { services } = this.#options;
    const offer = offerOf(services(), request.method, request.target);
    if (offer === null) throw refusal('unknown_service', 'this agent serves nothing yet');
    const claim = readClaim(meta);
    if (claim === null) {
      if (offer.price > 0) throw refusal('payment_required', `this call costs ${offer.price}`);
      return this.#count(this.#free(request));
    }
    const { rate } = offer;
    // From the first byte on; what the escrow holds is known later.
    const meter = rate === undefined ? null : (call.meter = new Meter(rate, offer.price));
    const least = rate === undefined ? offer : { ...offer, price: Math.min(offer.price, rate.base + rate.price) };
    const { id, payer, amount } = await checkEscrow(this.#options.check, claim, least, request.method, request.target);
    if (meter !== null) meter.max = Math.min(offer.price, amount);
    if (request.signal.aborted) throw refusal('cancelled', 'the caller went away');
    if (!this.#options.store.takeEscrow(id)) throw refusal('escrow_used', 'the escrow paid for another call already');
    return this.#count(this.#paid(request, id, payer, () => meter?.price ?? offer.price));
  }

  /** Counts a call from its checks to its end, however it ends. */
  async #count(serving: Promise<Served>): Promise<Served> {
    this.#inFlight += 1;
    let counted = true;
    const over = (): void => {
      if (counted) this.#inFlight -= 1;
      counted = false;
    };
    try {
      const served = await serving;
      return {
        response: served.response,
        end: (digests) => {
          over();
          return served.end(digests);
        },
        dropped: (why, digests, complete) => {
          over();
          served.dropped?.(why, digests, complete);
        },
      };
    } catch (error) {
      over();
      throw error;
    }
  }

  async #free(request: ExchangeRequest): Promise<Served> {
    const response = await this.#options.app.serve(request, 0, 'free');
    this.#options.metrics.callsIn.add('route="free"');
    return { response, end: (digests) => record(request, response.status, 0, digests) };
  }

  async #paid(request: ExchangeRequest, escrow: number, payer: number, price: () => number): Promise<Served> {
    const { app, responder, metrics } = this.#options;
    const refund = (): void => responder.owe({ escrow, price: 0, result: 1, payload: ZERO_BYTES32 });
    let response: ExchangeResponse;
    try {
      response = await app.serve(request, payer, 'core', price);
    } catch (error) {
      refund();
      throw error;
    }
    metrics.callsIn.add('route="core"');
    const end = (digests: Digests): Uint8Array => {
      const charged = response.status >= FAILED ? 0 : price();
      const bytes = record(request, response.status, charged, digests);
      responder.owe({ escrow, price: charged, result: response.status >= FAILED ? 1 : 0, payload: sha(bytes) });
      return bytes;
    };
    return {
      response,
      // Also of a caller that cancelled while the answer came: it pays for what it made the app do.
      end,
      // A cut answer is no answer, unless it was the caller who cut it.
      dropped: (why, digests) => void (why === 'fault' ? end(digests) : refund()),
    };
  }
}

const record = (request: ExchangeRequest, status: number, price: number, digests: Digests): Uint8Array =>
  encodeCallRecord({
    index: 0,
    requestHash: requestHash(request.method, request.target, digests.requestBody),
    responseHash: responseHash(status, digests.responseBody),
    price,
    status,
    timeMs: Date.now(),
  });

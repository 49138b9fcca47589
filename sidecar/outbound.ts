/** Calls of the local app: who it is for, what it may cost, which way it goes. */
import { codeOf } from '../protocol/errors.ts';
import { formatId } from '../protocol/ids.ts';
import type { Egress } from './egress/egress.ts';
import { httpStatusOf, refusal } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import type { Rate } from '../protocol/meter.ts';
import type { FirstContact } from './firstcontact.ts';
import { Whole } from '../protocol/whole.ts';
import { EMPTY, tracked } from './http/body.ts';
import type { Metrics } from './metrics.ts';
import type { Peer, Peers } from './peers.ts';
import type { Policy, Reservation } from './policy/policy.ts';
import { type Offer, offerOf, readAmount } from './prices.ts';
import { pathOf, readDestination } from './target.ts';
import { NotedCall, noted } from './telemetry/call.ts';

/** What the outbound path needs of the sessions. */
export interface Sessions {
  /** Calls through the session that is open and ready with this peer; null when there is none. */
  call(
    agent: number,
    request: ExchangeRequest,
    maxPrice: number,
    rate: Rate | undefined,
    reservation: Reservation,
  ): Promise<ExchangeResponse> | null;
  /** Notes a call through Core, and opens a session when the policy says it pays. Never waits. */
  noteCoreCall(agent: number): void;
  /** Whether a session with this peer is ready, or could be opened just now by the policy. */
  ensure(agent: number): Promise<boolean>;
}

export interface OutboundOptions {
  readonly agent: number;
  readonly peers: Pick<Peers, 'resolve' | 'forget'>;
  readonly policy: Pick<Policy, 'reserve' | 'report'>;
  readonly firstContact: FirstContact;
  readonly sessions: Sessions;
  readonly metrics: Metrics;
  /** Base units one call may cost: the most a counted call is given. */
  readonly perCall: number;
  /** The way to what is not AGNT2; none where there is no such way. */
  readonly egress?: Pick<Egress, 'forward'>;
}

/** Refusals of a session after which the call certainly was not made: it goes through Core. */
const NOT_MADE = new Set([
  'peer_offline',
  'session_stopped',
  'session_closed',
  'session_draining',
  'insufficient_deposit',
  'over_credit',
]);

/** Refusals that what we know of the peer's services may be the reason of; of a call to another shard the escrow tells no more than that it did not open. */
const STALE_PRICE = new Set([
  'payment_required',
  'escrow_too_small',
  'wrong_service',
  'over_ceiling',
  'service_inactive',
  'escrow_not_open',
]);

/** Failures after which the peer may still charge the call: the budget keeps its price. */
const MAYBE_CHARGED = new Set(['session_lost', 'cancelled', 'deadline_exceeded', 'internal']);

/** Refusals that say that the peer does not work; any other says nothing of it, or only that it works. */
const PEER_FAILED = new Set([
  'agent_offline',
  'app_failed',
  'app_unavailable',
  'bad_receipt',
  'deadline_exceeded',
  'not_arrived',
  'outcome_pending',
  'peer_failed',
  'session_lost',
  'timeout',
]);

/** A body that knows whether anybody took from it: only an untouched or empty one may be sent a second time. */
function replayable(request: ExchangeRequest): { request: ExchangeRequest; again: () => ExchangeRequest | null } {
  if (request.body instanceof Whole) return { request, again: () => request };
  let state: 'untouched' | 'taken' | 'empty' = 'untouched';
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => {
      const iterator = request.body[Symbol.asyncIterator]();
      let bytes = 0;
      state = 'taken';
      return {
        async next() {
          const step = await iterator.next();
          if (!step.done) bytes += step.value.length;
          else if (bytes === 0) state = 'empty';
          return step;
        },
        return: async () => {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
  const again = (): ExchangeRequest | null =>
    state === 'taken' ? null : state === 'empty' ? { ...request, body: EMPTY } : request;
  return { request: { ...request, body }, again };
}

/** A request of the local app before it is taken. */
interface Incoming {
  readonly method?: string;
  readonly url?: string;
  readonly fields?: readonly (readonly [string, string])[];
}

/** How an app says what its call may cost, base units; never passed on. */
export const MAX_PRICE = 'agnt2-max-price';
const NO_FIELDS: readonly (readonly [string, string])[] = [];

/** What the app says so; several say nothing clear. */
function allowedBy(fields: readonly (readonly [string, string])[]): string | null {
  let allowed: string | null = null;
  for (const [name, value] of fields)
    if (name.length === MAX_PRICE.length && name.toLowerCase() === MAX_PRICE)
      allowed = allowed === null ? value : `${allowed}, ${value}`;
  return allowed;
}

export class Outbound {
  readonly #options: OutboundOptions;
  #inFlight = 0;
  #stopping = false;

  constructor(options: OutboundOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Answers one request of the local app (a `Listener` of the HTTP server). */
  readonly handle = async (
    incoming: Incoming,
    exchange: (target: string) => ExchangeRequest,
  ): Promise<ExchangeResponse> => {
    this.#inFlight += 1;
    const over = (): void => void (this.#inFlight -= 1);
    const { notes } = this.#options.metrics;
    const call = notes === null ? null : new NotedCall('out', incoming.method ?? '', notes);
    try {
      const response = await this.#call(incoming, exchange, call);
      const body = tracked(response.body, over);
      if (call === null) return { ...response, body };
      call.status = response.status;
      return { ...response, body: noted(body, call) };
    } catch (error) {
      over();
      call?.fail(codeOf(error), httpStatusOf(codeOf(error)));
      this.#options.metrics.refusals.add(`code="${codeOf(error)}"`);
      throw error;
    }
  };

  async #call(
    { url = '/', fields = NO_FIELDS }: Incoming,
    exchange: (target: string) => ExchangeRequest,
    call: NotedCall | null,
  ): Promise<ExchangeResponse> {
    if (this.#stopping) throw refusal('draining', 'this sidecar is going down');
    const destination = readDestination(url);
    if (destination === null) return this.#leave(url, exchange, call);
    const { peers, policy, agent } = this.#options;
    const peer = await peers.resolve(destination.peer);
    if (peer.agent === agent) throw refusal('self_dealing', 'an agent does not pay itself; call the app directly');
    let request = exchange(destination.target);
    if (destination.isBare === true && request.method === 'OPTIONS') request = { ...request, target: '*' };
    if (call !== null) {
      call.path = pathOf(destination.target);
      call.peer = formatId(peer.agent);
      request = call.trace(request);
    }
    const offered = offerOf(peer.services, request.method, request.target);
    if (offered === null) throw refusal('unknown_service', `${formatId(peer.agent)} offers no service`);
    const offer = this.#within(offered, allowedBy(fields));
    const reservation = policy.reserve(peer.agent, offer.price, offer.service);
    if (call !== null) call.price = offer.price;
    try {
      const response = await this.#route(request, destination.peer, peer, offer, reservation, call);
      policy.report(peer.agent, response.status < 500);
      return response;
    } catch (error) {
      policy.report(peer.agent, PEER_FAILED.has(codeOf(error)) ? false : null);
      throw error;
    }
  }

  /** An offer as far as the call may make use of it: a counted call costs as much as it is given, any other its price or nothing. */
  #within(offer: Offer, allowed: string | null): Offer {
    const { price, rate } = offer;
    if (rate === undefined && allowed === null) return offer;
    const limit = allowed === null ? price : readAmount(allowed);
    if (limit === null) throw refusal('bad_request', `${MAX_PRICE} is one amount of base units`);
    const least = rate === undefined ? price : Math.min(price, rate.base + rate.price);
    if (limit < least) throw refusal('over_price', `the call costs ${least} or more, ${MAX_PRICE} allows ${limit}`);
    return {
      ...offer,
      price: rate === undefined ? price : Math.max(least, Math.min(price, limit, this.#options.perCall)),
    };
  }

  /** To a host outside AGNT2. */
  async #leave(
    url: string,
    exchange: (target: string) => ExchangeRequest,
    call: NotedCall | null,
  ): Promise<ExchangeResponse> {
    const { egress, metrics } = this.#options;
    if (egress === undefined) throw refusal('egress_denied', 'this sidecar forwards to http://<name>.agnt2 only');
    const traced = (target: string): ExchangeRequest => {
      const request = exchange(target);
      if (call === null) return request;
      const { hostname } = new URL(url);
      Object.assign(call, { path: pathOf(target), peer: hostname, route: 'egress' });
      return call.trace(request);
    };
    const response = await egress.forward(url, traced);
    metrics.callsOut.add('route="egress"');
    return response;
  }

  /** Through the session that is open with the peer, else through Core. */
  async #route(
    request: ExchangeRequest,
    name: string,
    peer: Peer,
    offer: Offer,
    reservation: Reservation,
    noted: NotedCall | null,
  ): Promise<ExchangeResponse> {
    const { peers, sessions } = this.#options;
    // The gateway answers a request when it has it, and a WebSocket is a request without end.
    if (request.upgrade !== undefined && !(await sessions.ensure(peer.agent))) {
      reservation.release();
      throw refusal(
        'session_required',
        `a WebSocket needs a session: set session.deposit, or open one (POST /admin/sessions/${name}/open)`,
      );
    }
    const once = replayable(request);
    const call = sessions.call(peer.agent, once.request, offer.price, offer.rate, reservation);
    if (call === null) {
      if (request.upgrade === undefined) return this.#core(request, name, peer, offer, reservation, noted);
      reservation.release();
      throw refusal('session_required', 'the session for this WebSocket is gone; ask again');
    }
    try {
      if (noted !== null) noted.route = 'session';
      const response = await call;
      this.#options.metrics.callsOut.add('route="session"');
      return response;
    } catch (error) {
      const again = NOT_MADE.has(codeOf(error)) && request.upgrade === undefined ? once.again() : null;
      if (again !== null) return this.#core(again, name, peer, offer, reservation, noted);
      if (!MAYBE_CHARGED.has(codeOf(error))) reservation.release();
      if (codeOf(error) === 'over_price') peers.forget(name);
      throw error;
    }
  }

  async #core(
    request: ExchangeRequest,
    name: string,
    peer: Peer,
    offer: Offer,
    reservation: Reservation,
    noted: NotedCall | null,
  ): Promise<ExchangeResponse> {
    const { firstContact, sessions, metrics, peers } = this.#options;
    if (noted !== null) noted.route = offer.price === 0 ? 'free' : 'core';
    try {
      if (offer.price === 0) {
        const response = await firstContact.free(request, peer.agent);
        metrics.callsOut.add('route="free"');
        return response;
      }
      sessions.noteCoreCall(peer.agent);
      const service = peer.services.find(({ id }) => id === offer.service)!;
      const response = await firstContact.paid(request, peer.agent, service, offer.price, reservation);
      metrics.callsOut.add('route="core"');
      return response;
    } catch (error) {
      // The price we know may be an old one; the next call asks again.
      if (STALE_PRICE.has(codeOf(error))) peers.forget(name);
      throw error;
    }
  }
}

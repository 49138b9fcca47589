/** A call through Core: an invoke puts its price into escrow, then the gateway carries the call to the callee's sidecar. */
import { requestHead } from '../protocol/call.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId } from '../protocol/ids.ts';
import { FRAMED, TAKES_FRAMED, framed, unframed } from '../protocol/framed.ts';
import { CARRIED_HEADERS, CARRIED_REASON, packHeaders, unpackHeaders } from '../protocol/packet.ts';
import { refusal } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import { EMPTY } from './http/body.ts';
import type { HttpClient } from './http/client.ts';
import { type Header, headerOf } from './http/headers.ts';
import type { PeerService } from './peers.ts';
import type { Reservation } from './policy/policy.ts';
import type { Store } from './store.ts';
import type { Wallet } from './wallet.ts';

export interface FirstContactOptions {
  readonly wallet: Wallet;
  /** The way to the gateway. */
  readonly gateway: Pick<HttpClient, 'send'>;
  readonly store: Store;
  /** Told of an invoke of which nobody knows whether it happened: it may have left an escrow that we have no note of. */
  readonly onUnknown: () => void;
}

const MAX_PROBLEM = 64 * 1024;
/** Failures after which nobody knows whether the bundle happened. */
const UNCERTAIN = new Set(['unknown_outcome', 'bad_receipt', 'internal']);

export class FirstContact {
  readonly #options: FirstContactOptions;

  constructor(options: FirstContactOptions) {
    this.#options = options;
  }

  /** A paid call. The reservation stays counted until the escrow's end is known (see refunds.ts), unless nothing happened at all. */
  async paid(
    request: ExchangeRequest,
    agent: number,
    service: PeerService,
    price: number,
    reservation: Reservation,
  ): Promise<ExchangeResponse> {
    const { wallet, store, onUnknown } = this.#options;
    let opened: Awaited<ReturnType<Wallet['submitOne']>>;
    try {
      opened = await wallet.submitOne(
        { op: 'invoke', service: service.id, amount: price },
        requestHead(request.method, request.target),
      );
    } catch (error) {
      if (UNCERTAIN.has(codeOf(error))) onUnknown();
      else reservation.release();
      throw error;
    }
    const deadline = Math.ceil(Date.now() / 1000) + service.deadlineSeconds;
    store.addPaid({ escrow: opened.value, peer: agent, amount: price, deadline, atMs: reservation.atMs });
    return this.#carry(request, agent, [
      ['agnt2-escrow', formatId(opened.value)],
      ['agnt2-frame', `${opened.shard}:${opened.seq}`],
      ['agnt2-index', '0'],
    ]);
  }

  /** A call of a route its callee declares free. */
  free(request: ExchangeRequest, agent: number): Promise<ExchangeResponse> {
    return this.#carry(request, agent, []);
  }

  /** Tells a peer of a session we opened with it; throws its refusal. */
  async announceSession(agent: number, session: number): Promise<void> {
    const request = { method: 'POST', target: '/', headers: [], body: EMPTY, signal: AbortSignal.timeout(15_000) };
    const { body } = await this.#carry(request, agent, [['agnt2-session', formatId(session)]]);
    for await (const _ of body);
  }

  async #carry(request: ExchangeRequest, agent: number, claim: readonly Header[]): Promise<ExchangeResponse> {
    const { method, target, body, signal, trailers } = request;
    const length = headerOf(request.headers, 'content-length');
    // The way through Core has no place for a 1xx: what the callee would say of the body, we say.
    const headers = request.headers.filter(([name]) => name.toLowerCase() !== 'expect');
    if (headers.length < request.headers.length) request.interim?.({ status: 100, headers: [] });
    // A length is of the body alone: what announces trailers has none.
    const isFramed = length === null && trailers !== undefined && headerOf(headers, 'trailer') !== null;
    const response = await this.#options.gateway.send({
      method: 'POST',
      target: `/agents/${formatId(agent)}/calls`,
      headers: [
        ...claim,
        ['agnt2-method', method],
        ['agnt2-target', target],
        ...(length === null ? [] : [['content-length', length] as const]),
        [CARRIED_HEADERS, packHeaders(headers)],
        [TAKES_FRAMED, 'trailers'],
        ...(isFramed ? [[FRAMED, 'trailers'] as const] : []),
      ],
      body: isFramed ? framed(body, trailers) : body,
      signal,
    });
    const status = Number(headerOf(response.headers, 'agnt2-status'));
    if (response.status !== 200 || !Number.isInteger(status) || status < 200) throw await problem(response);
    const reason = unpackHeaders(headerOf(response.headers, CARRIED_REASON)).at(0)?.[1];
    return {
      status,
      ...(reason !== undefined && { reason }),
      headers: unpackHeaders(headerOf(response.headers, CARRIED_HEADERS)),
      ...(headerOf(response.headers, FRAMED) === null ? { body: response.body } : unframed(response.body)),
    };
  }
}

/** The gateway's or the callee's refusal, as its problem document says it. */
async function problem(response: ExchangeResponse): Promise<Error> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      size += chunk.length;
      if (size > MAX_PROBLEM) break;
      chunks.push(chunk);
    }
    const { code, detail } = JSON.parse(Buffer.concat(chunks).toString()) as { code?: unknown; detail?: unknown };
    if (typeof code === 'string' && /^[a-z][a-z0-9_]{0,63}$/.test(code))
      return refusal(
        code,
        typeof detail === 'string' && detail !== '' ? detail.slice(0, 500) : 'refused on the way to the peer',
      );
  } catch {
    // No document: the status has to do.
  }
  return response.status >= 500
    ? refusal('gateway_unavailable', `the gateway answered ${response.status}`)
    : refusal('gateway_failed', `the gateway answered ${response.status} without a reason`);
}

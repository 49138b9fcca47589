/** The app behind the sidecar: every call it sees has passed here, whichever way it came and whoever paid. */
import { formatId } from '../protocol/ids.ts';
import { codeOf } from '../protocol/errors.ts';
import { httpStatusOf, refusal } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import { HttpClient } from './http/client.ts';
import { type ExchangeClient, Http2Client } from './http/h2-client.ts';
import { type Header, endToEnd } from './http/headers.ts';
import { sendUpgrade } from './http/upgrade.ts';
import type { Metrics } from './metrics.ts';
import { pathOf } from './target.ts';
import { NotedCall, noted } from './telemetry/call.ts';

const CODES = { unreachable: 'app_unavailable', broken: 'app_failed' };

export class App {
  readonly #client: ExchangeClient | null;
  readonly #origin: string | undefined;
  readonly #metrics: Metrics;

  /** `origin` is `http://…`, `https://…` or, of an app that speaks HTTP/2 without TLS, `h2c://…`; undefined: an agent that answers nothing. */
  constructor(origin: string | undefined, metrics: Metrics) {
    this.#origin = origin;
    if (origin === undefined) this.#client = null;
    else if (origin.startsWith('h2c:')) this.#client = new Http2Client(origin, 'the app', CODES);
    else this.#client = new HttpClient(origin, 'the app', CODES);
    this.#metrics = metrics;
  }

  /** Forwards a call of `caller`'s (an agent id, 0 when nobody vouches for one). The app learns who called and by which way, from us alone. `price` is asked at the call's end, for the log. */
  async serve(
    request: ExchangeRequest,
    caller: number,
    route: 'core' | 'session' | 'free',
    price: () => number = () => 0,
  ): Promise<ExchangeResponse> {
    const { notes } = this.#metrics;
    if (notes === null) return this.#serve(request, caller, route);
    const call = new NotedCall('in', request.method, notes);
    call.path = pathOf(request.target);
    call.route = route;
    call.priceAtEnd = price;
    if (caller !== 0) call.peer = formatId(caller);
    try {
      const response = await this.#serve(call.trace(request), caller, route);
      call.status = response.status;
      return { ...response, body: noted(response.body, call) };
    } catch (error) {
      call.fail(codeOf(error), httpStatusOf(codeOf(error)));
      throw error;
    }
  }

  async #serve(request: ExchangeRequest, caller: number, route: string): Promise<ExchangeResponse> {
    if (this.#client === null) throw refusal('unknown_service', 'this agent serves no app');
    const own: Header[] = [['agnt2-route', route]];
    if (caller !== 0) own.push(['agnt2-caller', formatId(caller)]);
    const started = performance.now();
    const sent = { ...without(request), headers: [...endToEnd(request.headers), ...own] };
    const response = await (sent.upgrade === undefined ? this.#client.send(sent) : this.#upgrade(sent));
    this.#metrics.appSeconds.observe((performance.now() - started) / 1000);
    return { ...response, headers: endToEnd(response.headers) };
  }

  #upgrade(request: ExchangeRequest): Promise<ExchangeResponse> {
    const origin = new URL(this.#origin!);
    if (!/^https?:$/.test(origin.protocol))
      throw refusal('upgrade_unsupported', 'the app speaks HTTP/2, over which WebSockets are not carried');
    return sendUpgrade(origin, request, 'the app', CODES);
  }

  close(): void {
    this.#client?.close();
  }
}

/** What goes on of a request, but its fields. */
const without = (request: ExchangeRequest): Omit<ExchangeRequest, 'headers'> => ({
  method: request.method,
  target: request.target,
  body: request.body,
  signal: request.signal,
  trailers: request.trailers,
  interim: request.interim,
  upgrade: request.upgrade,
});

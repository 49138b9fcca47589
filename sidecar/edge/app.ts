/** The app of an edge agent: a `fetch` handler in the same isolate, as what stands behind every call. */
import { abortSignalOf } from '../../protocol/aborts.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { formatId } from '../../protocol/ids.ts';
import { refusal } from '../errors.ts';
import { endToEnd } from '../http/headers.ts';
import { chunksOf } from '../../protocol/streams.ts';
import { bodyOf, headersOf } from './bodies.ts';
import { type Pay, type PaidCall, admit } from './calls.ts';

export type Fetch = (request: Request) => Response | Promise<Response>;

/** A host that stands for the app itself; what it is asked is the target. */
const SELF = 'http://app.agnt2';

export class EdgeApp {
  readonly #fetch: Fetch;
  readonly #pay: Pay;

  constructor(fetch: Fetch, pay: Pay) {
    this.#fetch = fetch;
    this.#pay = pay;
  }

  /** As `App.serve` of Node. */
  async serve(request: ExchangeRequest, caller: number, route: PaidCall['route']): Promise<ExchangeResponse> {
    const headers = new Headers();
    for (const [name, value] of endToEnd(request.headers)) headers.append(name, value);
    headers.set('agnt2-route', route);
    if (caller !== 0) headers.set('agnt2-caller', formatId(caller));
    const signal = abortSignalOf(request.signal);
    const init = { method: request.method, headers, body: bodyOf(request), signal, duplex: 'half' };
    const asked = new Request(SELF + request.target, init as RequestInit);
    admit(asked, caller, route, this.#pay);
    let response: Response;
    try {
      response = await this.#fetch(asked);
    } catch (cause) {
      throw refusal('app_failed', 'the app threw', cause);
    }
    return { status: response.status, headers: endToEnd(headersOf(response.headers)), body: chunksOf(response.body) };
  }
}

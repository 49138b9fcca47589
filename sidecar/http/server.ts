/** One exchange taken from a node:http server: read as a stream, answered as a stream, cancelled when its client leaves. */
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../protocol/errors.ts';
import { type Problem, problemOf, refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse, Interim } from '../../protocol/exchange.ts';
import { flushHead, pump } from './body.ts';
import { CONTINUE_MS } from './client.ts';
import { acceptUpgrade, asksWebSocket } from './upgrade.ts';
import {
  type Header,
  checkCoding,
  checkHeaders,
  contentLength,
  endToEnd,
  pairs,
  trailing,
  unannounced,
} from './headers.ts';

/** What a listener sees of a request before it takes it, of either version of HTTP. */
export type Incoming = Pick<IncomingMessage, 'url' | 'headers'>;

/** Answers one request; what it throws becomes a problem document. */
export type Listener = (request: Incoming, exchange: (target: string) => ExchangeRequest) => Promise<ExchangeResponse>;

/** A client that waits with its body until it is wanted (`Expect: 100-continue`): by the callee, or after a while by nobody's word. */
class Continue {
  readonly #response: ServerResponse;
  readonly #timer: NodeJS.Timeout;
  readonly #settled = Promise.withResolvers<boolean>();
  #state: 'waiting' | 'sent' | 'over' = 'waiting';

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#timer = setTimeout(() => this.send(), CONTINUE_MS);
    response.on('close', () => this.over());
  }

  /** Whether the body comes. */
  get comes(): Promise<boolean> {
    return this.#settled.promise;
  }

  send(): void {
    if (!this.#settle('sent')) return;
    this.#response.writeContinue();
  }

  /** There is an answer: true when the body was never asked for, so that nobody knows whether it still comes. */
  over(): boolean {
    this.#settle('over');
    return this.#state === 'over';
  }

  #settle(state: 'sent' | 'over'): boolean {
    if (this.#state !== 'waiting') return false;
    this.#state = state;
    clearTimeout(this.#timer);
    this.#settled.resolve(state === 'sent');
    return true;
  }
}

/** A request's body, read at the reader's pace. A call refused before `100 Continue` never uploads, and its body is empty. */
async function* bodyOf(request: IncomingMessage, wait: Continue | null): AsyncGenerator<Uint8Array> {
  if (wait !== null && !(await wait.comes)) return;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
  } catch (cause) {
    throw refusal('cancelled', 'the caller broke off its request', cause);
  }
}

/** Refuses what may mean two things to two readers and Node's parser lets through. Throws `bad_request`. */
function checkRequest({ rawHeaders, httpVersion, url = '', socket }: IncomingMessage): void {
  const headers = pairs(rawHeaders);
  checkCoding(headers);
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    throw refusal('bad_request', 'the request is neither HTTP/1.1 nor HTTP/1.0');
  if (httpVersion === '1.0' && headers.some(([name]) => name.toLowerCase() === 'transfer-encoding'))
    throw refusal('bad_request', 'HTTP/1.0 knows no transfer codings');
  const hosts = headers.filter(([name]) => name.toLowerCase() === 'host').map(([, value]) => plainHost(value));
  if (hosts.length > 1) throw refusal('bad_request', 'the request has several Host fields');
  // A proxy goes by the target (RFC 9112 §3.2.2), another reader by Host: they have to agree. Simple clients put the proxy's own address there.
  const authority = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/.exec(url)?.[1];
  const host = hosts.at(0);
  const agrees = host === undefined || host === plainHost(authority ?? host) || host.endsWith(`:${socket.localPort}`);
  if (!agrees) throw refusal('bad_request', 'the Host field names another host than the target');
}
const plainHost = (host: string): string => host.trim().toLowerCase().replace(/:80$/, '');

/** Writes a 1xx by hand: Node has words for three of them only. */
function writeInterim(response: ServerResponse, { status, headers }: Interim): void {
  // Node gives a response its socket when those before it on the connection are through.
  const { socket, req } = response;
  if (socket === null || response.headersSent || req.httpVersion !== '1.1') return;
  if (!Number.isInteger(status) || status < 102 || status > 199) return;
  const fields = endToEnd(headers).filter(([name]) => name.toLowerCase() !== 'content-length');
  try {
    checkHeaders(fields);
  } catch {
    // A hint that is not HTTP is no hint; the answer may still be one.
    return;
  }
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}\r\n${lines}\r\n`, 'latin1');
}

const problemResponse = (problem: Problem): { headers: Header[]; body: Buffer } => {
  const body = Buffer.from(JSON.stringify(problem));
  return {
    headers: [
      ['content-type', 'application/problem+json'],
      ['content-length', String(body.length)],
    ],
    body,
  };
};

/** What was asked for by HEAD, and 204 and 304, may have a length but have no body (RFC 9110 §8.6). */
const isBodiless = (request: IncomingMessage, status: number): boolean =>
  request.method === 'HEAD' || status === 204 || status === 304;

/** Writes a response with backpressure; breaks the connection when the body fails, so that a cut answer never looks whole. */
export async function writeResponse(
  response: ServerResponse,
  answer: ExchangeResponse,
  own: readonly Header[] = [],
): Promise<void> {
  const { status, body } = answer;
  let length: number | null;
  try {
    if (!Number.isInteger(status) || status < 200 || status > 599)
      throw refusal('peer_failed', 'the peer answered with no HTTP status');
    const headers = endToEnd(answer.headers);
    // A reason may hold what a value may.
    checkHeaders([...headers, ['reason', answer.reason ?? '']]);
    length = contentLength(headers);
    const bodiless = isBodiless(response.req, status);
    const chunks = length === null && !bodiless && response.req.httpVersion === '1.1';
    const fields = [...(chunks && answer.trailers !== undefined ? headers : unannounced(headers)), ...own].flat();
    if (answer.reason === undefined) response.writeHead(status, fields);
    else response.writeHead(status, answer.reason, fields);
  } catch (error) {
    await body[Symbol.asyncIterator]().return?.();
    throw codeOf(error) === 'bad_request'
      ? refusal('peer_failed', 'the peer answered with headers that are not HTTP', error)
      : error;
  }
  flushHead(response);
  try {
    await pump(body, response, isBodiless(response.req, status) ? null : length, answer.trailers);
  } catch (error) {
    response.destroy(error as Error);
    throw error;
  }
}

export function writeProblem(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const problem = problemOf(error);
  const { headers, body } = problemResponse(problem);
  if (problem.status === 503) headers.push(['retry-after', String(problem.retryAfter ?? 1)]);
  // The rest of an upload nobody reads would stand before the next request on this connection.
  if (!response.req.complete || response.hasHeader('connection')) headers.push(['connection', 'close']);
  response.writeHead(problem.status, headers.flat());
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

const refuseSocket = (socket: Duplex, error: unknown): void => {
  if (!socket.writable) return void socket.destroy();
  const problem = problemOf(error);
  const { headers, body } = problemResponse(problem);
  const head = [...headers, ['connection', 'close']].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.end(
    `HTTP/1.1 ${problem.status} ${http.STATUS_CODES[problem.status] ?? 'Error'}\r\n${head}\r\n${body.toString()}`,
  );
};

/**
 * A server whose requests are exchanges. Node's strict parser refuses what could be read in two ways (CL with TE, two
 * lengths, bare LF); time limits are on heads only, as bodies may stream for as long as they like.
 */
export function createExchangeServer(listener: Listener, onError: (error: unknown) => void = () => {}): Server {
  /** Connections of which nobody knows any more where the next request starts: Node may have read on already. */
  const lost = new WeakSet<Duplex>();
  const answering = new WeakMap<Duplex, ServerResponse>();
  const handle = async (request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void> => {
    if (lost.has(request.socket)) return;
    try {
      checkRequest(request);
    } catch (error) {
      lost.add(request.socket);
      response.setHeader('connection', 'close');
      onError(error);
      writeProblem(response, error);
      return;
    }
    answering.set(request.socket, response);
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort(refusal('cancelled', 'the caller went away'));
    });
    const wait = expects ? new Continue(response) : null;
    try {
      const answer = await listener(request, (target) => ({
        method: request.method ?? 'GET',
        target,
        headers: requestHeaders(request),
        body: bodyOf(request, wait),
        signal: gone.signal,
        trailers: () => trailing(pairs(request.rawTrailers)),
        interim: (head) => (head.status === 100 ? wait?.send() : writeInterim(response, head)),
      }));
      // An upload that was never wanted may come or not: what follows on this connection could be either.
      await writeResponse(response, answer, wait?.over() === true ? [['connection', 'close']] : []);
      // Answered before it was all here: the rest goes by, up to the next request.
      if (!request.complete) request.resume();
    } catch (error) {
      wait?.over();
      if (codeOf(error) !== 'cancelled') onError(error);
      writeProblem(response, error);
      // Whatever still works on this call works for nobody.
      gone.abort(refusal('cancelled', 'the call was refused'));
    }
  };
  const server = http.createServer({
    keepAliveTimeout: 75_000,
    headersTimeout: 30_000,
    requestTimeout: 0,
    noDelay: true,
    shouldUpgradeCallback: asksWebSocket,
  });
  server.on('request', (request, response) => void handle(request, response, false));
  server.on('checkContinue', (request, response) => void handle(request, response, true));
  server.on('checkExpectation', (_, response) =>
    writeProblem(response, refusal('bad_request', 'the only expectation known is 100-continue')),
  );
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, first: Buffer) => {
    // An answer to a request before this one is still on its way: nothing may be written into it.
    if (lost.has(socket) || answering.get(socket)?.writableFinished === false) return void socket.destroy();
    const refuse = (error: unknown): void => {
      if (codeOf(error) !== 'cancelled') onError(error);
      refuseSocket(socket, error);
    };
    void acceptUpgrade(request, socket, first, { listener, check: () => checkRequest(request), refuse });
  });
  server.on('connect', (_, socket) =>
    refuseSocket(socket, refusal('connect_denied', 'tunnels are refused: call http://<name>.agnt2 in plain HTTP')),
  );
  server.on('clientError', (cause, socket) => {
    // Refused already, and said so.
    if (lost.has(socket)) return void socket.end();
    lost.add(socket);
    // A refusal must not be read as a part of an answer that is on its way.
    const response = answering.get(socket);
    if (response?.headersSent === true && !response.writableFinished) socket.destroy();
    else refuseSocket(socket, refusal('bad_request', 'the request is not valid HTTP/1.1', cause));
  });
  return server;
}

/** End-to-end headers of a request; a chunked upload has no length, and the next hop frames it anew. */
const requestHeaders = (request: IncomingMessage): Header[] => endToEnd(pairs(request.rawHeaders));

/** Listens; resolves with the port. */
export const listen = (server: Server, { host, port }: { host: string; port: number }): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });

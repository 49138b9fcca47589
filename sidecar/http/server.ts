/** One exchange taken from a node:http server: read as a stream, answered as a stream, cancelled when its client leaves. */
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../protocol/errors.ts';
import { type Problem, problemOf, refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { pump } from './body.ts';
import { type Header, checkHeaders, contentLength, endToEnd, pairs } from './headers.ts';

/** Answers one request; what it throws becomes a problem document. */
export type Listener = (
  request: IncomingMessage,
  exchange: (target: string) => ExchangeRequest,
) => Promise<ExchangeResponse>;

/** A request's body, read at the reader's pace. `100 Continue` goes out when somebody starts to read: a refused call never uploads. */
async function* bodyOf(
  request: IncomingMessage,
  response: ServerResponse,
  expects: boolean,
): AsyncGenerator<Uint8Array> {
  if (expects && !response.headersSent) response.writeContinue();
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
  } catch (cause) {
    throw refusal('cancelled', 'the caller broke off its request', cause);
  }
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
    checkHeaders(headers);
    length = contentLength(headers);
    response.writeHead(status, [...headers, ...own].flat());
  } catch (error) {
    await body[Symbol.asyncIterator]().return?.();
    throw codeOf(error) === 'bad_request'
      ? refusal('peer_failed', 'the peer answered with headers that are not HTTP', error)
      : error;
  }
  // What was asked for by HEAD, and 204 and 304, have a length but no body (RFC 9110 §8.6).
  const bodiless = response.req.method === 'HEAD' || status === 204 || status === 304;
  response.flushHeaders();
  try {
    await pump(body, response, bodiless ? null : length);
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
  if (problem.status === 503) headers.push(['retry-after', '1']);
  // The rest of an upload nobody reads would stand before the next request on this connection.
  if (!response.req.complete) headers.push(['connection', 'close']);
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
  const handle = async (request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void> => {
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort(refusal('cancelled', 'the caller went away'));
    });
    try {
      if (/\bwebsocket\b/i.test(request.headers.upgrade ?? ''))
        throw refusal('upgrade_unsupported', 'WebSockets are not carried yet; use a streamed response');
      const answer = await listener(request, (target) => ({
        method: request.method ?? 'GET',
        target,
        headers: requestHeaders(request),
        body: bodyOf(request, response, expects),
        signal: gone.signal,
      }));
      await writeResponse(response, answer);
    } catch (error) {
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
  });
  server.on('request', (request, response) => void handle(request, response, false));
  server.on('checkContinue', (request, response) => void handle(request, response, true));
  server.on('checkExpectation', (_, response) =>
    writeProblem(response, refusal('bad_request', 'the only expectation known is 100-continue')),
  );
  server.on('connect', (_, socket) =>
    refuseSocket(socket, refusal('connect_denied', 'tunnels are refused: call http://<name>.agnt2 in plain HTTP')),
  );
  server.on('clientError', (cause, socket) =>
    refuseSocket(socket, refusal('bad_request', 'the request is not valid HTTP/1.1', cause)),
  );
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

/**
 * WebSockets (RFC 6455) as exchanges: a request that asks for one, and after a 101 its two bodies are the two directions of the connection,
 * byte for byte. What they say to each other (extensions, fragments, pings, close codes) is between the two ends.
 */
import { createHash } from 'node:crypto';
import { http } from './node.ts';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../protocol/errors.ts';
import { refusal } from '../errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { tracked } from './body.ts';
import { type Header, checkHeaders, contentLength, endToEnd, headerOf, pairs, unannounced } from './headers.ts';
import type { RequestHead } from './message.ts';
import type { Listener } from './server.ts';
import { pour } from './stream.ts';

/** How long one direction may outlive the other. */
const LINGER_MS = 30_000;
/** How long an app may take to answer a handshake. */
const HANDSHAKE_MS = 30_000;
const MAX_HEAD = 128 * 1024;
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']);

/** Whether a request asks for a WebSocket. Any other offer of a protocol is left unanswered, as it may be (RFC 9110 §7.8). */
export const asksWebSocket = ({ upgrade, connection }: RequestHead): boolean =>
  upgrade !== null && connection?.includes('upgrade') === true && /(?:^|,)\s*websocket\s*(?:,|$)/i.test(upgrade);

/** Refuses what is no handshake (RFC 6455 §4.1), and a body before one: its bytes could be read as the first of the connection. */
export function checkHandshake({ method, minor, length, isChunked, fields }: RequestHead): void {
  const all = (name: string): string[] => fields.flatMap(([key, value]) => (key.toLowerCase() === name ? [value] : []));
  if (method !== 'GET' || minor !== 1) throw refusal('bad_request', 'a WebSocket begins with GET, HTTP/1.1');
  if ((length ?? 0) !== 0 || isChunked) throw refusal('bad_request', 'a WebSocket begins with no body');
  if (!/^[A-Za-z0-9+/]{22}==$/.test(all('sec-websocket-key').join()))
    throw refusal('bad_request', 'a WebSocket begins with one key of 16 bytes');
  if (all('sec-websocket-version').join() !== '13') throw refusal('bad_request', 'the version of WebSockets is 13');
}

const headOf = (status: number, reason: string, headers: readonly Header[]): string =>
  `HTTP/1.1 ${status} ${reason}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

/** Answers a request for a WebSocket that was checked with what the listener does; `refuse` says in its stead why there is none. */
export async function acceptUpgrade(
  { target: url, host, fields: headers }: RequestHead,
  socket: Duplex,
  first: Buffer,
  { listener, refuse }: { listener: Listener; refuse: (error: unknown) => void },
): Promise<void> {
  const opened = Promise.withResolvers<boolean>();
  const gone = new AbortController();
  socket.on('error', () => {});
  socket.on('close', () => {
    opened.resolve(false);
    gone.abort(refusal('cancelled', 'the caller went away'));
  });
  /** Nothing before the 101: what a client sends too early waits, and is nobody's if there is none. */
  async function* sent(): AsyncGenerator<Uint8Array> {
    if (!(await opened.promise)) return;
    if (first.length > 0) yield first;
    try {
      for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
    } catch (cause) {
      throw refusal('cancelled', 'the caller broke off', cause);
    }
  }
  let answered = false;
  try {
    const answer = await listener({ url, host, fields: headers }, (target) => ({
      method: 'GET',
      target,
      headers: endToEnd(headers),
      body: sent(),
      signal: gone.signal,
      upgrade: 'websocket',
    }));
    const isOpen = answer.status === 101;
    try {
      if (!isOpen && (answer.status < 200 || answer.status > 599))
        throw refusal('peer_failed', 'the peer answered with no HTTP status');
      const kept = unannounced(endToEnd(answer.headers));
      checkHeaders([...kept, ['reason', answer.reason ?? '']]);
      const own: Header[] = isOpen
        ? [
            ['connection', 'Upgrade'],
            ['upgrade', 'websocket'],
          ]
        : [['connection', 'close']];
      const fields = isOpen ? kept.filter(([name]) => name.toLowerCase() !== 'content-length') : kept;
      const length = isOpen ? null : contentLength(fields);
      answered = true;
      socket.write(
        headOf(answer.status, answer.reason ?? http.STATUS_CODES[answer.status] ?? '', [...fields, ...own]),
        'latin1',
      );
      opened.resolve(isOpen);
      if (!(await pour(answer.body, socket, length))) return;
    } catch (error) {
      await answer.body[Symbol.asyncIterator]().return?.();
      throw codeOf(error) === 'bad_request' && !answered
        ? refusal('peer_failed', 'the peer answered with headers that are not HTTP', error)
        : error;
    }
    finish(socket);
  } catch (error) {
    opened.resolve(false);
    // What there is of the answer still goes.
    if (answered) finish(socket);
    else refuse(error);
    gone.abort(refusal('cancelled', 'the call was refused'));
  }
}

/** Ends a connection once all is written, whether or not its other end does. */
function finish(socket: Duplex): void {
  socket.end();
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Asks an app for a WebSocket. As `HttpClient.send`; an app that answers otherwise has its answer passed on. */
export function sendUpgrade(
  origin: URL,
  request: ExchangeRequest,
  who: string,
  codes: { unreachable: string; broken: string },
): Promise<ExchangeResponse> {
  const { signal, target } = request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(refusal('cancelled', 'the caller went away'));
    checkHeaders(request.headers);
    const key = headerOf(request.headers, 'sec-websocket-key') ?? '';
    const headers: Header[] = [
      ['host', origin.host],
      ...request.headers.filter(([name]) => !/^(?:content-length|expect|te)$/i.test(name)),
      ['connection', 'Upgrade'],
      ['upgrade', 'websocket'],
    ];
    const outgoing = (origin.protocol === 'https:' ? https : http).request({
      agent: false,
      protocol: origin.protocol,
      hostname: origin.hostname.replace(/^\[|\]$/g, ''),
      port: origin.port || undefined,
      method: 'GET',
      path: target,
      headers: headers.flat(),
      maxHeaderSize: MAX_HEAD,
    });
    const onAbort = (): void => void outgoing.destroy(new Error('aborted'));
    const over = (): void => signal.removeEventListener('abort', onAbort);
    const broken = (why: string, cause?: unknown): Error => refusal(codes.broken, `${who} ${why}`, cause);
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.setTimeout(HANDSHAKE_MS, () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', (cause) => {
      over();
      if (signal.aborted) reject(refusal('cancelled', 'the caller went away', cause));
      else if (UNREACHABLE.has(codeOf(cause))) reject(refusal(codes.unreachable, `${who} can't be reached`, cause));
      else reject(broken('broke off the exchange', cause));
    });
    outgoing.on('response', (message) => {
      outgoing.setTimeout(0);
      const fields = pairs(message.rawHeaders).filter(([name]) => name.toLowerCase() !== 'transfer-encoding');
      resolve({ status: message.statusCode!, headers: fields, body: tracked(message, over) });
    });
    outgoing.on('upgrade', (message, socket, first) => {
      over();
      const fields = pairs(message.rawHeaders);
      const accept = createHash('sha1')
        .update(key + GUID)
        .digest('base64');
      const isOurs =
        headerOf(fields, 'upgrade')?.toLowerCase() === 'websocket' &&
        headerOf(fields, 'sec-websocket-accept') === accept;
      if (!isOurs) {
        socket.destroy();
        reject(broken('opened something else than the WebSocket it was asked for'));
        return;
      }
      socket.setTimeout(0);
      socket.on('error', () => {});
      signal.addEventListener('abort', () => socket.destroy(), { once: true });
      void pour(request.body, socket).then(
        () => finish(socket),
        () => socket.destroy(),
      );
      resolve({ status: 101, headers: fields, body: received(socket, first) });
    });
    outgoing.end();
  });
}

/** The app's direction. However its connection ends, that is where the body ends: a WebSocket says itself whether it was closed in good order. */
async function* received(socket: Duplex, first: Buffer): AsyncGenerator<Uint8Array> {
  try {
    if (first.length > 0) yield first;
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
  } catch {
    // As above.
  } finally {
    socket.end();
  }
}

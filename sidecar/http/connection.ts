/** One client's connection: its requests one after the other, each answered before the next is begun. */
import { STATUS_CODES } from './node.ts';
import type { Socket } from 'node:net';
import { codeOf } from '../../protocol/errors.ts';
import type { ExchangeResponse, Interim } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import { problemOf, refusal } from '../errors.ts';
import { type Framing, drop, pour, pourWhole } from './body.ts';
import { ServedExchange } from './exchange.ts';
import { type Header, checkHeaders, checkedLength, endToEnd, isValue, nameOf } from './headers.ts';
import { type RequestHead, readRequest } from './message.ts';
import { Output } from './output.ts';
import { Parser, type Receiver } from './parser.ts';
import { problemAnswer } from './problem.ts';
import type { ExchangeServer } from './server.ts';
import { throughTunnel } from './tunnels.ts';
import { acceptUpgrade, asksWebSocket, checkHandshake } from './upgrade.ts';

const MAX_HEAD = 16 * 1024;
/** Bytes of later requests that wait while one is answered. */
const MAX_WAITING = 64 * 1024;
/** Time limits are on heads only, as bodies may stream for as long as they like. */
const HEAD_MS = 30_000;
const IDLE_MS = 75_000;
/** How long a connection that ends in a refusal is still read, so that the refusal is not lost with what it refuses. */
const LINGER_MS = 2000;

const KEPT = `connection: keep-alive\r\nkeep-alive: timeout=${IDLE_MS / 1000}\r\n`;
const CLOSED = 'connection: close\r\n';

let dateSecond = 0;
let dateLine = '';
/** The Date field of an answer without one (RFC 9110 §6.6.1). */
function date(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return dateLine;
}

const ABSOLUTE = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/;
const plainHost = (host: string): string => host.toLowerCase().replace(/:80$/, '');

/** What was asked for by HEAD, and 204 and 304, may have a length but have no body (RFC 9110 §8.6). */
const isBodiless = (method: string, status: number): boolean => method === 'HEAD' || status === 204 || status === 304;

export class Connection implements Receiver<RequestHead> {
  readonly #server: ExchangeServer;
  readonly #socket: Socket;
  readonly #parser: Parser<RequestHead>;
  readonly #out: Output;
  #exchange: ServedExchange | null = null;
  /** Why no request is read here any more: nobody knows where the next one would start. */
  #lost: unknown = null;
  /** A request that makes the connection something else. */
  #upgrade: RequestHead | null = null;
  /** When the connection began to wait for what it waits for now. */
  #sinceMs = performance.now();
  #isPartial = false;
  #isEnding = false;

  constructor(server: ExchangeServer, socket: Socket) {
    this.#server = server;
    this.#socket = socket;
    this.#out = new Output(socket);
    this.#parser = new Parser<RequestHead>(this, MAX_HEAD);
    socket.on('data', this.#onData);
    socket.on('end', this.#onLeft);
    socket.on('close', this.#onLeft);
    // Told by the close that follows.
    socket.on('error', () => {});
  }

  readonly #onData = (chunk: Buffer): void => this.#read(chunk);
  readonly #onLeft = (): void => this.#left();

  get isIdle(): boolean {
    return this.#exchange === null && this.#upgrade === null;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Closes what has waited for too long. */
  sweep(nowMs: number): void {
    const ms = nowMs - this.#sinceMs;
    if (this.#isEnding) {
      if (ms > LINGER_MS) this.#socket.destroy();
    } else if (!this.isIdle) return;
    else if (this.#parser.waiting === 0) {
      if (ms > IDLE_MS) this.#socket.destroy();
    } else if (!this.#isPartial) {
      this.#isPartial = true;
      this.#sinceMs = nowMs;
    } else if (ms > HEAD_MS) this.#refuse(refusal('bad_request', 'the head of the request took too long'));
  }

  // ---- reading ----

  readHead(text: string): RequestHead {
    return throughTunnel(readRequest(text), this.#socket);
  }

  framing(head: RequestHead): number | 'chunks' {
    return head.isChunked ? 'chunks' : (head.length ?? 0);
  }

  /** No request has one. */
  onInterim(): void {}

  #read(chunk: Buffer): void {
    if (this.#lost !== null) return;
    try {
      this.#parser.feed(chunk);
      if (this.#upgrade !== null) return this.#handOver(this.#upgrade);
      if (this.#exchange === null || !this.#exchange.isReceived || this.#parser.waiting === 0) return;
      this.#parser.lookAhead();
      if (this.#parser.waiting > MAX_WAITING) this.#socket.pause();
    } catch (error) {
      this.#refuse(error);
    }
  }

  onHead(head: RequestHead, whole: Buffer | null): void {
    this.#check(head);
    if (asksWebSocket(head)) {
      checkHandshake(head);
      this.#upgrade = head;
      return this.#parser.hold();
    }
    const exchange = (this.#exchange = new ServedExchange(head, whole, this));
    void this.#answer(exchange);
  }

  onBody(chunk: Buffer): void {
    this.#exchange?.push(chunk);
  }

  onEnd(trailers: readonly Header[]): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    exchange.received(trailers);
    this.#parser.hold();
    if (exchange.isOver) this.#next();
  }

  /** Throws for a request that is valid HTTP/1.1 and not taken. */
  #check({ method, target, host, expect, minor }: RequestHead): void {
    if (method === 'CONNECT')
      throw refusal('connect_denied', 'tunnels are refused: call http://<name>.agnt2 in plain HTTP');
    if (expect !== null && expect !== '100-continue' && minor === 1)
      throw refusal('bad_request', 'the only expectation known is 100-continue');
    // A proxy goes by the target (RFC 9112 §3.2.2), another reader by Host: they have to agree. Simple clients put the proxy's own address there.
    if (host === null || target.startsWith('/')) return;
    const authority = ABSOLUTE.exec(target)?.[1];
    const agrees =
      authority === undefined ||
      plainHost(host) === plainHost(authority) ||
      host.endsWith(`:${this.#socket.localPort}`);
    if (!agrees) throw refusal('bad_request', 'the Host field names another host than the target');
  }

  /** The connection becomes a WebSocket's, with all that came behind the request for it. */
  #handOver(head: RequestHead): void {
    const [socket, server] = [this.#socket, this.#server];
    socket.pause();
    socket.off('data', this.#onData);
    socket.off('end', this.#onLeft);
    socket.off('close', this.#onLeft);
    const refuse = (error: unknown): void => {
      if (codeOf(error) !== 'cancelled') server.onError(error);
      this.#problem(error, '', false);
      this.#end();
    };
    void acceptUpgrade(head, socket, this.#parser.take(), { listener: server.listener, refuse });
  }

  /** The connection's bytes mean nothing from here on. */
  #refuse(error: unknown): void {
    this.#lost = error;
    this.#server.onError(error);
    const exchange = this.#exchange;
    if (exchange === null || exchange.isOver) {
      this.#problem(error, '', false);
      this.#end();
    }
    // A refusal must not be read as a part of an answer that is on its way.
    else if (exchange.isAnswering) this.#socket.destroy();
    else if (exchange.isReceived) exchange.persists = false;
    else {
      exchange.isOver = true;
      this.#problem(error, exchange.head.method, false);
      this.#end();
      exchange.gone('the request was not valid HTTP');
    }
  }

  #left(): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    if (exchange === null) return;
    exchange.isOver = true;
    exchange.gone('the caller went away');
    this.#socket.destroy();
  }

  // ---- a body's source ----

  flow(on: boolean): void {
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  /** The rest of an upload nobody reads is read and dropped: it stands before the next request. */
  abandon(): void {}

  // ---- answering ----

  async #answer(exchange: ServedExchange): Promise<void> {
    const { method, target, host, fields } = exchange.head;
    try {
      const answer = await this.#server.listener({ url: target, host, fields }, (to) => exchange.request(to));
      await this.#write(exchange, answer);
    } catch (error) {
      if (codeOf(error) !== 'cancelled') this.#server.onError(error);
      exchange.answering();
      if (exchange.isAnswering) {
        // What there is of it is sent, without what would make it look whole.
        exchange.isOver = true;
        this.#end();
      } else if (!exchange.isOver) {
        exchange.isAnswering = true;
        // The rest of an upload nobody reads would stand before the next request on this connection.
        exchange.persists &&= exchange.isReceived && !this.#server.isClosing;
        this.#problem(error, method, exchange.persists);
        this.#over(exchange);
      }
      exchange.gone('the call was refused');
    }
  }

  /** Writes an answer; breaks the connection when its body fails, so that a cut answer never looks whole. */
  async #write(exchange: ServedExchange, answer: ExchangeResponse): Promise<void> {
    const { body, trailers } = answer;
    if (exchange.isOver) return drop(body);
    let head: string;
    let framing: Framing;
    try {
      [head, framing] = this.#head(exchange, answer);
    } catch (error) {
      drop(body);
      throw codeOf(error) === 'bad_request'
        ? refusal('peer_failed', 'the peer answered with headers that are not HTTP', error)
        : error;
    }
    if (body instanceof Whole) {
      this.#out.hold();
      try {
        this.#out.text(head);
        pourWhole(body.take(), this.#out, framing, trailers);
      } finally {
        this.#out.flush();
      }
    } else {
      this.#out.text(head);
      if (!(await pour(body, this.#out, framing, trailers))) return;
    }
    this.#over(exchange);
  }

  /** An answer's head, which is to be written now, and how its body goes. */
  #head(exchange: ServedExchange, { status, reason, headers, trailers }: ExchangeResponse): [string, Framing] {
    const { method, minor } = exchange.head;
    if (!Number.isInteger(status) || status < 200 || status > 599)
      throw refusal('peer_failed', 'the peer answered with no HTTP status');
    const fields = endToEnd(headers);
    const length = checkedLength(fields);
    if (reason !== undefined && !isValue(reason)) throw refusal('bad_request', 'a reason holds what a header may not');
    const framing: Framing = isBodiless(method, status)
      ? 'none'
      : (length ?? (minor === 1 ? ('chunks' as const) : ('close' as const)));
    exchange.answering();
    if (framing === 'close' || this.#server.isClosing) exchange.persists = false;
    const announces = framing === 'chunks' && trailers !== undefined;
    let head = `HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? 'unknown'}\r\n`;
    let isDated = false;
    for (const [name, value] of fields) {
      const { lower } = nameOf(name);
      if (lower === 'trailer' && !announces) continue;
      if (lower === 'date') isDated = true;
      head += `${name}: ${value}\r\n`;
    }
    if (!isDated) head += date();
    exchange.isAnswering = true;
    head += exchange.persists ? KEPT : CLOSED;
    return [`${head}${framing === 'chunks' ? 'transfer-encoding: chunked\r\n' : ''}\r\n`, framing];
  }

  #problem(error: unknown, method: string, persists: boolean): void {
    const problem = problemOf(error);
    const { headers, body } = problemAnswer(problem);
    const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.#out.text(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}\r\n${fields}${date()}`);
    this.#out.text(`${persists ? KEPT : CLOSED}\r\n`);
    if (method !== 'HEAD') this.#out.bytes(body);
  }

  /** Writes a 1xx. */
  interim(exchange: ServedExchange, { status, headers }: Interim): void {
    if (exchange.isAnswering || exchange.isOver || exchange.head.minor !== 1) return;
    if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) return;
    const fields = endToEnd(headers).filter(([name]) => nameOf(name).lower !== 'content-length');
    try {
      checkHeaders(fields);
    } catch {
      // A hint that is not HTTP is no hint; the answer may still be one.
      return;
    }
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.#out.text(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}\r\n`);
  }

  /** The answer is written. */
  #over(exchange: ServedExchange): void {
    if (this.#exchange !== exchange) return;
    exchange.isOver = true;
    if (!exchange.persists || this.#server.isClosing) this.#end();
    else if (exchange.isReceived) this.#next();
  }

  /** Goes on to the next request. */
  #next(): void {
    this.#exchange = null;
    this.#sinceMs = performance.now();
    this.#isPartial = false;
    try {
      this.#socket.resume();
      this.#parser.release();
      if (this.#upgrade !== null) this.#handOver(this.#upgrade);
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Ends the connection once all is written. What still comes is read and dropped: bytes unread would take the answer with them. */
  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#lost ??= refusal('cancelled', 'the connection ended');
    const exchange = this.#exchange;
    this.#exchange = null;
    if (exchange?.isReceived === false) exchange.gone('the connection ended');
    this.#sinceMs = performance.now();
    this.#out.flush();
    this.#socket.resume();
    this.#socket.end();
  }
}

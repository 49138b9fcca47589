/** Test help: one hop in front of an app, by whichever version of HTTP, and callers of it that hold to HTTP/2 or do not. */
import type { Server } from 'node:http';
import http2, { type ClientHttp2Session, type Http2Server } from 'node:http2';
import net from 'node:net';
import type { ExchangeRequest } from '../../../protocol/exchange.ts';
import { App } from '../../app.ts';
import { Metrics } from '../../metrics.ts';
import { normaliseTarget } from '../../target.ts';
import { acceptHttp2 } from '../h2-server.ts';
import { type Listener, createExchangeServer, listen } from '../server.ts';

/** What a test opened, and has to close at its end. */
export class Hops {
  readonly #closers: (() => void)[] = [];

  close(): void {
    for (const close of this.#closers.splice(0).toReversed()) close();
  }
  atEnd(close: () => void): void {
    this.#closers.push(close);
  }

  async hop(listener: Listener): Promise<number> {
    const server = createExchangeServer(listener);
    acceptHttp2(server, listener);
    this.atEnd(() => {
      server.closeAllConnections();
      server.close();
    });
    return listen(server, { host: '127.0.0.1', port: 0 });
  }

  /** A hop in front of what answers at this origin. */
  async inFrontOf(origin: string): Promise<{ port: number; asked: ExchangeRequest[] }> {
    const app = new App(origin, new Metrics());
    this.atEnd(() => app.close());
    const asked: ExchangeRequest[] = [];
    const port = await this.hop((request, exchange) => {
      const made = exchange(normaliseTarget(request.url.replace('http://bob.agnt2', '')));
      asked.push(made);
      return app.serve(made, 0, 'free');
    });
    return { port, asked };
  }

  /** A hop in front of an app; what it was asked for is `asked`. */
  async proxied(origin: Server | Http2Server): Promise<{ port: number; asked: ExchangeRequest[] }> {
    const sessions = new Set<http2.ServerHttp2Session>();
    (origin as Http2Server).on('session', (session) => sessions.add(session));
    const isH2 = !('headersTimeout' in origin);
    const port = await listen(origin as Server, { host: '127.0.0.1', port: 0 });
    this.atEnd(() => origin.close());
    this.atEnd(() => void ('closeAllConnections' in origin && origin.closeAllConnections()));
    this.atEnd(() => sessions.forEach((session) => session.destroy()));
    return this.inFrontOf(`${isH2 ? 'h2c' : 'http'}://127.0.0.1:${port}`);
  }

  /** A hop in front of an app that says whatever it likes on each of its connections. */
  async raw(version: 'http' | 'h2c', serve: (socket: net.Socket) => void): Promise<number> {
    const sockets = new Set<net.Socket>();
    const origin = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      serve(socket);
    });
    this.atEnd(() => origin.close());
    this.atEnd(() => sockets.forEach((socket) => socket.destroy()));
    const { port } = await this.inFrontOf(
      `${version}://127.0.0.1:${await listen(origin, { host: '127.0.0.1', port: 0 })}`,
    );
    return port;
  }

  async connect(port: number): Promise<ClientHttp2Session> {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    this.atEnd(() => session.destroy());
    await new Promise((resolve) => session.once('connect', resolve));
    return session;
  }
}

export interface Answer {
  status: number;
  raw: string[];
  interim: number[];
  trailers: http2.IncomingHttpHeaders;
  body: string;
  code: string | undefined;
  rst: number;
}

/** Makes one request; what came back until its stream closed. */
export function ask(
  session: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: string | ((stream: http2.ClientHttp2Stream) => void),
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const answer: Answer = { status: 0, raw: [], interim: [], trailers: {}, body: '', code: undefined, rst: 0 };
    stream.on('continue', () => answer.interim.push(100));
    stream.on('headers', (head) => head[':status'] !== 100 && answer.interim.push(Number(head[':status'])));
    stream.on('response', (head, _flags, ...rest: unknown[]) => {
      answer.status = Number(head[':status']);
      answer.raw = rest[0] as string[];
    });
    stream.on('trailers', (trailers) => (answer.trailers = trailers));
    stream.on('data', (data) => (answer.body += String(data)));
    stream.on('error', () => {});
    stream.on('close', () => {
      answer.rst = stream.rstCode;
      if (answer.raw.includes('application/problem+json'))
        answer.code = (JSON.parse(answer.body) as { code: string }).code;
      resolve(answer);
    });
    if (typeof body === 'string') stream.end(body);
    else body?.(stream);
  });
}

/** Says bytes in HTTP/1.1; all that came back until the connection closed. */
export function say(port: number, ...parts: readonly (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      for (const part of parts) socket.write(part);
    });
    let got = '';
    socket.on('data', (data) => (got += data.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(got));
  });
}

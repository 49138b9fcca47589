/** A server whose requests are exchanges: read as streams, answered as streams, cancelled when their clients leave. */
import net, { type Socket } from 'node:net';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { Connection } from './connection.ts';
import type { Header } from './headers.ts';

/** What a listener sees of a request before it takes it. */
export interface RequestLine {
  /** The target as it came, in whatever form. */
  readonly url: string;
  /** The host it names beside its target: the Host field, or the `:authority` of HTTP/2; null without one. */
  readonly host: string | null;
  /** All of its fields, those that end here too. */
  readonly fields: readonly Header[];
}

/** Answers one request; what it throws becomes a problem document. */
export type Listener = (
  request: RequestLine,
  exchange: (target: string) => ExchangeRequest,
) => Promise<ExchangeResponse>;

const SWEEP_MS = 1000;

export class ExchangeServer extends net.Server {
  readonly listener: Listener;
  readonly onError: (error: unknown) => void;
  readonly #connections = new Set<Connection>();
  readonly #sweep: NodeJS.Timeout;
  /** Set by `close`: every answer from then on is its connection's last. */
  isClosing = false;

  constructor(listener: Listener, onError: (error: unknown) => void) {
    super({ noDelay: true });
    this.listener = listener;
    this.onError = onError;
    this.on('connection', (socket: Socket) => {
      const connection = new Connection(this, socket);
      this.#connections.add(connection);
      socket.on('close', () => this.#connections.delete(connection));
    });
    // One timer for all of them: nothing a request waits for is set and cleared with it.
    this.#sweep = setInterval(() => {
      const nowMs = performance.now();
      for (const connection of this.#connections) connection.sweep(nowMs);
    }, SWEEP_MS);
    this.#sweep.unref();
    this.on('close', () => clearInterval(this.#sweep));
  }

  override close(callback?: (error?: Error) => void): this {
    this.isClosing = true;
    this.closeIdleConnections();
    return super.close(callback);
  }

  /** Closes the connections that no exchange is on. */
  closeIdleConnections(): void {
    for (const connection of this.#connections) if (connection.isIdle) connection.destroy();
  }

  closeAllConnections(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

export const createExchangeServer = (
  listener: Listener,
  onError: (error: unknown) => void = () => {},
): ExchangeServer => new ExchangeServer(listener, onError);

/** Listens; resolves with the port. */
export const listen = (server: net.Server, { host, port }: { host: string; port: number }): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });

/**
 * The way of an app that knows of no proxy: every name it looks up is the sidecar, and what it connects to there goes by what it asks for: plain
 * HTTP by its Host, TLS by its server name. Both ask what they would have asked a proxy for, of the same rules (`Outbound`, `Egress`): a name that is
 * allowed is looked up, checked and connected to by the sidecar, so that a name said for another is a call to the name said.
 */
import dns from 'node:dns';
import type { Socket as Datagrams } from 'node:dgram';
import { type AddressInfo, type Socket, isIPv6 } from 'node:net';
import { codeOf } from '../../protocol/errors.ts';
import type { TransparentConfig } from '../config.ts';
import type { Egress } from '../egress/egress.ts';
import { readHostPort } from '../egress/hosts.ts';
import { refusal } from '../errors.ts';
import { divert, gather } from '../http/divert.ts';
import { acceptHttp2 } from '../http/h2-server.ts';
import { type ExchangeServer, type Listener, type RequestLine, createExchangeServer, listen } from '../http/server.ts';
import { HANDSHAKE, readServerName } from './hello.ts';
import { serveNames } from './names.ts';

const HTTP = 80;
const ABSOLUTE = /^http:\/\/([^/?#]*)([^#]*)$/i;

/**
 * What a proxy would have been asked for, of a request that came to `port`: its one name, and its path as it is. Throws `bad_request` for a Host
 * that has several readings, names another port, or another host than an absolute target does; `bad_target`.
 */
export function asAsked({ url, host }: Pick<RequestLine, 'url' | 'host'>, port: number): string {
  const named = host === null ? null : readHostPort(host, HTTP);
  if (named === null) throw refusal('bad_request', 'the Host field is not one plain name or address, with its port');
  if (named.port !== port)
    throw refusal('bad_request', `the Host field names port ${named.port}, the request came to port ${port}`);
  const [, authority, rest] = ABSOLUTE.exec(url) ?? [];
  if (authority === undefined && !url.startsWith('/')) throw refusal('bad_target', 'the request target is no path');
  const other = authority === undefined ? named : readHostPort(authority, HTTP);
  if (other?.host !== named.host || other.port !== named.port)
    throw refusal('bad_request', 'the Host field names another host than the target');
  const bracketed = isIPv6(named.host) ? `[${named.host}]` : named.host;
  return `http://${bracketed}${port === HTTP ? '' : `:${port}`}${rest ?? url}`;
}

/** `access_denied`, `decode_error`, `internal_error` (RFC 8446 §6.2): a client says so, instead of a connection that broke. */
const ALERT: Readonly<Record<string, number>> = { egress_denied: 49, bad_request: 50 };
const alertFor = (code: string): Buffer => Buffer.from([0x15, 3, 3, 0, 2, 2, ALERT[code] ?? 80]);

/** Makes a tunnel of a TLS connection to the host it names, at the port it came to; tells `onError` of what is refused, by its name. */
function openTls(socket: Socket, port: number, egress: Egress, onError: (error: unknown) => void): void {
  const refuse = (error: unknown): void => {
    onError(error);
    socket.on('error', () => socket.destroy());
    socket.end(alertFor(codeOf(error)));
    socket.resume();
  };
  let name: string | null = null;
  let fault: unknown = null;
  const isRead = (bytes: Buffer): boolean => {
    try {
      name = readServerName(bytes);
    } catch (error) {
      fault = error;
    }
    return name !== null || fault !== null;
  };
  gather(socket, isRead, (bytes) => {
    if (fault !== null) return refuse(fault);
    egress.tunnel(`${name}:${port}`, socket, bytes, '').catch(refuse);
  });
}

/** A server at a port that apps take for everybody's: what it reads is asked of `listener` and `egress` as of a proxy. `port` is the one that apps name. */
export function createTransparentServer(
  port: () => number,
  listener: Listener,
  egress: Egress,
  onError: (error: unknown) => void,
): ExchangeServer {
  const asked: Listener = async (line, exchange) => listener({ ...line, url: asAsked(line, port()) }, exchange);
  const server = createExchangeServer(asked, onError);
  acceptHttp2(server, asked, onError);
  divert(server, {
    isOurs: (bytes) => bytes[0] === HANDSHAKE,
    open: (socket) => openTls(socket, port(), egress, onError),
    close: () => egress.close(),
  });
  return server;
}

export interface TransparentOptions {
  readonly config: TransparentConfig;
  readonly listener: Listener;
  readonly egress: Egress;
  readonly onError: (error: unknown) => void;
}

export class Transparent {
  readonly #options: TransparentOptions;
  #names: Datagrams | null = null;
  readonly #servers: ExchangeServer[] = [];

  constructor(options: TransparentOptions) {
    this.#options = options;
  }

  /** Listens, all at the one address that `host` has. Rejects when it can't. */
  async start(): Promise<void> {
    const { config, listener, egress, onError } = this.#options;
    const { address } = await dns.promises.lookup(config.host);
    for (const port of config.ports) {
      const server = createTransparentServer(() => (server.address() as AddressInfo).port, listener, egress, onError);
      this.#servers.push(server);
      await listen(server, { host: address, port });
    }
    // Last: whoever is led here finds somebody.
    this.#names = await serveNames(address, config.dns, onError);
  }

  /** Takes nobody new, and closes what nothing is on. */
  stop(): void {
    this.#names?.close();
    this.#names = null;
    for (const server of this.#servers) server.close();
  }

  close(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }
}

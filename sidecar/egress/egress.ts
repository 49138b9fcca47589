/**
 * The one way of the app to what is not AGNT2: to hosts the config allows, at public addresses that were checked and are
 * then connected to, for so many bytes and so long. Redirects are answers like any other: following one is a new request.
 */
import dns, { type LookupAddress } from 'node:dns';
import net, { type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { abortSignalOf } from '../../protocol/aborts.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { refusal } from '../errors.ts';
import type { EgressConfig } from '../config.ts';
import { tracked } from '../http/body.ts';
import { HttpClient } from '../http/client.ts';
import { isPublic } from './addresses.ts';
import { type HostPort, matches, readHostPort } from './hosts.ts';

export interface EgressOptions {
  readonly config: EgressConfig;
  /** Base URL of the gateway, which the app has no business with. */
  readonly gateway: string;
  /** Every address of a name. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly LookupAddress[]>;
  /** Connects to an address that was checked. Default: TCP. */
  readonly connect?: (address: string, port: number) => Socket;
}

const HTTP = 80;
const HTTPS = 443;
const CONNECT_MS = 10_000;
const MAX_TUNNELS = 256;
/** Addresses of a name that are tried one after the other. */
const MAX_ADDRESSES = 4;

/** What a client that asked by CONNECT is told (RFC 9110 §9.3.6). */
export const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

const denied = (why: string): Error => refusal('egress_denied', why);

export class Egress {
  readonly #options: EgressOptions;
  readonly #gateway: HostPort;
  #config: EgressConfig;
  readonly #tunnels = new Set<Duplex>();

  constructor(options: EgressOptions) {
    this.#options = options;
    this.#config = options.config;
    const { hostname, port, protocol } = new URL(options.gateway);
    this.#gateway = {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (protocol === 'https:' ? HTTPS : HTTP) : Number(port),
    };
  }

  /** Other lists and caps, for what comes from now on. */
  configure(config: EgressConfig): void {
    this.#config = config;
  }

  get tunnels(): number {
    return this.#tunnels.size;
  }

  /** Where an authority leads, if the lists let it. Throws `egress_denied`. */
  #target(authority: string, defaultPort: number): HostPort {
    const target = readHostPort(authority, defaultPort);
    if (target === null) throw denied('the host is not written plainly: a name or an address, and a port, no more');
    const { allow, deny } = this.#config;
    const any = (patterns: EgressConfig['allow']): boolean =>
      patterns.some((pattern) => matches(pattern, target, defaultPort));
    // A denied host is denied at every port.
    if (deny.some((pattern) => matches({ ...pattern, port: pattern.port ?? target.port }, target, defaultPort)))
      throw denied(`${target.host} is on egress.deny of the sidecar's config`);
    if (!any(allow))
      throw denied(
        `${target.host}:${target.port} is not on egress.allow of the sidecar's config; agents are called as http://<name>.agnt2`,
      );
    if (target.host === this.#gateway.host && target.port === this.#gateway.port)
      throw denied('the gateway is called by the sidecar alone');
    return target;
  }

  /** The public addresses of a host: all of them, or none. Throws `egress_denied`, `egress_unreachable`. */
  async #addresses(host: string): Promise<readonly LookupAddress[]> {
    const resolve = this.#options.resolve ?? ((name) => dns.promises.lookup(name, { all: true }));
    let found: readonly LookupAddress[];
    try {
      const family = net.isIP(host);
      found = family === 0 ? await limited(resolve(host)) : [{ address: host, family }];
    } catch (cause) {
      throw refusal('egress_unreachable', `${host} has no address`, cause);
    }
    if (found.length === 0) throw refusal('egress_unreachable', `${host} has no address`);
    if (!found.every(({ address }) => isPublic(address))) throw denied(`${host} has an address that is not public`);
    return found.slice(0, MAX_ADDRESSES);
  }

  /** A connection to one of the checked addresses. Throws as {@link #addresses}. */
  async #connect({ host, port }: HostPort): Promise<Socket> {
    const connect = this.#options.connect ?? ((address, to) => net.connect({ host: address, port: to, noDelay: true }));
    let cause: unknown;
    for (const { address } of await this.#addresses(host)) {
      const socket = connect(address, port);
      try {
        await connected(socket);
        return socket;
      } catch (error) {
        socket.destroy();
        cause = error;
      }
    }
    throw refusal('egress_unreachable', `${host}:${port} can't be reached`, cause);
  }

  /** Forwards a request in plain HTTP, asked for as a proxy is: `http://host/path`. */
  async forward(url: string, exchange: (target: string) => ExchangeRequest): Promise<ExchangeResponse> {
    const [, authority, rest] = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(url) ?? [];
    if (authority === undefined) throw denied('only http:// goes through the proxy in plain form; https:// by CONNECT');
    const target = this.#target(authority, HTTP);
    const request = exchange(rest.startsWith('/') ? rest : `/${rest}`);
    if (request.upgrade !== undefined)
      throw refusal('upgrade_unsupported', 'WebSockets outside AGNT2 go by CONNECT, as https does');
    const socket = await this.#connect(target);
    const { maxBytes, maxSeconds } = this.#config;
    const ended = new AbortController();
    const timer = setTimeout(
      () => ended.abort(refusal('timeout', `longer than egress.maxSeconds = ${maxSeconds}`)),
      maxSeconds * 1000,
    );
    const origin = `http://${net.isIPv6(target.host) ? `[${target.host}]` : target.host}:${target.port}`;
    const client = new HttpClient(
      origin,
      target.host,
      { unreachable: 'egress_unreachable', broken: 'egress_failed' },
      () => socket,
    );
    const over = (): void => {
      clearTimeout(timer);
      socket.destroy();
      client.close();
    };
    try {
      const response = await client.send({
        ...request,
        body: capped(request.body, maxBytes),
        signal: AbortSignal.any([abortSignalOf(request.signal), ended.signal]),
      });
      return { ...response, body: tracked(capped(response.body, maxBytes), over) };
    } catch (error) {
      over();
      throw ended.signal.aborted ? ended.signal.reason : error;
    }
  }

  /**
   * Opens a tunnel to `host:port`, to what the lists allow for https: tells the client so by `greeting`, and the host what the client
   * said early, `head`. Resolves when it stands; throws a refusal before.
   */
  async tunnel(authority: string, client: Duplex, head: Buffer, greeting: string = ESTABLISHED): Promise<void> {
    if (!/:\d+$/.test(authority)) throw denied('CONNECT names a host and a port');
    const target = this.#target(authority, HTTPS);
    if (this.#tunnels.size >= MAX_TUNNELS) throw refusal('busy', `${MAX_TUNNELS} tunnels are open`);
    this.#tunnels.add(client);
    let socket: Socket;
    try {
      socket = await this.#connect(target);
    } catch (error) {
      this.#tunnels.delete(client);
      throw error;
    }
    const { maxBytes, maxSeconds } = this.#config;
    const timer = setTimeout(() => socket.destroy(), maxSeconds * 1000);
    const over = (): void => {
      clearTimeout(timer);
      this.#tunnels.delete(client);
      client.destroy();
      socket.destroy();
    };
    let left = maxBytes;
    const count = (chunk: Buffer): void => void ((left -= chunk.length) < 0 && over());
    for (const end of [client, socket]) {
      end.on('error', over);
      end.on('close', over);
      end.on('data', count);
    }
    if (client.destroyed) return over();
    if (greeting !== '') client.write(greeting);
    if (head.length > 0) socket.write(head);
    client.pipe(socket);
    socket.pipe(client);
  }

  /** Ends every tunnel. */
  close(): void {
    for (const client of this.#tunnels) client.destroy();
  }
}

const limited = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    new Promise<never>((_, reject) => void setTimeout(() => reject(new Error('no answer')), CONNECT_MS).unref()),
  ]);

const connected = (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer')), CONNECT_MS);
    const end = (error?: Error): void => {
      clearTimeout(timer);
      socket.removeListener('connect', end);
      socket.removeListener('error', end);
      if (error) reject(error);
      else resolve();
    };
    socket.once('connect', end);
    socket.once('error', end);
  });

async function* capped(body: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let left = maxBytes;
  for await (const chunk of body) {
    if ((left -= chunk.length) < 0) throw refusal('egress_too_large', `a body over egress.maxBytes = ${maxBytes}`);
    yield chunk;
  }
}

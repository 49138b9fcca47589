/**
 * Links of their own between two sidecars: a listener whose offers are good once, and a dialler that goes only where its owner lets it. Each side shows
 * the other its pinned machine key, by `Connect` over a room that names the session and the offer: who dials in the URL, who listens in its first message.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import { http } from './http/node.ts';
import { BlockList, type Socket, isIP } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { type Hex, hex, unhex } from '../protocol/bytes.ts';
import { formatId } from '../protocol/ids.ts';
import { verifyP256 } from '../protocol/keys.ts';
import { MAX_PACKET_BYTES } from '../protocol/packet.ts';
import type { DirectConfig } from './config.ts';
import { refusal } from './errors.ts';
import { type Identity, type Links, type Peer, socketUrl } from './identity.ts';
import { listen } from './http/server.ts';
import { type DirectOptions, DirectSocket, type Offer } from './session/direct.ts';
import { type PacketSocket, packetSocket } from './session/index.ts';
import { passing } from './young.ts';

const HANDSHAKE_MS = 5_000;
const PING_MS = 10_000;
/** Connects may be so old, as at the gateway. */
const CLOCK_MS = 60_000;
const MAX_OFFERS = 4096;
const PRIVATE: readonly [string, number, 'ipv4' | 'ipv6'][] = [
  ['10.0.0.0', 8, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['fc00::', 7, 'ipv6'],
];

const roomOf = (session: number, nonce: string): string => `/direct/${formatId(session)}/${nonce}`;
/** What the listener signs: nobody could take it for a dialler's. */
const answerRoom = (room: string): string => `${room}/answer`;

/** Which addresses may be dialled. Names only as they are listed: what a name stands for is another's to say. */
export class DialPolicy {
  readonly #ranges = new BlockList();
  readonly #places = new Set<string>();

  /** Throws `bad_config` for what is neither `private`, a range, nor `host:port`. */
  constructor(allowed: readonly string[]) {
    for (const entry of allowed) {
      const [address, bits] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (entry === 'private') for (const [net, prefix, kind] of PRIVATE) this.#ranges.addSubnet(net, prefix, kind);
      else if (isIP(address) !== 0 && /^\d{1,3}$/.test(bits ?? '') && Number(bits) <= (family === 'ipv6' ? 128 : 32))
        this.#ranges.addSubnet(address, Number(bits), family);
      else if (/^[^/\s]+:\d{1,5}$/.test(entry)) this.#places.add(entry.toLowerCase());
      else throw refusal('bad_config', `session.direct.dial: ${entry} is no range of addresses and no host:port`);
    }
  }

  /** The address to dial, without what a peer has no say in; null where it may not lead. */
  allows(text: string): string | null {
    if (!URL.canParse(text)) return null;
    const { protocol, hostname, host, port, username, password, pathname, search, hash } = new URL(text);
    if (protocol !== 'ws:' && protocol !== 'wss:') return null;
    if (username || password || search || hash || (pathname !== '/' && pathname !== '')) return null;
    const bare = hostname.replace(/^\[(.*)\]$/, '$1');
    const place = `${hostname}:${port || (protocol === 'wss:' ? '443' : '80')}`.toLowerCase();
    const family = isIP(bare);
    const inRange = family !== 0 && this.#ranges.check(bare, family === 6 ? 'ipv6' : 'ipv4');
    return inRange || this.#places.has(place) ? `${protocol}//${host}` : null;
  }
}

interface Awaited {
  readonly peer: Peer;
  readonly resolve: (link: PacketSocket) => void;
}

/** Times that tests shorten: see `DirectOptions`. */
export type LinkPace = Pick<DirectOptions, 'silenceMs' | 'retryMs'>;

export class DirectLinks implements Links {
  readonly #identity: Identity;
  readonly #config: DirectConfig;
  readonly #policy: DialPolicy;
  readonly #onError: (error: unknown) => void;
  readonly #pace: LinkPace;
  /** Offers that stand, by room. */
  readonly #awaited = new Map<string, Awaited>();
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_PACKET_BYTES });
  #server: Server | null = null;
  /** Where it listens; 0 while it does not. */
  port = 0;
  #url: string | null = null;

  constructor(
    identity: Identity,
    config: DirectConfig,
    onError: (error: unknown) => void = () => {},
    pace: LinkPace = {},
  ) {
    this.#identity = identity;
    this.#config = config;
    this.#policy = new DialPolicy(config.dial);
    this.#onError = onError;
    this.#pace = pace;
  }

  /** Listens, where that is wanted. Rejects when the port is taken. */
  async start(): Promise<void> {
    const { listen: at, advertise } = this.#config;
    if (at === null) return;
    this.#server = http.createServer((_, response) => response.writeHead(426).end());
    this.#server.on('upgrade', (request, socket, head) => {
      this.#welcome(request, socket as Socket, head).catch((error: unknown) => {
        socket.destroy();
        this.#onError(error);
      });
    });
    this.port = await listen(this.#server, at);
    this.#url = advertise ?? `ws://${isIP(at.host) === 6 ? `[${at.host}]` : at.host}:${this.port}`;
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
    for (const ws of this.#sockets.clients) ws.terminate();
  }

  /** A session's socket: by the relay that `dialRelay` reaches, and by a link where both want one. */
  async connect(
    peer: Peer,
    role: 'a' | 'b',
    dialRelay: () => Promise<PacketSocket>,
    onChange?: (isDirect: boolean) => void,
  ): Promise<DirectSocket> {
    return new DirectSocket(await dialRelay(), {
      dialRelay,
      offer: () => this.#offer(peer),
      accept: (offer) => this.#accept(peer, offer),
      yields: role === 'a',
      onChange,
      onError: this.#onError,
      ...this.#pace,
    });
  }

  #offer(peer: Peer): Offer | null {
    if (this.#url === null || this.#awaited.size >= MAX_OFFERS) return null;
    const nonce = hex(randomBytes(32));
    const room = roomOf(peer.session, nonce);
    const { promise, resolve } = Promise.withResolvers<PacketSocket>();
    this.#awaited.set(room, { peer, resolve });
    return { url: this.#url, nonce, link: promise, withdraw: () => this.#awaited.delete(room) };
  }

  /** Somebody dialled: lets the one in that an offer waits for, and says nothing to others. */
  async #welcome(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const { pathname: room, searchParams: query } = new URL(request.url ?? '/', 'http://direct');
    const awaited = this.#awaited.get(room);
    const timeMs = Number(query.get('timeMs'));
    if (awaited === undefined || !(Math.abs(Date.now() - timeMs) <= CLOCK_MS))
      throw refusal('connect_denied', 'nobody is awaited there');
    const nonce = unhex((query.get('nonce') ?? '') as Hex, 32);
    const signature = unhex((query.get('signature') ?? '') as Hex, 64);
    const { agent, key, signing } = this.#identity;
    const preimage = signing.connect({ agent: awaited.peer.agent, room, timeMs, nonce });
    if (!(await verifyP256(awaited.peer.key, preimage, signature)))
      throw refusal('connect_denied', 'that was not the peer');
    // Good once; another that came meanwhile has taken it, or it was withdrawn.
    if (!this.#awaited.delete(room)) throw refusal('connect_denied', 'the offer is gone');
    const proof = await key.sign(signing.connect({ agent, room: answerRoom(room), timeMs, nonce }));
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.send(proof);
      awaited.resolve(linkOf(ws, false).socket);
    });
  }

  #accept(peer: Peer, { url, nonce }: { url: string; nonce: string }): Promise<PacketSocket> | null {
    const at = this.#policy.allows(url);
    return at === null ? null : this.#dial(peer, at, roomOf(peer.session, nonce));
  }

  async #dial(peer: Peer, at: string, room: string): Promise<PacketSocket> {
    const url = await socketUrl(at, room, this.#identity);
    const query = new URL(url).searchParams;
    const preimage = this.#identity.signing.connect({
      agent: peer.agent,
      room: answerRoom(room),
      timeMs: Number(query.get('timeMs')),
      nonce: unhex(query.get('nonce') as Hex, 32),
    });
    const ws = new WebSocket(url, {
      perMessageDeflate: false,
      maxPayload: MAX_PACKET_BYTES,
      handshakeTimeout: HANDSHAKE_MS,
      // Where a peer's server would send us next, nobody has allowed.
      followRedirects: false,
    });
    const link = linkOf(ws);
    return new Promise((resolve, reject) => {
      const fail = (cause?: unknown): void => {
        clearTimeout(timer);
        ws.terminate();
        reject(refusal('peer_unreachable', `no link to ${formatId(peer.agent)} at ${at}`, cause));
      };
      const timer = setTimeout(fail, HANDSHAKE_MS);
      ws.on('error', fail);
      ws.once('close', fail);
      void link.first.then(async (proof) => {
        if (proof.length !== 64 || !(await verifyP256(peer.key, preimage, proof))) return fail();
        clearTimeout(timer);
        ws.off('close', fail);
        resolve(link.socket);
      }, fail);
    });
  }
}

/** A link's socket, and the first message over it, where that is not for the socket. What comes before anybody listens waits; a peer that answers no ping is gone. */
function linkOf(ws: WebSocket, isFirst = true): { readonly first: Promise<Uint8Array>; readonly socket: PacketSocket } {
  const { promise: first, resolve } = Promise.withResolvers<Uint8Array>();
  const waiting: Uint8Array[] = [];
  let hear: ((packet: Uint8Array) => void) | null = null;
  const bare = packetSocket(ws as unknown as Parameters<typeof packetSocket>[0]);
  ws.on('message', (data, isBinary) => {
    const packet = new Uint8Array(data as ArrayBuffer);
    passing(packet.length);
    if (!isBinary) ws.close(1003, 'binary packets only');
    else if (isFirst) resolve(packet);
    else if (hear !== null) hear(packet);
    else {
      // A few may come with the one before.
      waiting.push(packet);
      ws.pause();
    }
    isFirst = false;
  });
  let alive = true;
  const timer = setInterval(() => {
    if (!alive) return ws.terminate();
    alive = false;
    ws.ping();
  }, PING_MS);
  timer.unref();
  ws.on('error', () => {});
  ws.on('pong', () => (alive = true));
  ws.on('close', () => clearInterval(timer));
  const socket: PacketSocket = {
    ...bare,
    listen: (onPacket, onClose) => {
      ws.on('close', () => onClose('closed'));
      hear = onPacket;
      for (const packet of waiting.splice(0)) onPacket(packet);
      if (ws.readyState === WebSocket.OPEN) ws.resume();
      else if (ws.readyState !== WebSocket.CONNECTING) queueMicrotask(() => onClose('closed'));
    },
  };
  return { first, socket };
}

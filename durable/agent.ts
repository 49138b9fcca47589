/**
 * Agent: a sidecar's socket, and the mailbox of first-contact calls to it. One object an agent, named by its id.
 *
 * A call travels over the socket as parts, streamed both ways; nothing of it is stored. While it runs, its request keeps
 * the object awake, so the multiplexer may live in memory; between calls the object sleeps and the socket stays.
 */
import { DurableObject } from 'cloudflare:workers';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { parseId, shardOf } from '../protocol/ids.ts';
import { FRAMED, TAKES_FRAMED, framed, unframed } from '../protocol/framed.ts';
import { CARRIED_HEADERS, CARRIED_REASON, PacketType, packHeaders, unpackHeaders } from '../protocol/packet.ts';
import { chunksOf, streamOf } from '../protocol/streams.ts';
import { CallMux, type OpenCall } from '../protocol/mux.ts';
import { type Namespace, shardStub } from './shard/api.ts';
import { acceptSocket, closeSocket, isUpgrade, newest, problemResponse, sendError, sendPacket } from './socket.ts';

/** What the gateway may ask of an agent's object. */
export interface AgentRpc {
  online(): Promise<boolean>;
  fetch(request: Request): Promise<Response>;
}

const SIDECAR = 'sidecar';
/** How long a call waits for its sidecar to (re)connect, and how many may. */
const MAILBOX_MS = 10_000;
const MAILBOX_SIZE = 64;
const RETRY_AFTER_S = '5';
const MAX_CALLS = 4096;
/** Response bytes waiting for slow clients, over all calls: a quarter of the object's memory. */
const MAX_QUEUED = 32 * 1024 * 1024;

/** What the caller says of its claim; passed on as the call's meta. */
const CLAIMS = ['escrow', 'frame', 'index', 'session'] as const;

const STATUS: Readonly<Record<string, number>> = {
  malformed: 400,
  escrow_too_small: 402,
  payment_required: 402,
  unknown_escrow: 404,
  unknown_route: 404,
  cancelled: 408,
  head_too_large: 431,
  internal: 502,
  session_lost: 502,
  agent_offline: 503,
  overloaded: 503,
  too_many_calls: 503,
  deadline_exceeded: 504,
};

export interface AgentEnv {
  readonly SHARD: Namespace;
}

const isId = (text: string): boolean => /^\d{1,3}:\d{1,7}$/.test(text);

export class Agent extends DurableObject<AgentEnv> {
  #socket: WebSocket | null;
  #mux: CallMux | null = null;
  readonly #waiting = new Set<(here: boolean) => void>();

  constructor(ctx: DurableObjectState, env: AgentEnv) {
    super(ctx, env);
    this.#socket = newest(ctx, SIDECAR);
  }

  async online(): Promise<boolean> {
    return this.#socket !== null;
  }

  /** An upgrade is the sidecar's socket, authenticated by the gateway; anything else is a first-contact call (docs/api.md). */
  override async fetch(request: Request): Promise<Response> {
    if (isUpgrade(request)) return this.#join();
    try {
      return await this.#call(request);
    } catch (error) {
      const code = codeOf(error);
      const status = STATUS[code] ?? 409;
      const detail = error instanceof Agnt2Error ? error.detail : 'the call failed';
      return problemResponse(status, code, detail, status === 503 ? { 'retry-after': RETRY_AFTER_S } : {});
    }
  }

  #join(): Response {
    const { client, server } = acceptSocket(this.ctx, SIDECAR);
    this.#leave();
    this.#socket = server;
    for (const wake of this.#waiting) wake(true);
    return new Response(null, { status: 101, webSocket: client });
  }

  #leave(): void {
    this.#socket = null;
    const mux = this.#mux;
    this.#mux = null;
    mux?.close(new Agnt2Error('session_lost', "the agent's socket closed with this call in flight"));
  }

  /** The multiplexer over the socket at hand; made anew after sleep, when no call is in flight. */
  #muxOf(socket: WebSocket): CallMux {
    this.#mux ??= new CallMux({
      send: (packet) => void sendPacket(socket, packet),
      numbering: 'all',
      maxCalls: MAX_CALLS,
      maxQueued: MAX_QUEUED,
      digests: false,
    });
    return this.#mux;
  }

  override webSocketMessage(ws: WebSocket, message: string | ArrayBuffer): void {
    if (!this.#isCurrent(ws)) return;
    if (typeof message === 'string') {
      sendError(ws, 'malformed', 'binary packets only');
      return;
    }
    const packet = new Uint8Array(message);
    try {
      if (packet[0] === PacketType.calls) this.#muxOf(ws).receive(packet);
      else if (packet[0] !== PacketType.error) sendError(ws, 'malformed', "an agent's socket carries calls");
    } catch (error) {
      // Framing is broken: nothing after this can be trusted to mean what it says.
      sendError(ws, codeOf(error), 'not a calls packet');
      this.#leave();
      closeSocket(ws, 1002, 'malformed');
    }
  }

  override webSocketClose(ws: WebSocket): void {
    this.#gone(ws);
    // Answered, or the other side waits for the end of the handshake.
    closeSocket(ws, 1000, 'closed');
  }

  override webSocketError(ws: WebSocket): void {
    this.#gone(ws);
    closeSocket(ws, 1011, 'error');
  }

  /** Also tells the shard's feed, for whoever watches; nothing depends on it. */
  #gone(ws: WebSocket): void {
    if (!this.#isCurrent(ws)) return;
    this.#leave();
    const id = this.ctx.id.name;
    if (id === undefined || !isId(id)) return;
    const shard = shardStub(this.env.SHARD, shardOf(parseId(id)));
    this.ctx.waitUntil(shard.note({ kind: 'agent', id, event: 'offline' }).catch(() => {}));
  }

  #isCurrent(ws: WebSocket): boolean {
    return this.#socket === ws;
  }

  async #call(request: Request): Promise<Response> {
    if (request.method !== 'POST')
      return problemResponse(405, 'method_not_allowed', 'a first-contact call is a POST', { allow: 'POST' });
    const method = request.headers.get('agnt2-method');
    const target = request.headers.get('agnt2-target');
    const isTarget = target?.startsWith('/') === true || (method === 'OPTIONS' && target === '*');
    if (!method || !target || !isTarget)
      throw new Agnt2Error('malformed', 'agnt2-method and agnt2-target name the call');
    const socket = this.#socket ?? (await this.#wait(request.signal));
    const headers = unpackHeaders(request.headers.get(CARRIED_HEADERS));
    const meta: Record<string, string> = {};
    for (const claim of CLAIMS) {
      const value = request.headers.get(`agnt2-${claim}`);
      if (value !== null) meta[claim] = value;
    }
    const sent = request.headers.has(FRAMED) ? unframed(chunksOf(request.body)) : { body: chunksOf(request.body) };
    const open = await this.#muxOf(socket).call({ method, target, headers, ...sent, signal: request.signal }, { meta });
    return respond(open, request.headers.get(TAKES_FRAMED) === 'trailers');
  }

  /** The mailbox: holds a call while its sidecar restarts. */
  async #wait(signal: AbortSignal): Promise<WebSocket> {
    if (this.#waiting.size >= MAILBOX_SIZE)
      throw new Agnt2Error('agent_offline', 'the agent is not connected and its mailbox is full');
    const here = await new Promise<boolean>((resolve) => {
      const wake = (came: boolean): void => {
        this.#waiting.delete(wake);
        clearTimeout(timer);
        resolve(came);
      };
      const timer = setTimeout(() => wake(false), MAILBOX_MS);
      this.#waiting.add(wake);
      signal.addEventListener('abort', () => wake(false));
    });
    if (!here || this.#socket === null)
      throw new Agnt2Error('agent_offline', `the agent did not connect within ${MAILBOX_MS / 1000} s`);
    return this.#socket;
  }
}

/** The app's answer inside ours: a status of ours is 200, the app's is a header. */
function respond({ response }: OpenCall, takesFramed: boolean): Response {
  const { reason, trailers } = response;
  const isFramed = takesFramed && trailers !== undefined;
  const headers = {
    'agnt2-status': String(response.status),
    [CARRIED_HEADERS]: packHeaders(response.headers),
    'content-type': 'application/octet-stream',
    ...(reason !== undefined && { [CARRIED_REASON]: packHeaders([['reason', reason]]) }),
    ...(isFramed && { [FRAMED]: 'trailers' }),
  };
  const body = streamOf(isFramed ? framed(response.body, trailers) : response.body);
  return new Response(body, { headers });
}

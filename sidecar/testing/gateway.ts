/**
 * A gateway for tests: docs/api.md as far as a sidecar uses it, on the real state transition, in one process, with ways to fail.
 * Bodies of first-contact calls stream through a CallMux as in the real one; a session's socket is a plain relay.
 */
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Context, Hono } from 'hono';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  ACTIVE,
  Agent,
  ESCROW_STATUS,
  Escrow,
  Service,
  cellToJson,
  get,
  getBytes,
  placeOf,
} from '../../protocol/cells.ts';
import { decodeBundle } from '../../protocol/bundle.ts';
import { equal, fromUtf8, hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { type Engine, tickFrame } from '../../protocol/engine.ts';
import { Agnt2Error, codeOf } from '../../protocol/errors.ts';
import { keccak, sha } from '../../protocol/hash.ts';
import { formatId, makeId, parseId, shardOf } from '../../protocol/ids.ts';
import { MachineKey, verifyP256 } from '../../protocol/keys.ts';
import { FRAMED, TAKES_FRAMED, framed, unframed } from '../../protocol/framed.ts';
import { CARRIED_HEADERS, CARRIED_REASON, encodeError, packHeaders, unpackHeaders } from '../../protocol/packet.ts';
import { type SignedReceipt, receiptToJson } from '../../protocol/receipt.ts';
import { STATUSES } from '../../protocol/status.ts';
import { listen } from '../http/server.ts';
import { CallMux } from '../../protocol/mux.ts';
import { packetSocket } from '../session/index.ts';
import { addRecordRoutes } from './records.ts';
import { type TestFrame, TestShards } from './shards.ts';

export const DOMAIN = { chainId: 31337, root: '0x00000000000000000000000000000000000000aa' } as const;

export interface TestAgent {
  readonly id: number;
  readonly key: MachineKey;
  readonly secret: Uint8Array;
}

/** What a test may break. */
export interface Faults {
  /** Bundle requests that are executed and whose answer is lost. */
  loseAnswers: number;
  /** Bundle requests refused with a 503 before anything happens. */
  busy: number;
  /** Whether a replayed bundle is known as such, with its place. */
  knowsReplays: boolean;
  /** Signs receipts with another key. */
  forgeReceipts: boolean;
  /** Operations of which it takes no bundle. */
  refuseOps: string[];
  /** Paths that it can't read just now. */
  refuseReads: RegExp | null;
}

const CLAIMS = ['escrow', 'frame', 'index', 'session'];

export class TestGateway {
  readonly signing = new Signing(DOMAIN);
  readonly shards: TestShards;
  readonly faults: Faults = {
    loseAnswers: 0,
    busy: 0,
    knowsReplays: true,
    forgeReceipts: false,
    refuseOps: [],
    refuseReads: null,
  };
  /** Requests by route, to see what was cached. */
  readonly requests: string[] = [];
  url = '';
  /** Shard time ahead of the clock, seconds. */
  skew = 0;
  #key!: MachineKey;
  #forger!: MachineKey;
  readonly #documents = new Map<string, unknown>();
  readonly #names = new Map<string, Record<string, unknown>>();
  readonly #mailboxes = new Map<string, { mux: CallMux; ws: WebSocket }>();
  readonly #relays = new Map<string, Map<string, WebSocket>>();
  /** Packets that sessions' sockets brought, by type. */
  readonly relayed = new Map<number, number>();
  readonly #nonces = new Set<string>();
  readonly #agents: TestAgent[] = [];
  #server!: Server;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(shards: number) {
    this.shards = new TestShards(this.signing, shards);
  }

  static async start(shards = 1): Promise<TestGateway> {
    const gateway = new TestGateway(shards);
    gateway.#key = await MachineKey.import(MachineKey.randomSecret());
    gateway.#forger = await MachineKey.import(MachineKey.randomSecret());
    await gateway.tick(0);
    const app = gateway.#routes();
    gateway.#server = http.createServer((request, response) => {
      gateway.requests.push(`${request.method} ${request.url}`);
      const call = /^\/agents\/([\d:]+)\/calls$/.exec(request.url ?? '');
      if (call && request.method === 'POST') void gateway.#firstContact(call[1], request, response);
      else void answer(app, request, response);
    });
    const sockets = new WebSocketServer({ noServer: true });
    gateway.#server.on('upgrade', (request, socket, head) => void gateway.#upgrade(sockets, request, socket, head));
    gateway.url = `http://127.0.0.1:${await listen(gateway.#server, { host: '127.0.0.1', port: 0 })}`;
    return gateway;
  }

  /** Shard 0's, of deployments that have no other. */
  get engine(): Engine {
    return this.shards.engine(0);
  }
  /** Shard 0's frames, each with its receipt. */
  get frames(): readonly TestFrame[] {
    return this.shards.frames(0);
  }

  get sequencerKey(): Uint8Array {
    return this.#key.publicKey;
  }

  stop(): void {
    for (const { ws } of this.#mailboxes.values()) ws.terminate();
    for (const relay of this.#relays.values()) for (const ws of relay.values()) ws.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Cuts an agent's socket. */
  cut(agent: number): void {
    this.#mailboxes.get(formatId(agent))?.ws.terminate();
  }
  /** Cuts both sockets of a session, and refuses new ones while `dead`. */
  deadRelays = false;
  cutSessions(): void {
    for (const relay of this.#relays.values()) for (const ws of relay.values()) ws.terminate();
  }

  async agent(balance: number, shard = 0, owner: Uint8Array = new Uint8Array(20).fill(1)): Promise<TestAgent> {
    const secret = MachineKey.randomSecret();
    const key = await MachineKey.import(secret);
    const machine = this.shards.machine(shard);
    const agent = { id: machine.createAgent(owner, key.publicKey, balance), key, secret };
    this.#agents.push(agent);
    return agent;
  }

  /** Has an agent hold a name, as if its sidecar had announced it. */
  claim(name: string, agent: TestAgent): void {
    this.#names.set(name, { name, agent: formatId(agent.id), services: [], description: '' });
  }

  balance(agent: TestAgent): number {
    return this.shards.holding(agent.id).balance(agent.id);
  }
  escrowStatus(escrow: number): string {
    return ESCROW_STATUS[get(this.shards.holding(escrow).readEscrow(escrow), Escrow.status)];
  }

  /** Moves the shards' clocks ahead. */
  async tick(seconds: number): Promise<void> {
    this.skew += seconds;
    for (let shard = 0; shard < this.shards.count; shard++)
      await this.append(tickFrame(Math.floor(Date.now() / 1000) + this.skew), shard);
  }

  get #signer(): MachineKey {
    return this.faults.forgeReceipts ? this.#forger : this.#key;
  }

  /** Executes a frame that the shard put in by itself. */
  append(frame: Uint8Array, shard = 0): Promise<SignedReceipt> {
    return this.shards.append(shard, frame, this.#signer);
  }

  /** Holds messages between shards back, or lets them go. */
  async holdMessages(held: boolean): Promise<void> {
    this.shards.held = held;
    await this.shards.deliver(this.#signer);
  }

  /** One frame after the other, as a shard does it. */
  submit(frame: Uint8Array): Promise<{ receipt: unknown } | { error: Record<string, unknown> }> {
    const run = this.#queue.then(async () => {
      let refused: string | null;
      let shard = 0;
      try {
        const bundle = decodeBundle(frame);
        shard = shardOf(bundle.actor);
        const at = this.shards.placeOf(shard, frame);
        if (at >= 0 && this.faults.knowsReplays)
          return { error: { code: 'replayed', detail: 'executed', place: `${shard}:${at}` } };
        refused = this.shards.engine(shard).admit(bundle);
        if (bundle.interactions.some(({ op }) => this.faults.refuseOps.includes(op))) refused = 'forbidden';
      } catch (error) {
        refused = codeOf(error);
      }
      if (refused !== null) return { error: { code: refused, detail: 'refused' } };
      return { receipt: receiptToJson(await this.append(frame, shard)) };
    });
    this.#queue = run.catch(() => {});
    return run;
  }

  #routes(): Hono {
    const app = new Hono();
    const { shards } = this;
    const problem = (c: Context, status: 400 | 401 | 404 | 409 | 503, code: string, more = {}) =>
      c.json({ type: 'about:blank', status, code, detail: code, ...more }, status);
    app.onError((error, c) => problem(c, 400, codeOf(error)));
    app.get('*', async (c, next) =>
      this.faults.refuseReads?.test(c.req.path) ? problem(c, 503, 'unavailable') : next(),
    );
    app.get('/status', (c) =>
      c.json({
        ...DOMAIN,
        sequencerKey: { x: hex(this.sequencerKey.subarray(0, 32)), y: hex(this.sequencerKey.subarray(32)) },
        shards: Array.from({ length: shards.count }, (_, shard) => ({ shard, seq: String(shards.engine(shard).seq) })),
      }),
    );
    app.post('/bundles', async (c) => {
      if (this.faults.busy > 0) {
        this.faults.busy -= 1;
        return problem(c, 503, 'overloaded');
      }
      const body = new Uint8Array(await c.req.arrayBuffer());
      const frames: Uint8Array[] = [];
      if (c.req.header('content-type') === 'application/vnd.agnt2.bundles')
        for (let at = 0; at < body.length; at += 2 + body[at] * 256 + body[at + 1])
          frames.push(body.slice(at + 2, at + 2 + body[at] * 256 + body[at + 1]));
      else frames.push(body);
      const results = [];
      for (const frame of frames) results.push(await this.submit(frame));
      if (this.faults.loseAnswers > 0) {
        this.faults.loseAnswers -= 1;
        throw new LostAnswer();
      }
      const [first] = results;
      if (frames.length === 1 && 'error' in first) return problem(c, 409, String(first.error.code), first.error);
      return c.json({ results });
    });
    app.get('/healthz', (c) => c.json({ ok: true, timeMs: Date.now() + 1000 * this.skew }));
    app.get('/agents', (c) => {
      const agents = this.#agents.filter(({ key }) => hex(keccak(key.publicKey)) === c.req.query('key'));
      return c.json({ agents: agents.map(({ id }) => ({ id: formatId(id) })) });
    });
    app.get('/agents/:id', (c) => {
      const id = parseId(c.req.param('id'));
      const machine = shards.holding(id);
      if (!machine.agentExists(id)) return problem(c, 404, 'unknown_agent');
      return c.json({
        id: formatId(id),
        ...cellToJson(Agent, machine.readAgent(id)),
        online: this.#mailboxes.has(formatId(id)),
      });
    });
    app.get('/agents/:id/key', (c) => {
      const id = parseId(c.req.param('id'));
      const key = shards.holding(id).keyOf(id);
      return c.json({ x: hex(key.subarray(0, 32)), y: hex(key.subarray(32)), epoch: 0 });
    });
    const serviceJson = (id: number) => {
      const cell = shards.holding(id).readService(id);
      const active = (get(cell, Service.flags) & ACTIVE) !== 0;
      return {
        id: formatId(id),
        active,
        ...cellToJson(Service, cell),
        metadata: this.#documents.get(hex(getBytes(cell, Service.metadataHash))) ?? null,
      };
    };
    app.get('/services', (c) => {
      const provider = parseId(c.req.query('provider')!);
      const machine = shards.holding(provider);
      const ids = Array.from({ length: 50 }, (_, i) => makeId(machine.shard, i + 1)).filter((id) =>
        machine.serviceExists(id),
      );
      return c.json({
        services: ids.filter((id) => get(machine.readService(id), Service.provider) === provider).map(serviceJson),
      });
    });
    app.put('/services/:id/metadata', async (c) => {
      const bytes = new Uint8Array(await c.req.arrayBuffer());
      const hash = sha(bytes);
      const id = parseId(c.req.param('id'));
      if (!equal(hash, getBytes(shards.holding(id).readService(id), Service.metadataHash)))
        return problem(c, 409, 'hash_mismatch');
      this.#documents.set(hex(hash), JSON.parse(fromUtf8(bytes)));
      return c.json({});
    });
    app.get('/directory/:name', (c) => {
      const record = this.#names.get(c.req.param('name'));
      return record === undefined ? problem(c, 404, 'not_found') : c.json(record);
    });
    app.put('/directory/:name', async (c) => {
      const bytes = new Uint8Array(await c.req.arrayBuffer());
      const record = JSON.parse(fromUtf8(bytes)) as { agent: string };
      const agent = parseId(record.agent);
      const announce = { agent, contentHash: sha(bytes), timeMs: Number(c.req.header('agnt2-time')) };
      if (
        !(await verifyP256(
          shards.holding(agent).keyOf(agent),
          this.signing.announce(announce),
          unhex(c.req.header('agnt2-signature')!),
        ))
      )
        return problem(c, 401, 'bad_signature');
      const held = this.#names.get(c.req.param('name'));
      if (held !== undefined && held.agent !== record.agent) return problem(c, 409, 'name_taken');
      this.#names.set(c.req.param('name'), record);
      return c.json(record);
    });
    addRecordRoutes(app, shards);
    app.get('/cells/:address', (c) => {
      const { shard, region, slot } = placeOf(Number(c.req.param('address')));
      return c.json({ cell: hex(shards.machine(shard).trie.read(region, slot)) });
    });
    const place = (c: Context) => shards.frames(Number(c.req.param('shard')))[Number(c.req.param('seq'))];
    app.get('/shards/:shard/frames/:seq', (c) => {
      const frame = place(c);
      if (frame === undefined) return problem(c, 404, 'not_found');
      const steps = frame.signed.outcomes.map(({ status, value }) => ({
        status: STATUSES[status],
        value: String(value),
      }));
      return c.json({
        shard: Number(c.req.param('shard')),
        seq: c.req.param('seq'),
        bytes: hex(frame.bytes),
        steps,
        receipt: receiptToJson(frame.signed),
      });
    });
    app.get('/receipts/:shard/:seq', (c) => c.json(receiptToJson(place(c).signed)));
    return app;
  }

  async #firstContact(agent: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fail = (status: number, code: string): void =>
      void response
        .writeHead(status, { 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ code, detail: code, status }));
    const mailbox = this.#mailboxes.get(agent);
    if (mailbox === undefined) return fail(503, 'agent_offline');
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const meta = Object.fromEntries(
      CLAIMS.flatMap((name) =>
        request.headers[`agnt2-${name}`] === undefined ? [] : [[name, String(request.headers[`agnt2-${name}`])]],
      ),
    );
    try {
      const sent = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
      const open = await mailbox.mux.call(
        {
          method: String(request.headers['agnt2-method']),
          target: String(request.headers['agnt2-target']),
          headers: unpackHeaders((request.headers[CARRIED_HEADERS] as string | undefined) ?? null),
          ...(request.headers[FRAMED] === undefined ? { body: sent } : unframed(sent)),
          signal: gone.signal,
        },
        { meta },
      );
      const status = String(open.response.status);
      const { reason, headers, trailers, body } = open.response;
      const isFramed = request.headers[TAKES_FRAMED] === 'trailers' && trailers !== undefined;
      response.writeHead(200, [
        'agnt2-status',
        status,
        CARRIED_HEADERS,
        packHeaders(headers),
        ...(reason === undefined ? [] : [CARRIED_REASON, packHeaders([['reason', reason]])]),
        ...(isFramed ? [FRAMED, 'trailers'] : []),
      ]);
      response.flushHeaders();
      for await (const chunk of isFramed ? framed(body, trailers) : body)
        if (!response.write(chunk))
          await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
      response.end();
    } catch (error) {
      if (response.headersSent) response.destroy();
      else fail(409, codeOf(error));
    }
  }

  async #upgrade(sockets: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = new URL(request.url!, this.url);
    const query = (name: string): string => url.searchParams.get(name) ?? '';
    const match = /^\/(agents|sessions)\/([\d:]+)\/socket$/.exec(url.pathname);
    const [agent, timeMs, nonce] = [parseId(query('agent')), Number(query('timeMs')), query('nonce')];
    let key = this.shards.holding(agent).keyOf(agent);
    if (match?.[1] === 'sessions') {
      const session = parseId(match[2]);
      const machine = this.shards.holding(session);
      key = machine.readSession(session, machine.partyOf(machine.readSession(session), agent) + 1);
    }
    const preimage = this.signing.connect({ agent, room: url.pathname, timeMs, nonce: unhex(nonce, 32) });
    const valid =
      Math.abs(timeMs - Date.now()) < 60_000 &&
      !this.#nonces.has(nonce) &&
      (await verifyP256(key, preimage, unhex(query('signature'))));
    this.#nonces.add(nonce);
    if (!match || !valid || (match[1] === 'sessions' && this.deadRelays))
      return void socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (ws) =>
      match[1] === 'agents' ? this.#join(match[2], ws) : this.#relay(match[2], query('agent'), ws),
    );
  }

  #join(agent: string, ws: WebSocket): void {
    this.#mailboxes.get(agent)?.ws.close();
    const wire = packetSocket(ws as unknown as Parameters<typeof packetSocket>[0]);
    const mux = new CallMux({
      send: (packet) => wire.send(packet),
      buffered: () => wire.buffered(),
      numbering: 'all',
      digests: false,
    });
    const mailbox = { mux, ws };
    this.#mailboxes.set(agent, mailbox);
    wire.listen(
      (packet) => mux.receive(packet),
      () => {
        mux.close();
        if (this.#mailboxes.get(agent) === mailbox) this.#mailboxes.delete(agent);
      },
    );
  }

  #relay(session: string, party: string, ws: WebSocket): void {
    const relay = this.#relays.get(session) ?? new Map<string, WebSocket>();
    this.#relays.set(session, relay);
    relay.get(party)?.close();
    relay.set(party, ws);
    const other = (): WebSocket | undefined => [...relay].find(([name]) => name !== party)?.[1];
    ws.on('message', (data: Buffer) => {
      this.relayed.set(data[0], (this.relayed.get(data[0]) ?? 0) + 1);
      other()?.send(data);
    });
    ws.on('close', () => {
      if (relay.get(party) !== ws) return;
      relay.delete(party);
      other()?.send(encodeError('peer_offline', 'gone'));
    });
    if (relay.size === 2) for (const each of relay.values()) each.send(encodeError('peer_online', 'both are here'));
  }
}

/** Thrown where the connection shall break instead of answering. */
class LostAnswer extends Agnt2Error {
  constructor() {
    super('lost', 'the answer is lost');
  }
}

/** Hono on node:http, bodies whole: nothing but JSON and bundles comes this way. */
async function answer(app: Hono, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = chunks.length > 0 ? new Uint8Array(Buffer.concat(chunks)) : undefined;
  const result = await app.fetch(
    new Request(`http://gateway${request.url}`, {
      method: request.method,
      headers: request.headers as Record<string, string>,
      body,
    }),
  );
  const text = await result.text();
  if (text.includes('"code":"lost"')) return void response.destroy();
  response.writeHead(result.status, { 'content-type': 'application/json' }).end(text);
}

/** Sockets and first-contact calls: the gateway says who is there, the objects behind it carry the bytes. */
import { type Hex, hex } from '../../protocol/bytes.ts';
import { SessionStatus } from '../../protocol/cells.ts';
import { formatId, parseId } from '../../protocol/ids.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { agentRoom, sessionRoom } from '../../protocol/packet.ts';
import { CLOCK_MS } from './directory.ts';
import { type Ctx, shardHolding, signingOf } from './env.ts';
import { bytesFrom, countFrom, idFrom, idParam } from './input.ts';
import { machineKey } from './keys.ts';
import { agentStub, sessionStub } from './objects.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

/** Headers that only the gateway may set: whatever a client sends under these names is dropped. */
const TRUSTED = ['agnt2-party', 'agnt2-agent'] as const;
/** An object takes whoever upgrades for the one the gateway has authenticated: a call must never look like that. */
const UPGRADE = 'upgrade';

interface Connect {
  readonly agent: number;
  readonly timeMs: number;
  readonly nonce: Uint8Array;
  readonly signature: Uint8Array;
}

function readConnect(c: Ctx): Connect {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    throw problem('upgrade_required', 'this is a WebSocket: ask with Upgrade: websocket');
  const query = (name: string): string => c.req.query(name) ?? '';
  const connect = {
    agent: idFrom(query('agent'), 'agent'),
    timeMs: countFrom(query('timeMs'), 'timeMs'),
    nonce: bytesFrom(query('nonce'), 'nonce', 32),
    signature: bytesFrom(query('signature'), 'signature', 64),
  };
  if (Math.abs(Date.now() - connect.timeMs) > CLOCK_MS)
    throw problem('expired', 'timeMs is more than 60 seconds from our time');
  return connect;
}

/** Throws unless `key` signed this connect for this room, for the first time. */
async function admit(
  c: Ctx,
  { agent, timeMs, nonce, signature }: Connect,
  room: string,
  key: Uint8Array,
): Promise<void> {
  const preimage = signingOf(c.env).connect({ agent, room, timeMs, nonce });
  if (!(await verifyP256(key, preimage, signature)))
    throw problem('bad_signature', `not a Connect to ${room} by ${formatId(agent)}`);
  if (!(await shardHolding(c.env, agent).claimNonce(hex(nonce), timeMs)))
    throw problem('nonce_used', 'this nonce was used: sign another one');
}

/** The request as an object may see it: without what clients must not say, with what we say. */
function forwarded(c: Ctx, trusted: Readonly<Partial<Record<(typeof TRUSTED)[number], string>>>): Request {
  const headers = new Headers(c.req.raw.headers);
  for (const name of TRUSTED) headers.delete(name);
  for (const [name, value] of Object.entries(trusted)) headers.set(name, value);
  return new Request(c.req.raw, { headers });
}

async function agentSocket(c: Ctx): Promise<Response> {
  const id = idParam(c);
  const connect = readConnect(c);
  if (connect.agent !== id) throw problem('forbidden', 'an agent’s socket is for that agent alone');
  shardHolding(c.env, id);
  const key = await machineKey(c.env, id, true);
  if (!key) throw problem('unknown_agent', `there is no agent ${formatId(id)}`);
  await admit(c, connect, agentRoom(formatId(id)), key);
  return noted(
    c,
    { kind: 'agent', id: formatId(id), event: 'online' },
    agentStub(c.env, formatId(id)).fetch(forwarded(c, { 'agnt2-agent': formatId(id) })),
  );
}

/** A join that worked is told to the feed of the id's shard. */
async function noted(
  c: Ctx,
  event: { kind: string; id: string; event: string; agent?: string },
  join: Promise<Response>,
): Promise<Response> {
  const response = await join;
  if (response.status === 101) await shardHolding(c.env, parseId(event.id)).note(event);
  return response;
}

async function sessionSocket(c: Ctx): Promise<Response> {
  const id = idParam(c);
  const connect = readConnect(c);
  const facts = await shardHolding(c.env, id).sessionFacts(id);
  if (!facts) throw problem('unknown_session', `there is no session ${formatId(id)}`);
  const party = connect.agent === facts.a ? 'a' : connect.agent === facts.b ? 'b' : null;
  if (!party) throw problem('not_party', `${formatId(connect.agent)} is not of session ${formatId(id)}`);
  if (facts.status === SessionStatus.closed) throw problem('session_closed', `session ${formatId(id)} is closed`);
  await admit(c, connect, sessionRoom(formatId(id)), party === 'a' ? facts.keyA : facts.keyB);
  const object = sessionStub(c.env, formatId(id));
  await object.configure({ ...facts, domain: { chainId: Number(c.env.CHAIN_ID), root: c.env.ROOT_ADDRESS as Hex } });
  const event = { kind: 'session', id: formatId(id), event: 'connect', agent: formatId(connect.agent) };
  return noted(c, event, object.fetch(forwarded(c, { 'agnt2-party': party })));
}

/** A first-contact call: streamed to the callee's sidecar and back. */
async function call(c: Ctx): Promise<Response> {
  const id = idParam(c);
  if (!(await shardHolding(c.env, id).key(id))) throw problem('unknown_agent', `there is no agent ${formatId(id)}`);
  const request = forwarded(c, { 'agnt2-agent': formatId(id) });
  request.headers.delete(UPGRADE);
  return agentStub(c.env, formatId(id)).fetch(request);
}

const CONNECT = {
  agent: 'who connects, shard:serial',
  timeMs: 'now, within 60 s of the gateway’s',
  nonce: '32 bytes as 0x hex, never used before',
  signature: '64 bytes as 0x hex over Connect(agent, room = this path, timeMs, nonce)',
};

export const socketRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/agents/{id}/socket',
    summary: 'WebSocket of an agent’s sidecar: first-contact calls come in here (docs/protocol.md §8).',
    query: CONNECT,
    answer: { status: 101, description: 'binary packets' },
    problems: [
      'malformed',
      'upgrade_required',
      'expired',
      'forbidden',
      'wrong_shard',
      'unknown_agent',
      'bad_signature',
      'nonce_used',
    ],
    handle: agentSocket,
  },
  {
    method: 'get',
    path: '/sessions/{id}/socket',
    summary: 'WebSocket of one party of a session; signed with the key that the session pinned.',
    query: CONNECT,
    answer: { status: 101, description: 'binary packets' },
    problems: [
      'malformed',
      'upgrade_required',
      'expired',
      'wrong_shard',
      'unknown_session',
      'not_party',
      'session_closed',
      'bad_signature',
      'nonce_used',
    ],
    handle: sessionSocket,
  },
  {
    method: 'post',
    path: '/agents/{id}/calls',
    summary: 'Calls an agent’s HTTP service through Core; request and response bodies stream.',
    headers: {
      'agnt2-escrow': 'the escrow that pays, shard:serial',
      'agnt2-frame': 'the frame whose invoke opened it, shard:seq',
      'agnt2-index': 'that invoke’s index in its bundle',
      'agnt2-method': 'method of the call',
      'agnt2-target': 'path and query of the call',
      'agnt2-session': 'instead of a call: tells the callee’s sidecar of a session opened with it',
      'agnt2-headers': 'the call’s own headers, base64url of JSON pairs',
      'agnt2-framed': 'trailers: the body is framed, with its trailers at the end',
      'agnt2-takes': 'trailers: the answer’s body may be framed so',
    },
    body: { '*/*': 'the call’s body' },
    answer: {
      type: '*/*',
      description:
        'the app’s response, its status in agnt2-status, its headers in agnt2-headers, a reason of its own in agnt2-reason; framed if it says agnt2-framed',
    },
    problems: ['malformed', 'wrong_shard', 'unknown_agent', 'agent_offline'],
    handle: call,
  },
];

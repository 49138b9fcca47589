/** The gateway as its tests call it. */
import { exports } from 'cloudflare:workers';
import { hex } from '../../protocol/bytes.ts';
import { sha } from '../../protocol/hash.ts';
import { formatId } from '../../protocol/ids.ts';
import { type TestAgent, signing } from '../../durable/shard/testing.ts';

type Json = Record<string, unknown>;

const worker = exports as unknown as { default: { fetch(input: string, init?: RequestInit): Promise<Response> } };

export const call = (path: string, init?: RequestInit): Promise<Response> =>
  worker.default.fetch(`http://gateway${path}`, init);

export async function getJson<T = Json>(path: string): Promise<T> {
  const answer = await call(path);
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

export const postBundle = (frame: Uint8Array, type = 'application/octet-stream'): Promise<Response> =>
  call('/bundles', { method: 'POST', body: frame as BodyInit, headers: { 'content-type': type } });

/** Status and code of a problem; throws when it is none. */
export async function problemOf(answer: Response): Promise<{ status: number; code: string; body: Json }> {
  const body = await answer.json<Json>();
  if (answer.headers.get('content-type') !== 'application/problem+json')
    throw new Error(`no problem: ${JSON.stringify(body)}`);
  if (body.status !== answer.status || body.type !== `urn:agnt2:problem:${String(body.code)}`)
    throw new Error(`a crooked problem: ${JSON.stringify(body)}`);
  return { status: answer.status, code: String(body.code), body };
}

/** Query of a `Connect` by an agent to a room. */
export async function connectQuery(
  agent: TestAgent,
  room: string,
  timeMs = Date.now(),
  nonce = crypto.getRandomValues(new Uint8Array(32)),
): Promise<string> {
  const signature = await agent.key.sign(signing.connect({ agent: agent.id, room, timeMs, nonce }));
  return `agent=${formatId(agent.id)}&timeMs=${timeMs}&nonce=${hex(nonce)}&signature=${hex(signature)}`;
}

/** PUTs a directory record, signed by an agent. */
export async function announce(agent: TestAgent, name: string, record: Json, timeMs = Date.now()): Promise<Response> {
  const body = new TextEncoder().encode(JSON.stringify({ name, ...record }));
  const signature = await agent.key.sign(signing.announce({ agent: agent.id, contentHash: sha(body), timeMs }));
  const headers = {
    'content-type': 'application/json',
    'agnt2-signature': hex(signature),
    'agnt2-time': String(timeMs),
  };
  return call(`/directory/${name}`, { method: 'PUT', body, headers });
}

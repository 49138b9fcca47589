/** Agents and their services, with what the directory says of them. */
import { directory } from '../../durable/directory.ts';
import type { RecordJson } from '../../durable/shard/json.ts';
import { fromUtf8, hex } from '../../protocol/bytes.ts';
import { sha } from '../../protocol/hash.ts';
import { formatId, makeId, shardOf } from '../../protocol/ids.ts';
import { agentStub } from './objects.ts';
import { type Ctx, type Env, allShards, shardHolding, shardNumbered } from './env.ts';
import { jsonObject } from './directory.ts';
import { afterQuery, hexQuery, idParam, idQuery, limitQuery, mediaType, readBody } from './input.ts';
import type { Page, PageQuery, ShardRpc } from '../../durable/shard/api.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const MAX_DOCUMENT = 64 * 1024;

/** A page of records across shards, or of the one that alone can have them: by shard, then serial; `next` is the id of the last one looked at. */
export async function pageOf<T = RecordJson>(
  c: Ctx,
  read: (shard: ShardRpc, query: PageQuery) => Promise<Page<T>>,
  only?: number,
): Promise<{ items: T[]; next?: string }> {
  const after = afterQuery(c);
  const limit = limitQuery(c);
  const items: T[] = [];
  const shards = only === undefined ? [...allShards(c.env).entries()] : [[only, shardNumbered(c.env, only)] as const];
  const last = shards.at(-1)![0];
  for (const [number, shard] of shards) {
    if (number < after.shard) continue;
    const page = await read(shard, { after: number === after.shard ? after.serial : 0, limit: limit - items.length });
    items.push(...page.items);
    if (page.next !== undefined) return { items, next: formatId(makeId(number, page.next)) };
    if (items.length >= limit && number < last) return { items, next: formatId(makeId(number + 1, 0)) };
  }
  return { items };
}

/** The shard of an id that a list was asked for by; undefined without one. */
export const shardOfQuery = (id: number | undefined): number | undefined =>
  id === undefined ? undefined : shardOf(id);

async function withName(env: Env, agent: RecordJson): Promise<RecordJson> {
  const name = await directory(env.DIRECTORY).nameOf(String(agent.id));
  return name === null ? agent : { ...agent, name };
}

/** Name, description and presence: what the cell does not hold. */
async function agentJson(env: Env, agent: RecordJson): Promise<RecordJson> {
  const [named, online] = await Promise.all([withName(env, agent), agentStub(env, String(agent.id)).online()]);
  const record = named.name === undefined ? null : await directory(env.DIRECTORY).lookup(String(named.name));
  return { ...named, ...(record?.description ? { description: record.description } : {}), online };
}

async function withMetadata(env: Env, service: RecordJson): Promise<Record<string, unknown>> {
  const document = await directory(env.DIRECTORY).document(String(service.id));
  if (!document || document.hash !== service.metadataHash) return { ...service, metadata: null };
  const bytes = Uint8Array.from(atob(document.base64), (char) => char.charCodeAt(0));
  return { ...service, metadata: JSON.parse(fromUtf8(bytes)) as unknown };
}

async function agentOf(c: Ctx): Promise<RecordJson> {
  const id = idParam(c);
  const agent = await shardHolding(c.env, id).agent(id);
  if (!agent) throw problem('unknown_agent', `there is no agent ${formatId(id)}`);
  return agent;
}

async function serviceOf(c: Ctx): Promise<RecordJson> {
  const id = idParam(c);
  const service = await shardHolding(c.env, id).service(id);
  if (!service) throw problem('unknown_service', `there is no service ${formatId(id)}`);
  return service;
}

/** Stores the document a service's cell commits to: whoever brings it, only those bytes fit. */
async function putMetadata(c: Ctx): Promise<Response> {
  mediaType(c.req.raw, ['application/json']);
  const service = await serviceOf(c);
  const bytes = await readBody(c.req.raw, MAX_DOCUMENT);
  const metadata = jsonObject(bytes);
  const hash = hex(sha(bytes));
  if (hash !== service.metadataHash)
    throw problem(
      'hash_mismatch',
      `the service's metadataHash is ${String(service.metadataHash)}, this document's is ${hash}`,
    );
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  await directory(c.env.DIRECTORY).putDocument(String(service.id), { hash, base64: btoa(binary) });
  return c.json({ ...service, metadata });
}

const PAGING = { after: 'id of the last record not wanted', limit: 'at most 100' };

export const agentRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/agents',
    summary: 'Lists agents, oldest first.',
    query: {
      ...PAGING,
      owner: 'of this owner (20 bytes hex)',
      key: 'with this machine key (keccak(x ‖ y), 32 bytes hex)',
    },
    answer: { description: '{agents: [Agent], next?}' },
    problems: ['malformed'],
    handle: async (c) => {
      const filter = { owner: hexQuery(c, 'owner', 20), key: hexQuery(c, 'key', 32) };
      const { items, next } = await pageOf(c, (shard, query) => shard.agents({ ...query, ...filter }));
      return c.json({ agents: await Promise.all(items.map((agent) => withName(c.env, agent))), next });
    },
  },
  {
    method: 'get',
    path: '/agents/{id}',
    summary: 'One agent: its cell’s fields, its name, and whether its sidecar is connected.',
    answer: {
      description:
        '{id, owner, balance, stake, nonce, epoch, completed, failed, volume, ratings, ratingSum, name?, description?, online}',
    },
    problems: ['malformed', 'wrong_shard', 'unknown_agent'],
    handle: async (c) => c.json(await agentJson(c.env, await agentOf(c))),
  },
  {
    method: 'get',
    path: '/agents/{id}/key',
    summary: 'An agent’s machine key.',
    answer: { description: '{x, y, epoch}' },
    problems: ['malformed', 'wrong_shard', 'unknown_agent'],
    handle: async (c) => {
      const id = idParam(c);
      const found = await shardHolding(c.env, id).key(id);
      if (!found) throw problem('unknown_agent', `there is no agent ${formatId(id)}`);
      return c.json({ x: hex(found.key.subarray(0, 32)), y: hex(found.key.subarray(32)), epoch: found.epoch });
    },
  },
  {
    method: 'get',
    path: '/services',
    summary: 'Lists services with their documents.',
    query: { ...PAGING, provider: 'of this agent' },
    answer: { description: '{services: [Service], next?}' },
    problems: ['malformed', 'wrong_shard'],
    handle: async (c) => {
      const provider = idQuery(c, 'provider');
      // A service stands on its provider's shard.
      const read = (shard: ShardRpc, query: PageQuery) => shard.services({ ...query, provider });
      const { items, next } = await pageOf(c, read, shardOfQuery(provider));
      return c.json({ services: await Promise.all(items.map((service) => withMetadata(c.env, service))), next });
    },
  },
  {
    method: 'get',
    path: '/services/{id}',
    summary: 'One service with its document (null while nobody has brought it).',
    answer: {
      description:
        '{id, provider, active, ceiling, deadlineSeconds, arbiter, contestSeconds, metadataHash, version, metadata}',
    },
    problems: ['malformed', 'wrong_shard', 'unknown_service'],
    handle: async (c) => c.json(await withMetadata(c.env, await serviceOf(c))),
  },
  {
    method: 'put',
    path: '/services/{id}/metadata',
    summary: 'Brings the document whose SHA-256 is the service’s metadataHash.',
    body: { 'application/json': 'a JSON object of at most 64 KiB, byte for byte as it was hashed' },
    answer: { description: 'the service with its document' },
    problems: ['malformed', 'too_large', 'unsupported_media_type', 'wrong_shard', 'unknown_service', 'hash_mismatch'],
    handle: putMetadata,
  },
];

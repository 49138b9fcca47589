/** Names and what they stand for. */
import { directory } from '../../durable/directory.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { fromUtf8 } from '../../protocol/bytes.ts';
import { sha } from '../../protocol/hash.ts';
import { formatId, parseId } from '../../protocol/ids.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { type Ctx, shardHolding, signingOf } from './env.ts';
import { bytesFrom, countFrom, countQuery, limitQuery, mediaType, readBody } from './input.ts';
import { machineKey } from './keys.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const MAX_BODY = 8 * 1024;
const MAX_DESCRIPTION = 500;
const MAX_SERVICES = 64;
/** How far an announcement's time may be from ours. */
export const CLOCK_MS = 60_000;

function nameParam(c: Ctx): string {
  const name = c.req.param('name') ?? '';
  if (!NAME.test(name)) throw problem('malformed', 'a name has 1 to 63 of a-z, 0-9 and -, and does not start with -');
  return name;
}

export function jsonObject(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof Agnt2Error)) throw error;
  }
  throw problem('malformed', 'the body is not a JSON object in UTF-8');
}

const idOf = (value: unknown, what: string): number => {
  try {
    return parseId(typeof value === 'string' ? value : '');
  } catch {
    throw problem('malformed', `${what}: expected an id like 0:7`);
  }
};

function readRecord(body: Record<string, unknown>): {
  agent: number;
  services: string[];
  description: string;
  timeMs: unknown;
} {
  const agent = idOf(body.agent, 'agent');
  const services = body.services ?? [];
  if (!Array.isArray(services) || services.length > MAX_SERVICES)
    throw problem('malformed', `services: expected at most ${MAX_SERVICES} ids`);
  const description = body.description ?? '';
  if (typeof description !== 'string' || description.length > MAX_DESCRIPTION) {
    throw problem('malformed', `description: expected text of at most ${MAX_DESCRIPTION} characters`);
  }
  return {
    agent,
    services: services.map((service) => formatId(idOf(service, 'services'))),
    description,
    timeMs: body.timeMs,
  };
}

async function putName(c: Ctx): Promise<Response> {
  const name = nameParam(c);
  mediaType(c.req.raw, ['application/json']);
  const bytes = await readBody(c.req.raw, MAX_BODY);
  const body = jsonObject(bytes);
  // An Announce does not say the path, so the body does: it can't be replayed under another name.
  if (body.name !== name) throw problem('malformed', 'name: not the one of the path');
  const { agent, services, description, timeMs: bodyTime } = readRecord(body);
  const timeMs = countFrom(c.req.header('agnt2-time') ?? String(bodyTime), 'agnt2-time');
  if (Math.abs(Date.now() - timeMs) > CLOCK_MS)
    throw problem('expired', 'the announcement is more than 60 seconds from our time');
  const signature = bytesFrom(c.req.header('agnt2-signature') ?? '', 'agnt2-signature', 64);
  shardHolding(c.env, agent);
  const key = await machineKey(c.env, agent, true);
  if (!key) throw problem('unknown_agent', `there is no agent ${formatId(agent)}`);
  const preimage = signingOf(c.env).announce({ agent, contentHash: sha(bytes), timeMs });
  if (!(await verifyP256(key, preimage, signature)))
    throw problem('bad_signature', `not an Announce of these bytes by ${formatId(agent)}`);
  const result = await directory(c.env.DIRECTORY).claim({
    name,
    agent: formatId(agent),
    services,
    description,
    timeMs,
  });
  if ('refused' in result) {
    if (result.refused === 'name_taken') throw problem('name_taken', `another agent holds ${name}`);
    throw problem('replayed', 'a newer announcement of this name is known');
  }
  await shardHolding(c.env, agent).note({ kind: 'agent', id: formatId(agent), name, event: 'announce' });
  return c.json(result.record);
}

export const directoryRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/directory',
    summary: 'Lists names in the order in which they were first claimed.',
    query: { after: 'place to go on from', limit: 'at most 100' },
    answer: { description: '{records: [{name, agent, services, description, timeMs}], next?}' },
    problems: ['malformed'],
    handle: async (c) =>
      c.json(await directory(c.env.DIRECTORY).list(countQuery(c, 'after', 2 ** 31) ?? 0, limitQuery(c))),
  },
  {
    method: 'get',
    path: '/directory/{name}',
    summary: 'Resolves a name.',
    answer: { description: '{name, agent, services, description, timeMs}' },
    problems: ['malformed', 'not_found'],
    handle: async (c) => {
      const name = nameParam(c);
      const record = await directory(c.env.DIRECTORY).lookup(name);
      if (!record) throw problem('not_found', `nobody holds ${name}`);
      return c.json(record);
    },
  },
  {
    method: 'put',
    path: '/directory/{name}',
    summary: 'Claims a name, first come, first served, or changes what it stands for.',
    headers: {
      'agnt2-signature': '64 bytes as 0x hex: Announce over the SHA-256 of the body, by the agent in it',
      'agnt2-time': 'timeMs of the Announce, within 60 s of the gateway’s; may stand in the body as timeMs instead',
    },
    body: { 'application/json': '{agent, services?, description?, name?, timeMs?}' },
    answer: { description: 'the record' },
    problems: [
      'malformed',
      'too_large',
      'unsupported_media_type',
      'expired',
      'unknown_agent',
      'wrong_shard',
      'bad_signature',
      'name_taken',
      'replayed',
    ],
    handle: putName,
  },
];

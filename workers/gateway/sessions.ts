/** Sessions: their cells, and what their objects know of them right now. */
import type { RecordJson } from '../../durable/shard/json.ts';
import { formatId } from '../../protocol/ids.ts';
import { pageOf } from './agents.ts';
import { type Env, shardHolding } from './env.ts';
import { idParam, idQuery } from './input.ts';
import { sessionStub } from './objects.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

/** A closed session's object has nothing live to say. */
async function withLive(env: Env, session: RecordJson): Promise<Record<string, unknown>> {
  if (session.status === 'closed') return session;
  const { connected, ...live } = await sessionStub(env, String(session.id)).live();
  const here = [connected.a ? session.a : null, connected.b ? session.b : null].filter((agent) => agent !== null);
  return { ...session, live: { connected: here, ...live } };
}

const SHAPE =
  '{id, a, b, depositA, depositB, paidAB, paidBA, callsAB, callsBA, exitAt, exitDelay, status, rootAB, rootBA, keyA, keyB, address, live?}';

export const sessionRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/sessions',
    summary: 'Lists sessions, oldest first.',
    query: { after: 'id of the last session not wanted', limit: 'at most 100', agent: 'of this agent' },
    answer: { description: '{sessions: [Session], next?}' },
    problems: ['malformed'],
    handle: async (c) => {
      const agent = idQuery(c, 'agent');
      const { items, next } = await pageOf(c, (shard, query) => shard.sessions({ ...query, agent }));
      return c.json({ sessions: await Promise.all(items.map((session) => withLive(c.env, session))), next });
    },
  },
  {
    method: 'get',
    path: '/sessions/{id}',
    summary: 'One session; while it is not closed, with who is connected and the newest half of each direction.',
    answer: { description: SHAPE },
    problems: ['malformed', 'wrong_shard', 'unknown_session'],
    handle: async (c) => {
      const id = idParam(c);
      const session = await shardHolding(c.env, id).session(id);
      if (!session)
        throw problem('unknown_session', `there is no session ${formatId(id)}, or its place was taken over`);
      return c.json(await withLive(c.env, session));
    },
  },
];

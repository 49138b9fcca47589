/** Capabilities and workflows. */
import { formatId } from '../../protocol/ids.ts';
import type { PageQuery, ShardRpc } from '../../durable/shard/api.ts';
import { pageOf, shardOfQuery } from './agents.ts';
import { shardHolding } from './env.ts';
import { idParam, idQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

export const recordRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/capabilities',
    summary: 'Lists capabilities, oldest first; a page may be short of its limit and still have a next.',
    query: {
      after: 'id of the last capability not wanted',
      limit: 'at most 100',
      grantor: 'that this agent pays for',
      grantee: 'that this agent may use',
    },
    answer: { description: '{capabilities: [Capability], next?}' },
    problems: ['malformed', 'wrong_shard'],
    handle: async (c) => {
      const [grantor, grantee] = [idQuery(c, 'grantor'), idQuery(c, 'grantee')];
      // A capability stands on its grantor's shard.
      const read = (shard: ShardRpc, query: PageQuery) => shard.capabilities({ ...query, grantor, grantee });
      const { items, next } = await pageOf(c, read, shardOfQuery(grantor));
      return c.json({ capabilities: items, next });
    },
  },
  {
    method: 'get',
    path: '/capabilities/{id}',
    summary: 'One capability: who may spend whose money, on what, up to how much, until when.',
    answer: { description: '{id, grantor, grantee, service, limit, used, expiry, revoked}' },
    problems: ['malformed', 'wrong_shard', 'unknown_capability'],
    handle: async (c) => {
      const id = idParam(c);
      const capability = await shardHolding(c.env, id).capability(id);
      if (!capability) throw problem('unknown_capability', `there is no capability ${formatId(id)}`);
      return c.json(capability);
    },
  },
  {
    method: 'get',
    path: '/workflows',
    summary: 'Lists workflows, oldest first; a page may be short of its limit and still have a next.',
    query: { after: 'id of the last workflow not wanted', limit: 'at most 100', planner: 'planned by this agent' },
    answer: { description: '{workflows: [Workflow], next?}' },
    problems: ['malformed', 'wrong_shard'],
    handle: async (c) => {
      const planner = idQuery(c, 'planner');
      const read = (shard: ShardRpc, query: PageQuery) => shard.workflows({ ...query, planner });
      const { items, next } = await pageOf(c, read, shardOfQuery(planner));
      return c.json({ workflows: items, next });
    },
  },
  {
    method: 'get',
    path: '/workflows/{id}',
    summary: 'One workflow with its legs.',
    answer: {
      description: '{id, planner, deadline, status, legs: [{payer, service, escrow, done, told}], address}',
    },
    problems: ['malformed', 'wrong_shard', 'unknown_workflow'],
    handle: async (c) => {
      const id = idParam(c);
      const workflow = await shardHolding(c.env, id).workflow(id);
      if (!workflow)
        throw problem('unknown_workflow', `there is no workflow ${formatId(id)}, or its place was taken over`);
      return c.json(workflow);
    },
  },
];

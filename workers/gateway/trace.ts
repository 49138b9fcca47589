/** The log: chunks, frames and receipts. */
import { receiptToJson } from '../../protocol/receipt.ts';
import { shardNumbered } from './env.ts';
import { countParam, countQuery, limitQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const MAX_SHARD = 255;

export const traceRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/shards/{s}/chunks',
    summary: 'Lists chunks, newest last, decoded. A page ends early when its chunks are large.',
    query: { after: 'number of the last chunk not wanted', limit: 'at most 100' },
    answer: {
      description: '{chunks: [{shard, number, firstSeq, frames: [Frame], timeMs, runningHash, batch?}], next?}',
    },
    problems: ['malformed', 'wrong_shard'],
    handle: async (c) => {
      const shard = shardNumbered(c.env, countParam(c, 's', MAX_SHARD));
      const { items, next } = await shard.chunks({ after: countQuery(c, 'after'), limit: limitQuery(c) });
      return c.json({ chunks: items, next });
    },
  },
  {
    method: 'get',
    path: '/shards/{s}/chunks/{n}',
    summary: 'One chunk, decoded.',
    answer: { description: '{shard, number, firstSeq, frames: [Frame], timeMs, runningHash, batch?}' },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: async (c) => {
      const number = countParam(c, 'n');
      const chunk = await shardNumbered(c.env, countParam(c, 's', MAX_SHARD)).chunk(number);
      if (!chunk) throw problem('not_found', `there is no chunk ${number} yet`);
      return c.json(chunk);
    },
  },
  {
    method: 'get',
    path: '/shards/{s}/frames/{seq}',
    summary: 'One frame, decoded, with its bytes, outcomes, receipt, chunk and batch.',
    answer: {
      description:
        '{shard, seq, kind, bytes, steps: [{status, value}], time?, item?, bundle?, chunk, batch?, receipt?}',
    },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: async (c) => {
      const seq = countParam(c, 'seq');
      const shard = shardNumbered(c.env, countParam(c, 's', MAX_SHARD));
      const [frame, receipt] = await Promise.all([shard.frame(seq), shard.receipt(seq)]);
      if (!frame) throw problem('not_found', `there is no frame ${seq} yet`);
      return c.json({ ...frame, ...(receipt ? { receipt: receiptToJson(receipt) } : {}) });
    },
  },
  {
    method: 'get',
    path: '/receipts/{s}/{seq}',
    summary: 'The signed receipt of a frame. Signed again when asked for: the same promise under another signature.',
    answer: { description: '{shard, seq, frameHash, runningHash, outcomes: [{status, value}], promisedBy, signature}' },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: async (c) => {
      const seq = countParam(c, 'seq');
      const receipt = await shardNumbered(c.env, countParam(c, 's', MAX_SHARD)).receipt(seq);
      if (!receipt) throw problem('not_found', `there is no frame ${seq} yet`);
      return c.json(receiptToJson(receipt));
    },
  },
];

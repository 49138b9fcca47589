/** Batches, what is in them, and what L1 needs to pay a withdrawal out. */
import type { BatchRecord } from '../../durable/shard/api.ts';
import type { BatchJson } from '../../durable/shard/json.ts';
import { hex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { stepsOf } from '../../protocol/engine.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { inclusionPath, keccak } from '../../protocol/log.ts';
import { frameLeaf } from '../../protocol/trace.ts';
import { StateTree } from '../../protocol/trie.ts';
import { wholeOf } from '../settlement/modes/whole.ts';
import { orderOf, readRecords } from '../settlement/order.ts';
import { type Ctx, type Env, allShards, shardHolding, shardNumbered } from './env.ts';
import { countParam, countQuery, idParam, limitQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';
import { levels } from './state.ts';

const BYTES = 'application/octet-stream';

function batchJson({
  number,
  header,
  hash,
  stateRoot,
  state,
  tx,
  block,
  postedAt,
  finalAt,
  ranges,
}: BatchRecord): BatchJson {
  const l1 = { state, tx, block, postedAt, finalAt };
  return {
    number,
    header,
    hash,
    stateRoot,
    l1,
    ranges: ranges.map((range) => ({ ...range, firstSeq: String(range.firstSeq) })),
  };
}

async function batchOf(c: Ctx): Promise<BatchRecord> {
  const number = countParam(c, 'n');
  const batch = await shardNumbered(c.env, 0).batch(number);
  if (!batch) throw problem('not_found', `there is no batch ${number} yet`);
  return batch;
}

/** Leaves of a batch's data in order, with the first step of each. */
async function leavesOf(
  env: Env,
  batch: BatchRecord,
): Promise<{ shard: number; seq: number; firstStep: number; leaf: Uint8Array }[]> {
  const shards = allShards(env);
  const leaves: { shard: number; seq: number; firstStep: number; leaf: Uint8Array }[] = [];
  let firstStep = 0;
  for await (const records of readRecords(shards, await orderOf(shards, batch))) {
    for (const { shard, firstSeq, frames } of records) {
      for (const [i, frame] of frames.entries()) {
        const seq = firstSeq + i;
        leaves.push({ shard, seq, firstStep, leaf: frameLeaf({ shard, seq, firstStep, frame }) });
        firstStep += stepsOf(frame);
      }
    }
  }
  return leaves;
}

async function inclusion(c: Ctx): Promise<Response> {
  const batch = await batchOf(c);
  if (batch.header.da !== Da.calldata)
    throw problem(
      'not_found',
      `no path leads to batch ${batch.number}’s dataRoot, which is of blobs or columns: its data is at /archive/${batch.number}`,
    );
  const [shard, seq] = [countParam(c, 's', 255), countParam(c, 'seq')];
  const inRange = batch.ranges.some(
    (range) => range.shard === shard && seq >= range.firstSeq && seq < range.firstSeq + range.frames,
  );
  if (!inRange) throw problem('not_found', `batch ${batch.number} does not hold frame ${shard}:${seq}`);
  const leaves = await leavesOf(c.env, batch);
  const index = leaves.findIndex((leaf) => leaf.shard === shard && leaf.seq === seq);
  const path = inclusionPath(
    keccak,
    leaves.map(({ leaf }) => leaf),
    index,
  );
  return c.json({
    firstStep: leaves[index].firstStep,
    index,
    size: leaves.length,
    path: path.map(hex),
    dataRoot: batch.header.dataRoot,
  });
}

/** What L1 and members forget: made again from the shards' logs. Whoever gets it checks it against the batch's `dataRoot`. */
async function archived(c: Ctx): Promise<Response> {
  const batch = await batchOf(c);
  if (batch.header.da === Da.calldata)
    throw problem('not_found', `batch ${batch.number} has its data in calldata, which L1 does not forget`);
  const shards = allShards(c.env);
  const order = await orderOf(shards, batch);
  const whole = await wholeOf(() => readRecords(shards, order));
  if ('cannot' in whole) throw problem('unavailable', whole.cannot);
  return c.body(whole.data.slice().buffer, 200, { 'content-type': BYTES });
}

async function withdrawal(c: Ctx): Promise<Response> {
  const batch = await batchOf(c);
  const id = idParam(c, 'outboxId');
  const found = await shardHolding(c.env, id).withdrawal(batch.number, id);
  if (!found)
    throw problem(
      'not_found',
      `withdrawal ${formatId(id)} is not among those that batch ${batch.number} is the first to hold`,
    );
  if (batch.state !== 'final') {
    const more = batch.finalAt === undefined ? {} : { finalAt: batch.finalAt };
    throw problem('not_final', `batch ${batch.number} is ${batch.state}: L1 pays when its window has passed`, more);
  }
  const roots = await Promise.all(
    allShards(c.env).map(async (shard, number) => [number, await shard.rootAt(batch.number)] as const),
  );
  const tree = new StateTree(roots);
  const shard = shardOf(id);
  const proof = levels([...found.siblings, ...tree.siblings(shard)].map(hex));
  return c.json({
    header: batch.header,
    stateRoot: hex(tree.root()),
    shard,
    id: formatId(id),
    cell: hex(found.cell),
    proof,
  });
}

export const batchRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/batches',
    summary: 'Lists batches, oldest first.',
    query: { after: 'number of the last batch not wanted', limit: 'at most 100' },
    answer: {
      description:
        '{batches: [{number, header, hash, stateRoot, l1: {state, tx?, block?, postedAt?, finalAt?}, ranges}], next?}',
    },
    problems: ['malformed'],
    handle: async (c) => {
      const limit = limitQuery(c);
      const batches = await shardNumbered(c.env, 0).batches({ after: countQuery(c, 'after'), limit: limit + 1 });
      const next = batches.length > limit ? batches[limit - 1].number : undefined;
      return c.json({ batches: batches.slice(0, limit).map(batchJson), next });
    },
  },
  {
    method: 'get',
    path: '/batches/{n}',
    summary: 'One batch: its header, where it stands at L1, and the frames it holds.',
    answer: {
      description:
        '{number, header, hash, stateRoot, l1: {state, tx?, block?, postedAt?, finalAt?}, ranges: [{shard, firstSeq, frames}]}',
    },
    problems: ['malformed', 'not_found'],
    handle: async (c) => c.json(batchJson(await batchOf(c))),
  },
  {
    method: 'get',
    path: '/batches/{n}/frames/{s}/{seq}',
    summary: 'Proof that a batch’s data in calldata holds a frame.',
    answer: { description: '{firstStep, index, size, path: [hash from the leaf up], dataRoot}' },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: inclusion,
  },
  {
    method: 'get',
    path: '/archive/{n}',
    summary: 'The data of a batch that is not in calldata, also when L1 or its committee have forgotten it.',
    answer: { type: BYTES, description: 'the data (docs/protocol.md §12)' },
    problems: ['malformed', 'not_found', 'unavailable'],
    handle: archived,
  },
  {
    method: 'get',
    path: '/batches/{n}/withdrawals/{outboxId}',
    summary: 'All that Root.withdraw needs of a withdrawal that this batch is the first to hold.',
    answer: { description: '{header, stateRoot, shard, id, cell, proof: 16 × 3 hashes from the leaf up}' },
    problems: ['malformed', 'wrong_shard', 'not_found', 'not_final'],
    handle: withdrawal,
  },
];

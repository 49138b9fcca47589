/** The deployment as a whole: health, status, and the feed of what happens. */
import manifest from '../../package.json' with { type: 'json' };
import { hex, unhex } from '../../protocol/bytes.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { StateTree } from '../../protocol/trie.ts';
import { type Ctx, type Env, allShards, shardNumbered } from './env.ts';
import { countQuery } from './input.ts';
import type { Route } from './route.ts';

export const VERSION: string = manifest.version;
const FEED_PAGE = 100;

let sequencer: { of: string; key: Promise<MachineKey> } | undefined;

/** The public key that receipts verify under; null when this deployment signs none. */
async function sequencerKey(env: Env): Promise<{ x: string; y: string } | null> {
  const of = env.SEQUENCER_KEY;
  if (!of) return null;
  if (sequencer?.of !== of) sequencer = { of, key: MachineKey.import(unhex(of, 32)) };
  const { publicKey } = await sequencer.key;
  return { x: hex(publicKey.subarray(0, 32)), y: hex(publicKey.subarray(32)) };
}

async function status(c: Ctx): Promise<Response> {
  const shards = await Promise.all(allShards(c.env).map((shard) => shard.status()));
  const first = shardNumbered(c.env, 0);
  const [l1, batches, key] = await Promise.all([first.l1(), first.newestBatches(), sequencerKey(c.env)]);
  return c.json({
    version: VERSION,
    chainId: Number(c.env.CHAIN_ID),
    root: c.env.ROOT_ADDRESS,
    unit: l1?.unit ?? null,
    stateRoot: hex(new StateTree(shards.map(({ shard, root }) => [shard, root])).root()),
    shards: shards.map(({ root, seq, balances, ...counts }) => ({
      ...counts,
      seq: String(seq),
      balances: String(balances),
      root: hex(root),
    })),
    sequencerKey: key,
    batches,
    l1: l1 && { head: l1.head, finalized: l1.finalized, inbox: l1.inbox },
    settlement: l1?.settlement ?? null,
  });
}

async function feed(c: Ctx): Promise<Response> {
  const after = countQuery(c, 'after');
  const events = (await Promise.all(allShards(c.env).map((shard) => shard.feed(after))))
    .flat()
    .toSorted((a, b) => a.n - b.n);
  const page = after === undefined ? events.slice(-FEED_PAGE) : events.slice(0, FEED_PAGE);
  return c.json({ cursor: String(page.at(-1)?.n ?? after ?? 0), events: page });
}

export const statusRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/healthz',
    summary: 'Whether every shard answers, and what time it is here.',
    answer: { description: '{ok: true, timeMs}' },
    handle: async (c) => {
      await Promise.all(allShards(c.env).map((shard) => shard.key(0)));
      return c.json({ ok: true, timeMs: Date.now() });
    },
  },
  {
    method: 'get',
    path: '/status',
    summary: 'The deployment: its chain, its shards, the sequencer’s key, the newest batches, and how L1 stood.',
    answer: {
      description:
        '{version, chainId, root, unit, stateRoot, shards: [{shard, seq, time, chunks, agents, services, sessions, escrows, outbox, interactions, balances, root}], sequencerKey, batches: {posted, final}, l1: {head, finalized, inbox}, settlement: {passAtMs, passMs, posterWei?, sent, error?}}',
    },
    handle: status,
  },
  {
    method: 'get',
    path: '/feed',
    summary: 'What happened, newest last; without `after`, the newest hundred events.',
    query: { after: 'the cursor of the page before' },
    answer: { description: '{cursor, events: [{n, kind, timeMs, …}]}' },
    problems: ['malformed'],
    handle: feed,
  },
];

/** The dependency graph: of interactions inside a chunk, of chunks across shards. */
import type { ChunkNode, ChunkOfMessage } from '../../durable/shard/graph.ts';
import { type Ctx, type Env, allShards, shardNumbered } from './env.ts';
import { countParam, countQuery, limitQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const MAX_SHARD = 255;
/** Chunks of one other shard that a chunk is said to depend on, or to be waited for by: each is a question to that shard. */
const MAX_PEER_CHUNKS = 16;

interface Edge {
  readonly shard: number;
  readonly chunk: number;
  /** `log`: it is the next chunk of the same shard; else messages first to last, or an ack up to last. */
  readonly why: 'log' | 'message' | 'ack';
  readonly first?: string;
  readonly number?: string;
}

/** The chunks of `shard` that hold messages first … last, as that shard answers for one of them. */
async function chunksOf(
  shard: number,
  { first, last }: { first: number; last: number },
  ask: (number: number) => Promise<ChunkOfMessage | null>,
): Promise<Edge[]> {
  const edges: Edge[] = [];
  for (let number = first; number <= last && edges.length < MAX_PEER_CHUNKS;) {
    const found = await ask(number);
    if (!found || found.last < number) break;
    const upTo = Math.min(last, found.last);
    edges.push({ shard, chunk: found.chunk, why: 'message', first: String(number), number: String(upTo) });
    number = upTo + 1;
  }
  return edges;
}

async function dependsOn(env: Env, { shard, number, timeMs, received, acked }: ChunkNode): Promise<Edge[]> {
  const before: Edge[] = number === 0 ? [] : [{ shard, chunk: number - 1, why: 'log' }];
  const messages = received.map(async (run) => {
    const peer = shardNumbered(env, run.peer);
    return chunksOf(run.peer, run, (n) => peer.sentIn(shard, n, timeMs));
  });
  const acks = acked.map(async ({ peer, number: last }): Promise<Edge[]> => {
    const found = await shardNumbered(env, peer).receivedIn(shard, last);
    return found ? [{ shard: peer, chunk: found.chunk, why: 'ack', number: String(last) }] : [];
  });
  return [...before, ...(await Promise.all([...messages, ...acks])).flat()];
}

/** What depends on it, as far as it has happened: the next chunk, and those that received what it sent. */
async function neededBy(env: Env, { shard, number, sent }: ChunkNode): Promise<Edge[]> {
  const next = (await shardNumbered(env, shard).chunkNodes(1, number + 1)).at(-1);
  const after: Edge[] = next?.number === number + 1 ? [{ shard, chunk: number + 1, why: 'log' }] : [];
  const messages = sent.map(async (run) => {
    const peer = shardNumbered(env, run.peer);
    return chunksOf(run.peer, run, (n) => peer.receivedIn(shard, n));
  });
  return [...after, ...(await Promise.all(messages)).flat()];
}

async function chunkGraph(c: Ctx): Promise<Response> {
  const number = countParam(c, 'n');
  const graph = await shardNumbered(c.env, countParam(c, 's', MAX_SHARD)).chunkGraph(number);
  if (!graph) throw problem('not_found', `there is no chunk ${number} yet`);
  const { node, links, levels, steps } = graph;
  const [before, after] = await Promise.all([dependsOn(c.env, node), neededBy(c.env, node)]);
  return c.json({
    shard: node.shard,
    chunk: number,
    levels,
    steps,
    dependsOn: before,
    neededBy: after,
    links: links.map(({ seq, kind, peer, number: last }) => ({ seq: String(seq), kind, peer, number: String(last) })),
  });
}

const runsJson = (runs: ChunkNode['sent']) =>
  runs.map(({ peer, first, last }) => ({ peer, first: String(first), last: String(last) }));

async function graph(c: Ctx): Promise<Response> {
  const shards = allShards(c.env);
  const only = countQuery(c, 'shard', MAX_SHARD);
  const to = countQuery(c, 'to');
  if (to !== undefined && only === undefined) throw problem('malformed', 'to: only with shard');
  const asked = only === undefined ? shards : [shardNumbered(c.env, only)];
  const limit = limitQuery(c);
  const nodes = (await Promise.all(asked.map((shard) => shard.chunkNodes(limit, to)))).flat();
  const chunks = nodes.toSorted((a, b) => a.timeMs - b.timeMs || a.shard - b.shard);
  return c.json({
    shards: shards.length,
    chunks: chunks.map(({ firstSeq, sent, received, acked, ...rest }) => ({
      ...rest,
      firstSeq: String(firstSeq),
      sent: runsJson(sent),
      received: runsJson(received),
      acked: acked.map(({ peer, number }) => ({ peer, number: String(number) })),
    })),
  });
}

export const graphRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/graph',
    summary: 'The newest chunks of every shard, in the order of their times, with the messages that tie them together.',
    query: {
      limit: 'chunks of each shard, at most 100',
      shard: 'of this shard only',
      to: 'up to the chunk of this number (with `shard`)',
    },
    answer: {
      description:
        '{shards, chunks: [{shard, number, firstSeq, frames, interactions, timeMs, sent: [{peer, first, last}], received: [{peer, first, last}], acked: [{peer, number}]}]}',
    },
    problems: ['malformed', 'wrong_shard'],
    handle: graph,
  },
  {
    method: 'get',
    path: '/shards/{s}/chunks/{n}/graph',
    summary: 'One chunk’s interactions by conflict level, and the chunks it depends on and that depend on it.',
    answer: {
      description:
        '{shard, chunk, levels, steps: [{frame, index, op, level, cells}], dependsOn: [{shard, chunk, why: log|message|ack, first?, number?}], neededBy: […], links: [{seq, kind: sent|received|congested|acked, peer, number}]}',
    },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: chunkGraph,
  },
];

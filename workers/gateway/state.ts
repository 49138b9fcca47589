/** Cells, with proofs. */
import { type Failure, isFailure } from '../../durable/shard/api.ts';
import type { CellJson } from '../../durable/shard/json.ts';
import { hex, unhex } from '../../protocol/bytes.ts';
import { placeOf } from '../../protocol/cells.ts';
import { StateTree } from '../../protocol/trie.ts';
import { type Ctx, allShards, shardNumbered } from './env.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

/** Siblings from the leaf up, three a level. */
export const levels = <T>(siblings: readonly T[]): T[][] =>
  Array.from({ length: siblings.length / 3 }, (_, level) => siblings.slice(3 * level, 3 * level + 3));

function addressParam(c: Ctx): number {
  const text = c.req.param('address') ?? '';
  const address = /^(\d{1,10}|0x[0-9a-fA-F]{1,8})$/.test(text) ? Number(text) : NaN;
  if (!(address < 2 ** 32)) throw problem('malformed', 'address: expected a u32, decimal or 0x hex');
  return address;
}

/** What shards answer, unless one of them has too much to do. */
function had<T extends object>(answer: T | Failure): T {
  if (isFailure(answer)) throw problem(answer.error.code, answer.error.detail);
  return answer;
}

async function cell(c: Ctx): Promise<Response> {
  const address = addressParam(c);
  const { shard } = placeOf(address);
  const withPath = c.req.query('proof') === '1';
  const found = had<CellJson>(await shardNumbered(c.env, shard).cell(address, withPath));
  const { siblings, shardRoot, seq, ...json } = found;
  if (!siblings || !shardRoot) return c.json({ ...json, seq });
  const roots = await Promise.all(
    allShards(c.env).map(async (stub, number) =>
      number === shard ? unhex(shardRoot) : had<Uint8Array>(await stub.root()),
    ),
  );
  const tree = new StateTree(roots.entries());
  const proof = {
    siblings: levels([...siblings, ...tree.siblings(shard).map(hex)]),
    stateRoot: hex(tree.root()),
    shardRoot,
    seq,
  };
  return c.json({ ...json, proof });
}

export const stateRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/cells/{address}',
    summary: 'One cell of the state, by its address; with `proof=1`, up to the state root.',
    query: { proof: '1 for the proof' },
    answer: {
      description:
        '{address, region, kind, cell, fields, seq} or {…, proof: {siblings: 16 × 3 hashes from the leaf up, stateRoot, shardRoot, seq}}',
    },
    problems: ['malformed', 'wrong_shard', 'overloaded'],
    handle: cell,
  },
];

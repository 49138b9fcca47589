/** Records with the path to a root that the sequencer has signed: `protocol/proof.ts` is what checks them. */
import { type RecordProof, isFailure } from '../../durable/shard/api.ts';
import { hex } from '../../protocol/bytes.ts';
import { CELL_BYTES, addressOf, cellToJson, layoutAt } from '../../protocol/cells.ts';
import { HASH_BYTES } from '../../protocol/hash.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { type ProofJson, type RecordKind, recordPlace } from '../../protocol/proof.ts';
import { type Ctx, shardHolding } from './env.ts';
import { idParam } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';
import { levels } from './state.ts';

const cut = (bytes: Uint8Array, width: number): Uint8Array[] =>
  Array.from({ length: bytes.length / width }, (_, i) => bytes.subarray(i * width, (i + 1) * width));

function proofJson(kind: RecordKind, id: number, proof: RecordProof): ProofJson {
  const { region, slot } = recordPlace(kind, id);
  const shard = shardOf(id);
  const place = { shard, seq: String(proof.seq), shardRoot: hex(proof.shardRoot) };
  return {
    kind,
    id: formatId(id),
    cells: cut(proof.cells, CELL_BYTES).map((cell, i) => ({
      address: addressOf(shard, region, slot + i),
      cell: hex(cell),
      fields: cellToJson(layoutAt(region, slot + i)!.fields, cell),
    })),
    proof: { siblings: levels(cut(proof.siblings, HASH_BYTES).map(hex)), ...place },
    checkpoint: { ...place, signature: hex(proof.signature) },
  };
}

const SHAPE = (levelCount: number, cells: string): string =>
  `{kind, id, cells: [${cells}], proof: {siblings: ${levelCount} × 3 hashes from the leaf up, shard, seq, shardRoot}, checkpoint: {shard, seq, shardRoot, signature}}`;
const ONE = SHAPE(12, '{address, cell, fields}');
const QUAD = SHAPE(11, '4 × {address, cell, fields}');

const proofRoute = (kind: RecordKind, path: string, what: string, answer: string, unknown: string): Route => ({
  method: 'get',
  path,
  summary: `${what}, with the path to a shard root that the sequencer has signed.`,
  answer: { description: answer },
  problems: ['malformed', 'wrong_shard', unknown, 'overloaded'],
  handle: async (c: Ctx) => {
    const id = idParam(c);
    const proof = await shardHolding(c.env, id).prove(kind, id);
    if (!proof) throw problem(unknown, `there is no ${kind} ${formatId(id)}, or its place was taken over`);
    if (isFailure(proof)) throw problem(proof.error.code, proof.error.detail);
    return c.json(proofJson(kind, id, proof));
  },
});

export const proofRoutes: readonly Route[] = [
  proofRoute('agent', '/agents/{id}/proof', 'An agent’s cell: reputation, balance, stake', ONE, 'unknown_agent'),
  proofRoute('key', '/agents/{id}/key/proof', 'An agent’s machine key', ONE, 'unknown_agent'),
  proofRoute('service', '/services/{id}/proof', 'A service’s terms', ONE, 'unknown_service'),
  proofRoute('capability', '/capabilities/{id}/proof', 'A capability', ONE, 'unknown_capability'),
  proofRoute(
    'session',
    '/sessions/{id}/proof',
    'A session: deposits, what is settled, both keys',
    QUAD,
    'unknown_session',
  ),
  proofRoute('escrow', '/escrows/{id}/proof', 'An escrow', ONE, 'unknown_escrow'),
  proofRoute('workflow', '/workflows/{id}/proof', 'A workflow and its legs', QUAD, 'unknown_workflow'),
];

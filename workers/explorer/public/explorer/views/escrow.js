/** An escrow: its cell, read and proved here. */
import { h } from '../dom.js';
import { idText } from '../format.js';
import {
  agentLink,
  amount,
  check,
  chip,
  escrowStatus,
  facts,
  hash,
  head,
  ladder,
  opened,
  section,
  serviceLink,
  time,
} from '../parts.js';
import { get, store } from '../store.js';
import { address, bytes, commitment, foldCell, same } from '../verify.js';

/** An escrow's cell, read from its bytes (docs/protocol.md §2). */
function readEscrow(cell) {
  const data = bytes(cell);
  const at = (from, width) => data.slice(from, from + width).reduce((n, b) => n * 256n + BigInt(b), 0n);
  return {
    serial: at(0, 6),
    payer: idText(at(6, 4)),
    payee: idText(at(10, 4)),
    service: idText(at(14, 4)),
    amount: at(18, 7),
    paid: at(25, 7),
    deadline: at(32, 4),
    status: escrowStatus(Number(at(36, 1))),
  };
}

/** Its cell, and whether that folds to the state root. */
export async function prove(id) {
  const at = address('escrow', id);
  const answer = await get(`/cells/${at}?proof=1`);
  const folded = foldCell(answer.cell, at, answer.proof.siblings);
  return {
    at,
    answer,
    folded,
    fields: readEscrow(answer.cell),
    ok: same(folded.root, answer.proof.stateRoot),
    shardOk: same(folded.levels[11].node, answer.proof.shardRoot),
  };
}

/** What the cell says, and the way up from it. `held`: batches to look for its root in first. */
export function escrowPart(proof, id, held) {
  const f = proof.fields;
  const stale = String(f.serial) !== id.split(':')[1];
  const root = proof.answer.proof.stateRoot;
  const under = [...new Set([...held, ...store.batches.values()])].find((b) => same(commitment(root), b.post));
  return [
    stale
      ? h('p.warn', {}, 'A newer escrow has taken over this cell since: what follows is its, not this call’s.')
      : null,
    facts([
      ['Payer', agentLink(f.payer)],
      ['Payee', agentLink(f.payee)],
      ['Service', serviceLink(f.service, store.services.get(f.service)?.metadata?.name)],
      ['Escrowed', amount(f.amount, { 'data-testid': 'escrow-amount' })],
      ['Paid', amount(f.paid, { 'data-testid': 'escrow-paid' })],
      ['Deadline', time(Number(f.deadline) * 1000)],
      ['Status', chip(f.status)],
      ['State root', hash(root)],
    ]),
    check(
      proof.ok,
      'the cell folds to the state root',
      `at frame ${proof.answer.proof.seq}${under ? `, the root that batch ${under.number} commits to` : ''}`,
      'escrow-proof',
    ),
    opened('16 levels, from the cell to the root', ladder(proof.folded, root)),
  ];
}

/** An escrow by its id: its call where the gateway knows it, else its cell. */
export const escrow = {
  title: ({ parts: [id] }) => `Escrow ${id}`,
  async load({ parts: [id] }, change, before) {
    if (before && change && !change.chunks) return before;
    const one = await get(`/escrows/${id}`);
    if (one.invoked && location.hash.startsWith(`#/escrows/${id}`)) {
      location.replace(`#/calls/${one.invoked.shard}/${one.invoked.seq}/${one.invoked.index}`);
    }
    return { proof: await prove(id) };
  },
  draw: ({ parts: [id] }, { proof }) => [
    head('Escrow', id, chip(proof.fields.status)),
    section('Cell', escrowPart(proof, id, [])),
  ],
};

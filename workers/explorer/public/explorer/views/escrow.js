/** An escrow: its cell, read and proved here. */
import { h } from '../dom.js';
import { idNumber, idText, shardOfId } from '../format.js';
import {
  agentLink,
  amount,
  capabilityLink,
  check,
  chip,
  escrowLink,
  escrowStatus,
  facts,
  hash,
  head,
  ladder,
  messageLink,
  opened,
  section,
  serviceLink,
  time,
  workflowLink,
} from '../parts.js';
import { get, servicesWindow, store } from '../store.js';
import { waitsOf, waitsPart } from './waits.js';
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
    workflow: idText(at(37, 7)),
    capability: idText(at(51, 4)),
    arbiter: idText(at(55, 4)),
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
      f.deadline ? ['Deadline', time(Number(f.deadline) * 1000)] : null,
      ['Status', chip(f.status)],
      f.workflow ? ['Workflow', workflowLink(f.workflow)] : null,
      f.capability ? ['Paid by capability', capabilityLink(f.capability)] : null,
      f.arbiter ? ['Arbiter', agentLink(f.arbiter)] : null,
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

/** Where a call that crosses shards stands on either side; null inside one shard. */
export function sidesPart(one) {
  const [order, escrow] = one.order ? [null, one] : [one, one.escrow ?? null];
  const isOrder = order && shardOfId(order.service) !== shardOfId(order.id);
  if (!isOrder && !one.order) return null;
  return facts(
    [
      [
        `Order, shard ${shardOfId(order?.id ?? one.order)}`,
        [escrowLink(order?.id ?? one.order), ' ', order ? chip(escrowStatus(order.status)) : null],
        { 'data-testid': 'order' },
      ],
      [
        `Escrow, shard ${shardOfId(escrow?.id ?? order.service)}`,
        escrow ? [escrowLink(escrow.id), ' ', chip(escrowStatus(escrow.status))] : h('span.dim', {}, 'not opened yet'),
        { 'data-testid': 'opened' },
      ],
      order && escrowStatus(order.status) === 'sent' && order.link
        ? ['Carried by', messageLink(shardOfId(order.id), shardOfId(order.service), String(idNumber(order.link)))]
        : null,
    ],
    'wide',
  );
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
    const [proof, waits] = await Promise.all([
      prove(id),
      waitsOf(one.order ?? id, before?.waits),
      before ? null : servicesWindow({}),
    ]);
    return { ...before, one, proof, waits };
  },
  draw: ({ parts: [id] }, { one, proof, waits, zoom }) => {
    const held = waitsPart(waits, one.order ?? id, zoom);
    return [
      head('Escrow', id, chip(proof.fields.status)),
      sidesPart(one),
      held ? section('Calls that wait for each other', held) : null,
      section('Cell', escrowPart(proof, id, [])),
    ];
  },
};

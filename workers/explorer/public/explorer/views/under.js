/** Calls under way: escrows and orders that are not settled yet. */
import { h } from '../dom.js';
import { idText, shardOfId } from '../format.js';
import { agentLink, amount, chip, escrowLink, escrowStatus, serviceLink, table, time, workflowLink } from '../parts.js';
import { store } from '../store.js';

export const callTable = (list, self) =>
  table(
    [
      [
        'Call',
        (e) => [h('span.dim', {}, shardOfId(e.service) === shardOfId(e.id) ? 'escrow ' : 'order '), escrowLink(e.id)],
      ],
      [
        '',
        (e) =>
          e.payer === self
            ? ['calls ', serviceLink(e.service, store.services.get(e.service)?.metadata?.name)]
            : ['for ', agentLink(e.payer)],
        'wide',
      ],
      ['Up to', (e) => amount(e.amount), 'r'],
      [
        'Hangs on',
        (e) =>
          escrowStatus(e.status) === 'waiting'
            ? ['after ', escrowLink(e.link)]
            : idText(e.workflow)
              ? ['workflow ', workflowLink(e.workflow)]
              : h('span.dim', {}, '–'),
      ],
      ['Deadline', (e) => (Number(e.deadline) ? time(Number(e.deadline) * 1000) : h('span.dim', {}, '–'))],
      ['Status', (e) => chip(escrowStatus(e.status))],
    ],
    list,
    { key: (e) => e.id, testid: 'under-way', caption: 'Calls under way' },
  );

/** Workflows: calls of which all are paid, or none, wherever their payers and services stand. */
import { h } from '../dom.js';
import { count, idText, plural, shardOfId, span, words } from '../format.js';
import { dag, legend, zoomBar } from '../graph.js';
import {
  agentLink,
  amount,
  chip,
  empty,
  escrowLink,
  escrowStatus,
  facts,
  head,
  section,
  serviceLink,
  table,
  time,
  workflowLink,
} from '../parts.js';
import { get, nameOf, servicesWindow, shards, store } from '../store.js';

const serviceName = (id) => store.services.get(idText(id))?.metadata?.name ?? id;
const known = new Map();
const SHOWN = 50;
/** Pages of a list that has no count, looked through at once. */
const PAGES = 10;

/** Newest workflows of every shard: the list goes on from where it was; those still open are asked for again. */
async function newest() {
  await Promise.all(
    shards().map(async ({ shard }) => {
      const own = [...known.keys()].filter((id) => shardOfId(id) === shard);
      let after = own.length
        ? own.reduce((a, b) => (Number(a.split(':')[1]) > Number(b.split(':')[1]) ? a : b))
        : `${shard}:0`;
      for (let page = 0; page < PAGES; page++) {
        const { workflows: list, next } = await get(`/workflows?limit=100&after=${after}`);
        const here = list.filter((w) => shardOfId(w.id) === shard);
        for (const w of here) known.set(w.id, w);
        if (!next || shardOfId(next) !== shard || here.length < list.length) break;
        after = next;
      }
    }),
  );
  const list = [...known.values()]
    .toSorted((a, b) => Number(b.id.split(':')[1]) - Number(a.id.split(':')[1]) || shardOfId(a.id) - shardOfId(b.id))
    .slice(0, SHOWN);
  await Promise.all(
    list
      .filter((w) => w.status === 'open' || w.legs.some((l) => l.done && !l.told))
      .slice(0, 10)
      .map(async (w) => known.set(w.id, await get(`/workflows/${w.id}`).catch(() => w))),
  );
  return list.map((w) => known.get(w.id));
}

const done = (w) => w.legs.filter((l) => l.done).length;

export const workflows = {
  title: () => 'Workflows',
  async load(_args, change, before) {
    if (before && change && !change.chunks) return before;
    const [list] = await Promise.all([newest(), servicesWindow(change)]);
    return { list };
  },
  draw: (_args, { list }) => [
    head('All legs are paid, or none', 'Workflows', list.length ? h('span.dim', {}, 'newest first') : null),
    list.length === 0
      ? empty(
          'No workflow yet',
          'An agent plans one, and every leg is a call that names it; sidecars do so with `agnt2 workflow`, or any bundle with a plan.',
        )
      : table(
          [
            ['Workflow', (w) => workflowLink(w.id)],
            ['Planner', (w) => agentLink(w.planner)],
            [
              'Legs',
              (w) =>
                h(
                  'span.list',
                  {},
                  w.legs.slice(0, 4).map((l) => serviceLink(l.service, serviceName(l.service))),
                  w.legs.length > 4 ? h('span.dim', {}, `+${w.legs.length - 4}`) : null,
                ),
              'wide',
            ],
            ['Done', (w) => h('span.num', {}, `${done(w)} of ${w.legs.length}`), 'r'],
            ['Deadline', (w) => time(Number(w.deadline) * 1000)],
            ['Status', (w) => chip(w.status)],
          ],
          list,
          { key: (w) => w.id, testid: 'workflows', caption: 'Workflows' },
        ),
  ],
};

/** The order and the escrow of a leg, as far as there are any. */
async function follow(id, leg, index) {
  const isFar = shardOfId(leg.service) !== shardOfId(leg.payer);
  const escrow = leg.escrow ? await get(`/escrows/${leg.escrow}`).catch(() => null) : null;
  if (escrow && !isFar) return { escrow };
  if (escrow?.order) return { escrow, order: await get(`/escrows/${escrow.order}`).catch(() => null) };
  // Not done: it is found among the payer's own, by the leg's number in its flags.
  const { escrows } = await get(`/escrows?payer=${leg.payer}&workflow=${id}&limit=100`);
  const own = escrows.findLast((e) => Number(e.flags) >> 4 === index && e.service === leg.service);
  if (!own) return { escrow };
  const one = await get(`/escrows/${own.id}`);
  return isFar ? { order: one, escrow: one.escrow ?? null } : { escrow: one };
}

export const workflow = {
  title: ({ parts: [id] }) => `Workflow ${id}`,
  async load({ parts: [id] }, change, before) {
    if (before && change && !change.chunks) return before;
    const [one] = await Promise.all([get(`/workflows/${id}`), servicesWindow(before ? change : {})]);
    const legs = await Promise.all(
      one.legs.map(async (leg, i) => ({ ...leg, index: i, ...(await follow(id, { ...leg }, i)), doneAt: leg.escrow })),
    );
    return { ...before, one, legs };
  },
  draw({ parts: [id] }, { one, legs, zoom }) {
    const left = Number(one.deadline) - Date.now() / 1000;
    const paid = legs.reduce((n, l) => n + (stateOf(l) === 'fulfilled' ? Number((l.order ?? l.escrow).paid) : 0), 0);
    return [
      head('Workflow', id, chip(one.status, { 'data-testid': 'workflow-status' })),
      h(
        'p.lede',
        {},
        {
          open:
            left > 0
              ? `${done(one)} of ${plural(one.legs.length, 'leg')} done. All are paid when the last is; after ${span(left)} more, or when the planner aborts it, none is.`
              : 'Its deadline has passed: what was held for it is refunded.',
          committed: 'Every leg was done in time: all are paid.',
          aborted: 'Not all legs were done: whatever was held for it is refunded.',
        }[one.status] ?? '',
      ),
      facts([
        ['Planner', agentLink(one.planner, { both: true })],
        ['Deadline', time(Number(one.deadline) * 1000)],
        ['Legs done', `${done(one)} of ${one.legs.length}`],
        ['Told how it ended', `${one.legs.filter((l) => l.told).length} of ${done(one)}`],
        ['Paid', amount(paid)],
        ['Stands on', h('a', { href: `#/trace?shard=${shardOfId(id)}` }, `shard ${shardOfId(id)}`)],
      ]),
      section('Legs across shards', picture(id, one, legs, zoom)),
      section(
        'Legs',
        table(
          [
            ['Leg', (l) => h('span.num', {}, l.index + 1)],
            ['Payer', (l) => agentLink(l.payer)],
            ['Service', (l) => serviceLink(l.service, serviceName(l.service)), 'wide'],
            [
              'Order',
              (l) =>
                l.order
                  ? [escrowLink(l.order.id), ' ', chip(escrowStatus(l.order.status))]
                  : h('span.dim', {}, shardOfId(l.service) === shardOfId(l.payer) ? 'same shard' : '–'),
            ],
            [
              'Escrow',
              (l) =>
                l.escrow?.id
                  ? [escrowLink(l.escrow.id), ' ', chip(escrowStatus(l.escrow.status))]
                  : h('span.dim', {}, 'not called yet'),
            ],
            ['Paid', (l) => (l.escrow?.id ? amount(l.escrow.paid) : h('span.dim', {}, '–')), 'r'],
            ['Done', (l) => (l.done ? (l.told ? 'done, told' : 'done') : h('span.dim', {}, 'not yet'))],
          ],
          legs,
          { key: (l) => l.index, testid: 'legs', caption: 'Legs' },
        ),
      ),
    ];
  },
};

const stateOf = (leg) => escrowStatus((leg.order ?? leg.escrow)?.status ?? '');
const [W, H, GAP, ROW] = [168, 62, 54, 82];

function picture(id, one, legs, zoom) {
  const middle = ((legs.length - 1) * ROW) / 2;
  const column = (n) => 4 + n * (W + GAP);
  const hasOrders = legs.some((l) => l.order);
  const tone = (status) => `s-${status || 'none'}`;
  const box = (key, n, y, rest) => ({ key, x: column(n), y: y + 4, w: W, h: H, ...rest });
  const record = (key, n, y, kind, e) =>
    box(key, n, y, {
      href: `#/escrows/${e.id}`,
      cls: tone(escrowStatus(e.status)),
      title: `${kind} ${e.id}, ${words(escrowStatus(e.status))}`,
      testid: `leg-${kind}`,
      body: [
        h('b', {}, `${kind} ${e.id}`),
        h('span.dim', {}, `shard ${shardOfId(e.id)}`),
        chip(escrowStatus(e.status)),
      ],
    });
  const nodes = [
    box('w', 0, middle, {
      cls: 'f-flow',
      title: `Workflow ${id}, ${one.status}`,
      href: `#/agents/${one.planner}`,
      body: [
        h('b', {}, `workflow ${id}`),
        h('span.dim', {}, `planned by ${nameOf(one.planner) ?? one.planner}`),
        chip(one.status),
      ],
    }),
  ];
  const edges = [];
  for (const [i, l] of legs.entries()) {
    const y = i * ROW;
    nodes.push(
      box(`l${i}`, 1, y, {
        href: `#/services/${l.service}`,
        cls: l.done ? 's-fulfilled' : 's-none',
        title: `Leg ${i + 1}: ${l.payer} calls service ${l.service}, ${l.done ? 'done' : 'not done'}`,
        testid: 'leg',
        body: [
          h('b', {}, `leg ${i + 1}: ${serviceName(l.service)}`),
          h('span.dim', {}, `${nameOf(l.payer) ?? l.payer} pays`),
          h('span.dim', {}, l.done ? (l.told ? 'done, told' : 'done') : 'not done'),
        ],
      }),
    );
    edges.push({ from: 'w', to: `l${i}` });
    if (l.order) {
      nodes.push(record(`o${i}`, 2, y, 'order', l.order));
      edges.push({ from: `l${i}`, to: `o${i}` });
    }
    if (l.escrow?.id) {
      nodes.push(record(`e${i}`, hasOrders ? 3 : 2, y, 'escrow', l.escrow));
      edges.push({ from: l.order ? `o${i}` : `l${i}`, to: `e${i}`, cls: l.order ? 'message' : '' });
    }
  }
  const columns = hasOrders ? 4 : 3;
  return h(
    'div.graph',
    {},
    h('div.graph-bar', {}, h('span.dim', {}, `${count(legs.length)} legs, from plan to escrow`), zoomBar(zoom)),
    dag({
      nodes,
      edges,
      width: column(columns) - GAP + 4,
      height: legs.length * ROW,
      label: `Workflow ${id} with its legs`,
      testid: 'workflow-graph',
      zoom,
    }),
    legend([
      ['l-message', 'to another shard'],
      ['s-fulfilled', 'done or paid'],
      ['s-held', 'held'],
      ['s-open', 'open'],
      ['s-none', 'not called yet'],
    ]),
  );
}

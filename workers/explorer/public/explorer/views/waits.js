/** Calls that wait for calls (`after`, `back`): which hold which, and how each stands. */
import { h } from '../dom.js';
import { amountText, idText, opName, plural, shardOfId, statusName, words } from '../format.js';
import { dag, legend, zoomBar } from '../graph.js';
import { chip, escrowStatus } from '../parts.js';
import { get, nameOf, store } from '../store.js';

/** Calls of one graph that are drawn. */
const MOST = 60;

const idOf = (shard, serial) => `${shard}:${serial}`;

/** What the bundle that made a call says of it and of the calls beside it: [call, what it waits for]. */
function pairsIn(frame) {
  return (frame?.bundle?.interactions ?? []).flatMap((i, at) => {
    const step = frame.steps?.[at + 1];
    if (opName(i.op) !== 'invoke' || statusName(step?.status) !== 'ok') return [];
    const id = idText(step.value);
    const back = Number(i.fields.back ?? 0);
    const after = idText(i.fields.after) ?? (back ? idOf(shardOfId(id), Number(id.split(':')[1]) - back) : null);
    return after ? [[id, after]] : [];
  });
}

const frames = new Map();
async function frameOf({ shard, seq }) {
  const key = `${shard}/${seq}`;
  if (!frames.has(key)) frames.set(key, await get(`/shards/${shard}/frames/${seq}`).catch(() => null));
  return frames.get(key);
}

/**
 * The graph around an escrow or order: {calls: Map(id → record), waits: Map(id → id it waits or waited for)}. What was seen before stays, because
 * a call that has started no longer says what it waited for.
 */
export async function waitsOf(id, before) {
  const calls = new Map();
  const waits = new Map(before?.waits);
  const queue = [id, ...(before?.calls.keys() ?? [])];
  const asked = new Set();
  while (queue.length && calls.size < MOST) {
    const next = queue.shift();
    if (calls.has(next)) continue;
    const one = await get(`/escrows/${next}`).catch(() => null);
    if (!one) continue;
    // An escrow that an order opened stands with that order.
    if (one.order) {
      queue.unshift(one.order);
      calls.delete(next);
      if (calls.has(one.order)) continue;
      asked.add(next);
      const order = await get(`/escrows/${one.order}`).catch(() => null);
      if (!order) calls.set(next, one);
      continue;
    }
    calls.set(next, one);
    const found = [];
    if (escrowStatus(one.status) === 'waiting' && idText(one.link)) found.push([next, one.link]);
    if (one.invoked) found.push(...pairsIn(await frameOf(one.invoked)));
    if (!asked.has(one.payer)) {
      asked.add(one.payer);
      const { escrows } = await get(`/escrows?payer=${one.payer}&status=waiting&limit=100`).catch(() => ({
        escrows: [],
      }));
      for (const e of escrows) if (idText(e.link)) found.push([e.id, e.link]);
    }
    for (const [call, first] of found) waits.set(call, first);
    // Only what hangs together with it.
    for (const [call, first] of waits) {
      if (calls.has(first) && !calls.has(call)) queue.push(call);
      if (calls.has(call) && !calls.has(first)) queue.push(first);
    }
  }
  for (const [call, first] of waits) if (!calls.has(call) || !calls.has(first)) waits.delete(call);
  return { calls, waits };
}

const [W, H, GAP, ROW] = [150, 62, 50, 78];

/** Drawn; null where nothing waits or waited. `self` is marked. */
export function waitsPart({ calls, waits }, self, zoom) {
  if (waits.size === 0) return null;
  const depth = (id, seen = 0) => (waits.has(id) && seen < MOST ? 1 + depth(waits.get(id), seen + 1) : 0);
  const inGraph = new Set([...waits.keys(), ...waits.values()]);
  const order = [...inGraph].toSorted(
    (a, b) => depth(a) - depth(b) || Number(a.split(':')[1]) - Number(b.split(':')[1]),
  );
  // A call stands on the row of what it waits for, or on the next free one: so few lines cross.
  const rows = new Map();
  const taken = new Map();
  for (const id of order) {
    const level = depth(id);
    const row = Math.max(taken.get(level) ?? 0, waits.has(id) ? rows.get(waits.get(id)) : 0);
    rows.set(id, row);
    taken.set(level, row + 1);
  }
  const nodes = order.map((id) => {
    const e = calls.get(id);
    const status = escrowStatus(e.status);
    const there = e.escrow;
    return {
      key: id,
      x: 4 + depth(id) * (W + GAP),
      y: 4 + rows.get(id) * ROW,
      w: W,
      h: H,
      href: `#/escrows/${id}`,
      cls: `s-${status}${id === self ? ' self' : ''}`,
      title: `${there || !e.payee ? 'Call' : 'Escrow'} ${id}, ${words(status)}: ${nameOf(e.payer) ?? e.payer} calls service ${e.service} for up to ${amountText(e.amount)}${there ? `; escrow ${there.id} at shard ${shardOfId(there.id)} is ${words(escrowStatus(there.status))}` : ''}`,
      testid: 'wait-node',
      body: [
        h('b', {}, `${shardOfId(e.service) === shardOfId(id) ? 'escrow' : 'order'} ${id}`),
        h(
          'span.dim',
          {},
          there
            ? `→ ${there.id} ${words(escrowStatus(there.status))}`
            : (store.services.get(e.service)?.metadata?.name ?? `service ${e.service}`),
        ),
        chip(status),
      ],
    };
  });
  const met = (id) => ['fulfilled', 'held'].includes(escrowStatus(calls.get(id)?.status));
  const edges = Array.from(waits, ([call, first]) => ({ from: first, to: call, cls: met(first) ? 'met' : 'wait' }));
  const waiting = order.filter((id) => escrowStatus(calls.get(id).status) === 'waiting').length;
  return h(
    'div.graph',
    {},
    h(
      'div.graph-bar',
      {},
      h(
        'span',
        { 'data-testid': 'waiting' },
        waiting
          ? `${plural(waiting, 'call')} of ${order.length} still held`
          : `none of ${order.length} calls is held any more`,
      ),
      h('span.dim', {}, 'what stands left must be fulfilled first'),
      zoomBar(zoom),
    ),
    dag({
      nodes,
      edges,
      width: Math.max(...nodes.map((n) => n.x + n.w)) + 6,
      height: Math.max(...nodes.map((n) => n.y + n.h)) + 6,
      label: 'Calls and the calls they wait for',
      testid: 'wait-graph',
      zoom,
    }),
    legend([
      ['s-waiting', 'waiting'],
      ['s-open', 'open or sent'],
      ['s-held', 'held'],
      ['s-fulfilled', 'fulfilled'],
      ['s-refunded', 'refunded or expired'],
    ]),
  );
}

/** Chunks across shards: a lane a shard, the newest chunks in time, and the messages that tie them together; live. */
import { h } from '../dom.js';
import { count, plural, words } from '../format.js';
import { dag, legend, zoomBar } from '../graph.js';
import {
  chip,
  chunkLink,
  empty,
  escrowLink,
  figures,
  frameLink,
  head,
  messageLink,
  section,
  table,
  time,
} from '../parts.js';
import { get, message, shards, total } from '../store.js';

const LIMIT = 24;
/** Messages whose kind and outcome are asked for. */
const TOLD = 12;
const [W, H, GAP, LANE, LEFT, TOP] = [80, 40, 14, 104, 64, 26];

/** Where each message went from chunk to chunk, newest last: {from, to, a, b, first, last}. */
function messagesOf(chunks) {
  const found = [];
  for (const b of chunks)
    for (const run of b.received) {
      const senders = chunks.filter((a) => a.shard === run.peer);
      for (const a of senders)
        for (const sent of a.sent) {
          if (sent.peer !== b.shard) continue;
          const [first, last] = [
            Math.max(Number(sent.first), Number(run.first)),
            Math.min(Number(sent.last), Number(run.last)),
          ];
          if (first <= last) found.push({ from: a.shard, to: b.shard, a, b, first, last, timeMs: b.timeMs });
        }
    }
  // Sent and, as far as these chunks know, not received yet.
  for (const a of chunks)
    for (const sent of a.sent) {
      const there = found.filter((m) => m.a === a && m.to === sent.peer);
      const upTo = Math.max(0, ...there.map((m) => m.last));
      if (upTo < Number(sent.last))
        found.push({
          from: a.shard,
          to: sent.peer,
          a,
          b: null,
          first: Math.max(upTo + 1, Number(sent.first)),
          last: Number(sent.last),
          timeMs: a.timeMs,
        });
    }
  return found.toSorted((x, y) => x.timeMs - y.timeMs);
}

/** An ack goes back from the chunk that received to the one that says so. */
const acksOf = (chunks) =>
  chunks.flatMap((b) =>
    b.acked.flatMap(({ peer, number }) => {
      const a = chunks.find(
        (c) =>
          c.shard === peer &&
          c.received.some(
            (r) => r.peer === b.shard && Number(r.first) <= Number(number) && Number(r.last) >= Number(number),
          ),
      );
      return a ? [{ a, b }] : [];
    }),
  );

/** Shards fill their windows at different speeds: only the time that all of them show is drawn. */
function together(chunks) {
  const oldest = Map.groupBy(chunks, (c) => c.shard);
  const full = [...oldest.values()].filter((own) => own.length === LIMIT && own[0].number > 0);
  const from = Math.max(0, ...full.map((own) => own[0].timeMs));
  return chunks.filter((c) => c.timeMs >= from);
}

const keyOf = (c) => `${c.shard}/${c.number}`;

export const graph = {
  title: () => 'Graph',
  async load(_args, change, before) {
    if (before && change && !change.chunks) return before;
    const chunks = together((await get(`/graph?limit=${LIMIT}`)).chunks);
    const messages = messagesOf(chunks);
    const newest = messages.slice(-TOLD).toReversed();
    await Promise.all(newest.map(async (m) => (m.told = await message(m.from, m.to, m.last))));
    return { ...before, chunks, messages, newest };
  },
  draw(_args, { chunks, messages, newest, zoom }) {
    if (chunks.length === 0)
      return [
        head('Layer Core', 'Graph'),
        empty(
          'The trace is empty',
          'It starts with the first frame: a tick, an item of L1’s inbox or an agent’s bundle.',
        ),
      ];
    return [
      head(
        'Layer Core',
        'Graph',
        h('span.dim', {}, `the newest chunks of ${plural(shards().length, 'shard')}, in the order of their times`),
      ),
      picture(chunks, messages, zoom),
      figures([
        ['Shards', count(shards().length), null, 'graph-shards'],
        ['Chunks', count(total('chunks')), null, 'graph-chunks'],
        ['Messages here', count(messages.reduce((n, m) => n + m.last - m.first + 1, 0)), null, 'graph-messages'],
      ]),
      section(
        'Messages between shards',
        newest.length
          ? table(
              [
                [
                  'Message',
                  (m) => [
                    messageLink(m.from, m.to, m.last),
                    m.first < m.last ? h('span.dim', {}, ` and ${m.last - m.first} before it`) : null,
                  ],
                ],
                ['What', (m) => words(m.told?.kind ?? '')],
                ['Sent in', (m) => chunkLink(m.from, m.a.number)],
                ['Received in', (m) => (m.b ? chunkLink(m.to, m.b.number) : h('span.dim', {}, '–'))],
                ['Frame', (m) => (m.told?.place ? frameLink(...m.told.place.split(':')) : h('span.dim', {}, '–'))],
                ['Came to', (m) => chip(m.told?.status ?? m.told?.state ?? 'sent')],
                [
                  'Made',
                  (m) =>
                    m.told?.kind === 'invoke' && m.told.status === 'ok'
                      ? escrowLink(m.told.value)
                      : h('span.dim', {}, '–'),
                ],
                ['When', (m) => time(m.timeMs), 'r'],
              ],
              newest,
              { key: (m) => `${m.from}/${m.to}/${m.last}`, testid: 'messages', caption: 'Messages' },
            )
          : empty(
              'No message',
              shards().length > 1
                ? 'Shards send one when an agent calls, pays or opens a session with an agent of another shard.'
                : 'This deployment has one shard: everything happens inside it.',
            ),
      ),
    ];
  },
};

function picture(chunks, messages, zoom) {
  const lanes = shards().map((s) => s.shard);
  const rank = new Map(chunks.map((c, i) => [c, i]));
  const x = (c) => LEFT + rank.get(c) * (W + GAP);
  const y = (shard) => TOP + lanes.indexOf(shard) * LANE;
  const width = LEFT + chunks.length * (W + GAP);
  const height = TOP + (lanes.length - 1) * LANE + H + 12;
  const boxes = chunks.map((c) => ({
    key: keyOf(c),
    x: x(c),
    y: y(c.shard),
    w: W,
    h: H,
    href: `#/trace/${c.shard}/${c.number}`,
    cls: c.interactions ? 'f-call' : 'f-system',
    title: `Chunk ${keyOf(c)}: ${plural(c.interactions, 'interaction')} in ${plural(c.frames, 'frame')}${c.received.length ? `; received from ${c.received.map((r) => `shard ${r.peer}`).join(', ')}` : ''}`,
    testid: 'chunk-node',
    body: [
      h('span.num', {}, c.number),
      h('span.dim', {}, c.interactions ? plural(c.interactions, 'op') : plural(c.frames, 'frame')),
    ],
  }));
  const marks = messages
    .filter((m) => m.b)
    .map((m) => {
      const n = m.last - m.first + 1;
      return {
        key: `m${m.from}/${m.to}/${m.last}`,
        x: (x(m.a) + x(m.b)) / 2 + W / 2 - 15,
        y: (y(m.from) + y(m.to)) / 2 + H / 2 - 9,
        w: 30,
        h: 18,
        href: `#/messages/${m.from}/${m.to}/${m.last}`,
        cls: 'mark',
        title: `${plural(n, 'message')} from shard ${m.from} to shard ${m.to}, up to number ${m.last}${m.told?.kind ? `: ${words(m.told.kind)}` : ''}`,
        testid: 'message-mark',
        body: n > 1 ? `×${n}` : `#${m.last}`,
      };
    });
  const log = chunks.flatMap((c) => {
    const next = chunks.find((d) => d.shard === c.shard && d.number === c.number + 1);
    return next ? [{ from: keyOf(c), to: keyOf(next), cls: 'log' }] : [];
  });
  const way = (a, b) => (a.shard === b.shard ? 'h' : 'v');
  return h(
    'div.graph',
    {},
    h('div.graph-bar', {}, h('span', { 'data-testid': 'graph-span' }, 'newest on the right, live'), zoomBar(zoom)),
    dag({
      nodes: [...marks, ...boxes],
      edges: [
        ...log,
        ...acksOf(chunks).map(({ a, b }) => ({ from: keyOf(a), to: keyOf(b), way: way(a, b), cls: 'ack' })),
        ...messages
          .filter((m) => m.b)
          .map((m) => ({ from: keyOf(m.a), to: keyOf(m.b), way: way(m.a, m.b), cls: 'message' })),
      ],
      width,
      height,
      label: 'Chunks of all shards in time, with the messages between them',
      testid: 'chunk-graph',
      zoom,
      ended: true,
      under: lanes.map((shard) =>
        h(
          'div.lane-name',
          { css: { top: `${y(shard) - 22}px` } },
          h('a', { href: `#/trace?shard=${shard}` }, `shard ${shard}`),
        ),
      ),
    }),
    legend([
      ['l-message', 'messages'],
      ['l-ack', 'acks'],
      ['l-log', 'the log of a shard'],
      ['f-call', 'with interactions'],
      ['f-system', 'what a shard does by itself'],
    ]),
  );
}

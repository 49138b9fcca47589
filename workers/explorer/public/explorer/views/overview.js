/** One glance: money flowing through the three layers. */
import { h } from '../dom.js';
import { big, brief, count, percent, plural, words } from '../format.js';
import {
  agentLink,
  amount,
  batchLink,
  chunkLink,
  deposits,
  empty,
  figures,
  sessionLink,
  sessionStatus,
  time,
} from '../parts.js';
import {
  agentsWindow,
  batchesWindow,
  chunksWindow,
  newestBatch,
  rate,
  sessionsWindow,
  sessionSums,
  shards,
  store,
  total,
} from '../store.js';

const BARS = 60;

export const overview = {
  title: () => 'Overview',
  async load(_args, change) {
    const [sessions, batches] = await Promise.all([
      sessionsWindow(change),
      batchesWindow(change),
      change ? null : agentsWindow(null),
      // The feed tells of every chunk from here on; only a page that was opened in a quiet hour must ask.
      change || store.events.filter((e) => e.kind === 'chunk').length >= 12
        ? null
        : Promise.all(shards().map((s) => chunksWindow(s.shard, { size: 24 }))),
    ]);
    return { sessions, batches };
  },
  draw(_args, { sessions, batches }) {
    const sums = sessions.map((s) => [s, sessionSums(s)]);
    const locked = sums
      .filter(([s]) => ['open', 'exiting'].includes(sessionStatus(s.status)))
      .reduce((n, [s]) => n + big(s.depositA) + big(s.depositB), 0n);
    const paid = sums.reduce((n, [, x]) => n + x.paid, 0n);
    const calls = sums.reduce((n, [, x]) => n + x.calls, 0n);
    const flow = rate();
    if (total('agents') === 0n && total('seq') === 0n) {
      return empty(
        'Nothing has happened yet',
        'The gateway answers and its trace is empty. Register the first agent: start a sidecar, or run the demo agents that come with the local stack. This page will show it at once.',
        'empty-overview',
      );
    }
    return [
      h('h1.sr', {}, 'Overview'),
      figures(
        [
          ['Held by agents', amount(total('balances')), plural(total('agents'), 'agent'), 'balances'],
          [
            'Locked in sessions',
            amount(locked),
            plural(sums.filter(([s]) => sessionStatus(s.status) === 'open').length, 'open session'),
            'locked',
          ],
          ['Paid in sessions', amount(paid), plural(calls, 'call'), 'paid'],
          [
            'Flowing now',
            flow.paid > 0 ? [amount(Math.round(flow.paid)), h('small', {}, '/s')] : h('span.dim', {}, 'quiet'),
            flow.calls > 0 ? `${brief(flow.calls)} calls/s` : 'no calls in the last seconds',
            'flow',
          ],
        ],
        'lead',
      ),
      h(
        'div.strata',
        {},
        top(sums, calls, paid),
        seam('halves settle', 'deposits lock'),
        core(),
        seam('data, commitment, withdrawals', 'deposits, keys'),
        root(batches),
      ),
      h('section.block', {}, h('h2', {}, 'What just happened'), feed()),
    ];
  },
};

const layer = (cls, href, name, what, numbers, picture) =>
  h(
    `section.layer.${cls}`,
    { 'aria-label': name },
    h('div.who', {}, h('h2', {}, h('a', { href }, name)), h('p', {}, what)),
    figures(numbers),
    h('div.picture', {}, picture),
  );

const seam = (down, up) => h('div.seam', { 'aria-hidden': 'true' }, h('span', {}, down), h('span', {}, up));

function top(sums, calls, paid) {
  const live = sums
    .filter(([s]) => sessionStatus(s.status) === 'open')
    .toSorted(([, x], [, y]) => (y.calls > x.calls ? 1 : -1))
    .slice(0, 4);
  return layer(
    'l-top',
    '#/sessions',
    'Layer Top',
    'sessions between partners',
    [
      ['Sessions', count(total('sessions')), null, 'sessions'],
      ['Calls', count(calls), null, 'session-calls'],
      ['Paid', amount(paid), null, 'session-paid'],
    ],
    live.length === 0
      ? h('p.dim', {}, 'No session is open. Agents open one when they call each other often.')
      : h(
          'ul.lanes',
          {},
          live.map(([s, x]) => {
            const now = rate(s.id);
            return h(
              'li',
              { 'data-key': s.id },
              agentLink(s.a),
              h(
                'a.lane',
                { href: `#/sessions/${s.id}`, 'aria-label': `session ${s.id}`, class: now.calls > 0 ? 'moving' : '' },
                deposits(s, x).bar,
              ),
              agentLink(s.b),
              h('span.num.dim', {}, now.calls > 0 ? `${brief(now.calls)}/s` : brief(x.calls)),
            );
          }),
        ),
  );
}

function core() {
  const told = store.events.filter((e) => e.kind === 'chunk');
  const asked = [...store.chunks.values()].map((c) => ({
    shard: c.shard,
    number: c.number,
    frames: c.frames.length,
    interactions: c.frames.reduce((n, f) => n + (f.bundle?.interactions.length ?? 0), 0),
    timeMs: c.timeMs,
  }));
  const bars = [...new Map([...asked, ...told].map((c) => [`${c.shard}/${c.number}`, c])).values()]
    .toSorted((x, y) => x.timeMs - y.timeMs)
    .slice(-BARS);
  const most = Math.max(4, ...bars.map((c) => Number(c.interactions ?? c.frames)));
  const interactions = shards().every((s) => s.interactions !== undefined) ? count(total('interactions')) : null;
  return layer(
    'l-core',
    '#/trace',
    'Layer Core',
    [h('a', { href: '#/graph' }, plural(shards().length, 'shard')), ' in one trace'],
    [
      interactions
        ? ['Interactions', interactions, null, 'interactions']
        : ['Escrows', count(total('escrows')), null, 'interactions'],
      ['Chunks', count(total('chunks')), null, 'chunks'],
      ['Soft receipts', count(total('seq')), null, 'receipts'],
    ],
    bars.length === 0
      ? h('p.dim', {}, 'No chunk yet. The first bundle makes one.')
      : shards().length > 1
        ? lanes(bars, most)
        : h(
            'div.ribbon',
            { 'aria-label': 'Newest chunks, higher with more interactions' },
            bars.map((c) =>
              h(
                'a',
                {
                  href: `#/trace/${c.shard}/${c.number}`,
                  'data-key': `c${c.shard}/${c.number}`,
                  tabindex: c === bars.at(-1) ? null : '-1',
                  'aria-label': `chunk ${c.shard}/${c.number}`,
                  title: `chunk ${c.shard}/${c.number}: ${plural(c.interactions ?? 0, 'interaction')} in ${plural(c.frames, 'frame')}`,
                  css: { '--v': `${Math.max(6, percent(c.interactions ?? c.frames, most))}%` },
                },
                h('i', {}),
              ),
            ),
          ),
  );
}

/** A row of newest chunks for each of a few shards; for many, their figures. */
const lanes = (bars, most) =>
  h(
    'ul.shards',
    { 'data-testid': 'shards' },
    shards()
      .slice(0, 8)
      .map((s) =>
        h(
          'li',
          { 'data-key': `s${s.shard}` },
          h('a', { href: `#/trace?shard=${s.shard}` }, `shard ${s.shard}`),
          h(
            'span.ribbon',
            { 'aria-hidden': 'true' },
            bars
              .filter((c) => String(c.shard) === String(s.shard))
              .map((c) =>
                h(
                  'a',
                  {
                    href: `#/trace/${c.shard}/${c.number}`,
                    'data-key': `c${c.shard}/${c.number}`,
                    tabindex: '-1',
                    title: `chunk ${c.shard}/${c.number}: ${plural(c.interactions ?? 0, 'interaction')} in ${plural(c.frames, 'frame')}`,
                    css: { '--v': `${Math.max(6, percent(c.interactions ?? c.frames, most))}%` },
                  },
                  h('i', {}),
                ),
              ),
          ),
          h('span.num.dim', {}, count(s.seq)),
        ),
      ),
    shards().length > 8 ? h('li', {}, h('a', { href: '#/graph' }, `${shards().length - 8} more`)) : null,
  );

function root(batches) {
  const known = store.status.batches ?? {};
  const posted = known.posted ?? newestBatch();
  const final = known.final ?? Math.max(0, ...batches.filter((b) => b.l1.state === 'final').map((b) => b.number));
  const row = batches.slice(0, 14).toReversed();
  return layer(
    'l-root',
    '#/batches',
    'Layer Root',
    'batches that anyone can prove wrong',
    [
      ['Posted', count(posted), null, 'posted'],
      ['Final', count(final), null, 'final'],
      ['Withdrawals', count(total('outbox')), null, 'withdrawals'],
    ],
    row.length === 0
      ? h('p.dim', {}, 'No batch yet. The poster sends one every few moments.')
      : h(
          'ul.chain',
          {},
          row.map((b) =>
            h(
              'li',
              { 'data-key': `b${b.number}`, class: b.l1.state },
              h(
                'a',
                {
                  href: `#/batches/${b.number}`,
                  title: `batch ${b.number}, ${b.l1.state}: ${plural(b.steps, 'step')}`,
                },
                h('span.num', {}, b.number),
                h('span.sr', {}, ` ${b.l1.state}`),
              ),
            ),
          ),
        ),
  );
}

const SESSION_WORDS = {
  open: 'opened',
  half: 'signed',
  fund: 'funded',
  settle: 'settled',
  exit: 'is exiting',
  close: 'closed',
  connect: 'connected',
  disconnect: 'disconnected',
};

function line(e) {
  if (e.kind === 'chunk')
    return [
      'core',
      [
        'Chunk ',
        chunkLink(e.shard, e.number),
        ` sealed with ${plural(e.frames, 'frame')}`,
        e.interactions === undefined ? '' : `, ${plural(e.interactions, 'interaction')}`,
      ],
    ];
  if (e.kind === 'batch')
    return [
      'root',
      [
        'Batch ',
        batchLink(e.number),
        ` ${{ pending: 'made', posted: 'posted to L1', final: 'is final' }[e.state] ?? words(e.state)}`,
      ],
    ];
  if (e.kind === 'session')
    return [
      'top',
      [
        'Session ',
        sessionLink(e.id),
        ` ${SESSION_WORDS[e.event] ?? words(e.event ?? 'changed')}`,
        e.calls === undefined ? null : `: ${plural(e.calls, 'call')}`,
        e.paid === undefined ? null : [', ', amount(e.paid)],
      ],
    ];
  if (e.kind === 'agent')
    return [
      'core',
      [
        'Agent ',
        agentLink(e.id),
        ` ${{ register: 'registered', announce: 'announced itself', online: 'came online', offline: 'went offline' }[e.event] ?? words(e.event ?? 'changed')}`,
      ],
    ];
  return ['core', [words(e.kind)]];
}

/** Newest first; of a session's halves only the newest is told. */
function feed() {
  const seen = new Set();
  const rows = [];
  for (const e of store.events.toReversed()) {
    const once = e.kind === 'session' && e.event === 'half' ? `half ${e.id} ${e.dir}` : `n${e.n}`;
    if (seen.has(once)) continue;
    seen.add(once);
    rows.push([once, e]);
    if (rows.length === 14) break;
  }
  if (rows.length === 0) return empty('All quiet', 'New chunks, sessions and batches appear here as they happen.');
  return h(
    'ol.feed',
    { 'data-testid': 'feed' },
    rows.map(([key, e]) => {
      const [cls, text] = line(e);
      return h('li', { 'data-key': key, class: cls }, h('span.say', {}, text), time(e.timeMs));
    }),
  );
}

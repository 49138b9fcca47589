/** What views are made of. */
import { h } from './dom.js';
import {
  ago,
  big,
  count,
  idText,
  named,
  percent,
  short,
  span,
  statusName,
  units,
  words,
  ESCROW_STATUS,
  SESSION_STATUS,
} from './format.js';
import { nameOf } from './store.js';

export const empty = (title, detail, testid = 'empty') =>
  h('div.empty', { 'data-testid': testid }, h('strong', {}, title), h('p', {}, detail));

/** An amount with its decimals set back. */
export function amount(value, props = {}) {
  const [whole, part] = units(value);
  return h('span.amt', { ...props, class: big(value) === 0n ? 'zero' : '' }, whole, h('span.frac', {}, `.${part}`));
}

/** A hash, or any long value: short, whole on hover and focus, copied on click. */
export function hash(value, props = {}) {
  if (!value) return h('span.dim', {}, '–');
  return h(
    'button.hash',
    { type: 'button', 'data-copy': value, 'aria-label': `Copy ${value}`, ...props },
    short(value),
  );
}

export function time(ms, props = {}) {
  const at = Number(ms);
  if (!at) return h('span.dim', {}, '–');
  const when = new Date(at);
  return h(
    'time',
    {
      datetime: when.toISOString(),
      title: when.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
      ...props,
    },
    ago(at),
  );
}

export const seconds = (s) => (Number(s) ? span(Number(s)) : 'none');

/** An agent by its name, else its id; both where there is room. */
export function agentLink(value, { both = false } = {}) {
  const id = idText(value);
  if (!id) return h('span.dim', {}, 'none');
  const name = nameOf(id);
  return h(
    'a.agent',
    { href: `#/agents/${id}`, title: name ? `${name} · agent ${id}` : `agent ${id}` },
    name ? h('span.name', {}, name) : h('span.id', {}, id),
    name && both ? h('span.id', {}, id) : null,
  );
}

const linked = (kind) => (value, label) => {
  const id = idText(value);
  return id ? h('a', { href: `#/${kind}/${id}`, class: label ? '' : 'id' }, label || id) : h('span.dim', {}, 'none');
};
export const serviceLink = linked('services');
export const sessionLink = linked('sessions');
export const escrowLink = linked('escrows');
export const workflowLink = linked('workflows');
export const capabilityLink = linked('capabilities');
export const batchLink = (n) => h('a.num', { href: `#/batches/${n}` }, `#${n}`);
export const frameLink = (shard, seq) => h('a.num', { href: `#/frames/${shard}/${seq}` }, `${shard}/${seq}`);
export const chunkLink = (shard, n) => h('a.num', { href: `#/trace/${shard}/${n}` }, `${shard}/${n}`);
export const messageLink = (from, to, n) =>
  h('a.num', { href: `#/messages/${from}/${to}/${n}` }, `${from}→${to} #${n}`);

const TONE = {
  ok: 'good',
  fulfilled: 'good',
  final: 'good',
  open: 'live',
  online: 'good',
  posted: 'live',
  pending: 'wait',
  held: 'wait',
  waiting: 'wait',
  sent: 'live',
  contested: 'wait',
  refunded: 'idle',
  committed: 'good',
  received: 'good',
  revoked: 'idle',
  exiting: 'wait',
  closed: 'idle',
  empty: 'idle',
  offline: 'idle',
  inactive: 'idle',
  active: 'good',
  soft: 'wait',
  answered: 'good',
  refuted: 'idle',
  dissolved: 'idle',
};
/** A state in a word. What is not known to be fine is drawn as a failure. */
export function chip(state, props = {}) {
  const name = String(state ?? '');
  return h('span.chip', { ...props, class: TONE[name] ?? 'bad' }, words(name));
}
export const status = (value, props) => chip(statusName(value), props);
export const sessionStatus = (value) => named(value, SESSION_STATUS);
export const escrowStatus = (value) => named(value, ESCROW_STATUS);

/** `[label, value, props?]` pairs; null ones are left out. */
export const facts = (pairs, cls = '') =>
  h(
    `dl.facts${cls ? `.${cls}` : ''}`,
    {},
    pairs.filter(Boolean).map(([label, value, props]) => h('div', props ?? {}, h('dt', {}, label), h('dd', {}, value))),
  );

/** Large figures: `[label, value, note?, testid?]`. */
export const figures = (items, cls = '') =>
  h(
    `dl.figures${cls ? `.${cls}` : ''}`,
    {},
    items
      .filter(Boolean)
      .map(([label, value, note, testid]) =>
        h(
          'div',
          {},
          h('dt', {}, label),
          h('dd', { 'data-testid': testid }, value),
          note ? h('dd.note', {}, note) : null,
        ),
      ),
  );

/**
 * A table that becomes cards on a phone.
 * @param {[label: string, cell: (row: any) => unknown, cls?: string][]} columns
 */
export function table(columns, rows, { key, testid, caption }) {
  return h(
    'table',
    { 'data-testid': testid },
    h('caption.sr', {}, caption),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        columns.map(([label, , cls]) => h('th', { scope: 'col', class: cls }, label)),
      ),
    ),
    h(
      'tbody',
      {},
      rows.map((row) =>
        h(
          'tr',
          { 'data-key': key(row) },
          columns.map(([label, cell, cls]) => h('td', { 'data-label': label, class: cls }, h('div', {}, cell(row)))),
        ),
      ),
    ),
  );
}

/** Newer and older windows of a list: `to` is the last number shown. */
export function pager(path, { to, last, size, first = 1 }) {
  const top = to ?? last;
  if (last <= size + first - 1 && to === undefined) return null;
  return h(
    'nav.pager',
    { 'aria-label': 'Pages' },
    top < last
      ? h('a', { href: top + size >= last ? `#${path}` : `#${path}?to=${top + size}` }, '← newer')
      : h('span.dim', {}, 'newest, live'),
    top - size >= first ? h('a', { href: `#${path}?to=${top - size}` }, 'older →') : h('span.dim', {}, 'oldest'),
  );
}
export const windowEnd = (args) =>
  /^\d+$/.test(args.query.get('to') ?? '') ? Number(args.query.get('to')) : undefined;

/** A share of a whole as a bar, for the eye only: the figures stand beside it. */
export const bar = (part, whole, cls = '') =>
  h(
    `span.bar${cls ? `.${cls}` : ''}`,
    { 'aria-hidden': 'true' },
    h('i', { css: { '--v': `${percent(part, whole)}%` } }),
  );

/** Two deposits as one bar: whose they are now. */
export function deposits(s, sums) {
  const total = big(s.depositA) + big(s.depositB);
  const raw = big(s.depositB) + sums.paidAB - sums.paidBA;
  const outB = raw < 0n ? 0n : raw > total ? total : raw;
  return {
    total,
    outA: total - outB,
    outB,
    bar: h(
      'span.split',
      { 'aria-hidden': 'true' },
      h('i', { css: { '--v': `${percent(total - outB, total)}%` } }),
      h('em', { css: { '--v': `${percent(s.depositA, total)}%` } }),
    ),
  };
}

/** Reputation: what was done for money, and what was not. */
export function reputation(a) {
  const done = big(a.completed);
  const all = done + big(a.failed);
  if (all === 0n) return h('span.dim', {}, 'no record yet');
  const share = percent(done, all);
  return h(
    'span.rep',
    { title: `${count(done)} completed, ${count(a.failed)} failed` },
    bar(done, all),
    h('b', {}, `${share === 100 ? '100' : share.toFixed(1)}%`),
    h('span.dim', {}, `of ${count(all)}`),
  );
}

/** The outcome of a check made in this page: true, false, null for "could not be made", undefined for "under way". */
export function check(ok, label, detail, testid) {
  const [cls, mark, sr] =
    ok === true
      ? ['ok', '✓', 'verified']
      : ok === false
        ? ['no', '✗', 'does not match']
        : ok === null
          ? ['na', '–', 'not checked']
          : ['na', '…', 'checking'];
  return h(
    'div.check',
    { class: cls, 'data-testid': testid },
    h('span.mark', { 'aria-hidden': 'true' }, mark),
    h(
      'span',
      {},
      h('span.sr', {}, `${sr}: `),
      label,
      ok === false ? h('b', {}, ' does not hold') : null,
      detail ? h('span.dim', {}, ' ', detail) : null,
    ),
  );
}

export const section = (title, ...content) => h('section.block', {}, h('h2', {}, title), content);
export const head = (kind, title, ...aside) =>
  h('header.head', {}, h('p.kind', {}, kind), h('h1', {}, title), aside.length ? h('div.aside', {}, aside) : null);
export const details = (summary, ...content) => h('details', {}, h('summary', {}, summary), content);
export const opened = (summary, ...content) => h('details', { open: true }, h('summary', {}, summary), content);
/** Two parties as a title; a name that is too long is cut, and whole on hover. */
export const parties = (a, between, b) =>
  h('span', {}, h('span.clip', { title: a }, a), h('span.dim', {}, ` ${between} `), h('span.clip', { title: b }, b));

/** The way from a cell's leaf to a root, one row a level. */
export function ladder(folded, expected) {
  return h(
    'ol.ladder',
    {},
    h('li', {}, h('span.lv', {}, 'cell'), h('span.kids', {}), hash(folded.leaf)),
    folded.levels.map((l, i) =>
      h(
        'li',
        {},
        h(
          'span.lv',
          { title: `depth ${16 - l.height}` },
          l.height === 10 ? 'region' : l.height === 12 ? 'shard' : l.height === 16 ? 'root' : 16 - l.height,
        ),
        h(
          'span.kids',
          { 'aria-hidden': 'true' },
          [0, 1, 2, 3].map((child) => h('i', { class: child === l.digit ? 'own' : '' })),
        ),
        hash(l.node),
        i === folded.levels.length - 1
          ? h(
              'span.dim',
              {},
              `${l.node.toLowerCase() === String(expected).toLowerCase() ? '=' : '≠'} ${l.height === 16 ? 'state' : 'shard'} root`,
            )
          : null,
      ),
    ),
  );
}

/** The way from a frame's leaf to dataRoot. */
export function pathLadder(leaf, folded, expected) {
  return h(
    'ol.ladder',
    {},
    h('li', {}, h('span.lv', {}, 'frame'), h('span.kids', {}), hash(leaf)),
    folded.levels.map((l, i) =>
      h(
        'li',
        {},
        h('span.lv', {}, i + 1),
        h(
          'span.kids',
          { 'aria-hidden': 'true', title: `sibling on the ${l.side}` },
          h('i', { class: l.side === 'left' ? '' : 'own' }),
          h('i', { class: l.side === 'left' ? 'own' : '' }),
        ),
        hash(l.node),
        i === folded.levels.length - 1
          ? h('span.dim', {}, l.node === String(expected).toLowerCase() ? '= dataRoot' : '≠ dataRoot')
          : null,
      ),
    ),
  );
}

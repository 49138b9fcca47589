/** Batches: what L1 was told, and whether it can still be proved wrong. */
import { h } from '../dom.js';
import { count, plural } from '../format.js';
import {
  batchLink,
  check,
  chip,
  empty,
  facts,
  figures,
  frameLink,
  hash,
  head,
  pager,
  section,
  table,
  time,
  windowEnd,
} from '../parts.js';
import { batch as fetchBatch, batchesWindow, get, newestBatch, store } from '../store.js';
import { batchHash, commitment, same } from '../verify.js';
import { checkPlace, placeChecks } from './trace.js';

const framesOf = (b) => b.ranges.reduce((n, r) => n + Number(r.frames), 0);
const DA = ['calldata', 'blob', 'committee'];

export const batches = {
  title: () => 'Batches',
  load: (args, change) => batchesWindow(change, windowEnd(args)),
  draw(args, list) {
    const known = store.status.batches;
    return [
      head(
        'Layer Root',
        'Batches',
        known ? h('span.dim', {}, `${count(known.posted)} posted, ${count(known.final)} final`) : null,
      ),
      list.length === 0
        ? empty('No batch yet', 'The poster derives one from the trace and sends it to L1; check that its key has gas.')
        : table(
            [
              ['Batch', (b) => batchLink(b.number)],
              ['State', (b) => chip(b.l1.state)],
              ['Frames', (b) => h('span.num', {}, count(framesOf(b))), 'r'],
              ['Steps', (b) => h('span.num', {}, count(b.steps)), 'r'],
              ['Commitment', (b) => h('span.arrow', {}, hash(b.pre), h('span.dim', {}, '→'), hash(b.post)), 'wide'],
              ['L1 transaction', (b) => hash(b.l1.tx)],
              ['Posted', (b) => time(Number(b.l1.postedAt) * 1000), 'r'],
            ],
            list,
            { key: (b) => b.number, testid: 'batches', caption: 'Batches' },
          ),
      pager('/batches', { to: windowEnd(args), last: newestBatch(), size: 30, first: 0 }),
    ];
  },
};

export const batch = {
  title: ({ parts: [n] }) => `Batch ${n}`,
  async load({ parts: [n] }, change, before) {
    if (before && change && !change.batches?.has(Number(n)) && !change.status) return before;
    const one = await fetchBatch(n);
    const previous = one.number > 0 ? (store.batches.get(one.number - 1) ?? (await fetchBatch(one.number - 1))) : null;
    return { ...before, one, previous, proofs: before?.proofs ?? new Map() };
  },
  async act(place, _args, { proofs }) {
    const [shard, seq] = place.split('/');
    const f = await get(`/shards/${shard}/frames/${seq}`);
    proofs.set(place, await checkPlace({ ...f, shard: Number(shard), seq }));
  },
  draw({ parts: [n] }, { one: b, previous, proofs }) {
    const number = Number(n);
    const genesis = number === 0;
    const state = b.l1.state;
    const hashed = batchHash(b);
    return [
      head(
        'Batch',
        `#${n}`,
        chip(state, { 'data-testid': 'batch-state' }),
        state === 'posted' && Number(b.l1.finalAt)
          ? h('span.dim', {}, 'final ', time(Number(b.l1.finalAt) * 1000))
          : null,
        h(
          'nav.steps',
          { 'aria-label': 'Neighbours' },
          number > 0 ? h('a', { href: `#/batches/${number - 1}` }, '← before') : null,
          number < newestBatch() ? h('a', { href: `#/batches/${number + 1}` }, 'after →') : null,
        ),
      ),
      genesis ? h('p.lede', {}, 'Genesis: nothing but the commitment to the empty state.') : null,
      lifecycle(b),
      figures([
        ['Frames', count(framesOf(b)), null, 'batch-frames'],
        ['Steps', count(b.steps), null, 'batch-steps'],
        ['Inbox read to', count(b.inboxCursor)],
      ]),
      h(
        'div.two',
        {},
        section(
          'Header',
          facts([
            ['Commitment before', hash(b.pre)],
            ['Commitment after', hash(b.post)],
            ['Data root', hash(b.dataRoot)],
            ['Data in', DA[Number(b.da)] ?? String(b.da)],
            genesis
              ? null
              : [
                  'Its ticks',
                  [time(Number(b.timeFrom) * 1000), h('span.dim', {}, ' … '), time(Number(b.timeTo) * 1000)],
                ],
            ['Batch hash', hash(hashed)],
          ]),
        ),
        section(
          'Checked here',
          b.hash ? check(same(b.hash, hashed), 'header hashes to the batch hash', '', 'batch-hash') : null,
          previous
            ? check(
                same(previous.post, b.pre),
                ['starts where ', batchLink(previous.number), ' ended'],
                '',
                'batch-pre',
              )
            : null,
          previous
            ? check(same(batchHash(previous), b.prev), 'names the hash of the batch before', '', 'batch-prev')
            : null,
          b.stateRoot
            ? check(
                same(commitment(b.stateRoot), b.post),
                ['commits to state root ', hash(b.stateRoot)],
                '',
                'batch-post',
              )
            : null,
          facts([
            ['L1 transaction', hash(b.l1.tx, { 'data-testid': 'batch-tx' })],
            ['L1 block', b.l1.block ? count(b.l1.block) : '–'],
            ['Posted', time(Number(b.l1.postedAt) * 1000)],
            [state === 'final' ? 'Final' : 'Window ends', time(Number(b.l1.finalAt) * 1000)],
          ]),
        ),
      ),
      genesis
        ? null
        : section(
            'Frames in it',
            h('p.dim', {}, 'Each opens against the data root with one path. Choose one to have it proved here.'),
            b.ranges.map((r) => range(r, proofs)),
          ),
    ];
  },
};

function lifecycle(b) {
  const reached = { pending: 1, posted: 2, final: 3 }[b.l1.state] ?? 0;
  return h(
    'ol.life',
    {},
    ['derived from the trace', 'posted to L1', 'final'].map((label, i) =>
      h('li', { class: i < reached ? 'done' : '' }, label),
    ),
    reached === 0 ? h('li.bad', {}, b.l1.state) : null,
  );
}

const SHOWN = 24;
function range(r, proofs) {
  const first = Number(r.firstSeq);
  const last = first + Number(r.frames) - 1;
  const list = Array.from({ length: Math.min(SHOWN, Number(r.frames)) }, (_, i) => first + i);
  const mine = [...proofs].filter(([place]) => place.startsWith(`${r.shard}/`));
  return h(
    'div.range',
    {},
    h(
      'p',
      {},
      h('b', {}, `Shard ${r.shard}`),
      h('span.dim', {}, ` frames ${count(first)} to ${count(last)}, ${plural(r.frames, 'frame')}`),
    ),
    h(
      'div.places',
      {},
      list.map((seq) => {
        const place = `${r.shard}/${seq}`;
        return h(
          'button',
          {
            type: 'button',
            'data-act': place,
            'data-testid': 'prove-frame',
            class: proofs.get(place)?.ok ? 'ok' : proofs.has(place) ? 'no' : '',
            'aria-label': `Prove frame ${place}`,
          },
          seq,
        );
      }),
      last - first + 1 > SHOWN
        ? h('span.dim', {}, `and ${count(last - first + 1 - SHOWN)} more, to `, frameLink(r.shard, last))
        : null,
    ),
    mine.map(([place, proof]) =>
      h(
        'div.proof',
        { 'data-key': place, 'data-still': true },
        h('h3', {}, 'Frame ', frameLink(...place.split('/'))),
        placeChecks(proof, 'batch-inclusion'),
      ),
    ),
  );
}

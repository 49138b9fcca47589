/** The trace: chunks, their frames, and one frame with its receipt and its place in a batch. */
import { h } from '../dom.js';
import { count, idText, opName, plural, statusName, STATUS, words } from '../format.js';
import {
  agentLink,
  batchLink,
  check,
  chip,
  chunkLink,
  details,
  empty,
  facts,
  frameLink,
  hash,
  head,
  messageLink,
  pager,
  pathLadder,
  section,
  status,
  table,
  time,
  windowEnd,
} from '../parts.js';
import { frameSentence } from '../sentences.js';
import {
  batch as fetchBatch,
  batchesWindow,
  batchOf,
  chunk as fetchChunk,
  chunksWindow,
  domain,
  get,
  servicesWindow,
  shardOf,
  shards,
  store,
} from '../store.js';
import {
  bundlePreimage,
  bytes,
  foldPath,
  frameLeaf,
  hex,
  outcomesHash,
  receiptPreimage,
  same,
  verifyP256,
} from '../verify.js';
import { keccak } from '../keccak.js';
import { interaction } from './agents.js';
import { levelsPart, tiesPart } from './levels.js';

const SIZE = 30;
const interactionsOf = (c) => c.frames.reduce((n, f) => n + (f.bundle?.interactions.length ?? 0), 0);

/** What a chunk holds, by operation: "3 invoke, 1 respond, tick". */
function contents(c) {
  const ops = new Map();
  for (const f of c.frames)
    for (const op of f.bundle ? f.bundle.interactions.map((i) => opName(i.op)) : [f.kind])
      ops.set(op, (ops.get(op) ?? 0) + 1);
  return [...ops].map(([op, n]) => h('span.tally', {}, n > 1 ? h('b', {}, n) : null, words(op)));
}

const refused = (c) =>
  c.frames.reduce((n, f) => n + (f.steps ?? []).filter((s) => statusName(s.status) !== 'ok').length, 0);

/** A place's finality: in which batch it is and what L1 says of that. */
function finality(shard, seq, hint) {
  const n = batchOf(shard, seq, hint);
  if (n === null) return chip('soft', { title: 'receipted, not yet in a batch' });
  return h('span.fin', {}, batchLink(n), chip(store.batches.get(n)?.l1.state ?? 'pending'));
}

export const trace = {
  title: () => 'Trace',
  async load(args, change) {
    const shard = args.query.get('shard') ?? shards()[0]?.shard ?? 0;
    const [list] = await Promise.all([
      chunksWindow(shard, { size: SIZE, to: windowEnd(args) }),
      !change || change.status || change.batches?.size ? batchesWindow(change) : null,
    ]);
    return { shard, list };
  },
  draw(args, { shard, list }) {
    const tip = shardOf(shard);
    return [
      head(
        'Layer Core',
        'Trace',
        h('span.dim', {}, `shard ${shard}: ${plural(tip?.seq, 'frame')} in ${plural(tip?.chunks, 'chunk')}`),
        shards().length > 1
          ? h(
              'span.tabs',
              {},
              shards().map((s) =>
                h(
                  'a',
                  {
                    href: `#/trace?shard=${s.shard}`,
                    'aria-current': String(s.shard) === String(shard) ? 'page' : null,
                  },
                  s.shard,
                ),
              ),
            )
          : null,
      ),
      list.length === 0
        ? empty(
            'The trace is empty',
            'It starts with the first frame: a tick, an item of L1’s inbox or an agent’s bundle.',
          )
        : table(
            [
              ['Chunk', (c) => chunkLink(c.shard, c.number)],
              [
                'Frames',
                (c) =>
                  h(
                    'span.num.dim',
                    {},
                    Number(c.firstSeq) === Number(c.firstSeq) + c.frames.length - 1
                      ? c.firstSeq
                      : `${c.firstSeq}–${Number(c.firstSeq) + c.frames.length - 1}`,
                  ),
              ],
              ['Interactions', (c) => h('b.num', {}, interactionsOf(c)), 'r'],
              ['Holds', (c) => h('span.list', {}, contents(c)), 'wide'],
              ['Refused', (c) => (refused(c) ? h('span.num.warn', {}, refused(c)) : h('span.dim', {}, '–')), 'r'],
              ['Settled in', (c) => finality(c.shard, c.firstSeq, c.batch)],
              ['Sealed', (c) => time(c.timeMs), 'r'],
            ],
            list,
            { key: (c) => `${c.shard}/${c.number}`, testid: 'chunks', caption: 'Chunks' },
          ),
      pager('/trace', { to: windowEnd(args), last: Number(tip?.chunks ?? 0) - 1, size: SIZE, first: 0 }),
    ];
  },
};

function frameTitle(f) {
  if (f.bundle)
    return [
      agentLink(f.bundle.actor),
      h('span.dim', {}, ` nonce ${f.bundle.nonce}, ${plural(f.bundle.interactions.length, 'interaction')}`),
    ];
  return frameSentence(f, (id) => store.services.get(idText(id))?.metadata?.name);
}

/** Messages that a frame sent, received or acknowledges, each where it can be followed. */
function linksOf(f, links = []) {
  const own = links.filter((l) => l.seq === String(f.seq));
  if (own.length === 0) return null;
  const word = { sent: 'sent', received: 'received', congested: 'no room yet for', acked: 'arrived, up to' };
  return h(
    'p.links',
    {},
    own.map((l) => [
      h('span.dim', {}, `${word[l.kind] ?? l.kind} `),
      l.kind === 'received' || l.kind === 'congested'
        ? messageLink(l.peer, f.shard, l.number)
        : messageLink(f.shard, l.peer, l.number),
      ' ',
    ]),
  );
}

const frameCard = (f, links) =>
  h(
    'li.frame',
    { 'data-key': f.seq, 'data-testid': 'frame' },
    h('div.frame-head', {}, frameLink(f.shard, f.seq), h('span.say', {}, frameTitle(f)), status(f.steps?.[0]?.status)),
    f.bundle
      ? h(
          'ul',
          {},
          f.bundle.interactions.map((i, at) => interaction(f, i, at)),
        )
      : null,
    linksOf(f, links),
  );

/** The chunk stands without its graph, where the gateway can't make one. */
const graphOf = (shard, n) => get(`/shards/${shard}/chunks/${n}/graph`).catch((error) => ({ failed: error.message }));

export const chunk = {
  title: ({ parts: [shard, n] }) => `Chunk ${shard}/${n}`,
  async load({ parts: [shard, n] }, change, before) {
    const [one] = await Promise.all([
      before?.one ?? fetchChunk(shard, n),
      before ? null : servicesWindow({}),
      !change || change.status || change.batches?.size ? batchesWindow(change) : null,
    ]);
    const at = batchOf(shard, one.firstSeq, one.batch);
    if (at !== null && !store.batches.has(at)) await fetchBatch(at);
    // What depends on it may still come, soon after it or never.
    const isYoung = Date.now() - Number(one.timeMs) < 60_000;
    const graph = before?.graph && (!change?.chunks || !isYoung) ? before.graph : await graphOf(shard, n);
    return { ...before, one, graph };
  },
  draw({ parts: [shard, n] }, { one, graph, zoom }) {
    const number = Number(n);
    return [
      head(
        'Chunk',
        `${shard}/${n}`,
        h(
          'nav.steps',
          { 'aria-label': 'Neighbours' },
          number > 0 ? h('a', { href: `#/trace/${shard}/${number - 1}` }, '← before') : null,
          number + 1 < Number(shardOf(shard)?.chunks ?? 0)
            ? h('a', { href: `#/trace/${shard}/${number + 1}` }, 'after →')
            : null,
        ),
      ),
      facts([
        ['Sealed', time(one.timeMs)],
        ['Frames', plural(one.frames.length, 'frame')],
        ['Interactions', count(interactionsOf(one))],
        ['Settled in', finality(shard, one.firstSeq, one.batch)],
        ['Running hash', hash(one.runningHash)],
      ]),
      tiesPart(graph, shard),
      section('Levels', levelsPart(one, graph, zoom)),
      section(
        'Frames',
        h(
          'ol.frames',
          { 'data-testid': 'frames' },
          one.frames.map((f) => frameCard(f, graph?.links)),
        ),
      ),
    ];
  },
};

const statusNumber = (name) => STATUS.indexOf(statusName(name));

/** Every check that one frame allows: its bundle's signature, its receipt, its place under a dataRoot. */
export async function checkFrame(f) {
  const out = {};
  const receipt = f.receipt ?? null;
  if (f.bundle) {
    const key = await get(`/agents/${f.bundle.actor}/key`);
    out.actorKey = key;
    out.bundle =
      statusName(f.steps?.[0]?.status) === 'ok'
        ? await verifyP256(key, f.bundle.signature, bundlePreimage(domain(), f.bytes))
        : null;
  }
  if (receipt) {
    out.hash = same(receipt.frameHash, hex(keccak(bytes(f.bytes))));
    out.outcomes = f.steps?.every((s) => statusNumber(s.status) >= 0)
      ? same(
          receipt.outcomesHash,
          outcomesHash(f.steps.map((s) => ({ status: statusNumber(s.status), value: s.value ?? 0 }))),
        )
      : null;
    out.receipt = await verifyP256(store.status.sequencerKey, receipt.signature, receiptPreimage(domain(), receipt));
  }
  return out;
}

/** A frame's way into its batch: {batch, answer, leaf, folded, ok}, or {batch, elsewhere} where its data is not in calldata; null while it is in none. */
export async function checkPlace(f) {
  const n = batchOf(f.shard, f.seq, f.batch);
  if (n === null) return null;
  const b = await fetchBatch(n);
  if (Number(b.da) !== 0) return { batch: n, elsewhere: true };
  const answer = await get(`/batches/${n}/frames/${f.shard}/${f.seq}`);
  const leaf = frameLeaf({ firstStep: answer.firstStep, shard: f.shard, seq: f.seq, frame: f.bytes });
  const size = answer.size ?? b.ranges.reduce((sum, r) => sum + Number(r.frames), 0);
  const folded = foldPath(leaf, answer.index, size, answer.path);
  return { batch: n, answer, leaf, folded, size, ok: folded.root !== null && same(folded.root, b.dataRoot) };
}

export const receiptChecks = (f, checks, testid) =>
  f.receipt
    ? [
        check(checks.hash, 'frame hash recomputed from the bytes', '', `${testid}-hash`),
        check(checks.outcomes, 'outcomes recomputed from every step', '', `${testid}-outcomes`),
        check(checks.receipt, 'signed by the sequencer', '', `${testid}-signature`),
      ]
    : [h('p.dim', {}, 'The gateway gave no receipt with this frame.')];

export function placeChecks(place, testid) {
  if (!place) return check(null, 'not in a batch yet', 'the receipt promises that it will be', testid);
  if (place.elsewhere)
    return check(
      null,
      ['in batch ', batchLink(place.batch)],
      'its data is not in calldata: who has it all checks it against the data root',
      testid,
    );
  return [
    check(
      place.ok,
      [
        'leaf ',
        String(place.answer.index),
        ` of ${count(place.size)} under the data root of batch `,
        batchLink(place.batch),
      ],
      `step ${place.answer.firstStep}`,
      testid,
    ),
    details(plural(place.folded.levels.length, 'level'), pathLadder(place.leaf, place.folded, place.answer.dataRoot)),
  ];
}

export const frame = {
  title: ({ parts: [shard, seq] }) => `Frame ${shard}/${seq}`,
  async load({ parts: [shard, seq] }, change, before) {
    if (before?.place && change && !change.status && !change.batches?.has(before.place.batch)) return before;
    const [f] = await Promise.all([
      before?.place ? before.f : get(`/shards/${shard}/frames/${seq}`),
      !change || change.status || change.batches?.size ? batchesWindow(change) : null,
      before ? null : servicesWindow({}),
    ]);
    f.shard ??= Number(shard);
    f.seq ??= seq;
    const [checks, place] = await Promise.all([before?.checks ?? checkFrame(f), before?.place ?? checkPlace(f)]);
    if (place && change) await fetchBatch(place.batch);
    const graph = before?.graph ?? (await graphOf(shard, f.chunk));
    return { f, checks, place, graph };
  },
  draw({ parts: [shard, seq] }, { f, checks, place, graph }) {
    const size = (f.bytes.length - 2) / 2;
    const r = f.receipt;
    return [
      head(
        'Frame',
        `${shard}/${seq}`,
        chip(statusName(f.steps?.[0]?.status)),
        h('span.dim', {}, words(f.kind)),
        h(
          'nav.steps',
          { 'aria-label': 'Neighbours' },
          Number(seq) > 0 ? h('a', { href: `#/frames/${shard}/${Number(seq) - 1}` }, '← before') : null,
          Number(seq) + 1 < Number(shardOf(shard)?.seq ?? 0)
            ? h('a', { href: `#/frames/${shard}/${Number(seq) + 1}` }, 'after →')
            : null,
        ),
      ),
      h('ol.frames', {}, frameCard(f, graph?.links)),
      h(
        'div.two',
        {},
        section(
          'Bytes',
          facts([
            ['Length', `${count(size)} bytes`],
            ['Steps', count(f.steps?.length)],
            f.chunk === undefined || f.chunk === null ? null : ['Chunk', chunkLink(shard, f.chunk)],
            f.bundle ? ['Expires', time(Number(f.bundle.expiry) * 1000)] : null,
            f.bundle?.payloadRoot ? ['Payload root', hash(f.bundle.payloadRoot)] : null,
            f.bundle ? ['Signature', hash(f.bundle.signature, { 'data-testid': 'bundle-signature' })] : null,
          ]),
          f.bundle
            ? check(
                checks.bundle,
                'signed by the agent’s machine key',
                checks.bundle === false
                  ? Number(checks.actorKey?.epoch) > 0
                    ? `its key was replaced since (epoch ${checks.actorKey.epoch})`
                    : ''
                  : checks.bundle === null
                    ? 'a refused bundle'
                    : '',
                'bundle-check',
              )
            : null,
          details(
            'As hex',
            h(
              'pre.hex',
              { tabindex: '0' },
              f.bytes
                .slice(2)
                .replace(/(.{2})/g, '$1 ')
                .trim(),
            ),
          ),
        ),
        section(
          'Soft receipt',
          r
            ? facts([
                ['Frame hash', hash(r.frameHash)],
                ['Running hash', hash(r.runningHash)],
                ['Outcomes', hash(r.outcomesHash)],
                ['In a batch by', time(Number(r.promisedBy) * 1000)],
                ['Signature', hash(r.signature, { 'data-testid': 'receipt-signature' })],
              ])
            : null,
          receiptChecks(f, checks, 'receipt'),
        ),
      ),
      section(
        'Place in its batch',
        place
          ? facts([
              ['Batch', [batchLink(place.batch), ' ', chip(store.batches.get(place.batch)?.l1.state ?? 'pending')]],
              ['Data root', hash(place.answer.dataRoot)],
            ])
          : null,
        placeChecks(place, 'inclusion'),
      ),
    ];
  },
};

/** One call followed through all layers, each claim checked in this page. */
import { h } from '../dom.js';
import { amountText, big, count, idText, opName, shardOfId, span, statusName, words } from '../format.js';
import {
  agentLink,
  batchLink,
  check,
  chip,
  chunkLink,
  empty,
  escrowStatus,
  facts,
  frameLink,
  hash,
  head,
  parties,
  section,
  status,
  time,
} from '../parts.js';
import { sentence } from '../sentences.js';
import {
  batch as fetchBatch,
  batchesWindow,
  chunk as fetchChunk,
  chunksWindow,
  get,
  nameOf,
  servicesWindow,
  shardOf,
  store,
} from '../store.js';
import { batchHash, commitment, same } from '../verify.js';
import { escrowPart, prove, sidesPart } from './escrow.js';
import { waitsOf, waitsPart } from './waits.js';
import { checkFrame, checkPlace, placeChecks, receiptChecks } from './trace.js';

const ENDED = new Set(['fulfilled', 'refunded', 'expired']);

/** Where the escrow ended: what the gateway says, else what stands in the next chunks. */
async function findEnd(escrow, f) {
  // Of an order: where its escrow is.
  if (shardOfId(escrow.service) !== shardOfId(escrow.id)) return escrow.escrow?.responded ?? null;
  if (escrow.responded) return escrow.responded;
  if (escrow.responded === null && !ENDED.has(escrowStatus(escrow.status))) return null;
  const last = Number(shardOf(f.shard)?.chunks ?? 0) - 1;
  for (let from = Number(f.chunk ?? last); from <= Math.min(last, Number(f.chunk) + 199); from += 40) {
    for (const c of (
      await chunksWindow(f.shard, { size: Math.min(40, last - from + 1), to: Math.min(from + 39, last) })
    ).toReversed()) {
      for (const g of c.frames) {
        const index = (g.bundle?.interactions ?? []).findIndex(
          (i, k) =>
            ['respond', 'expire'].includes(opName(i.op)) &&
            idText(i.fields.escrow) === escrow.id &&
            statusName(g.steps?.[k + 1]?.status) === 'ok',
        );
        if (index >= 0) return { shard: f.shard, seq: g.seq, index };
      }
    }
  }
  return null;
}

async function fetchFrame({ shard, seq }) {
  const f = await get(`/shards/${shard}/frames/${seq}`);
  f.shard ??= Number(shard);
  f.seq ??= String(seq);
  return f;
}

async function follow(place, before) {
  const f = before?.place ? before.f : await fetchFrame(place);
  const [checks, found, sealed] = await Promise.all([
    before?.checks ?? checkFrame(f),
    before?.place ?? checkPlace(f),
    before?.sealed ?? (f.chunk === undefined || f.chunk === null ? null : fetchChunk(f.shard, f.chunk)),
  ]);
  return { f, index: Number(place.index), checks, place: found, sealed };
}

export const call = {
  title: ({ parts }) => `Call ${parts.join('/')}`,
  async load({ parts: [shard, seq, index] }, change, before) {
    if (before?.settled && change) return before;
    await Promise.all([
      !change || change.status || change.batches?.size ? batchesWindow(change) : null,
      before ? null : servicesWindow({}),
    ]);
    const invoke = await follow({ shard, seq, index }, before?.invoke);
    const i = invoke.f.bundle?.interactions[index];
    const id = i && opName(i.op) === 'invoke' ? idText(invoke.f.steps?.[Number(index) + 1]?.value) : null;
    if (!id) return { invoke, i };
    const done = before && ENDED.has(before.proof?.fields.status);
    const [escrow, proof, waits] = await Promise.all([
      done ? before.escrow : get(`/escrows/${id}`),
      done ? before.proof : prove(id),
      before && change && !change.chunks ? before.waits : waitsOf(id, before?.waits),
    ]);
    escrow.id ??= id;
    const end = before?.respond
      ? { ...before.respond.f, index: before.respond.index }
      : await findEnd(escrow, invoke.f);
    const respond = end ? await follow(end, before?.respond) : null;
    const numbers = [invoke.place?.batch, respond?.place?.batch].filter((n) => n !== undefined);
    const held = change
      ? numbers.map((n) => store.batches.get(n))
      : await Promise.all([...new Set(numbers)].map(fetchBatch));
    const settled =
      ENDED.has(proof.fields.status) &&
      invoke.place &&
      respond?.place &&
      held.every((b) => b?.l1.state === 'final') &&
      [...waits.calls.values()].every((e) => ENDED.has(escrowStatus(e.status)));
    return { ...before, invoke, i, id, escrow, proof, respond, settled, waits };
  },
  draw({ parts }, data) {
    const { invoke, i, id, escrow, proof, respond } = data;
    if (!id)
      return [
        head('Call', parts.join('/')),
        empty(
          'No call stands here',
          i
            ? `This interaction is ${opName(i.op)}, with the outcome ${statusName(invoke.f.steps?.[Number(parts[2]) + 1]?.status)}. Calls start with an invoke that was accepted.`
            : 'The frame holds no such interaction.',
        ),
        h('p', {}, frameLink(parts[0], parts[1])),
      ];
    const state = proof.fields.status;
    const batchNumbers = [...new Set([invoke.place?.batch, respond?.place?.batch].filter((n) => n !== undefined))];
    const held = batchNumbers.map((n) => store.batches.get(n)).filter(Boolean);
    const l1 =
      held.length && (respond?.place || !ENDED.has(state))
        ? held.every((b) => b.l1.state === 'final')
          ? 'final'
          : held.some((b) => b.l1.state === 'pending')
            ? 'pending'
            : 'posted'
        : null;
    const price = respond ? respond.f.bundle.interactions[respond.index].fields.price : null;
    const all = verdict(data, held);
    const callee = escrow.payee ?? escrow.escrow?.payee;
    const waits = waitsPart(data.waits, id, data.zoom);
    return [
      head(
        'Call',
        parties(nameOf(escrow.payer) ?? escrow.payer, '→', nameOf(callee) ?? callee ?? `service ${escrow.service}`),
        h('span.id.big', {}, parts.join('/')),
        chip(state, { 'data-testid': 'call-state' }),
      ),
      h(
        'div.verdict',
        { class: all.failed ? 'no' : 'ok', 'data-testid': 'verdict' },
        h(
          'b',
          {},
          all.failed ? `✗ ${all.failed} of ${all.made} checks fail` : `✓ ${all.made} of ${all.made} checks pass`,
        ),
        h(
          'span.dim',
          {},
          ' computed in this page from bytes, hashes and signatures',
          all.waiting ? `; ${all.waiting} wait for a batch or an answer` : '',
        ),
      ),
      stepper(data, l1),
      sidesPart(escrow),
      waits ? section('Calls that wait for each other', waits) : null,
      h(
        'ol.journey',
        {},
        station(
          'core',
          'Invoked',
          placeOf(invoke),
          h(
            'p.said',
            {},
            h(
              'span',
              {},
              sentence(
                invoke.f.bundle.actor,
                'invoke',
                i.fields,
                invoke.f.steps[invoke.index + 1],
                (s) => store.services.get(idText(s))?.metadata?.name,
              ),
            ),
            status(invoke.f.steps[invoke.index + 1].status, { 'data-testid': 'invoke-status' }),
          ),
          check(
            invoke.checks.bundle,
            'signed by the payer’s machine key',
            invoke.checks.bundle === false && Number(invoke.checks.actorKey?.epoch) > 0
              ? 'its key was replaced since'
              : '',
            'invoke-signature',
          ),
        ),
        station(
          'core',
          `${shardOfId(escrow.service) === shardOfId(id) ? 'Escrow' : 'Order'} ${id}`,
          h('span.dim', {}, `cell 0x${proof.at.toString(16).padStart(8, '0')}`),
          escrowPart(proof, id, held),
        ),
        respond
          ? station(
              'core',
              opName(respond.f.bundle.interactions[respond.index].op) === 'expire'
                ? 'Expired'
                : ['failed', 'declined'].includes(respond.f.bundle.interactions[respond.index].fields.result)
                  ? 'Failed'
                  : 'Answered',
              placeOf(respond),
              h(
                'p.said',
                {},
                h(
                  'span',
                  {},
                  sentence(
                    respond.f.bundle.actor,
                    opName(respond.f.bundle.interactions[respond.index].op),
                    respond.f.bundle.interactions[respond.index].fields,
                    respond.f.steps[respond.index + 1],
                  ),
                ),
                status(respond.f.steps[respond.index + 1].status, { 'data-testid': 'respond-status' }),
              ),
              price !== null
                ? h(
                    'p.dim',
                    {},
                    amountText(price),
                    ' to ',
                    agentLink(escrow.payee),
                    ', ',
                    amountText(big(escrow.amount) - big(price)),
                    ' back to ',
                    agentLink(escrow.payer),
                  )
                : null,
              check(respond.checks.bundle, 'signed by the machine key of its agent', '', 'respond-signature'),
            )
          : station('core', 'Answer', null, waiting(proof.fields)),
        station(
          'core',
          'Soft receipts',
          null,
          h(
            'div.two',
            {},
            receipt('of the invoke', invoke, 'receipt-invoke'),
            respond ? receipt('of the answer', respond, 'receipt-respond') : null,
          ),
        ),
        station(
          'root',
          'In a batch',
          held.length ? h('span.list', {}, batchNumbers.map(batchLink)) : null,
          h(
            'div.two',
            {},
            h('div', {}, h('h3', {}, 'the invoke'), placeChecks(invoke.place, 'inclusion-invoke')),
            respond ? h('div', {}, h('h3', {}, 'the answer'), placeChecks(respond.place, 'inclusion-respond')) : null,
          ),
        ),
        station(
          'root',
          'Settled at L1',
          l1 ? chip(l1, { 'data-testid': 'call-l1' }) : null,
          held.length
            ? held.map((b) => settled(b, held.length > 1))
            : h(
                'p.dim',
                {},
                'The poster will put it into a batch in a moment; until then the receipts above are the sequencer’s word, and it is bonded.',
              ),
        ),
      ),
    ];
  },
};

const placeOf = (x) =>
  h(
    'span.fin',
    {},
    frameLink(x.f.shard, x.f.seq),
    x.f.chunk === undefined || x.f.chunk === null ? null : h('span.dim', {}, 'chunk ', chunkLink(x.f.shard, x.f.chunk)),
    x.sealed ? time(x.sealed.timeMs) : null,
  );
const station = (layer, title, aside, ...content) =>
  h(`li.${layer}`, {}, h('div.st-head', {}, h('h2', {}, title), aside), content);

function waiting(fields) {
  const left = Number(fields.deadline) - Date.now() / 1000;
  if (fields.status === 'open')
    return h(
      'p.dim',
      {},
      left > 0
        ? `Not answered yet; ${span(left)} left. After that anyone may have the payer refunded.`
        : 'Not answered, and overdue: anyone may have the payer refunded now.',
    );
  if (fields.status === 'waiting')
    return h('p.dim', {}, 'Held: it starts when the call it waits for is fulfilled, and is refunded when that fails.');
  if (fields.status === 'sent') return h('p.dim', {}, 'On its way: its escrow opens on the shard of the provider.');
  if (fields.status === 'held')
    return h(
      'p.dim',
      {},
      'Answered and held: paid when its workflow commits, or when nobody has contested it in time.',
    );
  if (!ENDED.has(fields.status)) return h('p.dim', {}, `It is ${words(fields.status)}.`);
  return h('p.dim', {}, 'It ended outside of the chunks that this page searched.');
}

const receipt = (of, x, testid) =>
  h(
    'div',
    {},
    h('h3', {}, of),
    x.f.receipt
      ? facts([
          ['Frame hash', hash(x.f.receipt.frameHash)],
          ['Signature', hash(x.f.receipt.signature, { 'data-testid': `${testid}-bytes` })],
          ['In a batch by', time(Number(x.f.receipt.promisedBy) * 1000)],
        ])
      : null,
    receiptChecks(x.f, x.checks, testid),
  );

const settled = (b, many) =>
  h(
    'div.settled',
    { 'data-key': b.number, 'data-still': true },
    many ? h('h3', {}, 'Batch ', batchLink(b.number), ' ', chip(b.l1.state)) : null,
    facts([
      ['Transaction', hash(b.l1.tx, { 'data-testid': 'l1-tx' })],
      ['Block', b.l1.block ? count(b.l1.block) : '–'],
      ['Posted', time(Number(b.l1.postedAt) * 1000)],
      [b.l1.state === 'final' ? 'Final' : 'Window ends', time(Number(b.l1.finalAt) * 1000)],
      ['Commitment before', hash(b.pre)],
      ['Commitment after', hash(b.post)],
    ]),
    b.hash ? check(same(b.hash, batchHash(b)), 'header hashes to the batch hash that L1 keeps', '', 'l1-hash') : null,
    b.stateRoot ? check(same(commitment(b.stateRoot), b.post), 'commits to its state root', '', 'l1-post') : null,
  );

/** Every check of the page, counted: {made, failed, waiting}. */
function verdict({ invoke, respond, proof }, held) {
  const results = [proof.ok, proof.shardOk];
  for (const x of [invoke, respond]) {
    if (!x) {
      results.push(undefined);
      continue;
    }
    results.push(x.checks.bundle, x.checks.receipt, x.checks.hash, x.checks.outcomes, x.place ? x.place.ok : undefined);
  }
  for (const b of held) {
    if (b.hash) results.push(same(b.hash, batchHash(b)));
    if (b.stateRoot) results.push(same(commitment(b.stateRoot), b.post));
  }
  return {
    made: results.filter((r) => typeof r === 'boolean').length,
    failed: results.filter((r) => r === false).length,
    waiting: results.filter((r) => r === undefined).length,
  };
}

function stepper({ invoke, respond, proof }, l1) {
  const steps = [
    ['invoked', true, invoke.sealed?.timeMs],
    ['receipt', Boolean(invoke.f.receipt), null],
    [proof.fields.status === 'open' ? 'answer' : proof.fields.status, Boolean(respond), respond?.sealed?.timeMs],
    ['batch', Boolean(invoke.place && (respond?.place || !respond)), null],
    ['posted', l1 === 'posted' || l1 === 'final', null],
    ['final', l1 === 'final', null],
  ];
  return h(
    'ol.life',
    { 'data-testid': 'stepper' },
    steps.map(([label, done, at]) =>
      h(
        'li',
        { class: done ? 'done' : '' },
        label,
        at && label !== 'invoked' && invoke.sealed
          ? h('span.dim', {}, ` +${((at - invoke.sealed.timeMs) / 1000).toFixed(1)} s`)
          : null,
      ),
    ),
  );
}

/** Sessions: two deposits, two directions, two newest halves. */
import { h } from '../dom.js';
import { big, brief, count, idNumber, percent } from '../format.js';
import {
  agentLink,
  amount,
  check,
  chip,
  deposits,
  empty,
  facts,
  figures,
  hash,
  head,
  pager,
  parties,
  seconds,
  section,
  sessionStatus,
  time,
  windowEnd,
} from '../parts.js';
import { domain, get, nameOf, rate, session as refresh, sessionsWindow, sessionSums, total } from '../store.js';
import { halfPreimage, verifyP256 } from '../verify.js';
import { sessionTable } from './agents.js';

export const sessions = {
  title: () => 'Sessions',
  load: (args, change) => sessionsWindow(change, windowEnd(args)),
  draw(args, list) {
    const now = rate();
    return [
      head(
        'Layer Top',
        'Sessions',
        h(
          'span.dim',
          {},
          `${count(total('sessions'))} opened`,
          now.calls > 0 ? `, ${brief(now.calls)} calls a second now` : '',
        ),
      ),
      list.length === 0
        ? empty(
            'No session yet',
            'A session opens with one interaction when a sidecar’s policy finds that it pays; its deposits, calls and payments then show here live.',
          )
        : sessionTable(list),
      pager('/sessions', { to: windowEnd(args), last: Number(total('sessions')), size: 50 }),
    ];
  },
};

/** Checks both halves' signatures; a half that was checked is not checked again. */
async function checkHalves(s, before) {
  const checked = {};
  for (const half of s.live?.halves ?? []) {
    if (!half) continue;
    const dir = Number(half.dir);
    const key = `${half.seq} ${half.payerSignature}`;
    if (before?.[dir]?.key === key) {
      checked[dir] = before[dir];
      continue;
    }
    const keys = {
      a: s.keyA ?? before?.keys?.a ?? (await get(`/agents/${s.a}/key`)),
      b: s.keyB ?? before?.keys?.b ?? (await get(`/agents/${s.b}/key`)),
    };
    checked.keys = keys;
    const [payer, payee] = dir ? [keys.b, keys.a] : [keys.a, keys.b];
    const message = halfPreimage(domain(), { session: idNumber(s.id), ...half });
    checked[dir] = {
      key,
      pinned: Boolean(s.keyA && s.keyB),
      payer: await verifyP256(payer, half.payerSignature, message),
      payee: half.payeeSignature ? await verifyP256(payee, half.payeeSignature, message) : null,
    };
  }
  checked.keys ??= before?.keys;
  return checked;
}

export const session = {
  title: ({ parts: [id] }) => `Session ${id}`,
  async load({ parts: [id] }, change, before) {
    if (before && change && !change.sessions.has(id) && !change.chunks) return before;
    const s = await refresh(id);
    return { s, checked: await checkHalves(s, before?.checked) };
  },
  draw({ parts: [id] }, { s, checked }) {
    const sums = sessionSums(s);
    const now = rate(id);
    const { bar, total: locked, outA, outB } = deposits(s, sums);
    const on = (agent) => (s.live?.connected ?? []).includes(agent);
    const party = (agent, letter, out, deposit) =>
      h(
        'div.party',
        {},
        h(
          'span.who',
          {},
          h('i.dot', { class: on(agent) ? 'on' : '', title: on(agent) ? 'connected' : 'not connected' }),
          agentLink(agent, { both: true }),
        ),
        h('b', {}, amount(out, { 'data-testid': `out-${letter}` })),
        h('span.dim', {}, 'would get, put in ', amount(deposit)),
      );
    return [
      head(
        'Session',
        parties(nameOf(s.a) ?? s.a, '⇄', nameOf(s.b) ?? s.b),
        h('span.id.big', {}, id),
        chip(sessionStatus(s.status)),
        Number(s.exitAt) && sessionStatus(s.status) === 'exiting' ? ['pays out ', time(Number(s.exitAt) * 1000)] : null,
      ),
      figures([
        ['Calls', count(sums.calls), now.calls > 0 ? `${brief(now.calls)} a second` : 'quiet now', 'session-calls'],
        [
          'Paid, both ways',
          amount(sums.paid),
          now.paid > 0 ? [amount(Math.round(now.paid)), ' a second'] : null,
          'session-paid',
        ],
        ['Locked', amount(locked), null, 'session-locked'],
      ]),
      h('div.balance', {}, party(s.a, 'a', outA, s.depositA), bar, party(s.b, 'b', outB, s.depositB)),
      section('Newest halves', h('div.halves', {}, direction(s, sums, checked, 0), direction(s, sums, checked, 1))),
      section(
        'On the trace',
        facts([
          [
            'Settled calls',
            [count(s.callsAB), h('span.dim', {}, ' a→b, '), count(s.callsBA), h('span.dim', {}, ' b→a')],
          ],
          ['Settled, a→b', amount(s.paidAB)],
          ['Settled, b→a', amount(s.paidBA)],
          ['Exit delay', seconds(s.exitDelay)],
          s.live?.frames === undefined ? null : ['Packets relayed', count(s.live.frames)],
          ['Root a→b', hash(s.rootAB)],
          ['Root b→a', hash(s.rootBA)],
        ]),
      ),
    ];
  },
};

const older = (one) => (one.pinned ? '' : 'against its current key; the session may have pinned an older one');

function direction(s, sums, checked, dir) {
  const half = dir ? sums.ba : sums.ab;
  const [payer, payee] = dir ? [s.b, s.a] : [s.a, s.b];
  const [calls, paid, settled] = dir ? [sums.callsBA, sums.paidBA, s.paidBA] : [sums.callsAB, sums.paidAB, s.paidAB];
  const open = big(paid) - big(settled);
  return h(
    'article.half',
    { 'data-testid': `half-${dir}` },
    h('h3', {}, agentLink(payer), h('span.dim', {}, ' pays '), agentLink(payee)),
    facts([
      ['Calls', count(calls)],
      ['Paid', amount(paid)],
      ['Not yet settled', [amount(open), open > 0n ? h('span.dim', {}, ` ${percent(open, paid).toFixed(0)}%`) : null]],
      half ? ['Half', count(half.seq)] : null,
      half ? ['Call log root', hash(half.root)] : null,
      half ? ['Payer’s signature', hash(half.payerSignature)] : null,
      half?.payeeSignature ? ['Payee’s signature', hash(half.payeeSignature)] : null,
    ]),
    half
      ? [
          check(
            checked[dir]?.payer,
            'signed by the payer: this is money',
            checked[dir]?.payer === false ? older(checked[dir]) : '',
            `half-check-${dir}`,
          ),
          half.payeeSignature
            ? check(
                checked[dir]?.payee,
                'countersigned by the payee: this is a receipt',
                checked[dir]?.payee === false ? older(checked[dir]) : '',
              )
            : check(null, 'not yet countersigned'),
        ]
      : h(
          'p.dim',
          {},
          'No half is held by the session: nothing was paid this way since it opened, or all of it is settled.',
        ),
  );
}

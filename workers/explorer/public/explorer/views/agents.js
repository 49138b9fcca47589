/** Agents, what they are worth and what they offer. */
import { h } from '../dom.js';
import { amountText, big, count, idText, opName, plural, serialOf, statusName } from '../format.js';
import {
  agentLink,
  amount,
  bar,
  chip,
  check,
  details,
  empty,
  facts,
  figures,
  frameLink,
  hash,
  head,
  ladder,
  pager,
  reputation,
  section,
  serviceLink,
  sessionLink,
  sessionStatus,
  status,
  table,
  time,
  windowEnd,
} from '../parts.js';
import { sentence } from '../sentences.js';
import {
  agentsWindow,
  domain,
  get,
  nameOf,
  recentFrames,
  servicesWindow,
  sessionSums,
  store,
  total,
} from '../store.js';
import { bytes, checkAgentProof } from '../verify.js';
import { capabilityTable } from './records.js';
import { callTable } from './under.js';

const serviceName = (id) => store.services.get(idText(id))?.metadata?.name;
export const priceOf = (s) => s.metadata?.routes?.find?.((r) => r?.price !== undefined)?.price;

export const agents = {
  title: () => 'Agents',
  async load(args, change) {
    const [list, services] = await Promise.all([agentsWindow(change, windowEnd(args)), servicesWindow(change)]);
    return { list, services };
  },
  draw(args, { list, services }) {
    const rows = list.toSorted((x, y) =>
      big(y.volume) > big(x.volume) ? 1 : big(y.volume) < big(x.volume) ? -1 : serialOf(x.id) - serialOf(y.id),
    );
    const most = rows.reduce((m, a) => (big(a.volume) > m ? big(a.volume) : m), 1n);
    return [
      head(
        'Identity and reputation',
        'Agents',
        h('span.dim', {}, `${count(total('agents'))} registered, by volume earned`),
      ),
      rows.length === 0
        ? empty(
            'No agent yet',
            'An owner registers one by a deposit at L1, or another agent sponsors it: start a sidecar with a funded key.',
          )
        : table(
            [
              [
                'Agent',
                (a) =>
                  h(
                    'span.who',
                    {},
                    h('i.dot', { class: a.online ? 'on' : '', title: a.online ? 'online' : 'not connected' }),
                    agentLink(a.id, { both: true }),
                  ),
                'wide',
              ],
              ['Balance', (a) => amount(a.balance), 'r'],
              ['Volume earned', (a) => h('span.vol', {}, bar(a.volume, most, 'core'), amount(a.volume)), 'r'],
              ['Reputation', reputation],
              [
                'Services',
                (a) => {
                  const own = services.filter((s) => s.provider === a.id);
                  return own.length
                    ? h(
                        'span.list',
                        {},
                        own.slice(0, 3).map((s) => serviceLink(s.id, s.metadata?.name)),
                        own.length > 3 ? h('span.dim', {}, `+${own.length - 3}`) : null,
                      )
                    : h('span.dim', {}, '–');
                },
              ],
            ],
            rows,
            { key: (a) => a.id, testid: 'agents', caption: 'Agents' },
          ),
      pager('/agents', { to: windowEnd(args), last: Number(total('agents')), size: 50 }),
    ];
  },
};

export const agent = {
  title: ({ parts: [id] }) => nameOf(id) ?? `Agent ${id}`,
  async load({ parts: [id] }, change, before) {
    const under = 'open,held,contested,waiting,sent';
    const [one, services, sessions, granted, usable, calls] = await Promise.all([
      get(`/agents/${id}`),
      change && before ? before.services : get(`/services?provider=${id}&limit=50`).then((r) => r.services),
      get(`/sessions?agent=${id}&limit=50`).then((r) => r.sessions),
      change && before ? before.granted : get(`/capabilities?grantor=${id}&limit=50`).then((r) => r.capabilities),
      change && before ? before.usable : get(`/capabilities?grantee=${id}&limit=50`).then((r) => r.capabilities),
      Promise.all(
        ['payer', 'payee'].map((who) => get(`/escrows?${who}=${id}&status=${under}&limit=50`).then((r) => r.escrows)),
      ),
      servicesWindow(change),
    ]);
    store.agents.set(id, one);
    const own = new Set(services.map((s) => s.id));
    const recent = await recentFrames(
      (f) =>
        f.bundle && (f.bundle.actor === id || f.bundle.interactions.some((i) => own.has(idText(i.fields.service)))),
    );
    return { ...before, one, services, sessions, own, recent, granted, usable, calls: calls.flat() };
  },
  async act(_what, { parts: [id] }) {
    const answer = await get(`/agents/${id}/proof`);
    return {
      proof: {
        answer,
        ...(await checkAgentProof(answer, { id, ...domain(), sequencerKey: store.status.sequencerKey })),
      },
    };
  },
  draw({ parts: [id] }, { one, services, sessions, own, recent, proof, granted, usable, calls }) {
    return [
      head(
        'Agent',
        one.name || `Agent ${id}`,
        h('span.id.big', { 'data-testid': 'agent-id' }, id),
        chip(one.online ? 'online' : 'offline'),
        one.description ? h('p.lede', {}, one.description) : null,
      ),
      figures([
        ['Balance', amount(one.balance), null, 'agent-balance'],
        ['Volume earned', amount(one.volume), null, 'agent-volume'],
        [
          'Reputation',
          reputation(one),
          `${count(one.completed)} completed, ${count(one.failed)} failed`,
          'agent-reputation',
        ],
        [
          'Rated',
          Number(one.ratings)
            ? [(Number(one.ratingSum) / Number(one.ratings)).toFixed(1), h('small', {}, ' of 5')]
            : h('span.dim', {}, 'not yet'),
          Number(one.ratings) ? plural(one.ratings, 'rating') : 'by those it worked for',
          'agent-rating',
        ],
        [
          'At stake',
          amount(one.stake),
          Number(one.unstakeAt)
            ? ['free ', time(Number(one.unstakeAt) * 1000)]
            : 'what it loses for silence and for signing twice',
          'agent-stake',
        ],
      ]),
      facts([
        ['Owner', hash(one.owner)],
        ['Key epoch', count(one.epoch)],
        ['Nonce', count(one.nonce)],
        ['Stands on', h('a', { href: `#/trace?shard=${id.split(':')[0]}` }, `shard ${id.split(':')[0]}`)],
      ]),
      h(
        'div.prove',
        {},
        h(
          'button.plain',
          { type: 'button', 'data-act': 'prove', 'data-testid': 'prove' },
          proof ? 'Prove this balance again' : 'Prove this balance',
        ),
        proof
          ? proved(proof)
          : h(
              'span.dim',
              {},
              'fetches the agent’s cell and folds it up to a root the sequencer has signed, in this page',
            ),
      ),
      section(
        'Services',
        services.length
          ? h('ul.cards', {}, services.map(serviceCard))
          : empty('Offers nothing yet', 'The agent’s sidecar publishes services from its policy file.'),
      ),
      section(
        'Sessions',
        sessions.length
          ? sessionTable(sessions, id)
          : empty('No session', 'One is opened when this agent and a peer call each other often enough.'),
      ),
      calls.length ? section('Calls under way', callTable(calls, id)) : null,
      granted.length + usable.length
        ? section(
            'Capabilities',
            capabilityTable([...new Map([...granted, ...usable].map((c) => [c.id, c])).values()], id),
          )
        : null,
      section(
        'Recent bundles and calls',
        recent.length
          ? h(
              'ol.acts',
              { 'data-testid': 'recent' },
              recent.map(({ f, timeMs }) =>
                h(
                  'li',
                  { 'data-key': `${f.shard}/${f.seq}` },
                  h('div.place', {}, frameLink(f.shard, f.seq), time(timeMs)),
                  h(
                    'ul',
                    {},
                    f.bundle.interactions
                      .map((i, at) => interaction(f, i, at))
                      .filter(
                        (_, at) => f.bundle.actor === id || own.has(idText(f.bundle.interactions[at].fields.service)),
                      ),
                  ),
                ),
              ),
            )
          : empty('Nothing in the newest chunks', 'What this agent did earlier stands further down the trace.'),
      ),
    ];
  },
};

function proved({ answer, folded, at, ok, signed }) {
  const { seq, shard, shardRoot } = answer.checkpoint;
  const balance = bytes(answer.cells[0].cell)
    .slice(20, 27)
    .reduce((n, b) => n * 256n + BigInt(b), 0n);
  return h(
    'div',
    {},
    check(
      ok,
      `${amountText(balance)} is in the state`,
      `after ${count(seq)} frames, cell 0x${at.toString(16)}`,
      'agent-proof',
    ),
    check(signed, 'the sequencer signed this root', `of shard ${shard}`, 'agent-checkpoint'),
    details('12 levels', ladder(folded, shardRoot)),
  );
}

/** One interaction as a line, with its outcome and where to follow it. */
export function interaction(f, i, at) {
  const step = f.steps?.[at + 1];
  const op = opName(i.op);
  const ok = statusName(step?.status) === 'ok';
  return h(
    'li.act',
    { 'data-testid': 'interaction' },
    h('code.op', {}, op),
    h('span.say', {}, sentence(f.bundle.actor, op, i.fields, step, serviceName)),
    status(step?.status),
    ok && op === 'invoke'
      ? h('a.follow', { href: `#/calls/${f.shard}/${f.seq}/${at}`, 'data-testid': 'follow' }, 'follow →')
      : ok && op === 'respond'
        ? h('a.follow', { href: `#/escrows/${idText(i.fields.escrow)}` }, 'follow →')
        : h('span.follow', {}),
  );
}

export function sessionTable(list, self) {
  return table(
    [
      ['Session', (s) => sessionLink(s.id)],
      ['Between', (s) => h('span.pair', {}, agentLink(s.a), h('span.dim', {}, '⇄'), agentLink(s.b)), 'wide'],
      ['Calls', (s) => count(sessionSums(s).calls), 'r num'],
      [
        self ? 'Earned here' : 'Paid',
        (s) => amount(self ? (s.a === self ? sessionSums(s).paidBA : sessionSums(s).paidAB) : sessionSums(s).paid),
        'r',
      ],
      ['Locked', (s) => amount(big(s.depositA) + big(s.depositB)), 'r'],
      [
        'Status',
        (s) => [
          chip(sessionStatus(s.status)),
          s.live?.connected?.length === 2 ? h('i.dot.on', { title: 'both connected' }) : null,
        ],
      ],
    ],
    list,
    { key: (s) => s.id, testid: 'sessions', caption: 'Sessions' },
  );
}

const ceilingNote = (s) => (priceOf(s) === undefined ? ['up to ', amount(s.ceiling)] : ['from ', amount(priceOf(s))]);
const serviceCard = (s) =>
  h(
    'li',
    { 'data-key': s.id },
    h('a', { href: `#/services/${s.id}` }, h('b', {}, s.metadata?.name ?? `Service ${s.id}`), h('span.id', {}, s.id)),
    h('p', {}, s.metadata?.description ?? ''),
    h('p.price', {}, ceilingNote(s), s.active ? null : chip('inactive')),
  );

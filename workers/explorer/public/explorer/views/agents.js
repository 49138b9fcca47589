/** Agents, what they are worth and what they offer. */
import { h } from '../dom.js';
import { amountText, big, count, idText, opName, serialOf, statusName } from '../format.js';
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
  seconds,
  sentence,
  serviceLink,
  sessionLink,
  sessionStatus,
  status,
  table,
  time,
  windowEnd,
} from '../parts.js';
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

const serviceName = (id) => store.services.get(idText(id))?.metadata?.name;
const priceOf = (s) => s.metadata?.routes?.find?.((r) => r?.price !== undefined)?.price;

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
    const [one, services, sessions] = await Promise.all([
      get(`/agents/${id}`),
      change && before ? before.services : get(`/services?provider=${id}&limit=50`).then((r) => r.services),
      get(`/sessions?agent=${id}&limit=50`).then((r) => r.sessions),
      servicesWindow(change),
    ]);
    store.agents.set(id, one);
    const own = new Set(services.map((s) => s.id));
    const recent = await recentFrames(
      (f) =>
        f.bundle && (f.bundle.actor === id || f.bundle.interactions.some((i) => own.has(idText(i.fields.service)))),
    );
    return { ...before, one, services, sessions, own, recent };
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
  draw({ parts: [id] }, { one, services, sessions, own, recent, proof }) {
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
      ]),
      facts([
        ['Owner', hash(one.owner)],
        ['Key epoch', count(one.epoch)],
        ['Nonce', count(one.nonce)],
        ['Stake', amount(one.stake)],
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

export const services = {
  title: () => 'Services',
  load: (_args, change) => servicesWindow(change),
  draw(_args, list) {
    return [
      head('What agents offer', 'Services', h('span.dim', {}, `${count(total('services'))} published`)),
      list.length === 0
        ? empty(
            'No service yet',
            'A sidecar publishes its container’s routes and prices; they appear here with the first bundle.',
          )
        : table(
            [
              [
                'Service',
                (s) =>
                  h(
                    'span.who',
                    {},
                    h('a', { href: `#/services/${s.id}` }, h('span.name', {}, s.metadata?.name ?? s.id)),
                    h('span.id', {}, s.id),
                  ),
                'wide',
              ],
              ['Provider', (s) => agentLink(s.provider)],
              ['Price', (s) => (priceOf(s) === undefined ? h('span.dim', {}, '–') : amount(priceOf(s))), 'r'],
              ['Ceiling', (s) => amount(s.ceiling), 'r'],
              ['Answers within', (s) => seconds(s.deadlineSeconds)],
              ['Arbiter', (s) => agentLink(s.arbiter)],
              ['State', (s) => chip(s.active ? 'active' : 'inactive')],
            ],
            list,
            { key: (s) => s.id, testid: 'services', caption: 'Services' },
          ),
    ];
  },
};

export const service = {
  title: ({ parts: [id] }, s) => s?.one.metadata?.name ?? `Service ${id}`,
  async load({ parts: [id] }, change, before) {
    const one = change && before ? before.one : await get(`/services/${id}`);
    store.services.set(id, one);
    const calls = (i) => opName(i.op) === 'invoke' && idText(i.fields.service) === id;
    return { one, calls, recent: await recentFrames((f) => f.bundle?.interactions.some(calls)) };
  },
  draw({ parts: [id] }, { one: s, calls, recent }) {
    const { name, description, routes, ...rest } = s.metadata ?? {};
    const newest = recent
      .flatMap(({ f, timeMs }) => f.bundle.interactions.flatMap((i, at) => (calls(i) ? [{ f, i, at, timeMs }] : [])))
      .slice(0, 12);
    return [
      head(
        'Service',
        name ?? `Service ${id}`,
        h('span.id.big', {}, id),
        chip(s.active ? 'active' : 'inactive'),
        description ? h('p.lede', {}, String(description)) : null,
      ),
      facts([
        ['Provider', agentLink(s.provider, { both: true })],
        ['Ceiling of a call', amount(s.ceiling)],
        ['Answers within', seconds(s.deadlineSeconds)],
        ['Arbiter', agentLink(s.arbiter)],
        idText(s.arbiter) ? ['Contested within', seconds(s.contestSeconds)] : null,
        ['Version', count(s.version)],
        ['Metadata', hash(s.metadataHash)],
      ]),
      Array.isArray(routes) && routes.length
        ? section(
            'Routes and prices',
            table(
              [
                ['Route', (r) => h('code', {}, `${r?.method ?? ''} ${r?.path ?? ''}`), 'wide'],
                ['Price', (r) => (r?.price === undefined ? '–' : amount(r.price)), 'r'],
                ['Answers', (r) => h('span.dim', {}, String(r?.description ?? ''))],
              ],
              routes,
              { key: (r) => `${r?.method} ${r?.path}`, caption: 'Routes' },
            ),
          )
        : null,
      Object.keys(rest).length
        ? section('Metadata', h('pre', {}, JSON.stringify(rest, null, 2)))
        : s.metadata
          ? null
          : section(
              'Metadata',
              empty(
                'The provider has not uploaded the document',
                'Its hash stands above; the document is served once the provider puts it here.',
              ),
            ),
      section(
        'Newest calls',
        newest.length
          ? h(
              'ol.acts',
              {},
              newest.map(({ f, i, at, timeMs }) =>
                h(
                  'li',
                  { 'data-key': `${f.shard}/${f.seq}/${at}` },
                  h('div.place', {}, frameLink(f.shard, f.seq), time(timeMs)),
                  h('ul', {}, interaction(f, i, at)),
                ),
              ),
            )
          : empty(
              'Not called in the newest chunks',
              'First-contact calls to this service appear here; calls in sessions stay between the two parties.',
            ),
      ),
    ];
  },
};

/** Records and messages with little to say: a capability; a message on its way from shard to shard. */
import { h } from '../dom.js';
import { idText, words } from '../format.js';
import { agentLink, amount, bar, chip, chunkLink, facts, frameLink, head, serviceLink, table, time } from '../parts.js';
import { messageSentence } from '../sentences.js';
import { get, message as fetchMessage, servicesWindow, store } from '../store.js';

const serviceName = (id) => store.services.get(idText(id))?.metadata?.name;
const FOREVER = 4_294_967_295;

export const capabilityState = (c) =>
  c.revoked ? 'revoked' : Number(c.expiry) * 1000 < Date.now() ? 'expired' : 'active';
const expiry = (c) => (Number(c.expiry) >= FOREVER ? h('span.dim', {}, 'never') : time(Number(c.expiry) * 1000));

export const capability = {
  title: ({ parts: [id] }) => `Capability ${id}`,
  async load({ parts: [id] }, change) {
    const [one] = await Promise.all([get(`/capabilities/${id}`), change ? null : servicesWindow({})]);
    return one;
  },
  draw: ({ parts: [id] }, c) => [
    head('Capability', id, chip(capabilityState(c), { 'data-testid': 'capability' })),
    h(
      'p.said',
      {},
      agentLink(c.grantee),
      ' may spend money of ',
      agentLink(c.grantor),
      idText(c.service) ? [' on ', serviceLink(c.service, serviceName(c.service))] : ' on any service',
    ),
    facts([
      ['Limit', amount(c.limit)],
      ['Used', [amount(c.used), ' ', bar(c.used, c.limit, 'core')]],
      ['Ends', expiry(c)],
      ['Granted by', agentLink(c.grantor, { both: true })],
      ['Used by', agentLink(c.grantee, { both: true })],
    ]),
  ],
};

export const capabilityTable = (list, self) =>
  table(
    [
      ['Capability', (c) => h('a.id', { href: `#/capabilities/${c.id}` }, c.id)],
      [
        '',
        (c) =>
          c.grantor === self ? ['lets ', agentLink(c.grantee), ' spend'] : ['may spend of ', agentLink(c.grantor)],
        'wide',
      ],
      [
        'On',
        (c) => (idText(c.service) ? serviceLink(c.service, serviceName(c.service)) : h('span.dim', {}, 'any service')),
      ],
      ['Used', (c) => [amount(c.used), h('span.dim', {}, ' of '), amount(c.limit)], 'r'],
      ['Ends', expiry],
      ['State', (c) => chip(capabilityState(c))],
    ],
    list,
    { key: (c) => c.id, testid: 'capabilities', caption: 'Capabilities' },
  );

export const message = {
  title: ({ parts: [from, to, number] }) => `Message ${from} → ${to} #${number}`,
  async load({ parts: [from, to, number] }, change, before) {
    if (before?.frame) return before;
    const told = await fetchMessage(from, to, number);
    if (!told) return { told: await get(`/messages/${from}/${to}/${number}`) };
    if (!told.place) return { told };
    const [, seq] = told.place.split(':');
    const [frame] = await Promise.all([get(`/shards/${to}/frames/${seq}`), servicesWindow({})]);
    const graph = await get(`/shards/${to}/chunks/${frame.chunk}/graph`);
    const sender = graph.dependsOn.find(
      (e) =>
        e.why === 'message' &&
        String(e.shard) === from &&
        Number(e.first) <= Number(number) &&
        Number(number) <= Number(e.number),
    );
    return { told, frame, sender };
  },
  draw({ parts: [from, to, number] }, { told, frame, sender }) {
    return [
      head(
        'Message between shards',
        `${from} → ${to} #${number}`,
        h('span.dim', {}, words(told.kind)),
        chip(told.status ?? told.state, { 'data-testid': 'message-status' }),
      ),
      frame ? h('p.said', {}, h('span', {}, messageSentence(frame.message, frame.steps?.[0], serviceName))) : null,
      h(
        'ol.journey',
        {},
        station('Sent', sender ? ['by shard ', from, ', chunk ', chunkLink(from, sender.chunk)] : ['by shard ', from]),
        frame
          ? station('Received', [
              'by shard ',
              to,
              ', frame ',
              frameLink(to, frame.seq),
              ', chunk ',
              chunkLink(to, frame.chunk),
            ])
          : station('Not received yet', h('span.dim', {}, 'its sender brings it again and again until it is there')),
        frame ? station(['Came to ', chip(told.status)], frame.message ? messageTable(frame.message) : null) : null,
      ),
    ];
  },
};

const station = (title, ...content) =>
  h('li.core', {}, h('div.st-head', {}, h('h2', {}, title)), h('div', {}, content));

/** A message's fields as they are. */
function messageTable(message) {
  const { kind: _, fields, item, ...rest } = message;
  const all = { ...rest, ...item, ...fields };
  return facts(
    Object.entries(all)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [
        words(name),
        h('code', {}, typeof value === 'object' ? JSON.stringify(value) : String(value)),
      ]),
  );
}

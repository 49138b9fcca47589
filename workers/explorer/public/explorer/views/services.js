/** What agents offer. */
import { h } from '../dom.js';
import { count, idText, opName } from '../format.js';
import {
  agentLink,
  amount,
  chip,
  empty,
  facts,
  frameLink,
  hash,
  head,
  section,
  seconds,
  table,
  time,
} from '../parts.js';
import { get, recentFrames, servicesWindow, store, total } from '../store.js';
import { interaction, priceOf } from './agents.js';

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

import { expect, test } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { readConfig } from '../config.ts';
import { parseLabels, withLabels } from '../labels.ts';
import { type ContainerFacts, readLabels } from './labels.ts';

const container = (labels: Record<string, string>, more: Partial<ContainerFacts> = {}): ContainerFacts => ({
  id: 'c'.repeat(64),
  name: 'weather_app_1',
  labels: { 'agnt2.enable': 'true', ...labels },
  imageLabels: {},
  ports: [8080],
  ...more,
});
const refused = (labels: Record<string, string>, more: Partial<ContainerFacts> = {}): [string, string] => {
  try {
    readLabels(container(labels, more));
  } catch (error) {
    return [codeOf(error), (error as Error).message];
  }
  return ['', ''];
};

test('everything a label can say', () => {
  const labels = {
    'agnt2.name': 'weather',
    'agnt2.description': 'Forecasts',
    'agnt2.port': '3000',
    'agnt2.price': 'POST /run=200; /v1/*=20; *=500',
    'agnt2.free': '/docs, /health*',
    'agnt2.deadline': '60',
    'agnt2.budget.call': '10',
    'agnt2.budget.hour': '100',
    'agnt2.budget.day': '1000',
    'agnt2.budget.peer': '50',
    'agnt2.egress.allow': 'api.example.com, *.example.org',
  };
  expect(readLabels(container(labels))).toEqual({
    name: 'weather',
    app: 'http://weather_app_1:3000',
    services: [
      {
        name: 'weather',
        description: 'Forecasts',
        routes: [
          { method: 'POST', path: '/run', price: '200' },
          { method: '*', path: '/v1/*', price: '20' },
        ],
        defaultPrice: '500',
        free: ['/docs', '/health*'],
        deadlineSeconds: 60,
      },
    ],
    policy: { perCall: '10', perHour: '100', perDay: '1000', perPeer: '50' },
    egress: { allow: ['api.example.com', '*.example.org'] },
  });
});

test('compose gives a name and an address', () => {
  const labels = { 'com.docker.compose.service': 'app', 'agnt2.price': '*=1' };
  expect(readLabels(container(labels))).toMatchObject({ name: 'app', app: 'http://app:8080' });
});

test('an app of HTTP/2 says so, and the sidecar calls it by that', () => {
  const labels = { 'com.docker.compose.service': 'app', 'agnt2.price': '*=1', 'agnt2.protocol': 'h2c' };
  const labelled = readLabels(container(labels))!;
  expect(labelled).toMatchObject({ app: 'h2c://app:8080' });
  expect(
    readConfig(withLabels({ gateway: 'http://gateway.example', agent: '0:1', name: 'app' }, labelled)),
  ).toMatchObject({ app: 'h2c://app:8080' });
});

test('an app that only calls needs no port', () => {
  for (const none of [{}, { 'agnt2.price': '' }] as Record<string, string>[])
    expect(readLabels(container({ 'agnt2.name': 'scout', ...none }, { ports: [] }))).toEqual({ name: 'scout' });
});

test('who did not ask for it is left alone', () => {
  expect(readLabels(container({ 'agnt2.enable': 'false', 'agnt2.prise': 'x' }))).toBe(null);
});

const PRICED = { 'agnt2.name': 'weather', 'agnt2.price': '*=1' };
const REFUSALS: readonly [string, Record<string, string>, Partial<ContainerFacts>, string, RegExp][] = [
  ['no port', PRICED, { ports: [] }, 'no_port', /agnt2\.port/],
  ['several ports', PRICED, { ports: [80, 443] }, 'ambiguous_port', /80, 443/],
  ['a port that is none', { ...PRICED, 'agnt2.port': '65536' }, {}, 'bad_label', /agnt2\.port/],
  ['a port with a host', { ...PRICED, 'agnt2.port': '1@169.254.169.254:80' }, {}, 'bad_label', /agnt2\.port/],
  ['a protocol we do not speak', { ...PRICED, 'agnt2.protocol': 'https' }, {}, 'bad_label', /one of http, h2c/],
  ['a misspelt budget', { ...PRICED, 'agnt2.budget.dayly': '1' }, {}, 'unknown_label', /mean agnt2\.budget\.day\?/],
  ['a misspelt price', { ...PRICED, 'agnt2.prise': '1' }, {}, 'unknown_label', /mean agnt2\.price\?/],
  ['another case', { ...PRICED, 'AGNT2.price': '1' }, {}, 'unknown_label', /AGNT2\.price.*mean agnt2\.price/],
  ['nothing near', { ...PRICED, 'agnt2.gateway': 'http://evil' }, {}, 'unknown_label', /no label of AGNT2$/],
  ['neither true nor false', { ...PRICED, 'agnt2.enable': 'yes' }, {}, 'bad_label', /true or false/],
  ['no price but a port', { 'agnt2.name': 'weather', 'agnt2.port': '80' }, {}, 'bad_label', /without agnt2\.price/],
  ['an empty price', { 'agnt2.name': 'w', 'agnt2.price': ' ; ' }, {}, 'bad_label', /names no price/],
  ['a price below nothing', { 'agnt2.name': 'w', 'agnt2.price': '*=-1' }, {}, 'bad_label', /agnt2\.price/],
  ['a broken price', { 'agnt2.name': 'w', 'agnt2.price': '/run=1.5' }, {}, 'bad_label', /agnt2\.price/],
  ['a price beyond 2^53', { 'agnt2.name': 'w', 'agnt2.price': '*=9007199254740992' }, {}, 'bad_label', /agnt2\.price/],
  ['a path in no normal form', { 'agnt2.name': 'w', 'agnt2.price': '/a/../b=1' }, {}, 'bad_label', /\/a\/\.\.\/b/],
  ['a pattern in the middle', { 'agnt2.name': 'w', 'agnt2.price': '/a*/b=1' }, {}, 'bad_label', /neither plain/],
  ['one route twice', { 'agnt2.name': 'w', 'agnt2.price': '/a=1; /a=2' }, {}, 'bad_label', /twice/],
  ['a default twice', { 'agnt2.name': 'w', 'agnt2.price': '*=1; *=2' }, {}, 'bad_label', /twice/],
  ['a free path that escapes', { ...PRICED, 'agnt2.free': '/%2e%2e' }, {}, 'bad_label', /agnt2\.free/],
  ['a name that is a path', { ...PRICED, 'agnt2.name': '../../etc/passwd' }, {}, 'bad_label', /agnt2\.name/],
  ['a name for a terminal', { ...PRICED, 'agnt2.name': '\u001b[2J' }, {}, 'bad_label', /agnt2\.name/],
  ['a budget in words', { ...PRICED, 'agnt2.budget.day': 'unlimited' }, {}, 'bad_label', /agnt2\.budget\.day/],
  ['a deadline of a year', { ...PRICED, 'agnt2.deadline': '99999999' }, {}, 'bad_label', /agnt2\.deadline/],
  ['an egress that is a URL', { ...PRICED, 'agnt2.egress.allow': 'http://x/' }, {}, 'bad_label', /agnt2\.egress/],
  ['all the world', { ...PRICED, 'agnt2.egress.allow': '*' }, {}, 'bad_label', /agnt2\.egress/],
  ['a price of the image', PRICED, { imageLabels: { 'agnt2.price': '*=1' } }, 'image_label', /agnt2\.price came with/],
  ['an image that opts in', PRICED, { imageLabels: { 'agnt2.enable': 'true' } }, 'image_label', /agnt2\.enable came/],
];

test.each(REFUSALS)('refused: %s', (_, labels, more, code, why) => {
  const [got, detail] = refused(labels, more);
  expect(got).toBe(code);
  expect(detail).toMatch(why);
  // eslint-disable-next-line no-control-regex -- what a terminal would act on is exactly what must not be in it.
  expect(detail).not.toMatch(/[\x00-\x1f\x7f-\uffff]/);
});

const FILE = {
  gateway: 'http://127.0.0.1:8787',
  agent: '0:1',
  name: 'weather',
  policy: { perCall: '100', perDay: '1000' },
};

test('labels fill in what the file leaves out, and the config takes it', () => {
  const labels = readLabels(container({ ...PRICED, 'agnt2.price': 'GET /a=7; *=9' }))!;
  const config = readConfig(withLabels(FILE, parseLabels(JSON.stringify(labels))));
  expect(config.app).toBe('http://weather_app_1:8080');
  expect(config.services).toMatchObject([{ name: 'weather', defaultPrice: 9, routes: [{ price: 7 }] }]);
});

test('what the file says stands', () => {
  const file = { ...FILE, app: 'http://127.0.0.1:3000', services: [{ name: 'own', defaultPrice: '5' }] };
  const config = readConfig(withLabels(file, readLabels(container(PRICED))!));
  expect(config.app).toBe('http://127.0.0.1:3000');
  expect(config.services).toMatchObject([{ name: 'own', defaultPrice: 5 }]);
});

const policyWith = (policy: Record<string, string> | undefined, labels: Record<string, string>) => {
  const budget = Object.fromEntries(Object.entries(labels).map(([key, value]) => [`agnt2.budget.${key}`, value]));
  return readConfig(withLabels({ ...FILE, policy }, readLabels(container({ ...PRICED, ...budget }))!)).policy;
};

test('a label lowers a cap, and no other one with it', () => {
  expect(policyWith(FILE.policy, { day: '10' })).toMatchObject({
    perCall: 100,
    perDay: 10,
    perHour: 1000,
    perPeer: 1000,
  });
  expect(policyWith(FILE.policy, { peer: '3', hour: '2', call: '1' })).toMatchObject({
    perCall: 1,
    perHour: 2,
    perPeer: 3,
    perDay: 1000,
  });
});

test('no label raises a cap, or gives one where the file allows nothing', () => {
  const high = { call: '9007199254740991', hour: '5000', day: '5000', peer: '5000' };
  expect(policyWith(FILE.policy, high)).toMatchObject({ perCall: 100, perDay: 1000, perHour: 1000, perPeer: 1000 });
  expect(policyWith(undefined, high)).toMatchObject({ perCall: 0, perDay: 0, perHour: 0, perPeer: 0 });
});

test('egress is what both allow', () => {
  const labels = readLabels(container({ ...PRICED, 'agnt2.egress.allow': 'a.example.com,*.example.org,evil.test' }))!;
  const egress = (allow?: string[]) =>
    (withLabels({ ...FILE, ...(allow && { egress: { allow } }) }, labels) as { egress?: unknown }).egress;
  expect(egress()).toBeUndefined();
  expect(egress(['*.example.com', 'b.example.org'])).toEqual({ allow: ['a.example.com', 'b.example.org'] });
  expect(egress(['example.com', '*.test.example'])).toEqual({ allow: [] });
});

test.each(['', '[]', 'null', '{"policy":1}', '{"egress":{"allow":[1]}}', '{"egress":[]}'])(
  'labels that are none: %s',
  (text) => {
    expect(() => parseLabels(text)).toThrow(expect.objectContaining({ code: 'bad_config' }));
  },
);

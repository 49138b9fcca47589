/** Two whole sidecars that let each other dial (`session.direct`): calls go point to point, money by the relay too, and whatever becomes of the link, no call is lost or paid twice. */
import type { RequestListener } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formatId } from '../protocol/ids.ts';
import { PacketType } from '../protocol/packet.ts';
import type { Sidecar } from './sidecar.ts';
import type { TestAgent } from './testing/gateway.ts';
import { Pair, ask, eventually, read } from './testing/pair.ts';
import { Way } from './testing/way.ts';

const PRICE = 3;
const SERVICE = { name: 'work', routes: [{ method: 'POST', path: '/run/*', price: PRICE }] };

let pair: Pair;
let way: Way;
let alice: TestAgent;
let bob: TestAgent;
let caller: Sidecar;
let callee: Sidecar;
/** How often the app was asked for each path. */
let served: Map<string, number>;
let asked: number;

const app: RequestListener = async (request, response) => {
  const { url, headers } = request;
  served.set(url!, (served.get(url!) ?? 0) + 1);
  const { body } = await read(request);
  response.end(`${String(headers['agnt2-route'])} ${url} ${body}`);
};

beforeEach(async () => {
  served = new Map();
  asked = 0;
  way = new Way();
  pair = await Pair.start({ linkRetryMs: 20 });
  [alice, bob] = [await pair.gateway.agent(20_000), await pair.gateway.agent(0)];
  const port = await way.listen();
  callee = await pair.sidecar('bob', bob, {
    name: 'bob',
    app: await pair.app(app),
    services: [SERVICE],
    session: { credit: 300, direct: { listen: '127.0.0.1:0', advertise: `ws://127.0.0.1:${port}` } },
  });
  way.to = callee.ports.direct;
  await eventually(() => callee.ready, 'bob is ready');
  caller = await pair.sidecar('alice', alice, {
    policy: { perDay: 20_000 },
    session: { deposit: 5000, credit: 300, afterCalls: 100_000, direct: { dial: [`127.0.0.1:${port}`] } },
  });
  expect((await ask(caller.ports.admin, '/admin/sessions/bob/open', { method: 'POST' })).status).toBeLessThan(300);
}, 60_000);
afterEach(async () => {
  await pair.stop();
  way.close();
}, 60_000);

interface Shown {
  readonly state: string;
  readonly direct: boolean;
  readonly pays: number;
  readonly earns: number;
  readonly unsigned: { readonly pays: number; readonly earns: number };
}
const shown = async ({ ports }: Sidecar): Promise<Shown> =>
  (JSON.parse((await ask(ports.admin, '/admin/sessions')).body) as { sessions: Shown[] }).sessions[0];
const areDirect = async (): Promise<boolean> => (await shown(caller)).direct && (await shown(callee)).direct;
const areRelayed = async (): Promise<boolean> => !(await shown(caller)).direct && !(await shown(callee)).direct;
const relayed = (type: number): number => pair.gateway.relayed.get(type) ?? 0;

/** So many calls at once, each answered by the app, over the session. */
async function calls(n: number): Promise<void> {
  const paths = Array.from({ length: n }, () => `/run/${asked++}`);
  const answers = await Promise.all(
    paths.map((path) => ask(caller.ports.listen, `/agents/bob${path}`, {}, `with ${path}`)),
  );
  expect(answers.map(({ body }) => body)).toEqual(paths.map((path) => `session ${path} with ${path}`));
}

test('calls go point to point, fall back to the relay in the middle of traffic, and come back', async () => {
  await eventually(areDirect, 'a link');
  const byRelay = relayed(PacketType.calls);
  await calls(60);
  expect(relayed(PacketType.calls)).toBe(byRelay);
  expect(relayed(PacketType.half)).toBeGreaterThan(0);

  for (let cut = 0; cut < 3; cut++) {
    const before = relayed(PacketType.calls);
    const many = calls(60);
    // In the middle: some have come to the app, and more are to come.
    await eventually(() => served.size > asked - 50, 'calls under way');
    way.open = false;
    way.cut();
    await many;
    await eventually(areRelayed, 'the link is given up');
    await calls(20);
    expect(relayed(PacketType.calls)).toBeGreaterThan(before);
    way.open = true;
    await eventually(areDirect, 'a link again');
    const back = relayed(PacketType.calls);
    await calls(20);
    expect(relayed(PacketType.calls)).toBe(back);
  }

  // Each was served once and costs what it costs, and both sides say so.
  expect([served.size, Math.max(...served.values())]).toEqual([asked, 1]);
  const total = asked * PRICE;
  await eventually(
    async () => (await shown(caller)).unsigned.pays === 0 && (await shown(callee)).unsigned.earns === 0,
    'all is signed',
  );
  expect([(await shown(caller)).pays, (await shown(callee)).earns]).toEqual([total, total]);
  const { body } = await ask(caller.ports.admin, '/admin/status');
  expect((JSON.parse(body) as { spent: { day: string } }).spent.day).toBe(String(total));
  // Without a pairing having ended, and without a call by Core.
  expect((await ask(caller.ports.admin, '/metrics')).body).toMatch(/^agnt2_session_resumes_total 1$/m);
  await caller.stop();
  await eventually(() => pair.gateway.balance(bob) === total, 'the close');
  expect(pair.gateway.balance(alice)).toBe(20_000 - total);
}, 60_000);

test('a sidecar that may dial nobody, and one whose link leads nowhere, make their calls by the relay', async () => {
  await eventually(areDirect, 'a link');
  way.open = false;
  way.cut();
  await eventually(areRelayed, 'the link is given up');
  const before = relayed(PacketType.calls);
  await calls(20);
  const third = await pair.gateway.agent(10_000);
  const deaf = await pair.sidecar('carol', third, {
    policy: { perDay: 9000 },
    session: { deposit: 1000, credit: 300, afterCalls: 100_000 },
  });
  expect((await ask(deaf.ports.admin, '/admin/sessions/bob/open', { method: 'POST' })).status).toBeLessThan(300);
  const { body } = await ask(deaf.ports.listen, `/agents/${formatId(bob.id)}/run/deaf`, {}, 'x');
  expect([body, (await shown(deaf)).direct]).toEqual(['session /run/deaf x', false]);
  expect(relayed(PacketType.calls)).toBeGreaterThan(before);
}, 60_000);

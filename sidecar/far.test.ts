/** Two sidecars whose agents live on two shards: calls by orders, sessions by messages, and what a crash or a stranger may leave behind. */
import http, { type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { signBundle } from '../protocol/bundle.ts';
import { hex } from '../protocol/bytes.ts';
import { requestHead } from '../protocol/call.ts';
import { Agent, get } from '../protocol/cells.ts';
import { formatId, makeId, shardOf } from '../protocol/ids.ts';
import { advanceFrame } from '../protocol/messages.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import { readConfig } from './config.ts';
import { Core } from './core.ts';
import { checkEscrow } from './escrow.ts';
import { listen } from './http/server.ts';
import { Sidecar } from './sidecar.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-far-'));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function eventually(check: () => boolean | Promise<boolean>, what: string, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !(await check()); await sleep(10))
    if (Date.now() > end) throw new Error(`never: ${what}\n${JSON.stringify(events)}`);
}

/** Bob's, the first on shard 1. */
const SERVICE = makeId(1, 1);

let gateway: TestGateway;
let alice: TestAgent;
let bob: TestAgent;
let sidecars: Sidecar[];
let app: Server;
let served: string[];
let events: { who: string; event: string; [field: string]: unknown }[];
let states = 0;
let nonce: number;

beforeEach(async () => {
  gateway = await TestGateway.start(2);
  alice = await gateway.agent(10_000);
  bob = await gateway.agent(100, 1);
  sidecars = [];
  served = [];
  events = [];
  nonce = 0;
  app = http.createServer((request, response) => {
    served.push(request.url!);
    request.resume().on('end', () => {
      response.writeHead(request.url!.includes('fail') ? 500 : 200);
      response.end(`${String(request.headers['agnt2-route'])} ${String(request.headers['agnt2-caller'])}`);
    });
  });
});
afterEach(async () => {
  gateway.faults.refuseReads = null;
  gateway.faults.refuseOps = [];
  await gateway.holdMessages(false);
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  app.closeAllConnections();
  app.close();
  gateway.stop();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function sidecar(who: string, agent: TestAgent, more: Record<string, unknown>): Promise<Sidecar> {
  const config = readConfig({
    gateway: gateway.url,
    agent: formatId(agent.id),
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    stateDir: join(dir, String(states++)),
    drainSeconds: 5,
    ...more,
  });
  process.env.AGNT2_MACHINE_KEY = hex(agent.secret);
  const slow = 100_000;
  const pace = { retryMs: 20, sessionsMs: slow, refundsMs: slow, unaskedMs: slow, peersTtlMs: slow };
  const made = new Sidecar(config, (event, fields) => events.push({ who, event, ...fields }), pace);
  sidecars.push(made);
  await made.start();
  return made;
}

async function callee(service: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Promise<Sidecar> {
  const port = app.listening
    ? (app.address() as { port: number }).port
    : await listen(app, { host: '127.0.0.1', port: 0 });
  const services = [{ name: 'work', routes: [], defaultPrice: 10, deadlineSeconds: 60, ...service }];
  const made = await sidecar('bob', bob, { name: 'bob', app: `http://127.0.0.1:${port}`, services, ...more });
  await eventually(() => made.ready, 'callee ready');
  return made;
}
const caller = (more: Record<string, unknown> = {}): Promise<Sidecar> =>
  sidecar('alice', alice, { policy: { perDay: 5000, perCall: 1000 }, ...more });

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly code?: string;
}
async function ask(port: number, path: string, init: RequestInit = {}): Promise<Answer> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
  const body = await answer.text();
  const problem = answer.headers.get('content-type') === 'application/problem+json';
  return { status: answer.status, body, ...(problem ? { code: (JSON.parse(body) as { code: string }).code } : {}) };
}
const post = { method: 'POST' };

/** Whether no call of its sessions is without a half. */
interface Shown {
  readonly state: string;
  readonly unsigned: { readonly pays: number; readonly earns: number };
}
const shown = async ({ ports }: { ports: { admin: number } }): Promise<Shown[]> =>
  (JSON.parse((await ask(ports.admin, '/admin/sessions')).body) as { sessions: Shown[] }).sessions;
const isSigned = async (sidecar: { ports: { admin: number } }): Promise<boolean> =>
  (await shown(sidecar)).every(({ unsigned: { pays, earns } }) => pays === 0 && earns === 0);

/** A bundle of alice's own making, not through her sidecar. Answers the value of its last interaction, and its place. */
async function submit(
  interactions: readonly Interaction[],
  target?: string,
): Promise<{ value: number; frame: string }> {
  const header = { actor: alice.id, nonce: nonce++, expiry: 4e9 };
  const payloads = target === undefined ? [] : [requestHead('GET', target)];
  const frame = await signBundle(alice.key, gateway.signing, header, interactions, payloads);
  const result = (await gateway.submit(frame)) as {
    receipt: { seq: string; outcomes: { value: string; status: string }[] };
  };
  expect(result.receipt.outcomes.map(({ status }) => status)).not.toContain('bundle_refused');
  return { value: Number(result.receipt.outcomes.at(-1)!.value), frame: `0:${result.receipt.seq}` };
}
const invoke = (amount = 10, more: Partial<Interaction> = {}): Interaction =>
  ({ op: 'invoke', service: SERVICE, amount, ...more }) as Interaction;

/** Calls bob at the gateway itself, as a caller without manners may. */
function contact(claim: { escrow: string; frame: string }, target: string): Promise<Answer> {
  const headers = {
    'agnt2-method': 'GET',
    'agnt2-target': target,
    'agnt2-escrow': claim.escrow,
    'agnt2-frame': claim.frame,
  };
  return ask(Number(new URL(gateway.url).port), `/agents/${formatId(bob.id)}/calls`, { method: 'POST', headers });
}

test('a first call to another shard is paid by an order: answered, failed, and after the escrow was late', async () => {
  await callee();
  const { ports } = await caller();
  expect(await ask(ports.listen, '/agents/bob/run')).toMatchObject({ status: 200, body: `core ${formatId(alice.id)}` });
  await eventually(() => gateway.balance(bob) === 110, 'payment');
  await eventually(() => gateway.escrowStatus(makeId(0, 1)) === 'fulfilled', 'the order is told');
  expect(await ask(ports.listen, '/agents/bob/fail')).toMatchObject({ status: 500 });
  await eventually(() => gateway.balance(alice) === 9990, 'refund');
  expect(gateway.escrowStatus(makeId(0, 2))).toBe('refunded');
  await gateway.holdMessages(true);
  const late = ask(ports.listen, '/agents/bob/run');
  await sleep(300);
  expect(served.length).toBe(2);
  await gateway.holdMessages(false);
  expect(await late).toMatchObject({ status: 200 });
  await eventually(() => gateway.balance(bob) === 120, 'second payment');
  await sidecars[1].sweep();
  const { body } = await ask(ports.admin, '/admin/status');
  expect(JSON.parse(body)).toMatchObject({ spent: { day: '20' } });
});

test('an order whose escrow does not come is refused in time, and pays nothing when nobody is called for it', async () => {
  const bobs = await callee({ deadlineSeconds: 20 });
  const order = await submit([invoke()], '/run');
  await gateway.holdMessages(true);
  const lost = await submit([invoke()], '/run');
  const check = { core: new Core(gateway.url), signing: gateway.signing, sequencerKey: gateway.sequencerKey };
  const claim = { escrow: lost.value, shard: 0, seq: Number(lost.frame.split(':')[1]), index: 0 };
  const ours = { ...check, agent: bob.id, joinsWorkflows: () => false, arrivalMs: 300 };
  const refused = checkEscrow(ours, claim, { service: SERVICE, price: 10 }, 'GET', '/run');
  await expect(refused).rejects.toMatchObject({ code: 'not_arrived' });
  // Without its frame nobody is made to wait.
  const started = Date.now();
  expect(await contact({ escrow: formatId(lost.value), frame: order.frame }, '/run')).toMatchObject({
    code: 'frame_mismatch',
  });
  expect(Date.now() - started).toBeLessThan(2000);
  await gateway.holdMessages(false);
  await bobs.sweep();
  expect(gateway.escrowStatus(makeId(1, 1))).toBe('open');
  const real = Date.now;
  Date.now = () => real() + 16_000;
  try {
    await bobs.sweep();
  } finally {
    Date.now = real;
  }
  await eventually(() => gateway.balance(alice) === 10_000, 'both are declined');
  expect([1, 2].map((serial) => gateway.escrowStatus(makeId(1, serial)))).toEqual(['refunded', 'refunded']);
  expect(get(gateway.shards.machine(1).readAgent(bob.id), Agent.failed)).toBe(0);
  expect((await contact({ escrow: formatId(order.value), frame: order.frame }, '/run')).code).toMatch(
    /escrow_not_open/,
  );
  expect(served).toEqual([]);
});

test('of an order is checked what is checked of an escrow', async () => {
  await callee();
  const [good, small, other] = [
    await submit([invoke()], '/run'),
    await submit([invoke(9)], '/run'),
    await submit([invoke()], '/else'),
  ];
  const claim = ({ value }: { value: number }, { frame }: { frame: string }) => ({ escrow: formatId(value), frame });
  expect(await contact(claim(small, small), '/run')).toMatchObject({ code: 'escrow_too_small' });
  expect(await contact(claim(other, other), '/run')).toMatchObject({ code: 'frame_mismatch' });
  expect(await contact(claim(good, other), '/run')).toMatchObject({ code: 'frame_mismatch' });
  // The escrow's own id, with the order's frame.
  expect(await contact({ escrow: '1:1', frame: good.frame }, '/run')).toMatchObject({ code: 'frame_mismatch' });
  const both = await Promise.all([contact(claim(good, good), '/run'), contact(claim(good, good), '/run')]);
  expect(both.map(({ code, status }) => code ?? status).toSorted()).toEqual([200, 'escrow_used']);
  expect(served).toEqual(['/run']);
  // Refused where it arrived: more than the ceiling.
  const dear = await submit([invoke(1000)], '/run');
  expect(await contact(claim(dear, dear), '/run')).toMatchObject({ code: 'escrow_not_open' });
});

test('what waits for another call is declined too when it starts and nobody calls', async () => {
  const bobs = await callee({ deadlineSeconds: 20 });
  const first = await submit([invoke(1), { ...invoke(2), after: makeId(0, 1) } as Interaction]);
  await bobs.sweep();
  expect(gateway.escrowStatus(first.value)).toBe('waiting');
  const real = Date.now;
  Date.now = () => real() + 16_000;
  try {
    await bobs.sweep();
    await eventually(() => gateway.escrowStatus(makeId(0, 1)) === 'refunded', 'the first is declined');
  } finally {
    Date.now = real;
  }
  // Its dependency is gone: the shard gives the second back.
  await gateway.append(advanceFrame(first.value));
  expect(gateway.balance(alice)).toBe(10_000);
});

test('a leg of a workflow is served by who takes that risk, and only while the plan can come to its end', async () => {
  await callee({ workflows: true });
  const plan = { op: 'plan', deadlineSeconds: 100, legs: [{ payer: alice.id, service: SERVICE }] } as Interaction;
  const legOf = (leg: number, workflow = 0) => ({ ...invoke(), workflow, leg }) as Interaction;
  await submit([plan]);
  const [good, wrong] = [await submit([legOf(0)], '/run'), await submit([legOf(1)], '/run')];
  const claim = ({ value, frame }: { value: number; frame: string }) => ({ escrow: formatId(value), frame });
  expect(await contact(claim(wrong), '/run')).toMatchObject({ code: 'wrong_leg' });
  expect(await contact(claim(good), '/run')).toMatchObject({ status: 200 });
  await eventually(() => gateway.escrowStatus(makeId(1, 1)) === 'held', 'held');
  const late = await submit([legOf(0)], '/run');
  expect((await contact(claim(late), '/run')).code).toBe('workflow_closed');
  await sidecars[0].stop();
  await callee();
  await submit([plan]);
  const refused = await submit([legOf(0)], '/run');
  expect((await contact(claim(refused), '/run')).code).toBe('workflow_refused');
});

test('an order nobody answered comes back after the deadline of its escrow, and the budget with it', async () => {
  const bobs = await callee({ deadlineSeconds: 30 });
  const alices = await caller();
  await ask(alices.ports.listen, '/agents/bob/run');
  await bobs.stop();
  expect(await ask(alices.ports.listen, '/agents/bob/run')).toMatchObject({ code: 'agent_offline' });
  expect(gateway.balance(alice)).toBe(9980);
  await gateway.tick(40);
  const real = Date.now;
  Date.now = () => real() + 40_000;
  try {
    await alices.sweep();
    expect(gateway.balance(alice)).toBe(9990);
    Date.now = () => real() + 50_000;
    await alices.sweep();
  } finally {
    Date.now = real;
  }
  expect(JSON.parse((await ask(alices.ports.admin, '/admin/status')).body)).toMatchObject({ spent: { day: '10' } });
});

const session = { deposit: 1000, credit: 500, exitDelay: 60, afterCalls: 1000 };

test('a session across shards: opened, used both ways, topped up, closed to the unit', async () => {
  await callee({}, { session: { credit: 500, minExitDelay: 60 } });
  const { ports } = await caller({ session: { ...session, deposit: 30 } });
  expect(await ask(ports.admin, '/admin/sessions/bob/open', post)).toMatchObject({ status: 200 });
  for (let i = 0; i < 3; i++) expect((await ask(ports.listen, '/agents/bob/run')).body).toContain('session');
  expect((await ask(ports.listen, '/agents/bob/run')).body).toContain('core');
  await eventually(() => events.some(({ event }) => event === 'session_funded'), 'top-up');
  expect((await ask(ports.listen, '/agents/bob/run')).body).toContain('session');
  const [{ session: id }] = (
    JSON.parse((await ask(ports.admin, '/admin/sessions')).body) as { sessions: { session: string }[] }
  ).sessions;
  expect(id).toBe('1:1');
  expect(await ask(ports.admin, `/admin/sessions/${id}/close`, post)).toMatchObject({ status: 200 });
  await eventually(() => gateway.balance(bob) === 150 && gateway.balance(alice) === 9950, 'paid out on both shards');
});

test.each([true, false])(
  'a peer that is gone: who is left settles, exits and finalizes over there (payer: %s)',
  async (payer) => {
    const bobs = await callee({}, { session: { credit: 500, minExitDelay: 60 } });
    const alices = await caller({ session });
    await ask(alices.ports.admin, '/admin/sessions/bob/open', post);
    for (let i = 0; i < 5; i++) await ask(alices.ports.listen, '/agents/bob/run');
    await eventually(async () => (await isSigned(alices)) && (await isSigned(bobs)), 'all calls signed for');
    gateway.deadRelays = true;
    gateway.cutSessions();
    const left = payer ? alices : bobs;
    await eventually(async () => (await shown(left)).every(({ state }) => state !== 'ready'), 'it has heard');
    expect(await ask(left.ports.admin, '/admin/sessions/1:1/close', post)).toMatchObject({ status: 200 });
    expect(events.some(({ who, event }) => who === (payer ? 'alice' : 'bob') && event === 'session_exiting')).toBe(
      true,
    );
    await gateway.tick(120);
    const real = Date.now;
    Date.now = () => real() + 120_000;
    try {
      await bobs.sweep();
      await left.sweep();
    } finally {
      Date.now = real;
    }
    gateway.deadRelays = false;
    await eventually(() => gateway.balance(bob) === 150 && gateway.balance(alice) === 9950, 'paid out');
  },
);

test('an open that is refused over there says why, and the deposit comes back', async () => {
  await callee();
  const { ports } = await caller({ session: { ...session, deposit: 300 } });
  // Nobody of that number: what home can't know.
  const nobody = await ask(ports.admin, '/admin/sessions/1:77/open', post);
  expect(nobody).toMatchObject({ code: 'unknown_agent' });
  expect(gateway.balance(alice)).toBe(10_000);
});

test('nobody but the sequencer can say what became of an open', async () => {
  await callee();
  const { ports } = await caller({ session });
  await gateway.holdMessages(true);
  const opening = ask(ports.admin, '/admin/sessions/bob/open', post);
  await eventually(() => gateway.balance(alice) === 9000, 'the deposit left');
  gateway.faults.forgeReceipts = true;
  await gateway.holdMessages(false);
  expect(await opening).toMatchObject({ code: 'bad_receipt' });
  gateway.faults.forgeReceipts = false;
});

test('an open whose outcome never came is left again once it is known; one that a crash cut off is taken up', async () => {
  await callee({}, { session: { credit: 500, minExitDelay: 60 } });
  const stateDir = join(dir, 'late');
  const first = await caller({ session, stateDir });
  await gateway.holdMessages(true);
  const opening = ask(first.ports.admin, '/admin/sessions/bob/open', post).catch(() => null);
  await eventually(() => gateway.balance(alice) === 9000, 'the deposit left');
  gateway.faults.refuseReads = /^\/messages/;
  await opening;
  gateway.faults.refuseReads = null;
  await gateway.holdMessages(false);
  expect(gateway.shards.machine(1).sessionExists(makeId(1, 1))).toBe(true);
  await first.sweep();
  await eventually(() => events.some(({ who }) => who === 'alice'), 'swept');
  expect(gateway.shards.machine(1).readSession(makeId(1, 1))[62]).toBe(2);
  await first.stop();
  // Opened by a bundle of which the store knows nothing, as after a crash.
  nonce = get(gateway.shards.machine(0).readAgent(alice.id), Agent.nonce);
  await submit([{ op: 'open', peer: bob.id, deposit: 500, exitDelay: 3600 }]);
  const { ports } = await caller({ session: { ...session, exitDelay: 3600 }, stateDir });
  await eventually(() => events.some(({ event, session: id }) => event === 'session_open' && id === '1:2'), 'taken up');
  expect((await ask(ports.listen, '/agents/bob/run')).body).toContain('session');
});

test('an invoke that a crash left without a note is followed to its end', async () => {
  await callee({ deadlineSeconds: 30 });
  const { value } = await submit([invoke(7)]);
  const alices = await caller();
  await gateway.tick(40);
  const real = Date.now;
  Date.now = () => real() + 40_000;
  try {
    await eventually(async () => {
      await alices.sweep();
      return gateway.balance(alice) === 10_000;
    }, 'expired');
  } finally {
    Date.now = real;
  }
  expect(shardOf(value)).toBe(0);
  expect(gateway.escrowStatus(value)).toMatch(/expired|refunded/);
});

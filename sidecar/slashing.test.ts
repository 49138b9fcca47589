/** What a payee's sidecar does about a payer that contradicts itself: kept, brought on chain until Core has it, and shown. */
import http, { type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { signBundle } from '../protocol/bundle.ts';
import { hex } from '../protocol/bytes.ts';
import { Agent, Session, SessionStatus, get } from '../protocol/cells.ts';
import { type Half, type SignedHalf, contradicts } from '../protocol/half.ts';
import { formatId, makeId } from '../protocol/ids.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import { agentRoom, encodeHalfPacket, sessionRoom } from '../protocol/packet.ts';
import { STATUSES } from '../protocol/status.ts';
import { readConfig } from './config.ts';
import { Core } from './core.ts';
import { dial } from './dial.ts';
import { Far } from './far.ts';
import { EMPTY } from './http/body.ts';
import { listen } from './http/server.ts';
import { type PacketSocket, SessionEndpoint, memoryStore } from './session/index.ts';
import { Sidecar } from './sidecar.ts';
import { Slashing } from './slashing.ts';
import { openStore } from './sqlite.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';
import { Wallet } from './wallet.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-slashing-'));
const STAKE = 1001;
const ROOT = new Uint8Array(32).fill(9);
/** Where Mallory and her session partners of the same shard are, and where Bob is. */
const [HERE, THERE] = [0, 1];

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function eventually(check: () => boolean, what: string, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !check(); await sleep(10)) if (Date.now() > end) throw new Error(`never: ${what}`);
}

let gateway: TestGateway;
let mallory: TestAgent;
let bob: TestAgent;
let app: Server;
let sidecars: Sidecar[];
let events: { event: string; [field: string]: unknown }[];
let nonce: number;

beforeEach(async () => {
  gateway = await TestGateway.start(2);
  mallory = await gateway.agent(20_000, HERE);
  bob = await gateway.agent(0, THERE);
  [sidecars, events, nonce] = [[], [], 0];
  app = http.createServer((_, response) => response.end('work'));
  await listen(app, { host: '127.0.0.1', port: 0 });
});
afterEach(async () => {
  gateway.faults.refuseOps = [];
  await gateway.holdMessages(false);
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  app.closeAllConnections();
  app.close();
  gateway.stop();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function submit(...interactions: Interaction[]): Promise<void> {
  const header = { actor: mallory.id, nonce: nonce++, expiry: 4e9 };
  const result = await gateway.submit(await signBundle(mallory.key, gateway.signing, header, interactions));
  expect(result).toHaveProperty('receipt');
}

const sign = async (half: Half): Promise<SignedHalf> => ({
  half,
  payer: await mallory.key.sign(gateway.signing.half(half)),
});
const of = (agent: TestAgent) => gateway.shards.holding(agent.id).readAgent(agent.id);

async function callee(stateDir: string): Promise<Sidecar> {
  const config = readConfig({
    gateway: gateway.url,
    agent: formatId(bob.id),
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    stateDir,
    drainSeconds: 5,
    app: `http://127.0.0.1:${(app.address() as { port: number }).port}`,
    services: [{ name: 'work', routes: [], defaultPrice: 10 }],
    session: { credit: 500, minExitDelay: 60 },
  });
  process.env.AGNT2_MACHINE_KEY = hex(bob.secret);
  const slow = 100_000;
  const pace = { retryMs: 20, sessionsMs: slow, refundsMs: slow, unaskedMs: slow };
  const made = new Sidecar(config, (event, fields) => events.push({ event, ...fields }), pace);
  sidecars.push(made);
  await made.start();
  await eventually(() => made.ready, 'callee ready');
  return made;
}

/** Mallory's end of a session of hers with bob, and its socket. */
async function open(): Promise<{ session: number; endpoint: SessionEndpoint; socket: PacketSocket }> {
  await submit({ op: 'stake', amount: STAKE }, { op: 'open', peer: bob.id, deposit: 1000, exitDelay: 60 });
  const session = makeId(THERE, 1);
  const identity = { agent: mallory.id, key: mallory.key, signing: gateway.signing };
  const [keyA, keyB] = [mallory.key.publicKey, bob.key.publicKey];
  const endpoint = new SessionEndpoint({
    facts: { session, a: mallory.id, b: bob.id, keyA, keyB, depositA: 1000, depositB: 0, exitDelay: 60 },
    role: 'a',
    key: mallory.key,
    signing: gateway.signing,
    store: memoryStore(),
    credit: 500,
  });
  const socket = await dial(gateway.url, sessionRoom(formatId(session)), identity);
  void endpoint.attach(socket);
  const announced = await fetch(`${gateway.url}${agentRoom(formatId(bob.id)).replace('/socket', '/calls')}`, {
    method: 'POST',
    headers: { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': formatId(session) },
  });
  expect(announced.status).toBe(200);
  await announced.arrayBuffer();
  await eventually(() => endpoint.state === 'ready', 'session ready');
  return { session, endpoint, socket };
}

async function call(endpoint: SessionEndpoint): Promise<void> {
  const request = { method: 'POST', target: '/', headers: [], body: EMPTY, signal: AbortSignal.timeout(20_000) };
  const { response, record } = await endpoint.call(request, { maxPrice: 10 });
  for await (const _ of response.body);
  await record;
}

const said = (event: string) => events.filter((each) => each.event === event);
const admin = async (sidecar: Sidecar, path: string): Promise<string> =>
  (await fetch(`http://127.0.0.1:${sidecar.ports.admin}${path}`)).text();

test('a payer that signs two halves of one number is served no more, pays what it signed, and loses its stake, though Core was away first', async () => {
  const stateDir = join(dir, 'kept');
  const first = await callee(stateDir);
  const { session, endpoint, socket } = await open();
  await call(endpoint);
  await endpoint.flush();
  const { half } = endpoint.halves().pays!;
  gateway.faults.refuseOps = ['slash', 'settle', 'exit'];
  socket.send(encodeHalfPacket({ ...half, root: ROOT }, (await sign({ ...half, root: ROOT })).payer));
  await eventually(() => said('peer_contradicted').length === 1, 'the contradiction');
  expect(said('peer_contradicted')).toMatchObject([
    { session: formatId(session), peer: formatId(mallory.id), first: 'seq 1: 10 for 1 calls' },
  ]);
  await eventually(() => said('error').some(({ code }) => code === 'forbidden'), 'a refusal');
  const shown = async (sidecar: Sidecar): Promise<unknown> =>
    (JSON.parse(await admin(sidecar, '/admin/status')) as { contradictions: unknown }).contradictions;
  const line = { session: formatId(session), peer: formatId(mallory.id), code: null };
  expect(await shown(first)).toEqual([{ ...line, state: 'owed' }]);
  await first.stop();
  expect(get(of(mallory), Agent.stake)).toBe(STAKE);

  // Begun again, it is not on the session any more, and owes the chain its evidence.
  gateway.faults.refuseOps = [];
  const second = await callee(stateDir);
  await eventually(() => said('peer_slashed').length === 1, 'the slash');
  await eventually(() => get(of(mallory), Agent.stake) === 0, 'the stake to be gone');
  expect(get(of(mallory), Agent.failed)).toBe(1);
  expect(gateway.balance(bob)).toBe(Math.floor(STAKE / 2));
  const chain = gateway.shards.machine(THERE).readSession(session);
  expect([get(chain, Session.status), get(chain, Session.paidAB)]).toEqual([SessionStatus.exiting, 10]);
  expect(JSON.parse(await admin(second, '/admin/sessions'))).toEqual({ sessions: [] });
  expect(await shown(second)).toEqual([{ ...line, state: 'slashed' }]);
  const metrics = await admin(second, '/metrics');
  for (const name of ['agnt2_contradictions_total', 'agnt2_slashes_total'])
    expect(metrics).toMatch(new RegExp(`^${name} 1$`, 'm'));
  // Once is all.
  await second.sweep();
  expect(said('peer_slashed')).toHaveLength(1);
});

/** Bob's hand alone, with a session of Mallory's on her own shard, so that all he does is far from him. */
async function hand(waitMs?: number) {
  const carol = await gateway.agent(0, HERE);
  await submit({ op: 'stake', amount: STAKE }, { op: 'open', peer: carol.id, deposit: 9, exitDelay: 60 });
  const { key, id: agent } = bob;
  const { signing, sequencerKey } = gateway;
  const core = new Core(gateway.url);
  const wallet = new Wallet({ core, key, signing, agent, sequencerKey, firstSeq: 0 });
  const store = openStore(null);
  let now = 0;
  const slashing = new Slashing({
    far: new Far({ core, wallet, signing, sequencerKey, waitMs }),
    store,
    onEvent: (event, fields) => events.push({ event, ...fields }),
    onError: (error) => events.push({ event: 'error', code: (error as { code?: string }).code }),
    now: () => now,
  });
  const half = (over: Partial<Half> = {}): Half => ({
    session: makeId(HERE, 1),
    dir: 0,
    seq: 1,
    calls: 1,
    paid: 5,
    root: new Uint8Array(32),
    ...over,
  });
  return { wallet, store, slashing, half, later: (ms: number) => (now += ms) };
}

test('from another shard, with the answer lost: tried again until it has happened, once', async () => {
  const { store, slashing, half, later } = await hand(1);
  await gateway.holdMessages(true);
  slashing.found(mallory.id, { first: await sign(half()), second: await sign(half({ paid: 6 })) });
  await slashing.idle();
  expect(said('error')).toMatchObject([{ code: 'outcome_pending' }]);
  // Not before its time.
  await slashing.look();
  expect(said('error')).toHaveLength(1);
  await gateway.holdMessages(false);
  expect([store.evidence.count('owed'), get(of(mallory), Agent.stake)]).toEqual([1, 0]);
  // However slow the second message is.
  while (store.evidence.count('owed') > 0) {
    later(3_600_000);
    await slashing.look();
  }
  expect(store.evidence.all()).toMatchObject([{ state: 'slashed', code: null, peer: mallory.id }]);
  expect(get(of(mallory), Agent.failed)).toBe(1);
  expect(gateway.balance(bob)).toBe(Math.floor(STAKE / 2));
});

test('what Core refuses for good is not tried again', async () => {
  const { store, slashing, half, later } = await hand();
  const [first, second] = [await sign(half()), await sign(half({ paid: 6 }))];
  slashing.found(mallory.id, { first, second: { ...second, payer: first.payer } });
  const elsewhere = { session: makeId(HERE, 7) };
  slashing.found(mallory.id, {
    first: await sign(half(elsewhere)),
    second: await sign(half({ ...elsewhere, paid: 6 })),
  });
  await slashing.idle();
  expect(store.evidence.all().map(({ state, code }) => `${state} ${code}`)).toEqual([
    'refused bad_signature',
    'refused unknown_session',
  ]);
  const frames = gateway.shards.frames(THERE).length;
  later(1e9);
  await slashing.look();
  expect(gateway.shards.frames(THERE).length).toBe(frames);
  expect(get(of(mallory), Agent.stake)).toBe(STAKE);
});

test('what a payee takes for a contradiction, Core does too, and nothing else', async () => {
  const { wallet, half } = await hand();
  const carol = await gateway.agent(0, THERE);
  const pairs: Partial<Half>[] = [
    {},
    { paid: 6 },
    { calls: 2 },
    { root: ROOT },
    { seq: 2 },
    { seq: 2, paid: 6 },
    { seq: 2, root: ROOT },
    { seq: 2, calls: 2, root: ROOT },
    { seq: 2, calls: 0, paid: 4, root: ROOT },
    { seq: 0, calls: 2, paid: 9 },
  ];
  const verdicts = [];
  for (const [i, over] of pairs.entries()) {
    await submit({ op: 'open', peer: carol.id, deposit: 9, exitDelay: 60 });
    const session = makeId(THERE, i + 1);
    const [one, other] = await Promise.all([half({ session }), half({ session, ...over })].map(sign));
    const word = ({ half: { seq, calls, paid, root }, payer }: SignedHalf) => ({
      seq,
      calls,
      paid,
      root,
      signature: payer,
    });
    const { outcomes } = await wallet.submit([{ op: 'slash', session, dir: 0, first: word(one), second: word(other) }]);
    verdicts.push([over, contradicts(one.half, other.half), STATUSES[outcomes[0].status]]);
  }
  expect(verdicts).toEqual(verdicts.map(([over, is]) => [over, is, is ? 'ok' : 'no_conflict']));
  expect(verdicts.map(([, is]) => is)).toEqual([false, true, true, true, false, false, true, false, false, false]);
});

/** What a payee's sidecar does about a payer that contradicts itself: kept, brought on chain until Core has it, and shown. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Agent, Session, SessionStatus, get } from '../protocol/cells.ts';
import { codeOf } from '../protocol/errors.ts';
import { type Half, type SignedHalf, contradicts } from '../protocol/half.ts';
import { formatId, makeId } from '../protocol/ids.ts';
import { encodeHalfPacket } from '../protocol/packet.ts';
import { STATUSES } from '../protocol/status.ts';
import { Core } from './core.ts';
import { Far } from './far.ts';
import type { Sidecar } from './sidecar.ts';
import { Slashing } from './slashing.ts';
import { openStore } from './sqlite.ts';
import type { TestAgent, TestGateway } from './testing/gateway.ts';
import { Mallory, call } from './testing/mallory.ts';
import { Pair, ask, eventually } from './testing/pair.ts';
import { WORK } from './testing/refusals.ts';
import { Wallet } from './wallet.ts';

const STAKE = 1001;
const ROOT = new Uint8Array(32).fill(9);
/** Where Mallory and her session partners of the same shard are, and where Bob is. */
const [HERE, THERE] = [0, 1];

let pair: Pair;
let gateway: TestGateway;
let mallory: Mallory;
let bob: TestAgent;

beforeEach(async () => {
  pair = await Pair.start({ unaskedMs: 100_000 }, 2);
  ({ gateway } = pair);
  mallory = new Mallory(gateway, await gateway.agent(20_000, HERE));
  bob = await gateway.agent(0, THERE);
});
afterEach(async () => {
  gateway.faults.refuseOps = [];
  await gateway.holdMessages(false);
  await pair.stop();
});

const factsOf = ({ id }: TestAgent): Uint8Array => gateway.shards.holding(id).readAgent(id);
const said = (event: string) => pair.events.filter((each) => each.event === event);

test('a payer that signs two halves of one number is served no more, pays what it signed, and loses its stake, though Core was away first', async () => {
  const config = {
    stateDir: join(pair.dir, 'kept'),
    app: await pair.app((_, response) => response.end('work')),
    services: [WORK],
    session: { credit: 500, minExitDelay: 60 },
  };
  const first = await pair.sidecar('bob', bob, config);
  await eventually(() => first.ready, 'bob is ready');
  await mallory.submit({ op: 'stake', amount: STAKE });
  const { session, endpoint, socket } = await mallory.open(bob);
  expect(await call(endpoint, '/')).toBe('200');
  await endpoint.flush();
  const { half } = endpoint.halves().pays!;
  gateway.faults.refuseOps = ['slash', 'settle', 'exit'];
  socket.send(encodeHalfPacket({ ...half, root: ROOT }, (await mallory.sign({ ...half, root: ROOT })).payer));
  await eventually(() => said('peer_contradicted').length === 1, 'the contradiction');
  expect(said('peer_contradicted')).toMatchObject([
    { session: formatId(session), peer: formatId(mallory.agent.id), first: 'seq 1: 10 for 1 calls' },
  ]);
  await eventually(() => said('error').some(({ code }) => code === 'forbidden'), 'a refusal');
  const shown = async (sidecar: Sidecar): Promise<unknown> =>
    (JSON.parse((await ask(sidecar.ports.admin, '/admin/status')).body) as { contradictions: unknown }).contradictions;
  const line = { session: formatId(session), peer: formatId(mallory.agent.id), code: null };
  expect(await shown(first)).toEqual([{ ...line, state: 'owed' }]);
  await first.stop();
  expect(get(factsOf(mallory.agent), Agent.stake)).toBe(STAKE);

  // Begun again, it is not on the session any more, and owes the chain its evidence.
  gateway.faults.refuseOps = [];
  const second = await pair.sidecar('bob', bob, config);
  await eventually(() => said('peer_slashed').length === 1, 'the slash');
  // A message there, and one back.
  await eventually(() => gateway.balance(bob) === Math.floor(STAKE / 2), 'half of the stake');
  expect([get(factsOf(mallory.agent), Agent.stake), get(factsOf(mallory.agent), Agent.failed)]).toEqual([0, 1]);
  const chain = gateway.shards.machine(THERE).readSession(session);
  expect([get(chain, Session.status), get(chain, Session.paidAB)]).toEqual([SessionStatus.exiting, 10]);
  expect(JSON.parse((await ask(second.ports.admin, '/admin/sessions')).body)).toEqual({ sessions: [] });
  expect(await shown(second)).toEqual([{ ...line, state: 'slashed' }]);
  const { body: metrics } = await ask(second.ports.admin, '/metrics');
  for (const name of ['agnt2_contradictions_total', 'agnt2_slashes_total'])
    expect(metrics).toMatch(new RegExp(`^${name} 1$`, 'm'));
  // Once is all.
  await second.sweep();
  expect(said('peer_slashed')).toHaveLength(1);
});

/** Bob's hand alone, with a session of Mallory's on her own shard, so that all he does is far from him. */
async function hand(waitMs?: number) {
  const carol = await gateway.agent(0, HERE);
  await mallory.submit({ op: 'stake', amount: STAKE }, { op: 'open', peer: carol.id, deposit: 9, exitDelay: 60 });
  const { key, id: agent } = bob;
  const { signing, sequencerKey } = gateway;
  const core = new Core(gateway.url);
  const wallet = new Wallet({ core, key, signing, agent, sequencerKey, firstSeq: 0 });
  const store = openStore(null);
  let now = 0;
  const slashing = new Slashing({
    far: new Far({ core, wallet, signing, sequencerKey, waitMs }),
    store,
    onEvent: (event, fields) => pair.events.push({ who: 'hand', event, ...fields }),
    onError: (error) => pair.events.push({ who: 'hand', event: 'error', code: codeOf(error) }),
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
  slashing.found(mallory.agent.id, {
    first: await mallory.sign(half()),
    second: await mallory.sign(half({ paid: 6 })),
  });
  await slashing.idle();
  expect(said('error')).toMatchObject([{ code: 'outcome_pending' }]);
  // Not before its time.
  await slashing.look();
  expect(said('error')).toHaveLength(1);
  await gateway.holdMessages(false);
  expect([store.evidence.count('owed'), get(factsOf(mallory.agent), Agent.stake)]).toEqual([1, 0]);
  // However slow the second message is.
  while (store.evidence.count('owed') > 0) {
    later(3_600_000);
    await slashing.look();
  }
  expect(store.evidence.some()).toMatchObject([{ state: 'slashed', code: null, peer: mallory.agent.id }]);
  expect(get(factsOf(mallory.agent), Agent.failed)).toBe(1);
  expect(gateway.balance(bob)).toBe(Math.floor(STAKE / 2));
});

test('what Core refuses for good is not tried again', async () => {
  const { store, slashing, half, later } = await hand();
  const [first, second] = [await mallory.sign(half()), await mallory.sign(half({ paid: 6 }))];
  slashing.found(mallory.agent.id, { first, second: { ...second, payer: first.payer } });
  const elsewhere = { session: makeId(HERE, 7) };
  slashing.found(mallory.agent.id, {
    first: await mallory.sign(half(elsewhere)),
    second: await mallory.sign(half({ ...elsewhere, paid: 6 })),
  });
  await slashing.idle();
  expect(store.evidence.some().map(({ state, code }) => `${state} ${code}`)).toEqual([
    'refused bad_signature',
    'refused unknown_session',
  ]);
  const frames = gateway.shards.frames(THERE).length;
  later(1e9);
  await slashing.look();
  expect(gateway.shards.frames(THERE).length).toBe(frames);
  expect(get(factsOf(mallory.agent), Agent.stake)).toBe(STAKE);
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
    await mallory.submit({ op: 'open', peer: carol.id, deposit: 9, exitDelay: 60 });
    const session = makeId(THERE, i + 1);
    const [one, other] = await Promise.all(
      [half({ session }), half({ session, ...over })].map((each) => mallory.sign(each)),
    );
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

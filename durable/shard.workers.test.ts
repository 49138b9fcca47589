import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { describe, expect, test } from 'vitest';
import { concat, hex, unhex } from '../protocol/bytes.ts';
import { Engine } from '../protocol/engine.ts';
import { keccak } from '../protocol/hash.ts';
import { formatId, makeId } from '../protocol/ids.ts';
import { encodeInboxItem } from '../protocol/inbox.ts';
import { MachineKey } from '../protocol/keys.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import { STATUSES, Status } from '../protocol/status.ts';
import { decodeChunkRecords } from '../protocol/trace.ts';
import { StateTree, proofRoot } from '../protocol/trie.ts';
import { type Cut, type FramesPage, isFailure, shardStub } from './shard/api.ts';
import { TestAgent, registerAgents, shard0, signing, testEnv, transfer } from './shard/testing.ts';

const codeOf = (result: object): string => (isFailure(result) ? result.error.code : 'ok');
const stub = () => testEnv.SHARD.getByName('shard-0');
const sql = (text: string) => runInDurableObject(stub(), (_, state) => void state.storage.sql.exec(text));
const balance = async (agent: TestAgent): Promise<string> => String((await shard0().agent(agent.id))?.balance);

/** What must be the same after a restart. */
async function picture() {
  const head = await shard0().head();
  return {
    seq: head.seq,
    time: head.time,
    root: hex(head.root),
    running: hex(head.running),
    status: await shard0().status(),
  };
}

async function take<T extends object>(answer: Promise<T>): Promise<Exclude<T, { error: unknown }>> {
  const value = await answer;
  if (isFailure(value)) throw new Error(`${value.error.code}: ${value.error.detail}`);
  return value as Exclude<T, { error: unknown }>;
}

/** The values that interactions made; throws unless all of them went well. */
async function run(agent: TestAgent, ...interactions: Parameters<TestAgent['bundle']>[0]): Promise<number[]> {
  const [result] = await agent.submit(await agent.bundle(interactions));
  if (isFailure(result)) throw new Error(`${result.error.code}: ${result.error.detail}`);
  const { outcomes } = result.receipt;
  expect(outcomes.map(({ status }) => STATUSES[status])).toEqual(outcomes.map(() => 'ok'));
  return outcomes.slice(1).map(({ value }) => value);
}

async function deposit(agent: TestAgent, count: number, amount = 1): Promise<void> {
  const { inboxCursor } = await shard0().head();
  const bytes = encodeInboxItem({ kind: 'deposit', from: agent.owner, agent: agent.id, amount });
  await take(shard0().inbox(Array.from({ length: count }, (_, i) => ({ index: inboxCursor + i, bytes }))));
}

describe('submitting', () => {
  test('a bundle is executed and answered with a receipt that verifies', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 10), transfer(bob, 5)]);
    const [result] = await alice.submit(frame);
    if (isFailure(result)) throw new Error(result.error.detail);
    const sequencer = await MachineKey.import(unhex(testEnv.SEQUENCER_KEY, 32));
    expect(await verifyReceipt(sequencer.publicKey, signing, result.receipt, frame)).toBe(true);
    expect(result.receipt.outcomes.map(({ status }) => status)).toEqual([Status.ok, Status.ok, Status.ok]);
    expect(await balance(bob)).toBe('1000015');
    expect((await shard0().agent(alice.id))?.nonce).toBe(1);

    const again = await shard0().receipt(result.receipt.receipt.seq);
    expect(again?.receipt).toEqual(result.receipt.receipt);
    expect(await verifyReceipt(sequencer.publicKey, signing, again!, frame)).toBe(true);
  });

  test('many at once share chunks and commits', async () => {
    const [alice, bob] = await registerAgents(2);
    const frames = await Promise.all(Array.from({ length: 50 }, (_, i) => alice.bundle([transfer(bob, i)])));
    const before = await shard0().status();
    const results = (await Promise.all(frames.map((frame) => alice.submit(frame)))).flat();
    const after = await shard0().status();
    expect(results.map(codeOf)).toEqual(frames.map(() => 'ok'));
    expect(after.interactions - before.interactions).toBe(50);
    expect(after.chunks - before.chunks).toBeLessThan(25);
  });

  test('bundles of one submission keep their order', async () => {
    const [alice, bob] = await registerAgents(2);
    const frames = await Promise.all([1, 2, 3].map((amount) => alice.bundle([transfer(bob, amount)])));
    const results = await alice.submit(...frames);
    const places = results.map((result) => (isFailure(result) ? -1 : result.receipt.receipt.seq));
    expect(places).toEqual([places[0], places[0] + 1, places[0] + 2]);
  });

  test('more than may wait are told to come back, and others are not kept out', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1)]);
    const other = await bob.bundle([transfer(alice, 1)]);
    const flood = shard0().submit(Array.from({ length: 8193 }, () => ({ frame, key: alice.key.publicKey })));
    const [fair] = await bob.submit(other);
    const codes = Map.groupBy((await flood).map(codeOf), (code) => code);
    expect([...codes.keys()].toSorted()).toEqual(['ok', 'overloaded', 'replayed']);
    expect(codes.get('ok')).toHaveLength(1);
    expect(codes.get('overloaded')!.length).toBeGreaterThanOrEqual(8193 - 1024);
    expect(codeOf(fair)).toBe('ok');
    const [refusal] = (
      await shard0().submit(Array.from({ length: 8193 }, () => ({ frame: other, key: bob.key.publicKey })))
    ).filter((result) => codeOf(result) === 'overloaded');
    expect(refusal).toBeUndefined();
  });

  test('a bundle waits for those before it, whatever order they came in', async () => {
    const [alice, bob] = await registerAgents(2);
    const frames = await Promise.all([1, 2, 3, 4].map((amount) => alice.bundle([transfer(bob, amount)])));
    expect((await alice.submit(...frames.toReversed())).map(codeOf)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  test('what costs much or lasts is limited by agent, and told when to come back', async () => {
    const [alice, bob] = await registerAgents(2);
    const withdrawals = (count: number) =>
      Array.from({ length: count }, () => ({ op: 'withdraw', amount: 1 }) as const);
    expect((await alice.submit(await alice.bundle(withdrawals(200)))).map(codeOf)).toEqual(['ok']);
    const [limited] = await alice.submit(await alice.bundle(withdrawals(100)));
    expect(limited).toMatchObject({ error: { code: 'rate_limited' } });
    expect(isFailure(limited) && Number(limited.error.retryAfter)).toBeGreaterThan(400);
    alice.nonce -= 1;
    expect((await bob.submit(await bob.bundle(withdrawals(100)))).map(codeOf)).toEqual(['ok']);
    expect((await alice.submit(await alice.bundle([transfer(bob, 1)]))).map(codeOf)).toEqual(['ok']);
    const rotation = {
      op: 'rotate',
      agent: bob.id,
      key: bob.key.publicKey,
      ownerSignature: new Uint8Array(65),
    } as const;
    const rotations = await bob.bundle(Array.from({ length: 9 }, () => rotation));
    expect((await bob.submit(rotations)).map(codeOf)).toEqual(['too_costly']);
  });

  test('what can’t run any more costs its agent nothing: anybody can send it again', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle(Array.from({ length: 200 }, () => ({ op: 'withdraw', amount: 1 }) as const));
    expect((await alice.submit(frame, frame, frame)).map(codeOf)[0]).toBe('ok');
    for (let i = 0; i < 10; i++) expect((await alice.submit(frame)).map(codeOf)).toEqual(['replayed']);
    const rest = await alice.bundle(Array.from({ length: 50 }, () => ({ op: 'withdraw', amount: 1 }) as const));
    expect((await alice.submit(rest)).map(codeOf)).toEqual(['ok']);
    expect((await bob.submit(await bob.bundle([transfer(alice, 1)]))).map(codeOf)).toEqual(['ok']);
  });
});

/** Submits what must be refused without a trace. */
const refused = async (agent: TestAgent, frame: Uint8Array, key = agent.key.publicKey) => {
  const before = await picture();
  const [result] = await shard0().submit([{ frame, key }]);
  expect(await picture()).toEqual(before);
  if (!isFailure(result)) throw new Error('not refused');
  return result.error;
};

describe('refusals: each with its code, none in the log', () => {
  test('malformed, truncated, oversized', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1)]);
    expect((await refused(alice, new Uint8Array(0))).code).toBe('malformed');
    expect((await refused(alice, Uint8Array.of(1, 2, 3, 4, 5))).code).toBe('malformed');
    expect((await refused(alice, frame.slice(0, -1))).code).toBe('malformed');
    expect((await refused(alice, concat(frame, Uint8Array.of(0)))).code).toBe('malformed');
    expect((await refused(alice, new Uint8Array(5000).fill(0x10))).code).toBe('malformed');
  });

  test('replayed names the place, an old nonce the expected one', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1)]);
    const [first] = await alice.submit(frame);
    if (isFailure(first)) throw new Error(first.error.detail);
    expect(await refused(alice, frame)).toMatchObject({ code: 'replayed', place: `0:${first.receipt.receipt.seq}` });
    const other = await alice.bundle([transfer(bob, 2)], { nonce: 0 });
    expect(await refused(alice, other)).toMatchObject({ code: 'bad_nonce', expected: 1 });
    const early = await alice.bundle([transfer(bob, 2)], { nonce: 7 });
    expect(await refused(alice, early)).toMatchObject({ code: 'bad_nonce', expected: 1 });
  });

  test('the same bytes twice at once run once', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1)]);
    expect((await alice.submit(frame, frame)).map(codeOf)).toEqual(['ok', 'replayed']);
    expect(await balance(bob)).toBe('1000001');
  });

  test('one signature in many bundles', async () => {
    const [alice, bob] = await registerAgents(2);
    const [session] = await run(alice, { op: 'open', peer: bob.id, deposit: 10, exitDelay: 10 });
    const half = { session, dir: 0, seq: 1, calls: 1, paid: 1, root: new Uint8Array(32).fill(1) } as const;
    const signature = await bob.key.sign(signing.half(half));
    const settles = Array.from({ length: 20 }, () => ({ op: 'settle', half, signature }) as const);
    const bundles: Uint8Array[] = [];
    for (let i = 0; i < 20; i++) bundles.push(await alice.bundle(settles));
    expect((await alice.submit(...bundles)).map(codeOf)).toEqual(bundles.map(() => 'ok'));
  });

  test('signed over a session that the same bundle opens: refused; one that opened meanwhile is looked at again', async () => {
    const [alice, bob] = await registerAgents(2);
    const { sessions } = await shard0().status();
    const open = { op: 'open', peer: bob.id, deposit: 10, exitDelay: 10 } as const;
    const settle = async (session: number) => {
      const half = { session, dir: 0, seq: 1, calls: 1, paid: 1, root: new Uint8Array(32).fill(1) } as const;
      return { op: 'settle', half, signature: await alice.key.sign(signing.half(half)) } as const;
    };
    const soon = await settle(makeId(0, sessions + 1));
    const both = await alice.bundle([open, soon]);
    expect((await alice.submit(both)).map(codeOf)).toEqual(['too_early']);
    alice.nonce -= 1;
    const [first, second] = [await alice.bundle([open]), await alice.bundle([soon])];
    const results = await alice.submit(first, second);
    expect(results.map(codeOf)).toEqual(['ok', 'ok']);
    expect((await shard0().session(makeId(0, sessions + 1)))?.paidAB).toBe('1');
    await evictDurableObject(stub());
    expect((await shard0().session(makeId(0, sessions + 1)))?.paidAB).toBe('1');
  });

  test('expired', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1)], { expiry: Math.floor(Date.now() / 1000) - 1 });
    expect((await refused(alice, frame)).code).toBe('expired');
  });

  test('unknown agent, another shard', async () => {
    const [alice, bob] = await registerAgents(2);
    const nobody = new TestAgent(makeId(0, 900_000), alice.key, alice.owner);
    expect((await refused(nobody, await nobody.bundle([transfer(bob, 1)]))).code).toBe('unknown_agent');
    const elsewhere = new TestAgent(makeId(3, 1), alice.key, alice.owner);
    expect((await refused(elsewhere, await elsewhere.bundle([transfer(bob, 1)]))).code).toBe('wrong_shard');
  });

  test('a key that is not the agent’s now', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await bob.bundle([transfer(bob, 1)]);
    const error = await refused(alice, frame, alice.key.publicKey);
    expect(error.code).toBe('stale_key');
    expect(hex(error.key as Uint8Array)).toBe(hex(bob.key.publicKey));
  });

  test('over balance, over deposit: executed, a status of its own, nothing moved', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([
      transfer(bob, 2_000_000),
      { op: 'open', peer: bob.id, deposit: 2_000_000, exitDelay: 10 },
    ]);
    const [result] = await alice.submit(frame);
    if (isFailure(result)) throw new Error(result.error.detail);
    expect(result.receipt.outcomes.map(({ status }) => STATUSES[status])).toEqual([
      'ok',
      'insufficient_balance',
      'insufficient_balance',
    ]);
    expect([await balance(alice), await balance(bob)]).toEqual(['1000000', '1000000']);
  });
});

describe('restart', () => {
  test('from the log: the same root, and nothing runs twice', async () => {
    const [alice, bob] = await registerAgents(2);
    const frames = await Promise.all(Array.from({ length: 20 }, (_, i) => alice.bundle([transfer(bob, i)])));
    await alice.submit(...frames);
    const before = await picture();
    await evictDurableObject(stub());
    expect(await picture()).toEqual(before);
    expect((await alice.submit(frames[3])).map(codeOf)).toEqual(['replayed']);
    expect((await alice.submit(await alice.bundle([transfer(bob, 1)]))).map(codeOf)).toEqual(['ok']);
  });

  test('from a snapshot and the log after it', async () => {
    const [alice, bob] = await registerAgents(2);
    await deposit(alice, 2100);
    await runInDurableObject(stub(), (_, state) => {
      expect(
        state.storage.sql.exec<{ value: number }>("SELECT value FROM meta WHERE key = 'snapshot'").one().value,
      ).toBeGreaterThan(0);
    });
    await run(alice, transfer(bob, 5));
    const { session, signature, half } = await openAndSign(alice, bob);
    await run(bob, { op: 'settle', half, signature });
    const before = await picture();
    await evictDurableObject(stub());
    expect(await picture()).toEqual(before);
    expect(await shard0().session(session)).toMatchObject({ paidAB: '40', status: 'open' });
  });

  test('an engine fed the posted records comes to the same roots', async () => {
    const { seq, root, running } = await shard0().head();
    const engine = new Engine(0, signing);
    for (let from = 0; from < seq;) {
      const page: FramesPage = await take(shard0().frames(from, seq, 10_000));
      for (const { firstSeq, frames } of decodeChunkRecords(page.records))
        frames.forEach((frame, i) => engine.execute(firstSeq + i, frame));
      expect(page.nextSeq).toBeGreaterThan(from);
      from = page.nextSeq;
    }
    expect(hex(engine.trie.root())).toBe(hex(root));
    const last = await shard0().receipt(seq - 1);
    expect(hex(last!.receipt.runningHash)).toBe(hex(running));
  });

  test('a chunk that can’t be written is as if it had never run', async () => {
    const [alice, bob] = await registerAgents(2);
    const before = await picture();
    await sql("CREATE TRIGGER broken BEFORE INSERT ON chunks BEGIN SELECT RAISE(ABORT, 'no disk'); END");
    const frame = await alice.bundle([transfer(bob, 1)]);
    const outcome = await (async () => (await alice.submit(frame)).map(codeOf).join())().catch(
      (error: Error) => error.message,
    );
    expect(outcome).toContain('no disk');
    await sql('DROP TRIGGER broken');
    expect(await picture()).toEqual(before);
    expect((await alice.submit(frame)).map(codeOf)).toEqual(['ok']);
  });
});

async function openAndSign(alice: TestAgent, bob: TestAgent) {
  const [session] = await run(alice, { op: 'open', peer: bob.id, deposit: 100, exitDelay: 60 });
  const half = { session, dir: 0 as const, seq: 1, calls: 2, paid: 40, root: new Uint8Array(32).fill(3) };
  return { session, half, signature: await alice.key.sign(signing.half(half)) };
}

describe('what is inside bundles', () => {
  test('a half settles, a forged one does not, an old one is stale', async () => {
    const [alice, bob] = await registerAgents(2);
    const { session, half, signature } = await openAndSign(alice, bob);
    const forged = { ...half, paid: 90 };
    const [result] = await bob.submit(
      await bob.bundle([
        { op: 'settle', half: forged, signature },
        { op: 'settle', half, signature },
        { op: 'settle', half, signature },
      ]),
    );
    if (isFailure(result)) throw new Error(result.error.detail);
    expect(result.receipt.outcomes.map(({ status }) => STATUSES[status])).toEqual([
      'ok',
      'bad_signature',
      'ok',
      'stale_half',
    ]);
    expect(await shard0().session(session)).toMatchObject({
      a: formatId(alice.id),
      b: formatId(bob.id),
      paidAB: '40',
      callsAB: '2',
    });
    const facts = await shard0().sessionFacts(session);
    expect([facts?.a, facts?.b, facts?.paidAB]).toEqual([alice.id, bob.id, 40]);
    expect(hex(facts!.keyA)).toBe(hex(alice.key.publicKey));
  });

  test('an escrow shows where it was opened and ended', async () => {
    const [alice, bob] = await registerAgents(2);
    const metadataHash = new Uint8Array(32).fill(1);
    const terms = { active: true, ceiling: 100, deadlineSeconds: 60, arbiter: 0, contestSeconds: 0, metadataHash };
    const [service] = await run(bob, { op: 'publish', service: 0, ...terms });
    const [, escrow] = await run(alice, transfer(bob, 1), { op: 'invoke', service, amount: 50 });
    expect(await shard0().escrow(escrow)).toMatchObject({
      status: 'open',
      amount: '50',
      payer: formatId(alice.id),
      invoked: { shard: 0, index: 1 },
    });
    expect((await shard0().supply()).escrows).toBe(50);
    await run(bob, { op: 'respond', escrow, price: 30, result: 'fulfilled' });
    expect(await shard0().escrow(escrow)).toMatchObject({
      status: 'fulfilled',
      paid: '30',
      responded: { shard: 0, index: 0 },
    });
    expect((await shard0().services({ provider: bob.id })).items).toHaveLength(1);
  });

  test('a rotated key is found, the old one is not', async () => {
    const [alice] = await registerAgents(1);
    const keyHash = async (): Promise<string[]> =>
      (await shard0().agents({ key: hex(keccak(alice.key.publicKey)) })).items.map(({ id }) => String(id));
    expect(await keyHash()).toEqual([formatId(alice.id)]);
    const { inboxCursor } = await shard0().head();
    const fresh = await MachineKey.import(MachineKey.randomSecret());
    const bytes = encodeInboxItem({ kind: 'rotate', owner: alice.owner, agent: alice.id, key: fresh.publicKey });
    await take(shard0().inbox([{ index: inboxCursor, bytes }]));
    expect(await keyHash()).toEqual([]);
    expect(hex((await shard0().key(alice.id))!.key)).toBe(hex(fresh.publicKey));
  });
});

describe('settlement', () => {
  test('inbox items run once, in order, without gaps', async () => {
    const [alice] = await registerAgents(1);
    const { inboxCursor } = await shard0().head();
    const bytes = encodeInboxItem({ kind: 'deposit', from: alice.owner, agent: alice.id, amount: 5 });
    expect(await shard0().inbox([{ index: inboxCursor + 1, bytes }])).toMatchObject({ error: { code: 'inbox_gap' } });
    expect(await shard0().inbox([{ index: inboxCursor, bytes }])).toEqual({ cursor: inboxCursor + 1 });
    const again = [0, 1].map((i) => ({ index: inboxCursor + i, bytes }));
    expect(await shard0().inbox(again)).toEqual({ cursor: inboxCursor + 2 });
    expect(await shard0().inbox(again)).toEqual({ cursor: inboxCursor + 2 });
    expect(await balance(alice)).toBe('1000010');
  });

  test('a cut is the same however often it is asked for, and holds its withdrawals', async () => {
    const [alice, bob] = await registerAgents(2);
    const before = (await shard0().supply()).withdrawals;
    const [outbox] = await run(alice, { op: 'withdraw', amount: 77 });
    const { cut: last, seq } = await shard0().head();
    const number = last.number + 1;
    const cut: Cut = await take(shard0().cut(number, number, []) as Promise<Cut>);
    expect([cut.fromSeq, cut.toSeq]).toEqual([last.toSeq, seq]);
    await run(alice, transfer(bob, 1));
    await evictDurableObject(stub());
    expect(await shard0().cut(number, number, [])).toEqual(cut);
    expect(await shard0().cutAt(number)).toEqual(cut);
    expect(await shard0().cut(number + 2, number + 1, [])).toMatchObject({ error: { code: 'bad_cut' } });
    expect(await shard0().cut(number + 1, number + 2, [])).toMatchObject({ error: { code: 'bad_cut' } });
    const tooMany = [0, cut.received[1] + 1];
    expect(await shard0().cut(number + 1, number + 1, tooMany)).toMatchObject({ error: { code: 'not_ready' } });

    const found = await shard0().withdrawal(number, outbox);
    const stateTree = new StateTree([[0, cut.shardRoot]]);
    const address = 7 * 2 ** 20 + Math.floor(outbox / 256);
    expect(hex(proofRoot(address, found!.cell, found!.siblings))).toBe(hex(cut.shardRoot));
    expect(hex(proofRoot(address, found!.cell, [...found!.siblings, ...stateTree.siblings(0)]))).toBe(
      hex(stateTree.root()),
    );
    expect((await shard0().supply()).withdrawals).toBe(before + 77);

    const page: FramesPage = await take(shard0().frames(cut.fromSeq, cut.toSeq));
    expect(page.nextSeq).toBe(cut.toSeq);
    expect(page.records.length).toBe(cut.bytes);

    // Once more for the same batch: it ends there, and its withdrawals are proved there.
    const again: Cut = await take(shard0().cut(number + 1, number, []) as Promise<Cut>);
    expect([again.fromSeq, again.batch]).toEqual([cut.fromSeq, number]);
    expect(again.toSeq).toBeGreaterThan(cut.toSeq);
    expect(hex(again.shardRoot)).not.toBe(hex(cut.shardRoot));
    expect(hex(await shard0().rootAt(number))).toBe(hex(again.shardRoot));
    const moved = await shard0().withdrawal(number, outbox);
    expect(hex(proofRoot(address, moved!.cell, moved!.siblings))).toBe(hex(again.shardRoot));
    expect((await shard0().frame(cut.toSeq))?.batch).toBe(number);
    // Nothing has come since, and the cut is made all the same.
    expect((await shard0().standing()).hasWork).toBe(false);
    const empty: Cut = await take(shard0().cut(number + 2, number + 1, []) as Promise<Cut>);
    expect([empty.fromSeq, empty.toSeq]).toEqual([again.toSeq, again.toSeq]);
    expect((await shard0().supply()).withdrawals).toBe(before + 77);
  });

  test('money is where supply says, all of it', async () => {
    const { balances, stakes, escrows, sessions, withdrawals } = await shard0().supply();
    const status = await shard0().status();
    const { items } = await shard0().agents({ limit: 100 });
    expect(items.length).toBe(status.agents);
    expect(balances).toBe(items.reduce((sum, agent) => sum + Number(agent.balance), 0));
    const { inboxCursor } = await shard0().head();
    let taken = 0;
    for (let n = 0; n < status.chunks; n++) {
      for (const { item } of (await shard0().chunk(n))!.frames) taken += Number(item?.amount ?? 0);
    }
    expect(inboxCursor).toBeGreaterThan(0);
    expect(balances + stakes + escrows + sessions + withdrawals).toBe(taken);
  });

  test('ticks only when there is something to time', async () => {
    await shard0().tickIfDue();
    const { seq } = await shard0().head();
    expect(await shard0().tickIfDue()).toMatchObject({ ticked: false, seq });
    expect(await shard0().tickIfDue(3600)).toMatchObject({ ticked: false, seq });
  });

  test('batches are recorded, listed and dropped', async () => {
    const zero = `0x${'00'.repeat(32)}` as const;
    const header = {
      number: 1,
      prev: zero,
      pre: zero,
      post: zero,
      steps: 1,
      timeFrom: 1,
      timeTo: 1,
      inboxCursor: 0,
      dataRoot: zero,
      da: 0,
    };
    const batch = {
      number: 1,
      header,
      hash: zero,
      stateRoot: zero,
      state: 'pending' as const,
      cuts: { after: 0, upTo: 1 },
      ranges: [{ shard: 0, firstSeq: 0, frames: 1 }],
    };
    await shard0().recordBatch(batch);
    await shard0().recordBatch({ ...batch, state: 'posted', postedAt: 5 });
    await shard0().recordBatch({ ...batch, number: 2, state: 'final', cuts: { after: 1, upTo: 2 } });
    expect((await shard0().batches()).map(({ number, state }) => [number, state])).toEqual([
      [1, 'posted'],
      [2, 'final'],
    ]);
    expect(await shard0().newestBatches()).toEqual({ posted: 2, final: 2 });
    // Made anew, it takes the place of all that was made after it; what came before that is too late.
    await shard0().recordBatch({ ...batch, cuts: { after: 0, upTo: 3 } });
    expect(await shard0().batch(2)).toBeNull();
    await shard0().recordBatch({ ...batch, state: 'posted' });
    expect(await shard0().batch(1)).toMatchObject({ state: 'pending', cuts: { upTo: 3 } });
    const events = await shard0().feed();
    expect(events.filter(({ kind }) => kind === 'batch').map(({ state }) => state)).toEqual([
      'pending',
      'posted',
      'final',
      'pending',
    ]);
  });
});

test('an object knows its shard by its name', async () => {
  const shard9 = shardStub(testEnv.SHARD, 9);
  expect(await shard9.head()).toMatchObject({ shard: 9, seq: 0 });
  expect(await shard9.inbox([])).toMatchObject({ error: { code: 'wrong_shard' } });
});

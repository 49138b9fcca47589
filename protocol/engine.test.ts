import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Actor, DOMAIN, World } from '../test/support/world.ts';
import { decodeBundle, encodeBundleBody, signBundle } from './bundle.ts';
import {
  Agent,
  Head,
  META_HEAD,
  OUTBOX_RESERVE,
  OUTBOX_RETENTION,
  Outbox,
  REGION_SLOTS,
  Region,
  Session,
  get,
  getBytes,
  set,
} from './cells.ts';
import { Signing } from './eip712.ts';
import { Engine, inboxFrame, stepsOf, tickFrame } from './engine.ts';
import { equal, hex, word } from './bytes.ts';
import type { Half } from './half.ts';
import { encodeInboxItem } from './inbox.ts';
import { MachineKey, ownerAddress, signOwner } from './keys.ts';
import type { Interaction } from './ops/index.ts';
import { STATUSES } from './status.ts';

const names = (outcomes: { status: number }[]) => outcomes.map(({ status }) => STATUSES[status]);
const HASH = new Uint8Array(32).fill(9);
const service = (over: Partial<Extract<Interaction, { op: 'publish' }>> = {}): Interaction => ({
  op: 'publish',
  service: 0,
  active: true,
  ceiling: 500,
  deadlineSeconds: 60,
  arbiter: 0,
  contestSeconds: 0,
  metadataHash: HASH,
  ...over,
});

let world: World;
let ann: Actor;
let bob: Actor;

beforeEach(async () => {
  world = new World();
  world.tick(1_900_000_000);
  ann = await world.agent(10_000);
  bob = await world.agent(5_000);
});

describe('frames', () => {
  test('a place that is not the next is refused as a whole and writes nothing', async () => {
    const root = hex(world.engine.trie.root());
    const frame = await world.sign(ann, [{ op: 'transfer', to: bob.id, amount: 1 }]);
    expect(names(world.engine.execute(world.engine.seq + 1, frame))).toEqual(['out_of_order', 'bundle_refused']);
    expect(hex(world.engine.trie.root())).toBe(root);
  });

  test('time only goes forward', () => {
    expect(names(world.execute(tickFrame(1_900_000_000)))).toEqual(['stale_time']);
    expect(names(world.execute(tickFrame(0xf0000000)))).toEqual(['malformed']);
    expect(names(world.execute(Uint8Array.of(1, 2, 3)))).toEqual(['malformed']);
    expect(names(world.execute(tickFrame(1_900_000_001)))).toEqual(['ok']);
  });

  test('the opening refuses, in order, and says why', async () => {
    const pay: Interaction = { op: 'transfer', to: bob.id, amount: 1 };
    const frame = await world.sign(ann, [pay, pay]);
    const sign = (actor: number, nonce: number, expiry: number, key = ann.key, signing = world.signing) =>
      signBundle(key, signing, { actor, nonce, expiry }, [pay]);
    const elsewhere = new Signing({ ...DOMAIN, chainId: 1 });
    const cases: [Uint8Array, string][] = [
      [frame.slice(0, -1), 'malformed'],
      [await sign(ann.id + 1, 0, 2e9), 'wrong_shard'],
      [await sign(99 * 256, 0, 2e9), 'unknown_agent'],
      [await sign(0, 0, 2e9), 'unknown_agent'],
      [await sign(ann.id, 1, 2e9), 'bad_nonce'],
      [await sign(ann.id, 0, 1_899_999_999), 'expired'],
      [await sign(ann.id, 0, 2e9, bob.key), 'bad_signature'],
      [await sign(ann.id, 0, 2e9, ann.key, elsewhere), 'bad_signature'],
    ];
    for (const [bytes, status] of cases) {
      const seq = world.engine.seq;
      const outcomes = names(world.execute(bytes));
      expect(outcomes[0]).toBe(status);
      expect(outcomes.slice(1).every((s) => s === 'bundle_refused')).toBe(true);
      expect(outcomes).toHaveLength(stepsOf(bytes));
      expect(world.engine.seq).toBe(seq + 1);
      expect(world.balance(ann)).toBe(10_000);
      expect(get(world.agentCell(ann), Agent.nonce)).toBe(0);
    }
    expect(names(world.execute(frame))).toEqual(['ok', 'ok', 'ok']);
    expect(names(world.execute(frame))).toEqual(['bad_nonce', 'bundle_refused', 'bundle_refused']);
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_998, 5_002]);
  });

  test('a frame decoded beforehand runs as its bytes do, and another frame’s bundle is not believed', async () => {
    const pay = (amount: number) => world.sign(ann, [{ op: 'transfer', to: bob.id, amount }]);
    const frame = await pay(1);
    expect(names(world.engine.execute(world.engine.seq, frame, decodeBundle(frame)))).toEqual(['ok', 'ok']);
    ann.nonce += 1;
    const other = decodeBundle(await pay(1_000));
    expect(names(world.engine.execute(world.engine.seq, await pay(2), other))).toEqual(['ok', 'ok']);
    expect(world.balance(bob)).toBe(5_003);
  });

  test('an accepted bundle whose signature was made malleable is refused', async () => {
    const frame = await world.sign(ann, [{ op: 'transfer', to: bob.id, amount: 1 }]);
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    frame.set(word(order - BigInt(hex(frame.subarray(-32)))), frame.length - 32);
    expect(names(world.execute(frame))[0]).toBe('bad_signature');
  });
});

describe('money between agents', () => {
  test('transfer', async () => {
    expect(
      await world.run(
        ann,
        { op: 'transfer', to: bob.id, amount: 10_001 },
        { op: 'transfer', to: bob.id + 1, amount: 1 },
        { op: 'transfer', to: 77 * 256, amount: 1 },
        { op: 'transfer', to: ann.id, amount: 10_000 },
        { op: 'transfer', to: bob.id, amount: 10_000 },
      ),
    ).toEqual(['insufficient_balance', 'wrong_shard', 'unknown_agent', 'ok', 'ok']);
    expect([world.balance(ann), world.balance(bob)]).toEqual([0, 15_000]);
  });

  test('register sponsored, and the new agent can act', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const made = await world.run(ann, {
      op: 'register',
      owner: new Uint8Array(20).fill(5),
      key: key.publicKey,
      amount: 700,
    });
    expect(made).toEqual([`ok:${3 * 256}`]);
    const carl: Actor = { id: 3 * 256, key, ownerSecret: HASH, nonce: 0 };
    expect(await world.run(carl, { op: 'transfer', to: bob.id, amount: 700 })).toEqual(['ok']);
    expect(
      await world.run(ann, { op: 'register', owner: HASH.subarray(0, 20), key: key.publicKey, amount: 9_301 }),
    ).toEqual(['insufficient_balance']);
  });

  test('withdraw pays the owner, whoever held the key', async () => {
    expect(
      await world.run(
        ann,
        { op: 'withdraw', amount: 0 },
        { op: 'withdraw', amount: 10_001 },
        { op: 'withdraw', amount: 4_000 },
      ),
    ).toEqual(['zero_amount', 'insufficient_balance', 'ok:256']);
    const cell = world.engine.trie.read(Region.outbox, 1);
    expect(hex(cell.subarray(16, 36))).toBe(hex(ownerAddress(ann.ownerSecret)));
    expect(world.claims()).toBe(world.deposited);
  });

  test('rotate needs the owner, and old keys stop at once', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const preimage = world.signing.rotate({ agent: ann.id, epoch: 0, key: key.publicKey });
    const good = signOwner(ann.ownerSecret, preimage);
    const rotate = (ownerSignature: Uint8Array): Interaction => ({
      op: 'rotate',
      agent: ann.id,
      key: key.publicKey,
      ownerSignature,
    });
    expect(await world.run(bob, rotate(signOwner(bob.ownerSecret, preimage)), rotate(good), rotate(good))).toEqual([
      'bad_signature',
      'ok:1',
      'bad_signature',
    ]);
    const old = await world.sign(ann, [{ op: 'transfer', to: bob.id, amount: 1 }]);
    expect(names(world.execute(old))[0]).toBe('bad_signature');
    expect(await world.run({ ...ann, key }, { op: 'transfer', to: bob.id, amount: 1 })).toEqual(['ok']);
  });
});

describe('services and escrows', () => {
  const id = 256;
  beforeEach(async () => {
    expect(await world.run(bob, service())).toEqual([`ok:${id}`]);
  });

  test('publish is the provider’s alone', async () => {
    expect(
      await world.run(
        ann,
        service({ service: id }),
        service({ service: 77 * 256 }),
        service({ service: id + 1 }),
        service({ deadlineSeconds: 0 }),
        service({ contestSeconds: 2 ** 25 + 1 }),
      ),
    ).toEqual(['not_provider', 'unknown_service', 'wrong_shard', 'bad_duration', 'bad_duration']);
    expect(await world.run(bob, service({ service: id, active: false }))).toEqual([`ok:${id}`]);
    expect(await world.run(ann, { op: 'invoke', service: id, amount: 1 })).toEqual(['service_inactive']);
  });

  test('invoke checks, respond pays the actual price', async () => {
    expect(await world.run(bob, { op: 'invoke', service: id, amount: 1 })).toEqual(['self_dealing']);
    expect(
      await world.run(
        ann,
        { op: 'invoke', service: id, amount: 501 },
        { op: 'invoke', service: 5 * 256, amount: 1 },
        { op: 'invoke', service: id + 3, amount: 1 },
        { op: 'invoke', service: id, amount: 400, after: 99 * 256 },
        { op: 'invoke', service: id, amount: 400 },
      ),
    ).toEqual(['over_ceiling', 'unknown_service', 'wrong_shard', 'unknown_escrow', 'ok:1536']);
    expect(world.balance(ann)).toBe(9_600);
    expect(await world.run(ann, { op: 'respond', escrow: 1536, price: 1, result: 'fulfilled' })).toEqual(['not_payee']);
    expect(
      await world.run(
        bob,
        { op: 'respond', escrow: 2048, price: 1, result: 'fulfilled' },
        { op: 'respond', escrow: 1536, price: 401, result: 'fulfilled' },
        { op: 'respond', escrow: 1536, price: 1, result: 'failed' },
        { op: 'respond', escrow: 1536, price: 150, result: 'fulfilled' },
        { op: 'respond', escrow: 1536, price: 150, result: 'fulfilled' },
      ),
    ).toEqual(['unknown_escrow', 'over_price', 'over_price', 'ok', 'escrow_not_open']);
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_850, 5_150]);
    expect([get(world.agentCell(bob), Agent.completed), get(world.agentCell(bob), Agent.volume)]).toEqual([1, 150]);
  });

  test('expire refunds after the deadline, and only then', async () => {
    await world.run(ann, { op: 'invoke', service: id, amount: 400 });
    world.tick(1_900_000_060);
    expect(await world.run(ann, { op: 'expire', escrow: 256 })).toEqual(['not_due']);
    world.tick(1_900_000_061);
    expect(await world.run(bob, { op: 'respond', escrow: 256, price: 1, result: 'fulfilled' })).toEqual([
      'deadline_passed',
    ]);
    expect(await world.run(bob, { op: 'expire', escrow: 256 }, { op: 'expire', escrow: 256 })).toEqual([
      'ok',
      'escrow_not_open',
    ]);
    expect(world.balance(ann)).toBe(10_000);
    expect(get(world.agentCell(bob), Agent.failed)).toBe(1);
  });

  test('an arbiter holds the money for the contest window', async () => {
    await world.run(bob, service({ arbiter: ann.id, contestSeconds: 10 }));
    await world.run(ann, { op: 'invoke', service: 512, amount: 300 });
    // Dropping the arbiter now changes nothing for what was already asked.
    await world.run(bob, service({ service: 512, arbiter: 0 }));
    expect(
      await world.run(
        bob,
        { op: 'respond', escrow: 256, price: 200, result: 'fulfilled' },
        { op: 'expire', escrow: 256 },
      ),
    ).toEqual(['ok', 'not_due']);
    expect(world.balance(bob)).toBe(5_000);
    world.tick(1_900_000_011);
    expect(await world.run(ann, { op: 'expire', escrow: 256 })).toEqual(['ok']);
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_800, 5_200]);
  });
});

describe('sessions', () => {
  const session = 256;
  const half = (paid: number, calls: number, dir: 0 | 1 = 0, over: Partial<Half> = {}): Half => ({
    session,
    dir,
    seq: calls,
    calls,
    paid,
    root: HASH,
    ...over,
  });
  const settle = async (h: Half, key: MachineKey): Promise<Interaction> => ({
    op: 'settle',
    half: h,
    signature: await key.sign(world.signing.half(h)),
  });

  beforeEach(async () => {
    expect(await world.run(ann, { op: 'open', peer: bob.id, deposit: 1_000, exitDelay: 30 })).toEqual([
      `ok:${session}`,
    ]);
  });

  test('open and fund check', async () => {
    expect(
      await world.run(
        ann,
        { op: 'open', peer: ann.id, deposit: 1, exitDelay: 1 },
        { op: 'open', peer: 9 * 256, deposit: 1, exitDelay: 1 },
        { op: 'open', peer: bob.id, deposit: 0, exitDelay: 1 },
        { op: 'open', peer: bob.id, deposit: 1, exitDelay: 0 },
        { op: 'open', peer: bob.id, deposit: 9_001, exitDelay: 1 },
        { op: 'fund', session, amount: 0 },
        { op: 'fund', session: 512, amount: 1 },
        { op: 'fund', session, amount: 500 },
      ),
    ).toEqual([
      'self_dealing',
      'unknown_agent',
      'zero_amount',
      'bad_duration',
      'insufficient_balance',
      'zero_amount',
      'unknown_session',
      'ok',
    ]);
    expect(await world.run(bob, { op: 'fund', session, amount: 250 })).toEqual(['ok']);
    const cell = world.engine.machine.readSession(session);
    expect([get(cell, Session.depositA), get(cell, Session.depositB)]).toEqual([1_500, 250]);
    const carl = await world.agent(10);
    expect(await world.run(carl, { op: 'fund', session, amount: 1 })).toEqual(['not_party']);
  });

  test('settling is monotone, permissionless and needs the payer’s pinned key', async () => {
    const carl = await world.agent(10);
    const newer = await settle(half(300, 3), ann.key);
    const older = await settle(half(200, 2), ann.key);
    expect(await world.run(carl, newer, older, newer)).toEqual(['ok', 'stale_half', 'stale_half']);
    expect(await world.run(carl, await settle(half(400, 4), bob.key))).toEqual(['bad_signature']);
    expect(await world.run(carl, await settle(half(400, 4, 0, { session: 512 }), ann.key))).toEqual([
      'unknown_session',
    ]);
    // A rotation does not void what the old key signed.
    const key = await MachineKey.import(MachineKey.randomSecret());
    const ownerSignature = signOwner(
      ann.ownerSecret,
      world.signing.rotate({ agent: ann.id, epoch: 0, key: key.publicKey }),
    );
    expect(
      await world.run(
        carl,
        { op: 'rotate', agent: ann.id, key: key.publicKey, ownerSignature },
        await settle(half(400, 4), ann.key),
      ),
    ).toEqual(['ok:1', 'ok']);
  });

  test('exit, newer halves land, finalize pays', async () => {
    expect(await world.run(ann, { op: 'exit', session }, { op: 'exit', session }, { op: 'finalize', session })).toEqual(
      [`ok:${1_900_000_030}`, 'session_not_open', 'not_due'],
    );
    expect(await world.run(bob, await settle(half(700, 7), ann.key), { op: 'fund', session, amount: 1 })).toEqual([
      'ok',
      'session_not_open',
    ]);
    world.tick(1_900_000_030);
    expect(await world.run(bob, { op: 'finalize', session }, { op: 'finalize', session })).toEqual([
      'ok',
      'session_not_exiting',
    ]);
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_300, 5_700]);
    expect(get(world.agentCell(bob), Agent.completed)).toBe(7);
    expect(await world.run(bob, await settle(half(800, 8), ann.key))).toEqual(['session_closed']);
  });

  test('paid beyond the deposits is clamped', async () => {
    await world.run(bob, await settle(half(Number.MAX_SAFE_INTEGER, 1), ann.key), { op: 'exit', session });
    world.tick(1_900_000_030);
    await world.run(ann, { op: 'finalize', session });
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_000, 6_000]);
    expect(world.claims()).toBe(world.deposited);
  });

  test('close needs the other party’s signature', async () => {
    const close = { session, paidAB: 600, paidBA: 100, callsAB: 6, callsBA: 1, rootAB: HASH, rootBA: HASH };
    const byBob = await bob.key.sign(world.signing.close(close));
    const byAnn = await ann.key.sign(world.signing.close(close));
    expect(
      await world.run(
        ann,
        { op: 'close', close, signature: byAnn },
        { op: 'close', close, signature: byBob },
        { op: 'close', close, signature: byBob },
      ),
    ).toEqual(['bad_signature', 'ok', 'session_closed']);
    expect([world.balance(ann), world.balance(bob)]).toEqual([9_500, 5_500]);
    expect(getBytes(world.engine.machine.readSession(session, 3), { at: 0, width: 32, kind: 'bytes' })).toEqual(HASH);
  });
});

describe('inbox', () => {
  test('money that finds no agent goes back to L1', () => {
    const from = new Uint8Array(20).fill(3);
    const send = (item: Parameters<typeof encodeInboxItem>[0]) => world.execute(inboxFrame(encodeInboxItem(item)))[0];
    expect(names([send({ kind: 'deposit', from, agent: 99 * 256, amount: 40 })])).toEqual(['unknown_agent']);
    expect(names([send({ kind: 'register', shard: 3, owner: from, key: new Uint8Array(64), amount: 2 })])).toEqual([
      'wrong_shard',
    ]);
    expect(world.claims()).toBe(world.deposited + 42);
    expect(names([send({ kind: 'withdraw', owner: from, agent: ann.id, amount: 1 })])).toEqual(['not_owner']);
    expect(names([send({ kind: 'withdraw', owner: ownerAddress(ann.ownerSecret), agent: ann.id, amount: 1 })])).toEqual(
      ['ok'],
    );
    expect(names([send({ kind: 'deposit', from, agent: ann.id, amount: 1 })])).toEqual(['ok']);
    expect(world.balance(ann)).toBe(10_000);
  });

  test('nobody shuts L1 out of the outbox from within', async () => {
    const { machine, trie } = world.engine;
    // As after 2^20 − 2^16 withdrawals of the last minutes: only L1's slots are left.
    set(trie.edit(Region.meta, META_HEAD), Head.outbox, REGION_SLOTS - OUTBOX_RESERVE);
    for (const slot of [REGION_SLOTS - OUTBOX_RESERVE, 0, 1]) {
      const cell = trie.edit(Region.outbox, slot);
      set(cell, Outbox.kind, 1);
      set(cell, Outbox.time, machine.time);
    }
    expect(await world.run(ann, { op: 'withdraw', amount: 5 })).toEqual(['region_full']);
    expect(world.balance(ann)).toBe(10_000);
    const owner = ownerAddress(ann.ownerSecret);
    const force = (): string[] =>
      names(world.execute(inboxFrame(encodeInboxItem({ kind: 'withdraw', owner, agent: ann.id, amount: 5 }))));
    expect(force()).toEqual(['ok']);
    // The ring's records grow old, and everybody withdraws again.
    world.tick(machine.time + OUTBOX_RETENTION + 1);
    expect(await world.run(ann, { op: 'withdraw', amount: 5 })).toEqual([
      `ok:${(REGION_SLOTS - OUTBOX_RESERVE + 2) * 256}`,
    ]);
  });

  test('other shards have no inbox', () => {
    const other = new Engine(1, world.signing);
    const item = encodeInboxItem({ kind: 'deposit', from: new Uint8Array(20), agent: 257, amount: 1 });
    expect(names(other.execute(0, inboxFrame(item)))).toEqual(['wrong_shard']);
  });
});

describe('properties', () => {
  /** Interactions that often make sense in a small world, and often don't. */
  const id = fc.oneof(
    fc.integer({ min: 0, max: 5 }).map((s) => s * 256),
    fc.nat(2000),
  );
  const money = fc.oneof(fc.nat(2_000), fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER));
  const interaction: fc.Arbitrary<Interaction> = fc.oneof(
    fc.record({ op: fc.constant('transfer' as const), to: id, amount: money }),
    fc.record({ op: fc.constant('withdraw' as const), amount: money }),
    fc.record({ op: fc.constant('invoke' as const), service: id, amount: money }),
    fc.record({
      op: fc.constant('respond' as const),
      escrow: id,
      price: money,
      result: fc.constantFrom('fulfilled' as const, 'failed' as const),
    }),
    fc.record({ op: fc.constant('expire' as const), escrow: id }),
    fc.record({ op: fc.constant('open' as const), peer: id, deposit: money, exitDelay: fc.nat(40) }),
    fc.record({ op: fc.constant('fund' as const), session: id, amount: money }),
    fc.record({ op: fc.constant('exit' as const), session: id }),
    fc.record({ op: fc.constant('finalize' as const), session: id }),
    fc.record({
      op: fc.constant('register' as const),
      owner: fc.constant(HASH.subarray(0, 20)),
      key: fc.constant(new Uint8Array(64).fill(1)),
      amount: money,
    }),
    fc.record({
      op: fc.constant('publish' as const),
      service: fc.oneof(fc.constant(0), id),
      active: fc.boolean(),
      ceiling: money,
      deadlineSeconds: fc.nat(40),
      arbiter: fc.oneof(fc.constant(0), fc.constant(512)),
      contestSeconds: fc.nat(40),
      metadataHash: fc.constant(HASH),
    }),
  );

  test('whatever happens, money is conserved and the same frames give the same root', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.boolean(), fc.array(interaction, { minLength: 1, maxLength: 12 }), fc.nat(20)), {
          maxLength: 12,
        }),
        async (script) => {
          const one = new World();
          const two = new World();
          const frames: Uint8Array[] = [];
          one.tick(1_000);
          const actors = [await one.agent(3_000), await one.agent(2_000)];
          let time = 1_000;
          for (const [which, interactions, wait] of script) {
            const actor = actors[which ? 1 : 0];
            const frame = await one.sign(actor, interactions);
            frames.push(frame);
            expect(names(one.execute(frame))[0]).toBe('ok');
            actor.nonce += 1;
            expect(one.claims()).toBe(one.deposited);
            one.tick((time += wait));
          }
          // Replay everything in a second world, from the bytes alone.
          two.tick(1_000);
          for (const actor of actors) {
            two.execute(
              inboxFrame(
                encodeInboxItem({
                  kind: 'register',
                  shard: 0,
                  owner: ownerAddress(actor.ownerSecret),
                  key: actor.key.publicKey,
                  amount: actor === actors[0] ? 3_000 : 2_000,
                }),
              ),
            );
          }
          time = 1_000;
          for (const [i, frame] of frames.entries()) {
            await two.verdicts.prefetch(two.engine.machine, decodeBundle(frame));
            two.execute(frame);
            two.tick((time += script[i][2]));
          }
          expect(hex(two.engine.trie.root())).toBe(hex(one.engine.trie.root()));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('any bytes on any state have one outcome per step, and count one frame', async () => {
    const good = await world.sign(ann, [
      { op: 'transfer', to: bob.id, amount: 1 },
      service(),
      { op: 'invoke', service: 256, amount: 3 },
    ]);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.constantFrom(1, 2, 3, 0x10), fc.uint8Array({ maxLength: 300 }))
        .map(([kind, rest]) => Uint8Array.of(kind, ...rest)),
      fc
        .tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
        .map(([at, x]) => good.map((b, i) => (i === at ? b ^ x : b))),
      fc.nat(good.length).map((n) => good.slice(0, n)),
    );
    fc.assert(
      fc.property(bytes, (frame) => {
        const { seq } = world.engine;
        const claims = world.claims();
        const outcomes = world.execute(frame);
        expect(outcomes).toHaveLength(stepsOf(frame));
        expect(outcomes.every(({ status }) => STATUSES[status] !== undefined)).toBe(true);
        expect(world.engine.seq).toBe(seq + 1);
        if (frame[0] !== 2) expect(world.claims()).toBe(claims);
      }),
      { numRuns: 600 },
    );
    expect(get(world.engine.machine.head(), Head.seq)).toBe(world.engine.seq);
  });

  test('a bundle’s bytes are canonical: whatever decodes encodes back to itself', () => {
    fc.assert(
      fc.property(
        fc.array(interaction, { minLength: 1, maxLength: 20 }),
        fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 })),
        (interactions, root) => {
          const header = { actor: 256, nonce: 7, expiry: 1_900_000_000, ...(root ? { payloadRoot: root } : {}) };
          const body = encodeBundleBody(header, interactions);
          const frame = new Uint8Array([...body, ...new Uint8Array(64)]);
          const decoded = decodeBundle(frame);
          expect(decoded.interactions).toEqual(interactions);
          expect(equal(encodeBundleBody(decoded, decoded.interactions), body)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });
});

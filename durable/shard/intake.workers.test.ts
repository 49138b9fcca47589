import { describe, expect, test } from 'vitest';
import { decodeBundle, signBundle } from '../../protocol/bundle.ts';
import { Engine, inboxFrame } from '../../protocol/engine.ts';
import { makeId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';
import { isFailure } from './api.ts';
import { Buckets } from './buckets.ts';
import { Lane } from './lane.ts';
import { Meter } from './meter.ts';
import { hashOutcomes, packOutcomes } from './outcomes.ts';
import { Orders } from './orders.ts';
import { BUCKETS, priceOf } from './prices.ts';
import { FairQueue, type Queued } from './queue.ts';
import { FOREVER, signing } from './testing.ts';
import { Verdicts, askFor, isOutdated } from './verdicts.ts';
import { outcomesHash, unpackOutcomes } from '../../protocol/receipt.ts';

describe('queue', () => {
  const item = (agent: number, nonce: number, work = 400, ready = true): Queued => ({ agent, nonce, work, ready });
  const drain = (queue: FairQueue<Queued>): string[] => {
    const out: string[] = [];
    for (let next = queue.next(); next; next = queue.next()) out.push(`${next.agent}:${next.nonce}`);
    return out;
  };

  test('an agent’s own are in the order of nonces, agents take turns by work', () => {
    const queue = new FairQueue<Queued>();
    for (const nonce of [2, 0, 1, 3, 4, 5]) queue.push(item(1, nonce));
    queue.push(item(2, 7));
    queue.push(item(3, 9));
    expect([queue.count, queue.countOf(1), queue.countOf(4)]).toEqual([8, 6, 0]);
    expect(drain(queue)).toEqual(['1:0', '1:1', '1:2', '2:7', '3:9', '1:3', '1:4', '1:5']);
    expect([queue.count, queue.countOf(1), queue.runnable]).toEqual([0, 0, false]);
  });

  test('who is not ready holds up nobody but what comes after it', () => {
    const queue = new FairQueue<Queued>();
    const late = item(1, 0, 1, false);
    for (const each of [late, item(1, 1), item(2, 0)]) queue.push(each);
    expect(drain(queue)).toEqual(['2:0']);
    queue.wake(late);
    expect(drain(queue)).toEqual(['1:0', '1:1']);
    late.ready = false;
    queue.push(item(1, 1));
    queue.push(late);
    expect(drain(queue)).toEqual([]);
    queue.wake(late);
    expect(drain(queue)).toEqual(['1:0', '1:1']);
  });

  test('what is the same twice stays in the order it came', () => {
    const queue = new FairQueue<Queued>();
    const [a, b] = [item(1, 0), item(1, 0)];
    queue.push(a);
    queue.push(b);
    expect([queue.next() === a, queue.next() === b]).toEqual([true, true]);
  });
});

describe('meter', () => {
  test('believes the estimate until a full queue says otherwise', () => {
    const meter = new Meter();
    expect(meter.waitMs(100_000)).toBe(100);
    // Little is inside: the time it took says nothing of work.
    meter.take(100, 0);
    meter.done(100, 5000);
    expect(meter.waitMs(100_000)).toBe(100);
    // Ten times as slow as estimated, while there is always more to do.
    meter.take(10_000_000, 10_000);
    for (let i = 1; i <= 50; i++) meter.done(20_000, 10_000 + 200 * i);
    expect(meter.waitMs() / 9000).toBeGreaterThan(9.5);
    expect(meter.waitMs() / 9000).toBeLessThan(10.5);
  });

  test('is not moved by one stall', () => {
    const meter = new Meter();
    meter.take(1_000_000, 0);
    for (let i = 1; i <= 10; i++) meter.done(10_000, 10 * i);
    meter.done(10_000, 3000);
    for (let i = 1; i <= 10; i++) meter.done(10_000, 3000 + 10 * i);
    expect(meter.waitMs()).toBeLessThan(1000);
  });

  test('learns that it is fast again', () => {
    const meter = new Meter();
    meter.take(1_000_000, 0);
    for (let i = 1; i <= 10; i++) meter.done(10_000, 500 * i);
    const slow = meter.waitMs();
    for (let i = 1; i <= 80; i++) meter.done(10_000, 5000 + 10 * i);
    expect(slow / 900).toBeGreaterThan(25);
    expect(meter.waitMs() / 100).toBeLessThan(2);
  });
});

describe('lane', () => {
  test('takes all that is done in time, then those with less than their share', () => {
    const lane = new Lane(500);
    for (let i = 0; i < 50; i++) {
      expect(lane.full(1, 10_000)).toBe(0);
      lane.enter(1, 10_000, 0);
    }
    expect(lane.full(1, 10_000)).toBe(1);
    expect([lane.full(2, 10_000), lane.full(2, 250_000), lane.full(2, 260_000)]).toEqual([0, 0, 1]);
    lane.enter(2, 250_000, 0);
    expect([lane.full(2, 1000), lane.full(3, 166_000), lane.full(3, 167_000)]).toEqual([1, 0, 1]);
    lane.leave(2, 250_000);
    lane.leave(1, 500_000);
    lane.done(750_000, 100);
    expect(lane.full(1, 10_000)).toBe(0);
  });

  test('takes one thing when nothing waits, whatever it costs', () => {
    const lane = new Lane(500);
    expect(lane.full(1, 10_000_000)).toBe(0);
    lane.enter(1, 10_000_000, 0);
    expect(lane.full(1, 1)).toBe(10);
  });
});

describe('buckets', () => {
  const kinds = [
    { name: 'a', burst: 10, perSecond: 1 },
    { name: 'b', burst: 2, perSecond: 0.1 },
  ];
  const take = (buckets: Buckets, agent: number, cost: number[], nowMs: number): string | number => {
    const refused = buckets.take(agent, Float64Array.from(cost), nowMs);
    return refused && isFailure(refused) ? Number(refused.error.retryAfter ?? -1) : 'taken';
  };

  test('a burst, then the rate; each agent its own; all or nothing', () => {
    const buckets = new Buckets(kinds);
    expect(take(buckets, 1, [10, 0], 0)).toBe('taken');
    expect(take(buckets, 1, [1, 1], 0)).toBe(1);
    expect(take(buckets, 2, [10, 2], 0)).toBe('taken');
    expect(take(buckets, 1, [5, 0], 3000)).toBe(2);
    expect(take(buckets, 1, [5, 2], 5000)).toBe('taken');
    expect(take(buckets, 1, [0, 1], 6000)).toBe(9);
    expect(take(buckets, 3, [11, 0], 0)).toBe(-1);
    expect(buckets.take(3, Float64Array.of(11, 0), 0)?.error.code).toBe('too_costly');
  });

  test('agents that have used nothing lately are forgotten', () => {
    const buckets = new Buckets(kinds);
    for (let agent = 0; agent < 50_000; agent++) expect(take(buckets, agent, [1, 0], agent)).toBe('taken');
    expect(take(buckets, 49_999, [10, 0], 49_999)).toBe(1);
  });
});

test('outcomes: packed and back, hashed as receipts have it', () => {
  const statuses = Uint8Array.of(0, 3, 59, 0);
  const values = Float64Array.of(0, 127, 128, Number.MAX_SAFE_INTEGER);
  const packed = packOutcomes(statuses, values, 4);
  const outcomes = [...statuses].map((status, i) => ({ status, value: values[i] }));
  expect(unpackOutcomes(packed)).toEqual(outcomes);
  expect(hashOutcomes(statuses, values, 4)).toEqual(outcomesHash(outcomes));
});

describe('a bundle’s signatures', () => {
  async function world() {
    const verdicts = new Verdicts();
    const engine = new Engine(0, signing, { verify: verdicts.verify });
    const keys = await Promise.all([1, 2].map(() => MachineKey.import(MachineKey.randomSecret())));
    for (const key of keys) {
      const item = { kind: 'register', shard: 0, owner: new Uint8Array(20), key: key.publicKey, amount: 1000 } as const;
      engine.run(engine.seq, inboxFrame(encodeInboxItem(item)));
    }
    let nonce = 0;
    const bundle = async (...interactions: Interaction[]) =>
      decodeBundle(
        await signBundle(keys[0], signing, { actor: makeId(0, 1), nonce: nonce++, expiry: FOREVER }, interactions),
      );
    const run = async (...interactions: Interaction[]) => {
      const made = await bundle(...interactions);
      const answers = await askFor(engine.machine, made);
      const steps = verdicts.during(made, keys[0].publicKey, answers, () => engine.run(engine.seq, made.frame, made));
      const statuses = engine.statuses.slice(0, steps);
      return { made, answers, statuses, names: [...statuses].map((status) => STATUSES[status]) };
    };
    return { verdicts, engine, keys, run, bundle };
  }
  const session = makeId(0, 1);
  const half = (paid: number, seq = 1) => ({
    session,
    dir: 0 as const,
    seq,
    calls: 1,
    paid,
    root: new Uint8Array(32).fill(paid),
  });

  test('are all answered before it runs, and found again in its outcomes', async () => {
    const { verdicts, engine, keys, run } = await world();
    await run({ op: 'open', peer: makeId(0, 2), deposit: 100, exitDelay: 60 });
    const sign = (each: ReturnType<typeof half>) => keys[0].sign(signing.half(each));
    const [good, forged] = [await sign(half(5)), await sign(half(6))];
    const { made, statuses, names } = await run(
      { op: 'settle', half: half(9), signature: good },
      { op: 'settle', half: half(5), signature: good },
      { op: 'settle', half: { ...half(5), session: makeId(0, 7) }, signature: good },
      { op: 'settle', half: half(5), signature: good },
      {
        op: 'slash',
        session,
        dir: 0,
        first: { ...half(5), signature: good },
        second: { ...half(6), signature: good },
      },
      {
        op: 'slash',
        session,
        dir: 0,
        first: { ...half(5), signature: good },
        second: { ...half(6), signature: forged },
      },
    );
    expect(names.slice(1)).toEqual(['bad_signature', 'ok', 'unknown_session', 'stale_half', 'bad_signature', 'ok']);
    expect(verdicts.computed).toBe(0);

    // Once more from the log: nothing is verified, all comes out the same.
    const again = await world();
    await again.run({ op: 'open', peer: makeId(0, 2), deposit: 100, exitDelay: 60 });
    const outcomes = [...statuses].map((status) => ({ status, value: 0 }));
    // The other world's keys differ: by what is in the state, every signature would be refused.
    again.verdicts.again(again.engine.machine, made, outcomes, () =>
      again.engine.run(again.engine.seq, made.frame, made),
    );
    expect(again.engine.statuses.slice(0, statuses.length)).toEqual(statuses);
    expect([again.verdicts.computed, engine.seq]).toEqual([0, again.engine.seq]);
  });

  test('over a session that is not there are asked for again when it is', async () => {
    const { engine, keys, bundle, verdicts } = await world();
    const signature = await keys[0].sign(signing.half(half(5)));
    const early = await bundle({ op: 'open', peer: makeId(0, 2), deposit: 100, exitDelay: 60 });
    const settle = await bundle({ op: 'settle', half: half(5), signature });
    const answers = await askFor(engine.machine, settle);
    expect([answers.missing, isOutdated(engine.machine, answers)]).toEqual([[session], false]);
    verdicts.during(early, keys[0].publicKey, answers, () => engine.run(engine.seq, early.frame, early));
    expect(isOutdated(engine.machine, answers)).toBe(true);
    const again = await askFor(engine.machine, settle);
    expect([again.missing, again.answers.map(({ valid }) => valid)]).toEqual([[], [true]]);
  });

  test('have their price, and so has what lasts', async () => {
    const { engine, bundle } = await world();
    const price = async (...interactions: Interaction[]) => {
      const { work, tokens } = priceOf(engine.machine, await bundle(...interactions), new Orders(engine.machine));
      const counted = BUCKETS.flatMap(({ name }, i) => (tokens[i] > 0 ? [[name, tokens[i]]] : []));
      return { work, counted };
    };
    const transfer = { op: 'transfer', to: makeId(0, 2), amount: 1 } as const;
    const signature = new Uint8Array(64);
    expect((await price(transfer)).counted).toEqual([]);
    expect(await price(transfer, { op: 'settle', half: half(1), signature })).toEqual({
      work: (await price(transfer, transfer)).work + 90,
      counted: [['signatures to check', 1]],
    });
    expect((await price({ op: 'withdraw', amount: 1 }, { op: 'withdraw', amount: 1 })).counted).toEqual([
      ['withdrawals', 2],
    ]);
  });
});

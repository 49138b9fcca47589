/** What a shard makes of peers that fail, lie or are ahead of it; and deadlines in a heap. */
import { runInDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { Engine } from '../../protocol/engine.ts';
import type { Delivery, Failure } from './api.ts';
import { Deadlines } from './deadlines.ts';
import { Outgoing } from './outgoing.ts';
import { signing, stubAt, until } from './testing.ts';

type Answer = (first: number, payloads: readonly Uint8Array[]) => Delivery | Failure;

/** An outgoing lane to a peer that answers as told, with `count` messages sent; `brought` is what the peer was shown. */
const withPeer = <T>(
  object: number,
  count: number,
  answer: Answer,
  work: (outgoing: Outgoing, brought: { first: number; count: number }[], epoch: { own: number }) => Promise<T>,
): Promise<T> =>
  runInDurableObject(stubAt(object), async (_, { storage }) => {
    storage.sql.exec('DELETE FROM parcels');
    const engine = new Engine(0, signing, { shards: 2 });
    const brought: { first: number; count: number }[] = [];
    const epoch = { own: 0 };
    const deliver = async (_from: number, _epoch: number, first: number, payloads: readonly Uint8Array[]) => {
      brought.push({ first, count: payloads.length });
      return answer(first, payloads);
    };
    const outgoing = new Outgoing(
      storage.sql,
      engine.machine,
      () => ({ deliver }),
      () => epoch.own,
      () => {},
    );
    for (let i = 0; i < count; i++) engine.machine.send(1, 0, 0, { kind: 'rating', agent: 257, score: 5 });
    outgoing.keep(engine.takeSent());
    outgoing.pump();
    return work(outgoing, brought, epoch);
  });

const due = (outgoing: Outgoing) => outgoing.due().map(({ to, number }) => `${to}:${number}`);

test('a peer that fails, talks nonsense or takes a part is asked again, for what is missing', async () => {
  const strange: Answer[] = [
    () => {
      throw new Error('gone');
    },
    () => ({ error: { code: 'unavailable', detail: '' } }),
    () => ({ received: Number.NaN, epoch: 0 }),
    () => ({ received: -7, epoch: 0 }),
    () => ({ received: 4, epoch: Number.NaN }),
    () => null as unknown as Delivery,
    () => ({ received: 3, epoch: 0 }),
    () => ({ received: 1, epoch: 0 }),
    () => ({ received: 10 ** 9, epoch: 0 }),
  ];
  await withPeer(
    1,
    10,
    () => strange.shift()!(0, []),
    async (outgoing, brought) => {
      await until('the end', async () => strange.length === 0 && due(outgoing)[0] === '1:10');
      expect(brought.map(({ first }) => first)).toEqual([1, 1, 1, 1, 1, 1, 1, 4, 4]);
      expect([outgoing.hasReceived(1, 10), outgoing.hasReceived(1, 11)]).toEqual([true, false]);
    },
  );
});

test('told to wait for a cut, it asks without bringing anything', async () => {
  let isLater = true;
  await withPeer(
    1,
    5,
    (first, payloads) =>
      isLater ? { received: 0, epoch: 0, later: true } : { received: first + payloads.length - 1, epoch: 0 },
    async (outgoing, brought) => {
      await until('a few questions', async () => brought.length >= 3);
      isLater = false;
      await until('the end', async () => due(outgoing)[0] === '1:5');
      expect(brought[0]).toEqual({ first: 1, count: 5 });
      expect(brought.slice(1, -1).every(({ count }) => count === 0)).toBe(true);
      expect(brought.at(-1)).toEqual({ first: 1, count: 5 });
    },
  );
});

test('what a peer received after a cut that is not made here is not acknowledged before it is', async () => {
  await withPeer(
    1,
    5,
    (first) => (first === 1 ? { received: 2, epoch: 0 } : { received: 5, epoch: 3 }),
    async (outgoing, _, epoch) => {
      await until('the end', async () => outgoing.waitsForCut);
      expect([due(outgoing), outgoing.hasReceived(1, 3), outgoing.isBusy]).toEqual([['1:2'], false, true]);
      epoch.own = 3;
      expect([due(outgoing), outgoing.waitsForCut]).toEqual([['1:5'], false]);
    },
  );
});

test('what does not stay in memory is read again', async () => {
  let received = 0;
  await withPeer(
    1,
    3000,
    (first, payloads) => ({ received: (received = first + Math.min(payloads.length, 700) - 1), epoch: 0 }),
    async (outgoing, brought) => {
      await until('the end', async () => due(outgoing)[0] === '1:3000');
      expect(received).toBe(3000);
      expect(brought[1].first).toBe(701);
      outgoing.settled(1, 3000);
    },
  );
});

test('deadlines come up in order, those that hold no more do not, and are let go of when they are many', () => {
  const holds = new Map<number, number>();
  const deadlines = new Deadlines(2 ** 20, (slot, deadline) => holds.get(slot) === deadline);
  for (let i = 0; i < 200_000; i++) {
    const [slot, deadline] = [(i * 7919) % 1000, 1000 + ((i * 104_729) % 500)];
    holds.set(slot, deadline);
    deadlines.add(slot, deadline);
  }
  expect(deadlines.next).toBe(Math.min(...holds.values()));
  const taken: number[] = [];
  for (let slot = deadlines.take(1400); slot >= 0; slot = deadlines.take(1400)) {
    taken.push(holds.get(slot)!);
    holds.delete(slot);
  }
  expect(taken).toEqual(taken.toSorted((a, b) => a - b));
  expect([...holds.values()].every((deadline) => deadline >= 1400)).toBe(true);
  holds.clear();
  expect([deadlines.next, deadlines.take(9999)]).toEqual([Infinity, -1]);
});

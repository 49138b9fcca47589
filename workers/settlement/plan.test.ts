import { expect, test } from 'vitest';
import type { BatchRecord } from '../../durable/shard/api.ts';
import type { Look, PostedBatch } from './chain.ts';
import { Diverged, checkExtends, finalizable, isDue, progress, reconcile } from './plan.ts';

const hash = (n: number): `0x${string}` => `0x${String(n).padStart(64, '0')}`;

const record = (number: number, extra: Partial<BatchRecord> = {}): BatchRecord => ({
  number,
  hash: hash(number),
  stateRoot: hash(500 + number),
  state: 'pending',
  cuts: { after: number - 1, upTo: number },
  ranges: [
    { shard: 0, firstSeq: 0, frames: 7 },
    { shard: 1, firstSeq: 5, frames: 3 },
  ],
  header: {
    number,
    prev: hash(number - 1),
    pre: hash(100 + number - 1),
    post: hash(100 + number),
    steps: 10,
    timeFrom: 1,
    timeTo: 2,
    inboxCursor: 0,
    dataRoot: hash(9),
    da: 0,
  },
  ...extra,
});
const posted = (number: number, postedAt = 1000): PostedBatch => ({
  batchHash: hash(number),
  post: hash(100 + number),
  postedAt,
  inboxCursor: 0,
});
const look = (head: number, extra: Partial<Look> = {}): Look => ({
  latest: { number: 50, timestamp: 2000, baseFee: 1n },
  head,
  tip: posted(head),
  finalized: 0,
  inboxLength: 0,
  frozen: false,
  pending: { number: 0, parts: 0, frames: 0 },
  ...extra,
});

test('posting resumes where L1 stands, and starts anew over parts of something else', () => {
  const at = (pending: Look['pending']) => progress(record(3), look(2, { pending }));
  expect(at({ number: 0, parts: 0, frames: 0 })).toEqual({ part: 0, frames: 0 });
  expect(at({ number: 3, parts: 2, frames: 6 })).toEqual({ part: 2, frames: 6 });
  expect(at({ number: 3, parts: 4, frames: 10 }), 'all in').toEqual({ part: 4, frames: 10 });
  expect(at({ number: 2, parts: 4, frames: 6 }), "the last batch's").toEqual({ part: 0, frames: 0 });
  expect(at({ number: 3, parts: 4, frames: 11 }), 'more than there are').toEqual({ part: 0, frames: 0 });
});

test('a batch is posted only onto the tip it was composed after', () => {
  expect(() => checkExtends(record(3), look(2))).not.toThrow();
  expect(() => checkExtends(record(4), look(2))).toThrow(Diverged);
  expect(() => checkExtends(record(3), look(2, { tip: { ...posted(2), batchHash: hash(77) } }))).toThrow(Diverged);
  expect(() => checkExtends(record(3), look(2, { tip: { ...posted(2), post: hash(77) } }))).toThrow(Diverged);
});

test('records follow L1, forwards and back', () => {
  const fresh = record(3);
  expect(reconcile(fresh, look(2), posted(0), 60), 'not there yet').toBeNull();
  const there = reconcile(fresh, look(3), posted(3), 60);
  expect(there).toMatchObject({ state: 'posted', postedAt: 1000, finalAt: 1060 });
  expect(reconcile(there!, look(3), posted(3), 60), 'nothing new').toBeNull();
  expect(reconcile(there!, look(3), posted(3, 1012), 60), 'mined again elsewhere').toMatchObject({ postedAt: 1012 });
  expect(reconcile(there!, look(3, { finalized: 3 }), posted(3), 60)).toMatchObject({ state: 'final' });
  const gone = reconcile({ ...there!, tx: hash(1), block: 7 }, look(2), posted(0), 60);
  expect(gone).toEqual(fresh);
  expect(() => reconcile(fresh, look(3), { ...posted(3), batchHash: hash(77) }, 60)).toThrow(Diverged);
});

test('what is final is what the window has passed for, without a gap', () => {
  expect(finalizable(4, [], 60, 2000)).toBeNull();
  expect(finalizable(4, [1941], 60, 2000)).toBeNull();
  expect(finalizable(4, [1940], 60, 2000)).toBe(5);
  expect(finalizable(4, [1900, 1940, 1941, 1950], 60, 2000)).toBe(6);
  expect(finalizable(4, [1900, 0, 1900], 60, 2000), 'a batch that does not stand').toBe(5);
});

test('batches keep their distance', () => {
  expect(isDue(look(0), 60), 'the first one waits for nothing').toBe(true);
  expect(isDue(look(3, { tip: posted(3, 1941) }), 60)).toBe(false);
  expect(isDue(look(3, { tip: posted(3, 1940) }), 60)).toBe(true);
});

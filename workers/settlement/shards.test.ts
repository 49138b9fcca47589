/** Cuts and batches of many shards: whatever shards, messages and passes do meanwhile, a batch is one order of frames that anyone can execute. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Cut } from '../../durable/shard/api.ts';
import { decodeLinks } from '../../protocol/links.ts';
import { Trace, replayBatch } from '../../protocol/replay.ts';
import { hex } from '../../protocol/bytes.ts';
import { placeFrames, sealData } from '../../protocol/trace.ts';
import { DOMAIN, MemoryWorld } from '../../test/support/memory-world.ts';

/** What must hold of all that was posted. */
async function check(world: MemoryWorld): Promise<void> {
  const { shards, posted } = world;
  const trace = new Trace({ ...DOMAIN, shards: shards.length, verify: () => true });
  const ends = shards.map(() => 0);
  for (const { record, records } of posted) {
    const { number, header, ranges, stateRoot } = record;
    for (const { shard, firstSeq, frames } of ranges) {
      expect(firstSeq, `batch ${number} goes on in shard ${shard}`).toBe(ends[shard]);
      ends[shard] += frames;
      expect([firstSeq, ends[shard] - 1].map((seq) => shards[shard].ofFrame(seq))).toEqual([number, number]);
    }
    const { dataRoot, steps } = sealData(placeFrames(records));
    expect([hex(dataRoot), steps]).toEqual([header.dataRoot, header.steps]);
    const again = await replayBatch(trace, records);
    expect(again.isCanonical, `batch ${number} is in the order of the trace`).toBe(true);
    expect(hex(again.stateRoot)).toBe(stateRoot);
    for (const [shard, root] of trace.shardRoots.entries())
      expect(hex(await shards[shard].rootAt(number))).toBe(hex(root));
  }
  for (const [shard, { executed, links }] of trace.runs.entries()) {
    expect(executed.length).toBe(ends[shard]);
    expect(executed.map(({ outcomes }) => outcomes)).toEqual(shards[shard].outcomeLog.slice(0, ends[shard]));
    const logged = [];
    for (let seq = 0; seq < ends[shard];) {
      const page = (await shards[shard].links(seq, ends[shard])) as { links: Uint8Array; nextSeq: number };
      logged.push(...decodeLinks(seq, page.links));
      seq = page.nextSeq;
    }
    expect(links).toEqual(logged);
  }
  await checkCuts(world);
}

/** No message is received before a cut and sent after it; what was sent before a cut is received before the next. */
async function checkCuts(world: MemoryWorld): Promise<void> {
  let before: Cut[] = [];
  for (let number = 1; ; number++) {
    const cuts = await world.cutsAt(number);
    if (cuts.includes(null)) return;
    for (const to of cuts as Cut[])
      for (const from of cuts as Cut[]) {
        expect(to.received[from.shard], `cut ${number}`).toBeLessThanOrEqual(from.sent[to.shard]);
        const earlier = before[from.shard]?.sent[to.shard] ?? 0;
        expect(to.received[from.shard], `cut ${number}`).toBeGreaterThanOrEqual(earlier);
      }
    before = cuts as Cut[];
  }
}

const framesAtL1 = ({ posted }: MemoryWorld): number =>
  posted.reduce((sum, { records }) => records.reduce((n, { frames }) => n + frames.length, sum), 0);
const isDone = (world: MemoryWorld): boolean =>
  framesAtL1(world) >=
  world.shards.reduce((sum, { frameLog }) => sum + frameLog.findLastIndex(([kind]) => kind > 4) + 1, 0);

describe('batches of many shards', () => {
  test('one after the other, while messages are under way', async () => {
    const world = new MemoryWorld(3, 1);
    for (let batch = 0; batch < 12; batch++) {
      for (let i = 0; i < 25; i++) world.act();
      await world.pass();
    }
    await world.finish();
    await check(world);
    expect(world.posted.length).toBeGreaterThan(4);
    const runs = world.posted.map(({ records }) => records.length);
    expect(Math.max(...runs), 'shards more than once in a batch').toBeGreaterThan(3);
    expect(isDone(world)).toBe(true);
  });

  test('time and acks alone make no batch', async () => {
    const world = new MemoryWorld(2, 2);
    await world.finish();
    const { length } = world.posted;
    world.tick();
    world.quiesce();
    world.tick();
    expect(await world.pass()).toBeNull();
    expect(world.posted.length).toBe(length);
  });

  test('a shard that has not received what it must is waited for, and then none of them is cut', async () => {
    const world = new MemoryWorld(3, 3);
    const epochs = () => world.shards.map(({ epoch }) => epoch);
    await world.finish();
    world.transfer(0, 1);
    expect(await world.pass()).not.toBeNull();
    const before = epochs();
    world.transfer(2, 2);
    for (let tries = 0; tries < 3; tries++) expect(await world.pass()).toBeNull();
    expect(world.events).toContain('not_ready');
    expect(epochs()).toEqual(before);
    expect(world.shards[0].deliver(world.shards[1])).toBe(1);
    expect(await world.pass()).not.toBeNull();
    expect(epochs()).toEqual(before.map((epoch) => epoch + 1));
    await world.finish();
    await check(world);
  });

  test('a pass that dies between two cuts is finished by the next, also when nothing came since', async () => {
    for (const [dead, finishes] of [
      [1, false],
      [2, false],
      [1, true],
    ] as const) {
      const world = new MemoryWorld(3, 10 + dead);
      await world.finish();
      for (let i = 0; i < 30; i++) world.act();
      world.quiesce();
      let cuts = 0;
      const dying = world.rpcs((method) => {
        if (method === 'cut' && cuts++ >= dead) throw new Error('died');
      });
      await expect(world.pass(dying)).rejects.toThrow('died');
      const epochs = new Set(world.shards.map(({ epoch }) => epoch));
      expect(epochs.size).toBe(2);
      // Those that were cut and those that were not don't talk, but all trade on.
      for (let i = 0; i < 30; i++) world.act();
      if (finishes) await world.finishCut();
      else expect(await world.compose()).not.toBeNull();
      expect(new Set(world.shards.map(({ epoch }) => epoch)).size).toBe(1);
      await world.finish();
      await check(world);
      expect(isDone(world)).toBe(true);
    }
  });

  test('two passes at once compose the same batch, while shards trade on', async () => {
    const world = new MemoryWorld(3, 20);
    for (let batch = 0; batch < 10; batch++) {
      for (let i = 0; i < 20; i++) world.act();
      const [one, two] = await Promise.all([0, 1].map(() => world.compose(world.rpcs(() => world.act()))));
      if (one && two) expect(one).toEqual(two);
      await world.pass();
    }
    await world.finish();
    await check(world);
  });

  test('a batch made anew holds what came since, at the same number, and a pass that was overtaken changes nothing', async () => {
    const world = new MemoryWorld(3, 30);
    for (let i = 0; i < 30; i++) world.act();
    world.quiesce();
    const old = (await world.compose())!;
    for (let i = 0; i < 30; i++) world.act();
    world.quiesce();
    const fresh = (await world.recompose(old))!;
    expect(fresh.number).toBe(old.number);
    expect(fresh.cuts.upTo).toBe(old.cuts.upTo + 1);
    expect(fresh.header.inboxCursor).toBe(world.inboxCursor);
    expect(await world.recompose(old), 'it is not the one known any more').toBeNull();
    await world.shards[0].recordBatch(old);
    expect(await world.compose()).toEqual(fresh);
    await world.finish();
    await check(world);
  });

  test('whatever happens, in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 2, max: 4 }), async (seed, count) => {
        const world = new MemoryWorld(count, seed);
        const { random } = world;
        // Most of all between the cuts of two shards.
        const meanwhile = (method: string): void => {
          for (let i = random.below(method === 'cut' ? 20 : 2); i > 0; i--) world.act();
        };
        const busy = () => world.rpcs(meanwhile);
        const dying = () => {
          let left = random.below(25);
          return world.rpcs((method) => {
            meanwhile(method);
            if (left-- <= 0) throw new Error('died');
          });
        };
        for (let step = 0; step < 40; step++) {
          for (let i = random.below(12); i > 0; i--) world.act();
          await random.weighted<() => Promise<unknown>>([
            [4, () => world.pass(busy())],
            [4, () => world.pass(dying()).catch((error: Error) => expect(error.message).toBe('died'))],
            [2, () => Promise.all([world.pass(busy()), world.pass(busy())])],
            [
              2,
              async () => {
                const record = await world.compose(busy());
                if (record) await world.recompose(record, busy());
              },
            ],
            [1, async () => world.quiesce()],
          ])();
        }
        await world.finish();
        await check(world);
        expect(isDone(world)).toBe(true);
      }),
      { numRuns: Number(process.env.RUNS ?? 8) },
    );
  });
});

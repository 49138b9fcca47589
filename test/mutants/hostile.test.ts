/**
 * Whatever challengers do against honest batches, at whatever moment: each loses its bond, half to the sequencer and half burned, the sequencer's own
 * stays whole, and the batches become final. The sequencer is the product's code, run as by its cron.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { outcomeOf, playToWire, turnOf } from '../../workers/settlement/games.ts';
import { Random } from '../reference/random.ts';
import { HonestWorld, Hostile, WINDOW } from './honest.ts';

const MANY = process.env.LONG === '1' ? 300 : 24;
/** Reverts, whatever it is called with. */
const REFUSES = '0x60006000fd';

let world: HonestWorld;
let made = 0;
const hostile = (): Hostile => {
  made += 1;
  return new Hostile(world, `0x${(0xbad0000 + made).toString(16).padStart(40, '0')}` as Hex);
};

beforeAll(async () => {
  world = await HonestWorld.start();
}, 120_000);
afterAll(() => world?.stop());

const argOf = async (one: Hostile, id: number): Promise<unknown> => playToWire(await one.play(id));

/** What challengers do, from the posting of a batch on. Returns how many games they opened. */
const SCENARIOS: Readonly<Record<string, (number: number, postedAt: number) => Promise<number>>> = {
  'silence after the opening': async (number) => {
    await hostile().open(number);
    return 1;
  },
  'silence when there is a step to show': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    for (let segment = 3; (await one.play(id)).length > 1; segment += 40) {
      await world.pass();
      await one.pick(id, segment);
    }
    return 1;
  },
  'silence after the second answer': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    await world.pass();
    await one.pick(id, 0);
    await world.pass();
    expect(turnOf(await one.play(id))).toBe('challenger');
    return 1;
  },
  'every segment denied, to the last step': async (number) => {
    const random = new Random(number);
    for (let game = 0; game < 4; game++) {
      const one = hostile();
      const id = await one.open(number);
      for (let picks = 0; ; picks++) {
        await world.pass();
        const play = await one.play(id);
        if (play.length === 1) break;
        // The last one too: its end is the batch's.
        const segment = [0, -1, random.below(128), 1][game];
        await one.pick(id, segment);
        if ((await one.play(id)).length === 1) break;
        expect(picks).toBeLessThan(4);
      }
      await one.step(id);
      expect(outcomeOf(await one.record(id))).toBe('challengerLost');
    }
    return 4;
  },
  'a pick and its step at once': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    await world.pass();
    await one.pick(id, 64);
    await world.pass();
    await one.pickAndStep(id, 1);
    expect(outcomeOf(await one.record(id))).toBe('challengerLost');
    return 1;
  },
  'the witness of another step': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    await world.pass();
    await one.pick(id, 7);
    await world.pass();
    await one.pick(id, 1);
    const play = await one.play(id);
    expect(play.length).toBe(1);
    const [standing] = await world.games.standing([id]);
    for (const other of [play.from + 1, play.from - 1, 0])
      await expect(one.step(id, other)).rejects.toThrow('reverted');
    expect(await world.games.standing([id])).toEqual([standing]);
    return 1;
  },
  'moves out of turn, and in games of others': async (number) => {
    const [one, two] = [hostile(), hostile()];
    const id = await one.open(number);
    await expect(one.call('timeout', [await argOf(one, id)])).rejects.toThrow('reverted');
    await expect(one.call('reveal', [await argOf(one, id), []])).rejects.toThrow('reverted');
    await expect(one.step(id)).rejects.toThrow('reverted');
    await world.pass();
    await world.l1.fund(two.address);
    await expect(two.pick(id, 1)).rejects.toThrow('reverted');
    await expect(one.call('dissolve', [await argOf(one, id)])).rejects.toThrow('reverted');
    await one.pick(id, 1);
    await expect(one.pick(id, 1)).rejects.toThrow();
    return 1;
  },
  'moves in the last second there is': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    for (let segment = 100; ; segment -= 99) {
      // The sequencer, too, may need all of its time.
      await world.mineAt((await one.play(id)).deadline - 3);
      await world.nextAt((await one.play(id)).deadline - 1);
      await world.pass();
      expect(turnOf(await one.play(id))).toBe('challenger');
      await world.nextAt((await one.play(id)).deadline);
      await one.pick(id, segment);
      if ((await one.play(id)).length === 1) break;
    }
    await world.nextAt((await one.play(id)).deadline);
    await one.step(id);
    return 1;
  },
  'a move a second too late': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    await world.pass();
    await world.nextAt((await one.play(id)).deadline + 1);
    await expect(one.pick(id, 5)).rejects.toThrow('reverted');
    return 1;
  },
  'a game opened in the last second of the window': async (number, postedAt) => {
    const [one, two] = [hostile(), hostile()];
    await world.nextAt(postedAt + WINDOW - 1);
    await one.open(number);
    await world.nextAt(postedAt + WINDOW);
    await expect(two.open(number)).rejects.toThrow('reverted');
    await world.pass();
    expect(await world.read('finalized'), 'nothing is final that is contested').toBe(number - 1);
    return 1;
  },
  'one game after the other': async (number) => {
    for (let game = 0; game < 3; game++) {
      const one = hostile();
      const id = await one.open(number);
      await world.pass();
      await world.mineAt((await one.play(id)).deadline + 1);
      await world.pass();
      expect(outcomeOf(await one.record(id))).toBe('challengerLost');
    }
    return 3;
  },
  'many games at once, on several batches': async (first) => {
    const numbers = [first];
    for (let more = 0; more < 2; more++) numbers.push((await world.batch()).number);
    const random = new Random(MANY);
    const open: [Hostile, number][] = [];
    for (let game = 0; game < MANY; game++) {
      const one = hostile();
      open.push([one, await one.open(random.pick(numbers))]);
    }
    await world.answered();
    for (const [one, id] of open) {
      // Some go on, some are silent.
      if (random.below(3) > 0) await one.pick(id, random.below(128));
    }
    await world.answered();
    for (const [one, id] of open) {
      const play = await one.play(id);
      if (play.length === 1 && random.below(2) > 0) await one.step(id);
    }
    return MANY;
  },
  'a game while no shard answers': async (number) => {
    const one = hostile();
    const id = await one.open(number);
    await world.passWithoutShards();
    expect(turnOf(await one.play(id)), 'an answer needs the verifier alone').toBe('challenger');
    return 1;
  },
  'a contract that takes no ether': async (number) => {
    const [one, two] = [hostile(), hostile()];
    const ids = [await one.open(number), await two.open(number)];
    await world.pass();
    await one.pick(ids[0], 12);
    await world.pass();
    await one.pick(ids[0], 0);
    for (const { address } of [one, two]) await world.l1.request('anvil_setCode', [address, REFUSES]);
    return 2;
  },
};

test.each(Object.keys(SCENARIOS))('%s', { timeout: 20 * 60_000 }, async (name) => {
  const { number } = await world.batch();
  const { postedAt } = await world.chain.posted(number);
  const [before, bonded] = [await world.money(), await world.read('bonded')];
  const { challengeBond } = await world.games.terms();
  const known = await world.games.count();

  const opened = await SCENARIOS[name](number, postedAt);
  expect(await world.games.count()).toBe(known + opened);
  await world.outlast();

  const ids = Array.from({ length: opened }, (_, i) => known + 1 + i);
  const outcomes = (await world.records(ids)).map(outcomeOf);
  expect(outcomes).toEqual(ids.map(() => 'challengerLost'));
  expect(await world.read('finalized')).toBeGreaterThanOrEqual(number);
  expect(await world.read('bonded'), 'the bond is whole').toBe(bonded);
  const [after, lost, half] = [await world.money(), BigInt(opened) * challengeBond, challengeBond / 2n];
  expect(after.credited - before.credited).toBe(BigInt(opened) * half);
  expect(after.burned - before.burned).toBe(lost - BigInt(opened) * half);
  expect(after.held, 'the sequencer has collected all that is left').toBe(0n);
});

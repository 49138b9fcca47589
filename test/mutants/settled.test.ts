/**
 * The same interactions as batches in every mode, from their posting to the end: challenged they stand, with a lie on top they stay, and they become
 * final; the lie costs the bond. LONG=1 plays games about data in blobs to their last step too, for which a frame is opened there.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { outcomeOf } from '../../workers/settlement/games.ts';
import { findPosted } from '../../workers/settlement/posted.ts';
import { HonestWorld, Hostile } from './honest.ts';
import { Liar } from './liar.ts';

const LONG = process.env.LONG === '1';
const MAX_LOOKS = 12;
const [ONE, TWO] = [`0x${'c1'.repeat(20)}`, `0x${'c2'.repeat(20)}`] as const;

describe.each([
  ['calldata', Da.calldata],
  ['blob', Da.blob],
  ['committee', Da.committee],
])('%s', (_name, da) => {
  const toLastStep = LONG || da !== Da.blob;
  let world: HonestWorld;

  beforeAll(async () => {
    world = await HonestWorld.start(da);
  }, 120_000);
  afterAll(() => world?.stop());

  test('a batch that is challenged stands and becomes final', { timeout: 240_000 }, async () => {
    const { number } = await world.batch();
    const bonded = await world.read('bonded');
    const [one, two] = [new Hostile(world, ONE), new Hostile(world, TWO)];
    const silent = await one.open(number);
    const stubborn = await two.open(number);
    // Denies the end of all that it is shown, until there is one step.
    for (let isLast = false; toLastStep && !isLast;) {
      await world.pass();
      await two.pick(stubborn, -1);
      isLast = (await two.play(stubborn)).length === 1;
    }
    if (toLastStep) await two.step(stubborn);
    await world.outlast();
    const outcomes = (await world.records([silent, stubborn])).map(outcomeOf);
    expect(outcomes).toEqual(['challengerLost', 'challengerLost']);
    expect(await world.read('finalized')).toBe(number);
    expect(await world.read('bonded')).toBe(bonded);
    for (let each = 1; each <= number; each++)
      expect((await findPosted(world.chain, each, await world.chain.block())).header.da).toBe(da);
  });

  test('a lie on top of it is slashed, and what is below becomes final', { timeout: 240_000 }, async () => {
    const { number } = await world.batch();
    const bonded = await world.read('bonded');
    const liar = new Liar(world, toLastStep ? 'parted' : 'silent', await world.lie(), 31);
    expect(await world.read('head')).toBe(number + 1);
    for (let looks = 0; (await world.read('head')) > number; looks++) {
      expect(
        looks,
        world.events
          .slice(-6)
          .map((event) => JSON.stringify(event))
          .join('; '),
      ).toBeLessThan(MAX_LOOKS);
      await world.watch();
      await liar.answer((await world.host.games()).filter((game) => outcomeOf(game) === null));
    }
    expect(await world.read('bonded')).toBeLessThan(bonded);
    await world.outlast();
    expect(await world.read('finalized')).toBe(number);
  });
});

/** What a lying sequencer may do with games that are not alive any more, so that the challenger holds on to them: it opens another, and wins that. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import { gameAbi } from '../../contracts/abi.ts';
import type { Play } from '../../durable/verifier/api.ts';
import type { VerifierHost } from '../../durable/verifier/host.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { Chain } from '../../workers/settlement/chain.ts';
import { Games, outcomeOf, playOf, playToWire, turnOf } from '../../workers/settlement/games.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { Random } from '../reference/random.ts';
import { KINDS, type Mutant } from './kinds.ts';
import { Liar } from './liar.ts';
import { DisputeWorld, MOVE_WINDOW } from './world.ts';

const STRANGER: Hex = `0x${'5a'.repeat(20)}`;
const MAX_LOOKS = 12;

let world: DisputeWorld;
let host: VerifierHost;
let chain: Chain;
let games: Games;
let mutant: Mutant;
let liar: Liar;

beforeAll(async () => {
  world = await DisputeWorld.start(400);
  const { root, rpc, game } = world.l1;
  host = world.verifier();
  chain = new Chain(rpc, root);
  games = new Games(chain, game);
}, 120_000);
afterAll(() => world?.stop());
beforeEach(() => {
  mutant = KINDS['no state at all'](world, 1, new Random(1))!;
  liar = new Liar(world, 'parted', mutant.truth, 5);
});

const look = (): Promise<void> => world.look(host);
const newest = async () => (await host.games())[0];
/** As L1 has it, whether the challenger has looked or not. */
const playAtL1 = async (id: number): Promise<Play> => playOf((await games.record(id, 0, await chain.block()))!);

/** The challenger and the liar by turns, until the lie is gone. */
async function isCaught(): Promise<boolean> {
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    await look();
    if ((await world.head()) < mutant.header.number) return true;
    await liar.answer((await host.games()).filter((game) => outcomeOf(game) === null));
  }
  return false;
}

test('the same lie posted again, while a game about its former life is open', async () => {
  await world.post(mutant);
  await look();
  const first = playOf(await newest());

  // Somebody else brings the batch down first.
  await world.l1.fund(STRANGER);
  const call = { address: world.l1.game, abi: gameAbi };
  const { challengeBond: value } = await games.terms();
  await world.l1.as(STRANGER, { ...call, functionName: 'open', args: [toWire(mutant.header)], value });
  const theirs = await playAtL1(await games.count());
  await world.later(MOVE_WINDOW + 2);
  await world.l1.as(STRANGER, { ...call, functionName: 'timeout', args: [playToWire(theirs)] });
  expect(await world.head()).toBe(0);

  await world.post(mutant);
  expect((await host.batch(1))?.hash, 'it is the very same').toBe(first.batchHash);
  const bonded = await world.bonded();
  expect(await isCaught()).toBe(true);
  expect(await world.bonded()).toBeLessThan(bonded);
  expect(outcomeOf((await host.game(first.id))!)).toBe('batchGone');
});

test('a game in which the challenger’s time has passed, and nobody says so', async () => {
  await world.post(mutant);
  await look();
  const first = playOf(await newest());
  await liar.answer([await newest()]);
  expect(turnOf(await playAtL1(first.id))).toBe('challenger');
  await world.later(MOVE_WINDOW + 2);
  const bonded = await world.bonded();
  expect(await isCaught()).toBe(true);
  expect(await world.bonded()).toBeLessThan(bonded);
  expect((await newest()).id).toBeGreaterThan(first.id);
});

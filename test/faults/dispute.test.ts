/**
 * Disputes on the whole stack, the Workers in workerd and their cron: a sequencer that lies is found and loses its bond, whatever happens to L1 and to the
 * Workers on the way, and an honest one keeps it. The lie and the hostile challenger are the test's; who answers them is the product alone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import { Agent } from '../../local/agents.ts';
import { sleep, until } from '../../local/process.ts';
import { parseId } from '../../protocol/ids.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { Sender } from '../../workers/settlement/sender.ts';
import type { GameRecord } from '../../durable/verifier/api.ts';
import { outcomeOf, playOf, turnOf } from '../../workers/settlement/games.ts';
import { Hostile } from '../mutants/honest.ts';
import { Lies } from '../support/lies.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const LONG = process.env.LONG === '1';
const MOVE_WINDOW = LONG ? 600 : 120;
const OUTAGE_MS = LONG ? 60_000 : 5_000;
const MIN_BOND = 10n ** 16n;
const MAX_TURNS = 40;

let net: TestNetwork;
let lies: Lies;
let one: Agent;
let two: Agent;
let strangers = 0;
/** Seconds that L1's clock was put forward. */
let ahead = 0;

beforeAll(async () => {
  // No block but for a transaction, and no cron but ours: so that what happens between two moves is what the test says.
  net = await network({
    l1: { blockTime: 0, window: 36_000, moveWindow: MOVE_WINDOW },
    worker: { cronMs: 0, vars: { PASS_SECONDS: '6', BATCH_SECONDS: '0' } },
  });
  lies = new Lies(net.l1, 1);
  // Enough for every lie that is told here.
  await lies.bond(100n * MIN_BOND);
  [one, two] = await Promise.all(['one', 'two'].map((name) => Agent.create(name, net.dir)));
  await Promise.all([one, two].map((agent) => agent.registerAtL1(net.l1, 1_000_000n, 1_000_000)));
  await cron();
  await Promise.all([one, two].map((agent) => agent.known(net.gateway)));
}, 240_000);
afterAll(() => net?.stop());

/** What runs every minute. */
async function cron(): Promise<void> {
  await net.l1.request('evm_mine');
  await net.worker.tick();
}

/** An honest batch; its number. */
async function batch(): Promise<number> {
  for (let i = 0; i < 3; i++) await one.submit(net.gateway, net.l1, { op: 'transfer', to: parseId(two.id), amount: 1 });
  await until('a batch', async () => {
    await cron();
    return net.gateway.isOnL1();
  });
  return lies.head();
}

type Lie = Awaited<ReturnType<Lies['tell']>>;
const nothing = async (): Promise<void> => {};

/** Cron and liar by turns, until the lie is gone; after each turn, something may happen. */
async function isCaught(lie: Lie, meanwhile: () => Promise<void> = nothing): Promise<boolean> {
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    await cron();
    await meanwhile();
    if ((await lies.head()) < lie.number) return true;
    await lie.answer();
    await meanwhile();
  }
  return false;
}

/** A lie is told and caught, with what happens meanwhile; the sequencer loses one bond, the challenger none. */
async function expectCaught(seed: number, meanwhile?: () => Promise<void>): Promise<void> {
  const honest = await batch();
  const bonded = await lies.bonded();
  const lie = await lies.tell(seed);
  expect(lie.number).toBe(honest + 1);
  expect(await isCaught(lie, meanwhile), 'the lie is caught').toBe(true);
  expect(await lies.head()).toBe(honest);
  expect(bonded - (await lies.bonded()), 'and paid for once').toBe(MIN_BOND);
  // What it was promised for it, the challenger collects, and its own bond.
  const me = Sender.addressOf(net.l1.challengerKey);
  await until('the challenger to collect', async () => {
    await cron();
    return (await lies.games.credits(me)) === 0n && (await lies.chain.credits(me)) === 0n;
  });
  expect(await net.l1.client.getBalance({ address: net.l1.game }), 'no bond is left in a game').toBe(0n);
  expect(await batch(), 'posting goes on').toBe(lie.number);
}

/** Somebody who was never there before. */
const hostile = (): Hostile => {
  strangers += 1;
  return new Hostile(lies, `0x${(0xbad00 + strangers).toString(16).padStart(40, '0')}` as Hex);
};

/** Goes back in time, by so many blocks, without what was in them. */
async function reorg(depth: number): Promise<void> {
  await net.l1.request('anvil_reorg', [depth, []]);
  // anvil's clock goes on from the block it went back to; a chain's follows the world's.
  await net.l1.request('anvil_setTime', [Math.floor(Date.now() / 1000) + ahead]);
}

/** The newest game of all, as far as it is played. */
async function newest(): Promise<GameRecord | null> {
  const latest = await lies.chain.block();
  return lies.games.record(await lies.games.count(), 0, latest);
}

/** Takes back each move, of whomever, when it is made for the first time. */
function undoing(known: number): { readonly undone: string[]; undo(): Promise<void> } {
  const undone: string[] = [];
  const undo = async (): Promise<void> => {
    const game = await newest();
    const move = game?.moves.at(-1);
    if (!game || game.id <= known || !move) return;
    const name = `${move.kind} ${move.play.length}`;
    if (undone.includes(name)) return;
    undone.push(name);
    await reorg((await lies.chain.block()).number - move.block + 1);
  };
  return { undone, undo };
}

test('a lie is found and shown by the cron alone', () => expectCaught(150));

test('a lie told while an honest batch is disputed', async () => {
  const honest = await batch();
  const someone = hostile();
  const id = await someone.open(honest);
  const bonded = await lies.bonded();
  const lie = await lies.tell(77);
  expect(await isCaught(lie)).toBe(true);
  expect(turnOf(await someone.play(id)), 'the other was answered meanwhile').toBe('challenger');
  ahead += MOVE_WINDOW + 1;
  await net.l1.request('evm_increaseTime', [MOVE_WINDOW + 1]);
  await cron();
  expect(outcomeOf(await someone.record(id))).toBe('challengerLost');
  expect(await lies.head(), 'the batch before the lie stands').toBe(honest);
  expect(bonded - (await lies.bonded())).toBe(MIN_BOND);
});

test('a reorg undoes every move of a game about a lie', async () => {
  const { undone, undo } = undoing(await lies.games.count());
  await expectCaught(33, undo);
  for (const kind of ['opened', 'revealed', 'closed']) expect(undone.join()).toContain(kind);
});

test('a reorg undoes every move of a game about an honest batch', async () => {
  const honest = await batch();
  const bonded = await lies.bonded();
  const known = await lies.games.count();
  const { undone, undo } = undoing(known);
  const someone = hostile();
  const isOver = async (): Promise<boolean> => {
    const game = await newest();
    if (!game || game.id === known) await someone.open(honest);
    else if (outcomeOf(game) !== null) return true;
    else if (turnOf(playOf(game)) === 'challenger' && playOf(game).length > 1) await someone.pick(game.id, 1);
    else if (turnOf(playOf(game)) === 'challenger') await someone.step(game.id);
    return false;
  };
  for (let turn = 0; turn < MAX_TURNS && !(await isOver()); turn++) {
    await undo();
    await lies.look();
    await cron();
    await undo();
  }
  expect(undone.map((name) => name.split(' ')[0])).toEqual(
    expect.arrayContaining(['opened', 'revealed', 'picked', 'closed']),
  );
  expect(outcomeOf((await newest())!)).toBe('challengerLost');
  expect(await lies.bonded()).toBe(bonded);
  expect(await lies.head()).toBeGreaterThanOrEqual(honest);
});

test('L1 mines nothing for a while, then hangs, in the middle of a game', async () => {
  let turn = 0;
  await expectCaught(90, async () => {
    turn += 1;
    if (turn === 2) {
      // Our next move waits, is replaced by one that pays more, and is mined in the end.
      await net.l1.request('evm_setAutomine', [false]);
      await net.worker.tick();
      await net.worker.tick();
      await net.l1.request('evm_setAutomine', [true]);
    } else if (turn === 4) {
      net.l1.pause();
      const ticking = net.worker.tick();
      await sleep(OUTAGE_MS);
      net.l1.resume();
      await ticking;
    }
  });
  expect(turn).toBeGreaterThanOrEqual(4);
});

test('the Workers die in the middle of games', async () => {
  const honest = await batch();
  const someone = hostile();
  const id = await someone.open(honest);
  const bonded = await lies.bonded();
  const lie = await lies.tell(120);
  let turn = 0;
  const caught = await isCaught(lie, async () => {
    turn += 1;
    if (turn > (LONG ? 6 : 2)) return;
    const ticking = net.worker.tick().catch(() => undefined);
    await sleep(100 * turn);
    await net.kill9Worker();
    await ticking;
    await net.restartWorker();
  });
  expect(caught).toBe(true);
  expect(turn).toBeGreaterThan(2);
  expect(bonded - (await lies.bonded())).toBe(MIN_BOND);
  expect(turnOf(await someone.play(id)), 'the other was answered').toBe('challenger');
  expect(await batch(), 'posting goes on').toBe(lie.number);
});

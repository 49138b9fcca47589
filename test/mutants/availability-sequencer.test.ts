/**
 * What the sequencer's cron does about data that its committee keeps: shows L1 what its members do not, since whoever demands it would have the bond; and
 * makes a batch anew whose certificate L1 takes no more.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { availabilityAbi } from '../../contracts/abi.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { decodeCommitment } from '../../protocol/da/offer.ts';
import { Demands } from '../../workers/committee/demands.ts';
import { CommitteeChain } from '../../workers/committee/chain.ts';
import { columnsToWire } from '../../workers/committee/proofs.ts';
import { findPosted } from '../../workers/settlement/posted.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { DEMAND_WINDOW } from './carriage.ts';
import { HonestWorld } from './honest.ts';

const STRANGER: Hex = `0x${'5a'.repeat(20)}`;
const BOND = 10n ** 14n;
/** Seconds for which the sequencer has data kept longer than L1 asks for. */
const MARGIN = 3_600;

let world: HonestWorld;
let chain: CommitteeChain;

beforeAll(async () => {
  world = await HonestWorld.start(Da.committee);
  chain = new CommitteeChain(world.l1.rpc, world.l1.root);
  await world.l1.fund(STRANGER);
}, 120_000);
afterAll(() => world?.stop());

/** A batch whose members but the first delete their columns, of which a stranger demands a cell each. */
async function demanded(): Promise<number> {
  const { number } = await world.batch();
  const { header } = await findPosted(world.chain, number, await world.chain.block());
  const { members } = world.carriage;
  const held = await members[0].store.held(header.dataRoot);
  const columns = columnsToWire(decodeCommitment(held!.commitment, members.length));
  for (const { store } of members.slice(1)) await store.sweep(1000 * 2 ** 32);
  for (let column = 1; column < members.length; column++)
    await world.l1.as(STRANGER, {
      address: world.l1.availability,
      abi: availabilityAbi,
      functionName: 'demand',
      args: [toWire(header), columns, column, 0],
      value: BOND,
    });
  expect(await new Demands(chain).open()).toHaveLength(members.length - 1);
  return number;
}
const due = (): Promise<bigint> =>
  world.l1.client.readContract({
    address: world.l1.availability,
    abi: availabilityAbi,
    functionName: 'credits',
    args: [world.poster],
  });

test.each([
  ['TooShort', async () => world.mineAt((await world.now()) + MARGIN + 100)],
  [
    'WrongEpoch',
    async () => {
      await world.carriage.rotate();
      await world.carriage.rotate();
    },
  ],
])(
  'a batch whose certificate became stale before it was posted (%s) is made anew',
  { timeout: 120_000 },
  async (why, age) => {
    const before = await world.read('head');
    await world.work();
    const events = await world.passWithout('eth_estimateGas');
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(['composed', 'pass_failed']));
    await age();
    await world.pass();
    expect(world.events).toContainEqual(expect.objectContaining({ event: 'recompose', why }));
    expect(await world.read('head')).toBe(before + 1);
    const { header } = await findPosted(world.chain, before + 1, await world.chain.block());
    expect(header.da).toBe(Da.committee);
    await world.outlast();
  },
);

test.each([
  ['from what the verifier has, while no shard answers', () => world.passWithoutShards()],
  ['from the shards’ logs, without a verifier', () => world.passWithoutVerifier()],
])('what members deleted is shown %s, and the batch becomes final', { timeout: 120_000 }, async (_how, pass) => {
  const number = await demanded();
  const bonded = await world.read('bonded');
  world.events.splice(0);
  await pass();
  expect(await new Demands(chain).open()).toEqual([]);
  await world.mineAt((await world.now()) + DEMAND_WINDOW + 1);
  await world.outlast();
  expect(await world.read('finalized')).toBe(number);
  expect(await world.read('bonded')).toBe(bonded);
  expect(await due(), 'the sequencer has collected').toBe(0n);
});

test('a demand that is nobody’s to answer costs nothing but itself', { timeout: 120_000 }, async () => {
  const number = await demanded();
  world.events.splice(0);
  const gone = (await new Demands(chain).open())[0];
  await world.mineAt(gone.deadline + 1);
  // Too late for all of them: nothing is sent, and nothing fails.
  await world.pass();
  expect(await new Demands(chain).open()).toHaveLength(3);
  expect(world.events.some(({ event }) => event === 'shows')).toBe(false);
  expect(await world.read('head')).toBe(number);
});

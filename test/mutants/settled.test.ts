/**
 * The same interactions as batches in every mode, from their posting to the end: challenged they stand, with a lie on top they stay, and they become
 * final; the lie costs the bond, and so does a receipt that the final batch breaks. LONG=1 plays games about data in blobs to their last step too, for which a frame is opened there.
 */
import type { Abi } from 'viem';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { availabilityAbi, faultsAbi } from '../../contracts/abi.ts';
import { hex, unhex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Opening } from '../../protocol/verifier.ts';
import { openingToWire, outcomeOf } from '../../workers/settlement/games.ts';
import { findPosted } from '../../workers/settlement/posted.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { HonestWorld, Hostile } from './honest.ts';
import { Liar } from './liar.ts';

const LONG = process.env.LONG === '1';
const MAX_LOOKS = 12;
/** With what an opening may be refused with. */
const SLASHING: Abi = [...faultsAbi, ...availabilityAbi.filter(({ type }) => type === 'error')];
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

  test('a receipt for another frame than a final batch has costs the bond', { timeout: 240_000 }, async () => {
    const { l1, host, chain } = world;
    await world.rebond();
    const { number, steps } = await world.batch();
    const { header } = await findPosted(chain, number, await chain.block());
    // Its last frame is a tick: in a blob, every 31 bytes of a frame take a proof.
    const { opening } = await host.step(number, steps - 1);
    const key = await MachineKey.import(unhex(l1.sequencerSecret));
    const signing = new Signing({ chainId: l1.chainId, root: l1.root });
    const slash = async (frame: Uint8Array, change: Partial<Opening> = {}) => {
      const { shard, seq } = opening;
      const [frameHash, other] = [keccak(frame), keccak(Uint8Array.of(1))];
      const receipt = { shard, seq, frameHash, runningHash: other, outcomesHash: other, promisedBy: 1 };
      const signature = await key.sign(signing.receipt(receipt));
      const hashes = { frameHash: hex(frameHash), runningHash: hex(other), outcomesHash: hex(other) };
      const signed = {
        receipt: { ...receipt, ...hashes, seq: BigInt(seq), promisedBy: 1n },
        r: hex(signature.subarray(0, 32)),
        s: hex(signature.subarray(32)),
      };
      const args = [signed, toWire(header), openingToWire({ ...opening, ...change })];
      const call = { address: l1.faults, abi: SLASHING, functionName: 'slashBroken', args };
      await l1.client.simulateContract({ ...call, account: ONE });
      await l1.as(ONE, call);
    };
    const [kept, given] = [unhex(opening.frame), Uint8Array.of(0x77)];
    await expect(slash(given)).rejects.toThrow('NotFinal');
    await world.outlast();
    const bonded = await world.read('bonded');
    await expect(slash(kept)).rejects.toThrow('NoFault');
    await expect(slash(kept, { frame: hex(given) })).rejects.toThrow(/BadOpening|BadProof/);
    await expect(slash(given, { index: 0 })).rejects.toThrow(/BadOpening|BadProof|NotShown/);
    expect(await world.read('bonded')).toBe(bonded);
    await slash(given);
    expect(await world.read('bonded')).toBeLessThan(bonded);
    await expect(slash(given)).rejects.toThrow('AlreadyShown');
  });
});

/**
 * Lies about data in blobs and with a committee, on the way by which each is shown: a game's last step, a frame's time, the index of the data, an encoding.
 * LONG=1 has every kind of lie in both modes, which in blobs takes long.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import type { VerifierHost } from '../../durable/verifier/host.ts';
import { hex, writeUint } from '../../protocol/bytes.ts';
import { BLOB_CAPACITY, encodeBlobs } from '../../protocol/da/blobs.ts';
import { Da, recordsOf } from '../../protocol/da/carrier.ts';
import { encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData, entryAt } from '../../protocol/da/layout.ts';
import { outcomeOf } from '../../workers/settlement/games.ts';
import { Refused } from '../../workers/settlement/sender.ts';
import { Random } from '../reference/random.ts';
import type { Load } from './carriage.ts';
import { KINDS } from './kinds.ts';
import { Liar } from './liar.ts';
import { noLieStands } from './stand.ts';
import { DisputeWorld, placed } from './world.ts';

/** Few frames, because of a blob every 31 bytes take a second to open. */
const PER_BATCH = 30;
const MAX_LOOKS = 12;
const LONG = process.env.LONG === '1';

describe.each([
  ['blob', Da.blob],
  ['committee', Da.committee],
])('%s', (_name, da) => {
  let world: DisputeWorld;
  let host: VerifierHost;
  const events: string[] = [];

  const look = (): Promise<void> =>
    world.look(host, (event, fields) => void events.push(`${event} ${JSON.stringify(fields)}`));
  beforeAll(async () => {
    world = await DisputeWorld.start(PER_BATCH, da);
    host = world.verifier();
  }, 120_000);
  afterAll(() => world?.stop());

  /** Posts something, lets the challenger and the liar play, and brings L1 back. */
  async function isCaught(post: () => Promise<void>, liar?: Liar): Promise<boolean> {
    const snapshot = await world.snapshot();
    try {
      await post();
      const [head, bonded] = [await world.head(), await world.bonded()];
      for (let looks = 0; looks < MAX_LOOKS; looks++) {
        await look();
        if ((await world.head()) < head) return (await world.bonded()) < bonded;
        await liar?.answer((await host.games()).filter((game) => outcomeOf(game) === null));
      }
      console.error(events.slice(-6).join('\n'));
      return false;
    } finally {
      await world.revert(snapshot);
    }
  }

  test.each(['a bit of a bundle', 'a tick after the latest time'])('%s', { timeout: 300_000 }, async (kind) => {
    const mutant = KINDS[kind](world, 1, new Random(3));
    if (!mutant) throw new Error('the first batch has no such lie');
    expect(await isCaught(() => world.post(mutant), new Liar(world, 'parted', mutant.truth, 7))).toBe(true);
  });

  describe('an index of frames that is wrong', () => {
    const faults: Readonly<Record<string, (data: Uint8Array, frames: number) => void>> = {
      'no frames': (data) => writeUint(data, 0, 4, 0),
      'a first step that is not 0': (data) => writeUint(data, entryAt(0), 6, 1),
      'a step left out': (data) => writeUint(data, entryAt(2), 6, 1),
      'a frame behind the end': (data) => writeUint(data, entryAt(1) + 13, 4, 2 ** 31),
      'an end that is none': (data, frames) => (data[entryAt(frames) + 6] = 9),
    };
    // In a blob they take ten seconds each, and are shown in the same way.
    const some = da === Da.committee || LONG ? Object.keys(faults) : ['a step left out'];
    test.each(some)('%s', { timeout: 120_000 }, async (fault) => {
      const { header, frames } = world.batches[0];
      const bytes = encodeData(recordsOf(placed(frames))).data;
      faults[fault](bytes, frames.length);
      const load: Load = { bytes };
      const lying = { ...header, dataRoot: hex(world.carriage.rootOf(load)) };
      expect(await isCaught(() => world.carriage.postLoad(lying, load))).toBe(true);
    });
  });

  describe.runIf(da === Da.blob)('a blob that does not match is refused', () => {
    const data = (number: number): Uint8Array => encodeData(recordsOf(placed(world.batches[number - 1].frames))).data;
    const post = (said: number, blobs?: readonly Uint8Array[]): Promise<void> =>
      world.carriage.postBlobs(world.batches[0].header, said, blobs);
    /** How, and the error by which L1 refuses it. */
    const blobs: Readonly<Record<string, readonly [error: string, post: (bytes: Uint8Array) => Promise<void>]>> = {
      'of other data': ['WrongDataRoot', (bytes) => post(bytes.length, encodeBlobs(data(2)))],
      'one bit of which is another': [
        'WrongDataRoot',
        (bytes) => post(bytes.length, encodeBlobs(bytes.map((byte, i) => (i === 31 ? byte ^ 1 : byte)))),
      ],
      'under another length': ['WrongDataRoot', (bytes) => post(bytes.length + 1, encodeBlobs(bytes))],
      'of a length that takes two': ['WrongBlobs', (bytes) => post(bytes.length + BLOB_CAPACITY, encodeBlobs(bytes))],
      twice: ['WrongBlobs', (bytes) => post(bytes.length, [...encodeBlobs(bytes), ...encodeBlobs(bytes)])],
      'that is not there': ['WrongBlobs', (bytes) => post(bytes.length)],
    };
    test.each(Object.keys(blobs))('%s', { timeout: 60_000 }, async (how) => {
      const [errorName, attempt] = blobs[how];
      await expect(attempt(data(1))).rejects.toMatchObject({ constructor: Refused, errorName });
      expect(await world.head()).toBe(0);
    });
  });

  test.runIf(da === Da.committee)('a column that is no encoding of the others', { timeout: 60_000 }, async () => {
    const { header, frames } = world.batches[0];
    const bytes = encodeData(recordsOf(placed(frames))).data;
    const columns = encodeColumns(bytes, { n: 4, k: 2 });
    columns[3][1000] ^= 1;
    const load = { bytes, columns };
    const lying = { ...header, dataRoot: hex(world.carriage.rootOf(load)) };
    expect(await isCaught(() => world.carriage.postLoad(lying, load))).toBe(true);
  });

  test('an honest batch stands', { timeout: 60_000 }, async () => {
    await world.post(world.batches[0]);
    await look();
    expect((await host.standing()).head).toBe(1);
  });
});

describe.runIf(LONG)('every lie', () => {
  describe.each([Da.blob, Da.committee])('mode %i', (da) => {
    describe('the even kinds', () => noLieStands(0, da));
    describe('the odd kinds', () => noLieStands(1, da));
  });
});

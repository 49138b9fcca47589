/**
 * Every lie about data that a committee is said to keep, and what answers it: L1 refuses what is posted, or the challenger demands what is withheld and
 * has it slashed. `modes.test.ts` has data that is there and wrong, and blobs that do not match.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import type { VerifierHost } from '../../durable/verifier/host.ts';
import { hex } from '../../protocol/bytes.ts';
import { Da, recordsOf } from '../../protocol/da/carrier.ts';
import { encodeCertificate, signedBy } from '../../protocol/da/certificate.ts';
import { encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import { decodeCells, encodeCells } from '../../protocol/da/offer.ts';
import { keccak } from '../../protocol/hash.ts';
import { ownerAddress, signOwner, toCompact } from '../../protocol/keys.ts';
import { Refused } from '../../workers/settlement/sender.ts';
import { type Load, type Promised, DEMAND_WINDOW, QUORUM, STAKE, certificateOf } from './carriage.ts';
import { DisputeWorld, placed } from './world.ts';

const PER_BATCH = 30;
const MAX_LOOKS = 10;
const DAY = 86_400;
/** Where nobody listens. */
const DEAD = 'http://127.0.0.1:9';

let world: DisputeWorld;
const bytesOf = (number: number): Uint8Array => encodeData(recordsOf(placed(world.batches[number - 1].frames))).data;

const load = (): Load => ({ bytes: bytesOf(1) });

/** What L1 says to a batch: the name of its error. Nothing of it may stand. */
async function refusal(post: () => Promise<void>): Promise<string> {
  const snapshot = await world.snapshot();
  try {
    await post();
    return 'taken';
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    expect(await world.head()).toBe(0);
    return error.errorName;
  } finally {
    await world.revert(snapshot);
  }
}

beforeAll(async () => {
  world = await DisputeWorld.start(PER_BATCH, Da.committee);
}, 120_000);
afterAll(() => world?.stop());

describe('a certificate', () => {
  const promised = (more?: number): Promise<Promised> => world.carriage.promised(1, load(), more);
  /** A certificate of a quorum, in which something is another. */
  const spoilt = async (change: (made: Promised, signed: Uint8Array[]) => Partial<Promised>): Promise<Uint8Array> => {
    const made = await promised();
    const signed = [...signedBy(made.list, new Map([...made.signatures].slice(0, QUORUM)))];
    const { epoch, until } = { ...made, ...change(made, signed) };
    return encodeCertificate({ epoch, until, members: signed });
  };

  /** A lie in a certificate, and the error by which L1 refuses it. */
  const CERTIFICATES: Readonly<Record<string, readonly [error: string, make: () => Promise<Uint8Array>]>> = {
    'too few signatures': [
      'TooFewSignatures',
      () =>
        spoilt(({ list }, signed) => {
          signed[0] = list[0];
          return {};
        }),
    ],
    'a forged signature': [
      'BadSignature',
      () =>
        spoilt((_, signed) => {
          signed[1] = signed[1].map((byte, i) => (i === 40 ? byte ^ 1 : byte));
          return {};
        }),
    ],
    'one signature twice': [
      'BadSignature',
      () =>
        spoilt((_, signed) => {
          signed[1] = signed[0];
          return {};
        }),
    ],
    'one member in the place of another too': [
      'BadSignature',
      () =>
        spoilt(({ list, signatures }, signed) => {
          [signed[2], signed[3]] = [list[2], signatures.get(0)!];
          return {};
        }),
    ],
    'a stranger’s signature': [
      'BadSignature',
      () =>
        spoilt(({ epoch, until }, signed) => {
          const words = { number: 1, dataRoot: world.carriage.rootOf(load()), epoch, until };
          signed[2] = toCompact(signOwner(keccak(Uint8Array.of(1)), world.signing.available(words)));
          return {};
        }),
    ],
    'a stranger among those who did not sign': [
      'BadSignature',
      () =>
        spoilt((_, signed) => {
          signed[3] = ownerAddress(keccak(Uint8Array.of(1)));
          return {};
        }),
    ],
    'signatures for another batch': [
      'BadSignature',
      async () => certificateOf(await world.carriage.promised(2, load())),
    ],
    'signatures for other data': [
      'BadSignature',
      async () => certificateOf(await world.carriage.promised(1, { bytes: bytesOf(2) })),
    ],
    'a longer time than was promised': ['BadSignature', () => spoilt(({ until }) => ({ until: until + 1 }))],
    'a time that is too short': ['TooShort', async () => certificateOf(await promised(-1))],
    'an epoch that has not begun': ['WrongEpoch', () => spoilt(() => ({ epoch: 2 }))],
    'the epoch before the first': ['WrongEpoch', () => spoilt(() => ({ epoch: 0 }))],
    'a byte too few': ['TooFewSignatures', async () => certificateOf(await promised()).slice(0, -1)],
    'a byte too many': ['BadCertificate', async () => Uint8Array.of(...certificateOf(await promised()), 0)],
    nothing: ['BadCertificate', async () => new Uint8Array(0)],
  };

  test.each(Object.keys(CERTIFICATES))('%s: refused', { timeout: 60_000 }, async (name) => {
    const [error, make] = CERTIFICATES[name];
    const certificate = await make();
    expect(await refusal(() => world.carriage.postCertified(world.batches[0].header, certificate))).toBe(error);
  });

  test(
    'an epoch that is over: refused, as soon as the retention is, and the one before until then',
    { timeout: 60_000 },
    async () => {
      const snapshot = await world.snapshot();
      const header = world.batches[0].header;
      const long = certificateOf(await promised(2 * DAY));
      await world.carriage.rotate();
      expect(await refusal(() => world.carriage.postCertified(header, long))).toBe('taken');
      await world.later(DAY + 1);
      expect(await refusal(() => world.carriage.postCertified(header, long))).toBe('WrongEpoch');
      await world.revert(snapshot);
    },
  );
});

describe('data withheld', () => {
  const events: { event: string; [field: string]: unknown }[] = [];
  const others: { close(): void }[] = [];
  let host: VerifierHost;
  afterAll(() => others.forEach((other) => other.close()));

  const look = (): Promise<void> => world.look(host, (event, fields) => void events.push({ event, ...fields }));
  const staked = (): Promise<bigint> => world.l1.client.getBalance({ address: world.l1.committee });

  /** A member before whom somebody stands who lets everything through but whole columns and one row's cells. */
  async function without(row: number, url: string): Promise<string> {
    const server = createServer(async (request, response) => {
      const answer = await fetch(`${url}${request.url}`);
      const body = new Uint8Array(await answer.arrayBuffer());
      if (request.url!.endsWith('/commitment')) response.writeHead(answer.status).end(body);
      else if (!request.url!.includes('/cells?')) response.writeHead(503).end();
      else response.writeHead(answer.status).end(encodeCells(decodeCells(body).filter((cell) => cell.row !== row)));
    });
    others.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** How data is withheld, and whether a member pays for it, too. */
  const WITHHELD: Readonly<Record<string, readonly [pays: boolean, hide: () => Promise<Load>]>> = {
    'a leaf, by all members but one': [
      true,
      async () => {
        for (const i of [1, 2, 3]) world.carriage.places.set(i, await without(1, world.carriage.members[i].url));
        return load();
      },
    ],
    'everything, by all members but one': [
      true,
      async () => {
        for (const i of [1, 2, 3]) world.carriage.places.set(i, DEAD);
        return load();
      },
    ],
    'a column that is not as committed, by its member alone': [
      false,
      async () => {
        world.carriage.places.set(3, DEAD);
        const columns = encodeColumns(bytesOf(1), { n: 4, k: 2 });
        columns[3][2000] ^= 1;
        return { bytes: bytesOf(1), columns };
      },
    ],
  };
  const withheld = async (hide: () => Promise<Load>, then: () => Promise<void>, pays: boolean): Promise<void> => {
    const snapshot = await world.snapshot();
    host = world.verifier();
    events.splice(0);
    try {
      const data = await hide();
      await world.carriage.postLoad({ ...world.batches[0].header, dataRoot: hex(world.carriage.rootOf(data)) }, data);
      await then();
      const [bonded, before] = [await world.bonded(), await staked()];
      for (let looks = 0; (await world.head()) > 0; looks++) {
        expect(looks, JSON.stringify(events.slice(-6))).toBeLessThan(MAX_LOOKS);
        await look();
        await world.later(DEMAND_WINDOW + 1);
      }
      expect(await world.bonded()).toBeLessThan(bonded);
      const why = events.filter(({ event }) => event === 'mined').map((event) => String(event.why));
      expect(why[0]).toBe('columns are withheld: demand');
      expect(why.some((each) => /: (?:expire|slash)$/.test(each))).toBe(true);
      // Half of a stake is burned, half stays to be collected.
      expect((await staked()) <= before - STAKE / 2n).toBe(pays);
      expect((await host.standing()).known).toBe(0);
    } finally {
      world.carriage.places.clear();
      await world.revert(snapshot);
    }
  };

  test.each(Object.keys(WITHHELD))('%s: demanded and slashed', { timeout: 120_000 }, async (name) => {
    const [pays, hide] = WITHHELD[name];
    await withheld(hide, async () => {}, pays);
  });

  test('what members signed for and deleted: demanded and slashed', { timeout: 120_000 }, async () => {
    const forget = async (): Promise<void> => {
      for (const i of [0, 1, 3]) await world.carriage.members[i].store.sweep(1000 * 2 ** 32);
    };
    await withheld(async () => load(), forget, true);
  });
});

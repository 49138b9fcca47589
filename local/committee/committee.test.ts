/** Columns from a sequencer to members that serve them by HTTP from SQLite, and back. L1 is an anvil in `demands.test.ts`; here it says what it is told. */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { equal, hex, unhex } from '../../protocol/bytes.ts';
import { checkCertificate, membersHash } from '../../protocol/da/certificate.ts';
import { CELL_BYTES, columnRoot, encodeColumns, rowsOf } from '../../protocol/da/columns.ts';
import {
  type Commitment,
  decodeCells,
  encodeCells,
  encodeOfferHead,
  isCellOf,
  openCommitment,
  rootOfCommitment,
} from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey, ownerAddress, signOwner, toCompact } from '../../protocol/keys.ts';
import type { MemberChain } from '../../workers/committee/chain.ts';
import { MemberClient, type MemberEndpoint, parseMembers } from '../../workers/committee/client.ts';
import { type Collected, collect, isTooFew } from '../../workers/committee/collect.ts';
import { isUnavailable, retrieve } from '../../workers/committee/retrieve.ts';
import { confidence, sample } from '../../workers/committee/sample.ts';
import { type ServedMember, serveMember } from './serve.ts';

const CODE = { n: 16, k: 6 };
const QUORUM = 11;
const EPOCH = 1;
const chainId = 31337;
const root = '0x5fbdb2315678afecb367f032d93f642f64180aa3' as const;
const signing = new Signing({ chainId, root });
const secrets = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(i)));
const list = secrets.map(ownerAddress);
const until = (): number => Math.floor(Date.now() / 1000) + 86_400;
const bytes = (length: number, seed: number): Uint8Array => {
  const out = new Uint8Array(length);
  for (let at = 0; at < length; at += 32)
    out.set(keccak(Uint8Array.of(seed, at, at >> 8, at >> 16)).subarray(0, Math.min(32, length - at)), at);
  return out;
};

let dir: string;
let key: MachineKey;
let chain: MemberChain;
let members: ServedMember[];
let endpoints: MemberEndpoint[];
/** Servers that are no members, to be closed in the end. */
const others: { close(): void }[] = [];

/** As the list, but these places are somewhere else. */
const elsewhere = (places: Readonly<Record<number, string>>): MemberEndpoint[] =>
  endpoints.map((endpoint, i) => ({ ...endpoint, url: places[i] ?? endpoint.url }));
const DEAD = 'http://127.0.0.1:1';

/** A server that answers everything so. */
async function answering(handle: (path: string) => { status?: number; body: Uint8Array } | null): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    const answer = handle(request.url!);
    // Never, then.
    if (answer) response.writeHead(answer.status ?? 200).end(answer.body);
  });
  others.push({ close: () => (server.closeAllConnections(), server.close()) });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const collecting = (data: Uint8Array, to = endpoints, more: { number?: number; timeoutMs?: number } = {}) =>
  collect(to, {
    number: 7,
    data,
    epoch: EPOCH,
    until: until(),
    code: CODE,
    quorum: QUORUM,
    key,
    signing,
    timeoutMs: 10_000,
    ...more,
  });
async function collected(data: Uint8Array, to = endpoints): Promise<Collected> {
  const result = await collecting(data, to);
  if (isTooFew(result)) throw new Error(`too few: ${result.outcomes.join()}`);
  await result.rest;
  return result;
}
const retrieving = (dataRoot: Uint8Array, from = endpoints) =>
  retrieve(from, { dataRoot, code: CODE, timeoutMs: 2000, maxBytes: 2 ** 25 });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'agnt2-committee-'));
  key = await MachineKey.import(MachineKey.randomSecret());
  chain = {
    terms: async () => ({
      chainId,
      root,
      committee: root,
      availability: root,
      code: CODE,
      quorum: QUORUM,
      retention: 86_400,
      memberStake: 1n,
      sequencerKey: key.publicKey,
    }),
    isListOf: async (epoch, members) => epoch === EPOCH && equal(membersHash(members), membersHash(list)),
  };
  members = await Promise.all(
    secrets.map((secret, i) => serveMember({ secret, chain, path: join(dir, `${i}.sqlite`), maxBytes: 2 ** 27 })),
  );
  endpoints = members.map(({ url }, i) => ({ address: list[i], url }));
});
afterAll(async () => {
  for (const other of others) other.close();
  await Promise.all(members.map((member) => member.close()));
  rmSync(dir, { recursive: true, force: true });
});

describe('a certificate', () => {
  test('has a quorum of the members’ signatures, and the data comes back from any k of them', async () => {
    const data = bytes(300_000, 1);
    const { dataRoot, certificate, rest } = await collected(data);
    const checked = checkCertificate(certificate, { number: 7, dataRoot }, { members: list, quorum: QUORUM }, signing);
    expect(checked?.epoch).toBe(EPOCH);
    expect(checked!.members.filter(({ length }) => length === 64)).toHaveLength(QUORUM);
    for (const wrong of [
      { number: 8, dataRoot },
      { number: 7, dataRoot: keccak(dataRoot) },
    ])
      expect(checkCertificate(certificate, wrong, { members: list, quorum: QUORUM }, signing)).toBeNull();
    expect(await rest).toEqual(list.map(() => 'signed'));
    for (const alive of [
      [0, 1, 2, 3, 4, 5],
      [10, 11, 12, 13, 14, 15],
      [0, 3, 7, 8, 12, 15],
    ]) {
      const places = Object.fromEntries(list.map((_, i) => [i, alive.includes(i) ? endpoints[i].url : DEAD]));
      const back = await retrieving(dataRoot, elsewhere(places));
      if (isUnavailable(back)) throw new Error('unavailable');
      expect([equal(back.data, data), back.wrong]).toEqual([true, []]);
    }
    const five = Object.fromEntries(list.map((_, i) => [i, i < 5 ? endpoints[i].url : DEAD]));
    const lacking = await retrieving(dataRoot, elsewhere(five));
    expect(isUnavailable(lacking) && lacking.held.size).toBe(5);
  });

  test('takes no signature that is bad, late, another’s or of other words, and as many members away as the quorum leaves', async () => {
    const data = bytes(20_000, 2);
    const now = until();
    const { dataRoot } = await collected(data);
    const json = (signature: Uint8Array) => ({ body: Buffer.from(JSON.stringify({ signature: hex(signature) })) });
    const other = toCompact(
      signOwner(secrets[1], signing.available({ number: 7, dataRoot, epoch: EPOCH, until: now })),
    );
    const places = {
      0: await answering(() => json(other)),
      1: await answering(() => json(keccak(Uint8Array.of(9)).slice())),
      2: await answering(() => null),
      3: DEAD,
      4: await answering(() => ({ body: new Uint8Array(2 ** 20) })),
    };
    const result = await collecting(data, elsewhere(places), { timeoutMs: 3000 });
    if (isTooFew(result)) throw new Error(result.outcomes.join());
    expect(await result.rest).toEqual([
      'bad_signature',
      'malformed',
      'timeout',
      'unreachable',
      'malformed',
      ...list.slice(5).map(() => 'signed'),
    ]);
    // One more, and it is known at once that there can be none.
    const few = await collecting(data, elsewhere({ ...places, 2: DEAD, 5: DEAD }), { timeoutMs: 600_000 });
    expect(isTooFew(few) && few.signed <= QUORUM - 1).toBe(true);
  });
});

describe('a member', () => {
  const data = bytes(70_000, 3);
  const columns = encodeColumns(data, CODE);
  const commitment: Commitment = { length: data.length, epoch: EPOCH, roots: columns.map(columnRoot) };
  const signal = AbortSignal.timeout(60_000);
  const client = (i: number) => new MemberClient(endpoints[i]);
  const offer = async (
    i: number,
    {
      by = key,
      column = columns[i],
      ...changes
    }: { by?: MachineKey; column?: Uint8Array; [more: string]: unknown } = {},
  ): Promise<string> => {
    const value = { number: 9, until: until(), members: list, commitment, ...changes };
    const { number, until: untilThen, commitment: what } = value;
    const promise = { number, dataRoot: rootOfCommitment(what), epoch: what.epoch, until: untilThen };
    const head = encodeOfferHead({ ...value, signature: await by.sign(signing.offer(promise)) });
    return client(i)
      .offer(head, column, signal)
      .then(
        () => 'signed',
        (error: { code: string }) => error.code,
      );
  };
  const heldBy = (i: number, what = commitment) => members[i].store.held(hex(rootOfCommitment(what)));

  test('refuses what is not offered by the sequencer, for it, of this epoch, whole, or for a time that it keeps; and has none of it', async () => {
    const stranger = await MachineKey.import(MachineKey.randomSecret());
    const now = Math.floor(Date.now() / 1000);
    const reversed = { ...commitment, length: data.length - CELL_BYTES * CODE.k };
    expect([
      await offer(4, { by: stranger }),
      await offer(4, { column: columns[5] }),
      await offer(4, { column: columns[4].subarray(1) }),
      await offer(4, { column: new Uint8Array(columns[4].length + 1) }),
      await offer(4, { members: list.toReversed() }),
      await offer(4, { members: list.map((_, i) => list[(i + 8) % 4]) }),
      await offer(4, { until: now - 1 }),
      await offer(4, { until: now + 10 ** 9 }),
      await offer(4, { commitment: { ...commitment, epoch: 2 } }),
      await offer(4, { commitment: reversed }),
      await offer(4, { commitment: { ...commitment, length: 2 ** 31 } }),
    ]).toEqual([
      'bad_signature',
      'hash_mismatch',
      'malformed',
      'malformed',
      'wrong_epoch',
      'not_a_member',
      'expired',
      'too_long',
      'wrong_epoch',
      'malformed',
      'too_large',
    ]);
    expect(await heldBy(4)).toBeNull();
    const garbage = await fetch(`${endpoints[4].url}/columns`, { method: 'POST', body: bytes(3000, 9) as BodyInit });
    expect([garbage.status, ((await garbage.json()) as { code: string }).code]).toEqual([400, 'malformed']);
  });

  test('keeps what it signs for, for as long as it last signed, through a restart and not after', async () => {
    const soon = Math.floor(Date.now() / 1000) + 3600;
    expect(await offer(4, { until: soon })).toBe('signed');
    expect(await offer(4, { until: soon - 60 })).toBe('signed');
    expect((await heldBy(4))?.until).toBe(soon);
    // Two batches of one number: a promise is no vote.
    const again = { ...commitment, roots: commitment.roots.toReversed() };
    expect(await offer(4, { commitment: again, column: columns[11] })).toBe('signed');
    await members[4].close();
    members[4] = await serveMember({ secret: secrets[4], chain, path: join(dir, '4.sqlite'), maxBytes: 2 ** 27 });
    endpoints[4] = { address: list[4], url: members[4].url };
    const column = await client(4).column(rootOfCommitment(commitment), columns[4].length, signal);
    expect(equal(column, columns[4])).toBe(true);

    expect(await members[4].store.sweep(1000 * soon)).not.toBeNull();
    expect(await heldBy(4)).not.toBeNull();
    await members[4].store.sweep(1000 * (soon + 1));
    expect(await heldBy(4)).toBeNull();
    expect(await heldBy(4, again)).not.toBeNull();
    const gone = await fetch(`${endpoints[4].url}/columns/${hex(rootOfCommitment(commitment))}`);
    expect([gone.status, ((await gone.json()) as { code: string }).code]).toEqual([404, 'not_found']);
  });

  test('gives cells with paths, and says what it cannot', async () => {
    expect(await offer(5)).toBe('signed');
    const dataRoot = rootOfCommitment(commitment);
    const rows = rowsOf(data.length, CODE.k);
    const url = `${endpoints[5].url}/columns/${hex(dataRoot)}`;
    const cells = await client(5).cells(dataRoot, [0, rows - 1, rows], signal);
    expect(cells.map(({ row }) => row)).toEqual([0, rows - 1]);
    for (const cell of cells) expect(isCellOf(commitment, 5, CODE.k, cell)).toBe(true);
    const opened = openCommitment(await client(5).commitment(dataRoot, CODE.n, signal), CODE.n, dataRoot);
    expect(opened).toEqual(commitment);
    const asked = async (path: string) => {
      const answer = await fetch(`${url}${path}`);
      return [answer.status, ((await answer.json()) as { code: string }).code];
    };
    expect(await asked('/cells?rows=')).toEqual([400, 'malformed']);
    expect(await asked(`/cells?rows=${Array.from({ length: 65 }, () => 0).join()}`)).toEqual([400, 'malformed']);
    expect(await asked('/cells?rows=1e3')).toEqual([400, 'malformed']);
    expect(await asked('/nothing')).toEqual([404, 'not_found']);
    expect(await (await fetch(`${endpoints[5].url}/healthz`)).json()).toMatchObject({ member: hex(list[5]) });
    expect(await (await fetch(`${endpoints[5].url}/metrics`)).text()).toMatch(/agnt2_member_kept_total [1-9]/);
  });

  test('has room for so much, and gives out so much a second', async () => {
    const small = await serveMember({
      secret: secrets[6],
      chain,
      path: ':memory:',
      maxBytes: 2 * columns[6].length - 1,
      limits: { readBurst: columns[6].length, readPerSecond: 1 },
    });
    others.push({ close: () => void small.close() });
    const before = endpoints[6];
    endpoints[6] = { address: list[6], url: small.url };
    try {
      expect(await offer(6)).toBe('signed');
      expect(await offer(6, { commitment: { ...commitment, length: data.length - 1 } })).toBe('storage_full');
      const url = `${small.url}/columns/${hex(rootOfCommitment(commitment))}`;
      expect((await fetch(url)).status).toBe(200);
      const limited = await fetch(url);
      expect([limited.status, ((await limited.json()) as { code: string }).code]).toEqual([429, 'rate_limited']);
      expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(1);
    } finally {
      endpoints[6] = before;
    }
  });
});

describe('getting data back', () => {
  const data = bytes(200_000, 4);

  test('whoever lies, cuts short, says nothing or too much is skipped', async () => {
    const { dataRoot } = await collected(data);
    const garbage = bytes(columnRoot(data.subarray(0, CELL_BYTES)).length, 5);
    const liar = await answering((path) => ({
      body: path.endsWith('commitment') ? garbage : bytes(34 * CELL_BYTES, 6),
    }));
    const places = {
      0: liar,
      1: DEAD,
      2: await answering(() => null),
      3: await answering(() => ({ status: 500, body: bytes(100_000, 7) })),
      4: await answering(() => ({ body: new Uint8Array(2 ** 22) })),
      // Another's column is no column of its own.
      5: endpoints[6].url,
    };
    const back = await retrieving(dataRoot, elsewhere(places));
    if (isUnavailable(back)) throw new Error('unavailable');
    expect(equal(back.data, data)).toBe(true);
  });

  test('cells do, where whole columns are refused, even each row from other members', async () => {
    const { dataRoot } = await collected(data);
    const rows = rowsOf(data.length, CODE.k);
    const columns = encodeColumns(data, CODE);
    // Of even rows the first six members give cells, of odd rows the last six.
    const picky = await Promise.all(
      endpoints.map(({ url }, i) =>
        answering((path) => {
          if (path.endsWith('commitment')) return null;
          const asked = /rows=([\d,]+)$/.exec(path)?.[1].split(',').map(Number);
          if (!asked || (i >= 6 && i < 10)) return { status: 503, body: new Uint8Array(0) };
          return cellsOf.get(`${i}:${url}`)!(asked.filter((row) => (row % 2 === 0) === i < 6));
        }),
      ),
    );
    const places = Object.fromEntries(picky.entries());
    const cellsOf = new Map<string, (rows: readonly number[]) => { body: Uint8Array }>();
    for (const [i, { url }] of endpoints.entries()) {
      const all = await Promise.all(
        Array.from({ length: Math.ceil(rows / 64) }, (_, page) =>
          fetch(
            `${url}/columns/${hex(dataRoot)}/cells?rows=${Array.from({ length: 64 }, (__, r) => 64 * page + r).join()}`,
          ).then(async (answer) => decodeCells(new Uint8Array(await answer.arrayBuffer()))),
        ),
      );
      const cells = all.flat();
      cellsOf.set(`${i}:${url}`, (asked) => ({ body: encodeCells(cells.filter(({ row }) => asked.includes(row))) }));
    }
    const commitment = { length: data.length, epoch: EPOCH, roots: columns.map(columnRoot) };
    const back = await retrieve(elsewhere(places), {
      dataRoot,
      code: CODE,
      timeoutMs: 4000,
      maxBytes: 2 ** 25,
      commitment,
    });
    if (isUnavailable(back)) throw new Error('unavailable');
    expect([equal(back.data, data), back.wrong]).toEqual([true, []]);
    const small = await retrieve(endpoints, { dataRoot, code: CODE, timeoutMs: 4000, maxBytes: data.length - 1 });
    expect(isUnavailable(small)).toBe(true);
  });

  test('samples say who holds what they signed for', async () => {
    const { dataRoot } = await collected(data);
    const all = await sample(endpoints, dataRoot, 30, { code: CODE, timeoutMs: 4000 });
    expect([all.asked, all.answered, all.missing]).toEqual([30, 30, []]);
    expect(all.confidence).toBe(1 - (5 / 16) ** 30);
    const half = elsewhere(Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, DEAD])));
    const some = await sample(half, dataRoot, 40, { code: CODE, timeoutMs: 4000 });
    expect(some.missing.every(({ column }) => column < 8)).toBe(true);
    expect([some.missing.length > 0, some.confidence]).toEqual([true, 0]);
    const none = await sample(half, keccak(dataRoot), 40, { code: CODE, timeoutMs: 4000 });
    expect([none.asked, none.confidence]).toEqual([0, 0]);
    expect(confidence(30, CODE, 0.1)).toBeCloseTo(1 - (1 - (0.1 * 11) / 16) ** 30);
  });
});

test('members are told by address and place', () => {
  const [one, two] = parseMembers(`${hex(list[0])}=https://a.example/,\n${hex(list[1])}=http://b.example:81`);
  expect([one, two]).toEqual([
    { address: list[0], url: 'https://a.example' },
    { address: list[1], url: 'http://b.example:81' },
  ]);
  for (const wrong of ['0x12=https://a', hex(list[0]), `${hex(list[0])}=ftp://a`])
    expect(() => parseMembers(wrong)).toThrow('malformed');
  expect(unhex(hex(one.address))).toEqual(list[0]);
});

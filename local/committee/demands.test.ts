/** Batches with a committee's data on a real anvil: posted by a certificate, demanded, answered, slashed; rotated from one list to the next. */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { committeeAbi, rootAbi } from '../../contracts/abi.ts';
import { type Hex, equal, hex, unhex } from '../../protocol/bytes.ts';
import { encodeCertificate, signedBy } from '../../protocol/da/certificate.ts';
import { CELL_BYTES, columnRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { type Commitment, encodeOfferHead, rootOfCommitment } from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type BatchHeader, batchHash } from '../../protocol/trace.ts';
import { answerDemands, senderOf } from '../../workers/committee/answers.ts';
import { CommitteeChain } from '../../workers/committee/chain.ts';
import { MemberClient, type MemberEndpoint } from '../../workers/committee/client.ts';
import { collect, isTooFew } from '../../workers/committee/collect.ts';
import { type CommitteeBatch, Guard, type Look } from '../../workers/committee/guard.ts';
import { committeeBatch } from '../../workers/committee/posted.ts';
import { Chain } from '../../workers/settlement/chain.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { VerifierHost } from '../../durable/verifier/host.ts';
import { readSettings } from '../../workers/settlement/env.ts';
import { Watch } from '../../workers/settlement/watch.ts';
import { L1 } from '../l1.ts';
import { memorySql } from '../sql.ts';
import { Operator } from './operator.ts';
import { type ServedMember, serveMember } from './serve.ts';

const CODE = { n: 5, k: 2 };
const QUORUM = 4;
const RETENTION = 3600;
const DEMAND_WINDOW = 120;
const BOND = 10n ** 15n;
const STAKE = 10n ** 17n;
const EPOCH = 1;
const DEAD = 'http://127.0.0.1:1';

const secrets = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(50, i)));
const accounts = secrets.map((secret) => privateKeyToAccount(hex(secret)));
const list = accounts.map(({ address }) => unhex(address));
const quiet = (): void => {};

let dir: string;
let l1: L1;
let chain: CommitteeChain;
let settlement: Chain;
let key: MachineKey;
let signing: Signing;
let members: ServedMember[];
let endpoints: MemberEndpoint[];

const bytes = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed * 101) & 255);
const without = (...gone: readonly number[]): MemberEndpoint[] =>
  endpoints.map((endpoint, i) => (gone.includes(i) ? { ...endpoint, url: DEAD } : endpoint));
const guardOf = (from: readonly MemberEndpoint[], more = {}): Guard =>
  new Guard(chain, from, { timeoutMs: 5000, maxBytes: 2 ** 24, ...more });
const staked = (i: number): Promise<bigint> =>
  l1.client.readContract({
    address: l1.committee,
    abi: committeeAbi,
    functionName: 'staked',
    args: [accounts[i].address],
  });

async function pass(seconds: number): Promise<void> {
  await l1.request('evm_increaseTime', [seconds]);
  await l1.request('evm_mine');
}

/** Sends what a look asks for, from the challenger's account. */
async function act(look: Look): Promise<string> {
  if (look.kind !== 'call') return look.kind;
  const sender = senderOf(chain, l1.chainId, l1.challengerKey, quiet);
  const { outcome } = await sender.send(look.call);
  return `${look.why} ${outcome}`;
}

/** Columns as a sequencer that lies would have them, signed for by all members, and posted. */
async function post(data: Uint8Array, lie: (columns: Uint8Array[]) => void = () => {}): Promise<CommitteeBatch> {
  const { head, tip, latest } = await settlement.look();
  const number = head + 1;
  const until = latest.timestamp + RETENTION + 600;
  const columns = encodeColumns(data, CODE).map((column) => column.slice());
  lie(columns);
  const commitment: Commitment = { length: data.length, epoch: EPOCH, roots: columns.map(columnRoot) };
  const dataRoot = rootOfCommitment(commitment);
  const signature = await key.sign(signing.offer({ number, dataRoot, epoch: EPOCH, until }));
  const offer = encodeOfferHead({ number, until, signature, members: list, commitment });
  const signatures = await Promise.all(
    endpoints.map((endpoint, i) => new MemberClient(endpoint).offer(offer, columns[i], AbortSignal.timeout(20_000))),
  );
  const certificate = encodeCertificate({
    epoch: EPOCH,
    until,
    members: signedBy(list, new Map(signatures.slice(0, QUORUM).entries())),
  });
  return postWith(dataRoot, certificate, tip);
}

async function postWith(
  dataRoot: Uint8Array,
  certificate: Uint8Array,
  tip: { batchHash: Hex; post: Hex; inboxCursor: number },
): Promise<CommitteeBatch> {
  const { head, latest } = await settlement.look();
  const header: BatchHeader = {
    number: head + 1,
    prev: tip.batchHash,
    pre: tip.post,
    post: hex(keccak(Uint8Array.of(head))),
    steps: 3,
    timeFrom: latest.timestamp,
    timeTo: latest.timestamp,
    inboxCursor: tip.inboxCursor,
    dataRoot: hex(dataRoot),
    da: 2,
  };
  await l1.write(privateKeyToAccount(l1.posterKey), {
    address: l1.root,
    abi: rootAbi,
    functionName: 'postBatch',
    args: [toWire(header), hex(certificate)],
  });
  const batch = await committeeBatch(settlement, header.number);
  expect(batch?.hash).toBe(batchHash(header));
  return batch!;
}

const stands = async ({ header, hash }: CommitteeBatch): Promise<boolean> =>
  (await settlement.posted(header.number)).batchHash === hash;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'agnt2-demands-'));
  const committee = {
    members: accounts.map(({ address }) => address),
    threshold: CODE.k,
    quorum: QUORUM,
    retention: RETENTION,
    memberStake: STAKE,
  };
  l1 = await L1.start({
    dir,
    blockTime: 0,
    window: 86_400,
    da: { demandWindow: DEMAND_WINDOW, demandBond: BOND, committee },
  });
  key = await MachineKey.import(unhex(l1.sequencerSecret));
  signing = new Signing({ chainId: l1.chainId, root: l1.root });
  chain = new CommitteeChain(l1.rpc, l1.root);
  settlement = new Chain(l1.rpc, l1.root);
  for (const { address } of accounts) await l1.fund(address);
  members = await Promise.all(
    secrets.map((secret, i) => serveMember({ secret, chain, path: join(dir, `${i}.sqlite`), maxBytes: 2 ** 26 })),
  );
  endpoints = members.map(({ url }, i) => ({ address: list[i], url }));
}, 60_000);
afterAll(async () => {
  await Promise.all((members ?? []).map((member) => member.close()));
  await l1?.stop();
  rmSync(dir, { recursive: true, force: true });
});
/** What an earlier test took: a sequencer without a bond posts nothing, and whose stake is gone has nothing to lose. */
beforeEach(async () => {
  if ((await settlement.bonded()) < 10n ** 16n)
    await l1.write(privateKeyToAccount(l1.posterKey), {
      address: l1.root,
      abi: rootAbi,
      functionName: 'bond',
      args: [],
      value: 10n ** 16n,
    });
  for (const [i, account] of accounts.entries())
    if ((await staked(i)) < STAKE)
      await l1.write(account, {
        address: l1.committee,
        abi: committeeAbi,
        functionName: 'stake',
        args: [],
        value: STAKE,
      });
});

test('nobody signs before the first epoch; then a certificate that was collected is taken, and stale or changed ones are not', async () => {
  const { tip, latest } = await settlement.look();
  const collecting = async (until: number) =>
    collect(endpoints, {
      number: 1,
      data: bytes(5000, 1),
      epoch: EPOCH,
      until,
      code: CODE,
      quorum: QUORUM,
      key,
      signing,
      timeoutMs: 20_000,
    });
  const early = await collecting(latest.timestamp + 2 * RETENTION);
  expect(isTooFew(early) && early.outcomes.filter((outcome) => outcome === 'wrong_epoch').length).toBeGreaterThan(
    CODE.n - QUORUM,
  );
  await l1.write(accounts[0], {
    address: l1.committee,
    abi: committeeAbi,
    functionName: 'begin',
    args: [accounts.map(({ address }) => address)],
  });
  const stale = await collecting(latest.timestamp + RETENTION - 1000);
  const good = await collecting(latest.timestamp + 2 * RETENTION);
  if (isTooFew(stale) || isTooFew(good)) throw new Error(JSON.stringify([stale, good]));
  await Promise.all([stale.rest, good.rest]);
  const forged = good.certificate.slice();
  forged[forged.length - 5] ^= 1;
  for (const [dataRoot, certificate, error] of [
    [stale.dataRoot, stale.certificate, 'TooShort'],
    [good.dataRoot, forged, 'BadSignature'],
    [keccak(good.dataRoot), good.certificate, 'BadSignature'],
  ] as const) {
    const args = [1n, hex(dataRoot), hex(certificate)] as const;
    const at = { address: l1.committee, abi: committeeAbi, functionName: 'check' } as const;
    await expect(l1.client.readContract({ ...at, args })).rejects.toThrow(error);
    await expect(postWith(dataRoot, certificate, tip)).rejects.toThrow('revert');
  }
  const batch = await postWith(good.dataRoot, good.certificate, tip);
  const look = await guardOf(endpoints).look(batch);
  expect(look.kind === 'good' && equal(look.retrieved.data, bytes(5000, 1))).toBe(true);
});

test('a cell that members give to nobody is demanded, shown at L1 by who holds it, and restores the data', async () => {
  const data = bytes(3 * CELL_BYTES, 2);
  const batch = await post(data);
  // One member gives its column; of the rows of another there must be two.
  const guard = guardOf(without(1, 2, 3, 4));
  expect(await act(await guard.look(batch))).toBe('demand mined');
  expect(await act(await guard.look(batch))).toBe('demand mined');
  const paid = async (): Promise<number> => {
    let sum = 0;
    for (const [i, { store }] of members.entries()) sum += await answerDemands(chain, hex(secrets[i]), store, quiet);
    return sum;
  };
  expect(await paid()).toBe(2);
  expect(await paid()).toBe(0);
  for (let looks = 0; ; looks++) {
    const look = await guard.look(batch);
    if (look.kind === 'good') {
      expect(equal(look.retrieved.data, data)).toBe(true);
      break;
    }
    expect(looks).toBeLessThan(6);
    await act(look);
    await paid();
  }
  expect(await stands(batch)).toBe(true);
});

test('whoever verifies demands what it cannot get, and goes on with what L1 was shown', async () => {
  const batch = (await committeeBatch(settlement, 1))!;
  const host = new VerifierHost(memorySql(), (work) => work(), { shards: 1, chainId: l1.chainId, root: l1.root });
  const seen: string[] = [];
  const watch = (gone: readonly number[]): Promise<void> => {
    const env = {
      SHARD: { getByName: () => null },
      SHARDS: '1',
      CHAIN_ID: String(l1.chainId),
      ROOT_ADDRESS: l1.root,
      L1_RPC: l1.rpc,
      L1_CONFIRMATIONS: '0',
      CHALLENGER_KEY: l1.challengerKey,
      COMMITTEE_MEMBERS: without(...gone)
        .map(({ address, url }) => `${hex(address)}=${url}`)
        .join(),
      PASS_SECONDS: '20',
    };
    return new Watch(readSettings(env), host, (event) => void seen.push(event)).run();
  };
  const before = await chain.demands();
  await watch([1, 2, 3, 4]);
  expect(await chain.demands()).toBeGreaterThan(before);
  expect([(await host.standing()).known, seen.includes('hidden')]).toEqual([0, true]);
  for (const [i, { store }] of members.entries()) await answerDemands(chain, hex(secrets[i]), store, quiet);
  await watch([1, 2, 3, 4]);
  expect(seen).toContain('lie');
  expect(await stands(batch)).toBe(false);
});

test('a member that signs and deletes loses its stake, and the batch is void', async () => {
  const batch = await post(bytes(4000, 3));
  // Two answer nothing, and three have deleted it.
  for (const i of [2, 3, 4]) await members[i].store.sweep(1000 * (Date.now() + 10 ** 9));
  const guard = guardOf(without(0));
  expect(await act(await guard.look(batch))).toBe('demand mined');
  for (const i of [2, 3, 4]) expect(await answerDemands(chain, hex(secrets[i]), members[i].store, quiet)).toBe(0);
  await pass(DEMAND_WINDOW + 1);
  const before = await Promise.all(accounts.map((_, i) => staked(i)));
  expect(await act(await guard.look(batch))).toBe('slash mined');
  expect(await stands(batch)).toBe(false);
  expect(await settlement.bonded()).toBe(0n);
  const after = await Promise.all(accounts.map((_, i) => staked(i)));
  const lost = after.flatMap((stake, i) => (stake === 0n && before[i] > 0n ? [i] : []));
  expect(lost).toHaveLength(1);
  expect(after.filter((stake) => stake === STAKE)).toHaveLength(CODE.n - 1);
});

test('a column that is no encoding is shown as soon as anybody gives it', async () => {
  const batch = await post(bytes(9 * CELL_BYTES, 4), (columns) => (columns[3][3 * CELL_BYTES + 77] ^= 1));
  expect(await act(await guardOf(endpoints).look(batch))).toBe('encoding mined');
  expect([await stands(batch), await settlement.bonded()]).toEqual([false, 0n]);
});

test('one of the data’s own as well, and one that its member gives only in cells or at L1', async () => {
  const own = await post(bytes(9 * CELL_BYTES, 5), (columns) => (columns[0][2 * CELL_BYTES] ^= 255));
  expect(await act(await guardOf(endpoints).look(own))).toBe('encoding mined');
  await l1.write(privateKeyToAccount(l1.posterKey), {
    address: l1.root,
    abi: rootAbi,
    functionName: 'bond',
    args: [],
    value: 10n ** 16n,
  });
  // Ten rows: the tree is four nodes high.
  const hidden = await post(bytes(20 * CELL_BYTES, 6), (columns) => (columns[4][9 * CELL_BYTES + 1000] ^= 4));
  const guard = guardOf(without(4));
  const did: string[] = [];
  while (did.at(-1) !== 'encoding mined') {
    did.push(await act(await guard.look(hidden)));
    expect(did.length).toBeLessThan(8);
    await answerDemands(chain, hex(secrets[4]), members[4].store, quiet);
  }
  expect(did.filter((what) => what === 'demand mined').length).toBeLessThanOrEqual(5);
  expect(await stands(hidden)).toBe(false);
});

test('of what nobody commits to, nobody can demand anything', async () => {
  const batch = await post(bytes(3000, 7));
  expect(await guardOf(without(0, 1, 2, 3, 4)).look(batch)).toEqual({ kind: 'lost' });
});

test('a quorum of the members names the next ones, who sign from then on; who left takes its stake', async () => {
  // The last member's place is taken by a new one.
  const secret = keccak(Uint8Array.of(99));
  const joining = new Operator(chain, hex(secret));
  await l1.fund(joining.address);
  const next = [...list.slice(0, -1), unhex(joining.address)];
  const operators = secrets.map((one) => new Operator(chain, hex(one)));
  const signed = await Promise.all(operators.map((operator) => operator.signRotation(next)));
  const rotate = (signatures: readonly Uint8Array[]) => operators[0].rotate(list, next, signatures);
  await expect(rotate(signed.slice(0, QUORUM))).rejects.toThrow('NotStaked');
  expect(await joining.stake()).toBe(STAKE);
  await expect(rotate(signed.slice(0, QUORUM - 1))).rejects.toThrow('TooFewSignatures');
  await expect(rotate([...signed.slice(0, QUORUM - 1), await joining.signRotation(next)])).rejects.toThrow('stranger');
  await expect(operators.at(-1)!.leave(list)).rejects.toThrow('StillMember');
  await rotate(signed.slice(1, QUORUM + 1).toReversed());
  expect(await chain.epoch()).toBe(2);
  expect((await chain.membersOf(2))?.map(hex)).toEqual(next.map(hex));

  const served = await serveMember({ secret, chain, path: ':memory:', maxBytes: 2 ** 20 });
  try {
    const to = [...endpoints.slice(0, -1), { address: next.at(-1)!, url: served.url }];
    const { latest } = await settlement.look();
    const collected = await collect(to, {
      number: 9,
      data: bytes(3000, 9),
      epoch: 2,
      until: latest.timestamp + 2 * RETENTION,
      code: CODE,
      quorum: CODE.n,
      key,
      signing,
      timeoutMs: 20_000,
    });
    if (isTooFew(collected)) throw new Error(collected.outcomes.join());
  } finally {
    await served.close();
  }
  const leaver = operators.at(-1)!;
  await leaver.leave(next);
  await expect(leaver.unstake(next)).rejects.toThrow('NotClaimable');
  await pass(RETENTION + 1);
  await leaver.unstake(next);
  expect(await staked(CODE.n - 1)).toBe(0n);
});

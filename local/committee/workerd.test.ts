/** Members in real workerd: what one has signed for is there after it died, and gone when its time is up. */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { equal, hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { CommitteeChain } from '../../workers/committee/chain.ts';
import type { MemberEndpoint } from '../../workers/committee/client.ts';
import { type Collected, collect, isTooFew } from '../../workers/committee/collect.ts';
import { isUnavailable, retrieve } from '../../workers/committee/retrieve.ts';
import { L1 } from '../l1.ts';
import { sleep } from '../process.ts';
import { Operator } from './operator.ts';
import { MemberWorkers } from './workerd.ts';

const CODE = { n: 3, k: 2 };
const QUORUM = 3;
const secrets = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(70, i)));
const list = secrets.map((secret) => unhex(privateKeyToAccount(hex(secret)).address));

let dir: string;
let l1: L1;
let workers: MemberWorkers;
let endpoints: MemberEndpoint[];
let key: MachineKey;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'agnt2-members-'));
  const committee = { members: list.map(hex), threshold: CODE.k, quorum: QUORUM, retention: 1, memberStake: 1n };
  l1 = await L1.start({ dir, blockTime: 0, da: { demandWindow: 60, demandBond: 1n, committee } });
  const chain = new CommitteeChain(l1.rpc, l1.root);
  const operators = secrets.map((secret) => new Operator(chain, hex(secret)));
  for (const operator of operators) {
    await l1.fund(operator.address);
    await operator.stake();
  }
  await operators[0].begin(list);
  key = await MachineKey.import(unhex(l1.sequencerSecret));
  workers = await MemberWorkers.start({ dir, rpc: l1.rpc, root: l1.root, secrets });
  endpoints = list.map((address, i) => ({ address, url: workers.urls[i] }));
}, 120_000);
afterAll(async () => {
  await workers?.stop();
  await l1?.stop();

  rmSync(dir, { recursive: true, force: true });
});

test('columns outlive a crash, but not their time', async () => {
  const signing = new Signing({ chainId: l1.chainId, root: l1.root });
  const now = Math.floor(Date.now() / 1000);
  const keep = async (seed: number, until: number): Promise<Collected & { data: Uint8Array }> => {
    const data = Uint8Array.from({ length: 900_000 }, (_, i) => (i * seed + (i >> 9)) & 255);
    const options = { number: seed, data, epoch: 1, until, code: CODE, quorum: QUORUM, key, signing };
    const result = await collect(endpoints, { ...options, timeoutMs: 20_000 });
    if (isTooFew(result)) throw new Error(result.outcomes.join());
    return { ...result, data };
  };
  const long = await keep(3, now + 3600);
  const short = await keep(5, now + 8);
  await workers.kill9();
  await workers.restart();
  const back = (dataRoot: Uint8Array) =>
    retrieve(endpoints, { dataRoot, code: CODE, timeoutMs: 5000, maxBytes: 2 ** 20 });
  const retrieved = await back(long.dataRoot);
  expect(!isUnavailable(retrieved) && equal(retrieved.data, long.data)).toBe(true);
  const gone = async (): Promise<boolean> => {
    const answers = await Promise.all(
      endpoints.map(({ url }) => fetch(`${url}/columns/${hex(short.dataRoot)}/commitment`)),
    );
    return answers.every(({ status }) => status === 404);
  };
  // By the objects' own alarms.
  for (let waits = 0; !(await gone()); waits++) {
    expect(waits).toBeLessThan(60);
    await sleep(500);
  }
  expect(isUnavailable(await back(short.dataRoot))).toBe(true);
  expect(isUnavailable(await back(long.dataRoot))).toBe(false);
}, 90_000);

/** `agnt2 member` and `agnt2 committee` as who runs a member uses them: whole processes, and an L1. */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { equal, hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { collect, isTooFew } from '../../workers/committee/collect.ts';
import { isUnavailable, retrieve } from '../../workers/committee/retrieve.ts';
import { L1 } from '../l1.ts';
import { inRepository } from '../paths.ts';
import { freePort } from '../ports.ts';
import { type Child, start, until } from '../process.ts';

const CODE = { n: 1, k: 1 };
const secret = keccak(Uint8Array.of(123));
const { address } = privateKeyToAccount(hex(secret));

let dir: string;
let l1: L1;
let member: Child | undefined;

const at = (): string[] => ['--rpc', l1.rpc, '--root', l1.root];
const committee = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) =>
    execFile(
      process.execPath,
      [inRepository('local', 'committee.ts'), ...args],
      { env: { ...process.env, MEMBER_KEY: hex(secret) } },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
    ),
  );

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'agnt2-member-'));
  const terms = { members: [address], threshold: 1, quorum: 1, retention: 60, memberStake: 10n ** 15n };
  l1 = await L1.start({ dir, blockTime: 0, da: { demandWindow: 60, demandBond: 1n, committee: terms } });
  await l1.fund(address);
}, 60_000);
afterAll(async () => {
  await member?.stop(500);
  await l1?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('a member stakes, begins, signs, dies and still has what it signed for', async () => {
  expect(JSON.parse((await committee('stake', ...at())).out)).toEqual({ member: address, wei: String(10n ** 15n) });
  expect((await committee('begin', '--list', address, ...at())).code).toBe(0);
  expect(JSON.parse((await committee('status', ...at())).out)).toMatchObject({
    epoch: 1,
    quorum: 1,
    members: [{ member: address.toLowerCase(), stakedWei: String(10n ** 15n) }],
  });
  expect(await committee('nothing', ...at())).toMatchObject({ code: 2 });
  expect(await committee('leave', ...at())).toMatchObject({ code: 1 });

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const run = async (): Promise<void> => {
    member = start({
      name: 'member',
      command: process.execPath,
      args: [inRepository('local', 'member.ts'), ...at(), `--port=${port}`, `--data=${join(dir, 'data')}`],
      env: { MEMBER_KEY: hex(secret) },
      log: join(dir, 'member.log'),
    });
    await until('the member', async () => (await fetch(`${url}/healthz`)).ok, { child: member, timeoutMs: 60_000 });
  };
  await run();
  const data = Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) & 255);
  const members = [{ address: unhex(address), url }];
  const result = await collect(members, {
    number: 1,
    data,
    epoch: 1,
    until: Math.floor(Date.now() / 1000) + 3600,
    code: CODE,
    quorum: 1,
    key: await MachineKey.import(unhex(l1.sequencerSecret)),
    signing: new Signing({ chainId: l1.chainId, root: l1.root }),
    timeoutMs: 20_000,
  });
  if (isTooFew(result)) throw new Error(result.outcomes.join());
  await member!.kill9();
  await run();
  const got = await retrieve(members, { dataRoot: result.dataRoot, code: CODE, timeoutMs: 20_000, maxBytes: 2 ** 20 });
  expect(!isUnavailable(got) && equal(got.data, data)).toBe(true);
}, 120_000);

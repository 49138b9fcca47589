/**
 * Batches in all modes against the real contracts on a real EVM, with a committee of the size that the design has, whose members serve over HTTP: each
 * goes to the first mode that takes it, whoever is dead or lies, and whoever reads follows them all, whichever members are left. LONG=1 dies after every
 * call, posts blobs in several parts, and asks every program.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import '../../../protocol/da/install.ts';
import '../../../protocol/keccak/install.ts';
import { privateKeyToAccount } from 'viem/accounts';
import { committeeAbi, rootAbi } from '../../../contracts/abi.ts';
import { VerifierHost } from '../../../durable/verifier/host.ts';
import { type ServedMember, serveMember } from '../../../local/committee/serve.ts';
import { L1 } from '../../../local/l1.ts';
import { nativeKzg } from '../../../local/kzg.ts';
import { inRepository, newRun } from '../../../local/paths.ts';
import { openSql } from '../../../local/sql.ts';
import { hex } from '../../../protocol/bytes.ts';
import { Da } from '../../../protocol/da/carrier.ts';
import { Signing } from '../../../protocol/eip712.ts';
import { keccak } from '../../../protocol/hash.ts';
import { Carriage } from '../../../test/mutants/carriage.ts';
import { dying } from '../../../test/support/dying.ts';
import { MemoryShard } from '../../../test/support/memory-shard.ts';
import { CommitteeChain } from '../../committee/chain.ts';
import { Chain } from '../chain.ts';
import { type SettlementEnv, readSources } from '../env.ts';
import { readRecords } from '../order.ts';
import { findPosted } from '../posted.ts';
import { readPosted } from './read.ts';
import { wholeOf } from './whole.ts';

const execute = promisify(execFile);
const LONG = process.env.LONG === '1';
const CODE = { n: 16, k: 6 };
const QUORUM = 11;
const STAKE = 10n ** 16n;
const secrets = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(0xda, i)));
const accounts = secrets.map((secret) => privateKeyToAccount(hex(secret)));
/** Where nobody listens. */
const DEAD = 'http://127.0.0.1:9';

const kzg = await nativeKzg();
let l1: L1;
let shard: MemoryShard;
let dir: string;
let members: ServedMember[];
/** Where members are, if not where they serve. */
let places: Readonly<Record<number, string>> = {};
let host: VerifierHost;
const events: { event: string; [field: string]: unknown }[] = [];
const log = (event: string, fields: object = {}): void => void events.push({ event, ...fields });

const envOver = (rpc: unknown, modes: string): SettlementEnv => ({
  SHARD: { getByName: () => rpc },
  VERIFIER: { getByName: () => host },
  SHARDS: '1',
  CHAIN_ID: String(l1.chainId),
  ROOT_ADDRESS: l1.root,
  L1_RPC: l1.rpc,
  L1_CONFIRMATIONS: '0',
  POSTER_KEY: l1.posterKey,
  SEQUENCER_KEY: l1.sequencerSecret,
  PASS_SECONDS: '60',
  BATCH_SECONDS: '0',
  DA_MODES: modes,
  BEACON_URL: l1.rpc,
  SLOT_SECONDS: '0',
  COMMITTEE_MEMBERS: members.map(({ url }, i) => `${accounts[i].address}=${places[i] ?? url}`).join(),
});

/** A module of its own each time: what a fresh isolate would run. But for blobs' points, which take seconds to load. */
async function freshPass(): Promise<typeof import('../pass.ts').runPass> {
  vi.resetModules();
  const { installKzg } = await import('../../../protocol/da/kzg.ts');
  installKzg(async () => kzg);
  return (await import('../pass.ts')).runPass;
}
async function pass(modes: string, rpc: unknown = shard.rpc): Promise<void> {
  await l1.request('evm_mine');
  await (
    await freshPass()
  )(envOver(rpc, modes), log);
}
async function verified(): Promise<number> {
  const { runWatch } = await import('../pass.ts');
  await runWatch(envOver(shard.rpc, 'calldata'), log);
  return (await host.standing()).head;
}

const head = (): Promise<number> =>
  l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'head' }).then(Number);
const newest = async () => (await shard.batches({ newest: true, limit: 1 }))[0];
/** A server that answers everything so; never, where that is null. */
async function answering(answer: { status: number; body: string } | null): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    if (answer) request.on('end', () => response.writeHead(answer.status).end(answer.body));
  });
  liars.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const liars: Server[] = [];
function fill(frames: number, bytes: number): void {
  for (let i = 0; i < frames; i++) shard.run(new Uint8Array(bytes).fill(0x77));
}
const ALL = 'committee,blob,calldata';

beforeAll(async () => {
  l1 = await L1.start({
    dir: newRun(),
    blockTime: 0,
    window: 1_000_000,
    inboxDelay: 1_000_000,
    da: {
      demandWindow: 600,
      demandBond: 10n ** 14n,
      committee: {
        members: accounts.map(({ address }) => address),
        threshold: CODE.k,
        quorum: QUORUM,
        retention: 86_400,
        memberStake: STAKE,
      },
    },
  });
  // A blob, so that anvil has loaded its points.
  await new Carriage(Da.blob).open(l1);
  const committee = { address: l1.committee, abi: committeeAbi };
  for (const account of accounts) {
    await l1.fund(account.address);
    await l1.write(account, { ...committee, functionName: 'stake', args: [], value: STAKE });
  }
  await l1.write(accounts[0], {
    ...committee,
    functionName: 'begin',
    args: [accounts.map(({ address }) => address)],
  });
  dir = mkdtempSync(join(tmpdir(), 'agnt2-modes-'));
  const chain = new CommitteeChain(l1.rpc, l1.root);
  members = await Promise.all(
    secrets.map((secret, i) => serveMember({ secret, chain, path: join(dir, `${i}.sqlite`), maxBytes: 2 ** 26 })),
  );
  shard = new MemoryShard(0, new Signing({ chainId: l1.chainId, root: l1.root }));
  shard.lag = 2;
  const sql = openSql(':memory:');
  host = new VerifierHost(sql, sql.together, { shards: 1, chainId: l1.chainId, root: l1.root });
}, 120_000);
afterAll(async () => {
  for (const liar of liars) {
    liar.closeAllConnections();
    liar.close();
  }
  await Promise.all((members ?? []).map((member) => member.close()));
  await l1?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true });
});
afterEach(() => {
  if (process.env.DEBUG_EVENTS) console.error(events.map((e) => JSON.stringify(e)).join('\n'));
  events.splice(0);
});

test('each batch goes to the first mode that takes it, and the next starts at the first again', async () => {
  const went: number[] = [];
  const batch = async (): Promise<void> => {
    fill(20, 100);
    await pass(ALL);
    // The first blob that anvil sees makes it load its points: a slow machine's pass is over by then, and the next one goes on.
    for (let passes = 0; passes < 5 && (await newest()).state !== 'posted'; passes++) await pass(ALL);
    expect((await newest()).state).toBe('posted');
    went.push((await newest()).header.da);
  };
  // As many away as a quorum leaves, each in its own way: dead, silent, with nobody's signature, with no signature, with an error.
  const garbage = JSON.stringify({ signature: `0x${'5b'.repeat(64)}` });
  places = {
    0: DEAD,
    3: await answering(null),
    7: await answering({ status: 200, body: garbage }),
    11: await answering({ status: 200, body: 'not JSON' }),
    15: await answering({ status: 500, body: '{}' }),
  };
  await batch();
  const { outcomes } = events.find(({ event }) => event === 'collected')!;
  expect(
    String(outcomes)
      .split(',')
      .filter((outcome) => outcome === 'signed').length,
  ).toBeGreaterThanOrEqual(QUORUM);
  expect(String(outcomes)).toContain('bad_signature');
  // One more, and they are known to be too few.
  places = { ...places, 3: DEAD, 9: DEAD };
  await batch();
  expect(events.filter(({ event }) => event === 'mode_cannot').map(({ mode }) => mode)).toContain('committee');
  // Neither a quorum nor an L1 that knows blobs.
  const { fetch: realFetch } = globalThis;
  globalThis.fetch = (async (url, init) => {
    if (typeof init?.body === 'string' && init.body.includes('eth_blobBaseFee')) throw new TypeError('no blobs here');
    return realFetch(url, init);
  }) as typeof fetch;
  try {
    await batch();
  } finally {
    globalThis.fetch = realFetch;
  }
  places = {};
  await batch();
  expect(went).toEqual([2, 1, 0, 2]);
  expect(await head()).toBe(4);
  expect(await verified(), 'whoever wants to, can execute them all').toBe(4);
}, 120_000);

/** Only these members are there. */
const only = (alive: readonly number[]): Readonly<Record<number, string>> =>
  Object.fromEntries(accounts.flatMap((_, i) => (alive.includes(i) ? [] : [[i, DEAD]])));
/** All of them signed for the first batch, too. */
const PARITY = [6, 8, 9, 10, 12, 13];

test.each([
  ['the data’s own columns, as far as they were signed for', [1, 2, 4, 5, 6, 8]],
  ['parity alone', PARITY],
  ['other parity', [8, 9, 10, 12, 13, 14]],
  ['some of each', [2, 5, 9, 10, 13, 14]],
])(
  'a node comes from nothing with any k members: %s',
  async (_what, alive) => {
    const sql = openSql(':memory:');
    const late = new VerifierHost(sql, sql.together, { shards: 1, chainId: l1.chainId, root: l1.root });
    const { runWatch } = await import('../pass.ts');
    const follow = async (left: readonly number[]): Promise<number> => {
      places = only(left);
      await runWatch({ ...envOver(shard.rpc, 'calldata'), VERIFIER: { getByName: () => late } }, log);
      return (await late.standing()).head;
    };
    try {
      expect(await follow(alive.slice(1)), 'one too few').toBe(0);
      expect(events.at(-1)).toMatchObject({ event: 'not_shown', batch: 1 });
      expect(await follow(alive)).toBe(4);
      expect(hex(late.verifier.state().tree().root())).toBe((await newest()).stateRoot);
    } finally {
      places = {};
    }
  },
  120_000,
);

test('a program that reads batches reads them in all modes', async () => {
  const env = {
    ...process.env,
    L1_RPC: l1.rpc,
    ROOT_ADDRESS: l1.root,
    BEACON_URL: l1.rpc,
    SLOT_SECONDS: '0',
    COMMITTEE_MEMBERS: members.map(({ url }, i) => `${accounts[i].address}=${PARITY.includes(i) ? url : DEAD}`).join(),
  };
  const run = async (name: string, args: readonly string[], without: Readonly<Record<string, string>> = {}) =>
    execute(process.execPath, [inRepository('local', name), ...args, '--json'], { env: { ...env, ...without } });
  const { stateRoot } = await newest();
  const verify = await run('verify.ts', ['--once', '--every', '1']);
  expect(JSON.parse(verify.stdout)).toMatchObject({ head: 4, verified: 4, lying: 0, stateRoot });
  if (!LONG) return;
  const exit = await run('exit.ts', ['status', '--all']);
  const bisect = await run('bisect.ts', [`${l1.rpc}#${l1.root}`]);
  expect(JSON.parse(exit.stdout)).toMatchObject({ head: 4, stateRoot });
  expect(JSON.parse(bisect.stdout)).toMatchObject({ frames: (await shard.head()).cut.toSeq, parting: null });
  // Told of no member, it says what it lacks, and of which batch.
  const lost = await run('exit.ts', ['status', '--all'], { COMMITTEE_MEMBERS: '' }).catch((error: unknown) => error);
  expect(lost).toMatchObject({ code: 1, stderr: expect.stringMatching(/data of batch 1 .*COMMITTEE_MEMBERS/) });
}, 240_000);

test('what L1 and members forgot comes from an archive, which is not believed', async () => {
  const sql = openSql(':memory:');
  const late = new VerifierHost(sql, sql.together, { shards: 1, chainId: l1.chainId, root: l1.root });
  let isLying = true;
  const archive = createServer(async (request, response) => {
    // As the gateway has it.
    const number = Number(/^\/archive\/(\d+)$/.exec(request.url!)?.[1]);
    const [record] = await shard.batches({ after: number - 1, limit: 1 });
    const whole = await wholeOf(() => readRecords([shard.rpc], record.ranges));
    if ('cannot' in whole) throw new Error(whole.cannot);
    if (isLying) whole.data[whole.data.length - 1] ^= 1;
    response.end(whole.data);
  });
  await new Promise<void>((resolve) => archive.listen(0, '127.0.0.1', resolve));
  const { port } = archive.address() as AddressInfo;
  const { runWatch } = await import('../pass.ts');
  const follow = async (): Promise<number> => {
    const vars = { VERIFIER: { getByName: () => late }, BEACON_URL: '', ARCHIVE_URLS: `http://127.0.0.1:${port}` };
    await runWatch({ ...envOver(shard.rpc, 'calldata'), ...vars }, log);
    return (await late.standing()).head;
  };
  try {
    expect(await follow(), 'the second batch is in blobs').toBe(1);
    isLying = false;
    expect(await follow()).toBe(4);

    // The first is the committee's, and not final: who looks after it takes it from nobody else. Who only wants to know does.
    await late.drop(1);
    places = only([]);
    expect(await follow()).toBe(0);
    const chain = new Chain(l1.rpc, l1.root);
    const posted = await findPosted(chain, 1, await chain.block());
    const sources = readSources({ ARCHIVE_URLS: `http://127.0.0.1:${port}` });
    const frames = async (): Promise<number> => {
      let count = 0;
      for await (const records of readPosted(chain, posted, sources))
        for (const record of records) count += record.frames.length;
      return count;
    };
    const [{ ranges }] = await shard.batches({ limit: 1 });
    expect(await frames()).toBe(ranges[0].frames);
    isLying = true;
    await expect(frames()).rejects.toThrow('too few members');
  } finally {
    places = {};
    archive.close();
  }
}, 120_000);

test('a batch that L1 takes no blobs of becomes another of the same number', async () => {
  fill(5, 100);
  const before = await head();
  // Between the seal and the sending, blob gas becomes too dear.
  const { fetch: realFetch } = globalThis;
  let asked = 0;
  globalThis.fetch = (async (url, init) => {
    if (typeof init?.body === 'string' && init.body.includes('eth_blobBaseFee') && asked++ > 0)
      throw new TypeError('no blobs here');
    return realFetch(url, init);
  }) as typeof fetch;
  try {
    await pass('blob,calldata');
  } finally {
    globalThis.fetch = realFetch;
  }
  expect(events.map(({ event }) => event)).toContain('fall_back');
  expect(await head()).toBe(before + 1);
  expect(await newest()).toMatchObject({ number: before + 1, state: 'posted', header: { da: 0 } });
}, 120_000);

// A pass with blobs takes long, and asks L1 what any other asks.
test.each(LONG ? ['blob', 'committee,calldata'] : ['committee,calldata'])(
  '%s: may die after any call, and the next pass goes on',
  async (modes) => {
    for (let n = LONG ? 0 : 20; ; n += LONG ? 1 : 14) {
      fill(3, 100);
      const { seq } = await shard.head();
      await l1.request('evm_mine');
      const runPass = await freshPass();
      const world = dying(n, shard);
      try {
        await runPass({ ...envOver(world.rpc, modes), VERIFIER: undefined }, log);
      } finally {
        world.restore();
      }
      if (!world.died()) break;
      await pass(modes);
      expect((await shard.head()).cut.toSeq, `after dying at call ${n}`).toBeGreaterThanOrEqual(seq);
    }
    await pass(modes);
    const posts = await l1.client.getContractEvents({
      address: l1.root,
      abi: rootAbi,
      eventName: 'BatchPosted',
      fromBlock: 0n,
    });
    expect(posts.length, 'no batch was posted twice').toBe(await head());
    expect(await verified()).toBe(await head());
  },
  600_000,
);

test.runIf(LONG)(
  'blobs of several transactions',
  async () => {
    fill(230, 4000);
    await pass('blob');
    const { number, header, state } = await newest();
    expect({ da: header.da, state }).toEqual({ da: 1, state: 'posted' });
    const logs = await l1.client.getContractEvents({
      address: l1.root,
      abi: rootAbi,
      eventName: 'BlobsPosted',
      args: { number: BigInt(number) },
      fromBlock: 0n,
      strict: true,
    });
    expect(logs.map(({ args }) => [args.part, Number(args.blobs)])).toEqual([
      [0, 6],
      [1, 8],
    ]);
    expect(await verified()).toBe(number);
  },
  600_000,
);

/** The sequencer is gone: everybody leaves by the tool, with L1 alone, to the unit. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { p256 } from '@noble/curves/nist.js';
import { type PrivateKeyAccount, generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat, hex } from '../../protocol/bytes.ts';
import { Head, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import type { Half } from '../../protocol/half.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { sha } from '../../protocol/log.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { Status } from '../../protocol/status.ts';
import { MemoryShard } from '../../test/support/memory-shard.ts';
import { L1 } from '../l1.ts';
import { newRun } from '../paths.ts';

const SHARDS = 2;
const UNIT = 3n;
const FREEZE_AFTER = 500;
const HALF_WINDOW = 300;
const START = 10_000;
/** Ann pays cat in it. */
const CATS = 256 + 1;
const HASH = sha(Uint8Array.of(1));
const dir = newRun();

interface Actor {
  readonly name: string;
  readonly owner: PrivateKeyAccount;
  readonly secret: Uint8Array;
  readonly id: number;
  nonce: number;
}

let l1: L1;
let shards: MemoryShard[];
let signing: Signing;
const events: string[] = [];
const payer = generatePrivateKey();

async function pass(): Promise<void> {
  await l1.request('evm_mine');
  vi.resetModules();
  const { runPass } = await import('../../workers/settlement/pass.ts');
  const env = {
    SHARD: { getByName: (name: string) => shards[Number(name.slice('shard-'.length))] },
    SHARDS: String(SHARDS),
    CHAIN_ID: String(l1.chainId),
    ROOT_ADDRESS: l1.root,
    L1_RPC: l1.rpc,
    L1_CONFIRMATIONS: '0',
    POSTER_KEY: l1.posterKey,
    PASS_SECONDS: '8',
    BATCH_SECONDS: '0',
  };
  await runPass(env, (event, fields) => void events.push(`${event} ${JSON.stringify(fields ?? {})}`));
}

function travel(): void {
  for (let moved = true; moved;) {
    moved = false;
    for (const one of shards)
      for (const two of shards) if (one !== two && (one.deliver(two) > 0 || one.acknowledge(two))) moved = true;
  }
}

const sign = (actor: Actor, preimage: Uint8Array): Uint8Array =>
  p256.sign(sha(preimage), actor.secret, { prehash: false, lowS: true });

/** A bundle of an actor, all of which goes well. Returns the values. */
function run(actor: Actor, ...interactions: Interaction[]): number[] {
  const body = encodeBundleBody({ actor: actor.id, nonce: actor.nonce, expiry: 0xf0000000 }, interactions);
  const outcomes = shards[shardOf(actor.id)].run(concat(body, sign(actor, signing.bundle(body))));
  actor.nonce += 1;
  expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => Status.ok));
  return outcomes.slice(1).map(({ value }) => value);
}

async function enroll(name: string, shard: number, serial: number): Promise<Actor> {
  const owner = privateKeyToAccount(generatePrivateKey());
  const secret = sha(new TextEncoder().encode(name));
  const key = p256.getPublicKey(secret, false).slice(1);
  await l1.fund(owner.address);
  const token = { address: l1.token, abi: testTokenAbi } as const;
  const args = [shard, hex(key.subarray(0, 32)), hex(key.subarray(32)), BigInt(START)] as const;
  await l1.write(
    owner,
    { ...token, functionName: 'mint', args: [owner.address, BigInt(START + 1000) * UNIT] },
    { ...token, functionName: 'approve', args: [l1.root, 10n ** 12n] },
    { address: l1.root, abi: rootAbi, functionName: 'register', args },
  );
  return { name, owner, secret, id: serial * 256 + shard, nonce: 0 };
}

/** A gateway that holds what it is told to, a page at a time. */
async function gateway(pages: readonly object[][]): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => {
    const after = new URL(request.url ?? '', 'http://here').searchParams.get('after');
    const page = after === '0:0' ? 0 : Number(after?.split(':')[1]);
    const next = page + 1 < pages.length ? `1:${page + 1}` : undefined;
    response.end(JSON.stringify({ sessions: pages[page], next }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** Runs the tool as people do; `act` is called when it says `what`, and without it is killed then. */
function exit(
  args: readonly string[],
  what?: RegExp,
  act?: () => void,
): Promise<{ code: number | null; out: string; err: string }> {
  const all = ['local/exit.ts', ...args, '--rpc', l1.rpc, '--root', l1.root];
  const child = spawn(process.execPath, all, { env: { ...process.env, EXIT_KEY: payer } });
  let [out, err] = ['', ''];
  child.stdout.on('data', (text: Buffer) => {
    out += text;
    if (!what?.test(out)) return;
    what = undefined;
    if (act) act();
    else child.kill('SIGKILL');
  });
  child.stderr.on('data', (text: Buffer) => void (err += text));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

const linesOf = (out: string): { event: string }[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string });

const tokens = async (actor: Actor): Promise<number> => Number((await l1.tokenBalance(actor.owner.address)) / UNIT);
async function sleep(seconds: number): Promise<void> {
  await l1.request('evm_increaseTime', [seconds]);
  await l1.request('evm_mine');
}

let [ann, bob, cat, dan]: Actor[] = [];
let burned = 0;

beforeAll(async () => {
  l1 = await L1.start({
    dir,
    blockTime: 0,
    window: 2,
    inboxDelay: 10_000,
    unit: UNIT,
    shards: SHARDS,
    freezeAfter: FREEZE_AFTER,
    halfWindow: HALF_WINDOW,
  });
  await l1.fund(privateKeyToAccount(payer).address);
  signing = new Signing({ chainId: l1.chainId, root: l1.root });
  shards = Array.from({ length: SHARDS }, (_, shard) => new MemoryShard(shard, signing, SHARDS));
  for (const shard of shards) shard.lag = 2;
  ann = await enroll('ann', 0, 1);
  bob = await enroll('bob', 0, 2);
  cat = await enroll('cat', 1, 1);
  dan = await enroll('dan', 1, 2);
  await pass();
  travel();
  await pass();
  events.splice(0);

  // Calls, in each state that they can stand in.
  const service = (arbiter = 0): Interaction => ({
    op: 'publish',
    service: 0,
    active: true,
    ceiling: 1000,
    deadlineSeconds: 100_000,
    arbiter,
    contestSeconds: 100_000,
    metadataHash: HASH,
  });
  const [plain, judged] = run(bob, service(), service(dan.id));
  const [far] = run(dan, service());
  const ask = (id: number, amount: number, more: object = {}): Interaction => ({
    op: 'invoke',
    service: id,
    amount,
    ...more,
  });
  const [, done, held, contested] = run(ann, ask(plain, 100), ask(plain, 90), ask(judged, 80), ask(judged, 70));
  run(ann, ask(plain, 11, { back: 4 }), ask(far, 60));
  const answer = (escrow: number, price: number): Interaction => ({
    op: 'respond',
    escrow,
    price,
    result: 'fulfilled',
  });
  run(bob, answer(done, 40), answer(held, 30), answer(contested, 20));
  run(ann, { op: 'contest', escrow: contested });

  // Two workflows across shards: one committed and not told, one given up with an answer in it.
  const legs = [plain, far].map((id) => ({ payer: ann.id, service: id }));
  const orders: number[] = [];
  for (const amount of [50, 7]) {
    const plan: Interaction = { op: 'plan', deadlineSeconds: 100_000, legs };
    const [, here] = run(
      ann,
      plan,
      ask(plain, amount, { workflow: 0, leg: 0 }),
      ask(far, amount, { workflow: 0, leg: 1 }),
    );
    orders.push(here);
  }
  travel();
  run(bob, ...orders.map((escrow, i) => answer(escrow, i === 0 ? 45 : 7)));
  const theirs = [2, 3].map((serial) => serial * 256 + 1);
  run(dan, answer(theirs[0], 25));

  // A session with more paid than L1 knows, and one that a lie was told in.
  run(ann, { op: 'open', peer: cat.id, deposit: 400, exitDelay: 50 }, { op: 'stake', amount: 101 });
  travel();
  const half = (fields: Partial<Half>): Half => ({
    session: CATS,
    dir: 0,
    seq: 1,
    calls: 2,
    paid: 70,
    root: HASH,
    ...fields,
  });
  const signed = (which: Half): Uint8Array => sign(ann, signing.half(which));
  run(cat, { op: 'settle', half: half({}), signature: signed(half({})) });
  const [one, two] = [half({ seq: 3, paid: 80 }), half({ seq: 3, paid: 81 })].map((which) => ({
    ...which,
    signature: signed(which),
  }));
  run(cat, { op: 'slash', session: CATS, dir: 0, first: one, second: two });
  travel();
  const newest = half({ seq: 9, calls: 9, paid: 150 });
  mkdirSync(join(dir, 'halves'), { recursive: true });
  const json = { ...newest, session: formatId(CATS), root: hex(HASH), signature: hex(signed(newest)) };
  writeFileSync(join(dir, 'halves', 'ann.json'), JSON.stringify(json));
  burned = 51;

  run(bob, { op: 'withdraw', amount: 500 });
  await pass();
  // On the way when the sequencer dies: what a transfer, one to nobody, and a deposit bring.
  const deposit = (actor: Actor, to: Actor, amount: number) =>
    l1.write(actor.owner, { address: l1.root, abi: rootAbi, functionName: 'deposit', args: [to.id, BigInt(amount)] });
  await deposit(bob, cat, 200);
  run(ann, { op: 'transfer', to: cat.id, amount: 33 }, { op: 'transfer', to: 999 * 256 + 1, amount: 44 });
  await pass();
  await pass();
  // And what it never took in.
  await deposit(dan, dan, 300);
}, 120_000);
afterAll(() => l1?.stop());

test('tells what everybody has', async () => {
  const { code, out, err } = await exit(['status', '--all', '--json']);
  expect([code, err]).toEqual([0, '']);
  const { total, frozen, places } = JSON.parse(out) as { total: number; frozen: boolean; places: { kind: string }[] };
  const held = await l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'held' });
  expect(total).toBe(Number(held) - burned);
  expect(frozen).toBe(false);
  expect(new Set(places.map(({ kind }) => kind))).toEqual(
    new Set(['agent', 'escrow', 'leg', 'message', 'session', 'deposit', 'withdrawal']),
  );
  const person = await exit(['status', '--owner', cat.owner.address]);
  expect(person.out).toContain('session 1:1');
  expect(person.out).toContain('alive');
}, 120_000);

test('says what can be done about what can not', async () => {
  expect((await exit(['leave', '--owner', cat.owner.address, '--no-wait'])).code, 'too early').toBe(3);
  expect((await exit(['freeze'])).err).toMatch(/NotFreezable/);
  expect((await exit(['force', '0:1', 'stake', '5'])).err).toMatch(/can't be forced/);
  expect((await exit(['force', '7', 'unstake'])).err).toMatch(/is no id/);
  expect((await exit(['leave', '--owner', cat.owner.address, '--halves', '/nowhere'])).err).toMatch(/no file/);
  const none = spawn(process.execPath, ['local/exit.ts', 'status', '--rpc', l1.rpc, '--root', cat.owner.address]);
  expect(await new Promise((resolve) => none.on('close', resolve))).toBe(1);
}, 120_000);

test('forces what an owner may', async () => {
  const before = await l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'inboxLength' });
  expect((await exit(['force', '1:1', 'exit', '1:1'])).code).toBe(0);
  expect((await exit(['force', '1:1', 'withdraw', '5', '--dry-run'])).out).toContain('only tried');
  const after = await l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'inboxLength' });
  expect(after - before).toBe(1n);
}, 120_000);

test('everybody leaves, and what is left was burned', async () => {
  const [before, supply] = [await Promise.all([ann, bob, cat, dan].map(tokens)), await l1.tokenBalance(l1.root)];
  await sleep(FREEZE_AFTER);
  // One alone, killed in the middle and run again.
  const cats = ['leave', '--owner', cat.owner.address, '--halves', join(dir, 'halves')];
  const killed = await exit(cats, /was shown/);
  expect(killed.code).toBeNull();
  expect(killed.out).toContain('the exits are open');

  // Who is away has a tower, whoever tries what meanwhile: an older half is shown, and one is made up.
  const halves = (paid: number, signature?: Uint8Array): object[] => {
    const made: Half = { session: CATS, dir: 0, seq: paid, calls: 1, paid, root: HASH };
    const payerSignature = hex(signature ?? sign(ann, signing.half(made)));
    return [{ ...made, root: hex(HASH), payerSignature }];
  };
  const session = (live: object[]): object => ({ id: formatId(CATS), live: { halves: live } });
  const away = await gateway([[session(halves(399, new Uint8Array(64)))], [session(halves(140))]]);
  const tower = ['tower', '--gateway', away.url, '--no-wait', '--json'];
  const shown = await exit(tower);
  expect([shown.code, shown.err]).toEqual([0, '']);
  expect(linesOf(shown.out)).toEqual([
    { event: 'refused', session: '1:1', dir: 0, paid: 399, error: 'bad_signature' },
    expect.objectContaining({ event: 'sent', call: 'showHalves' }),
    expect.objectContaining({ event: 'half', session: '1:1', dir: 0, paid: 140 }),
  ]);
  expect(
    linesOf((await exit(tower)).out).map(({ event }) => event),
    'nothing newer',
  ).toEqual(['refused']);
  away.close();
  const gone = await exit(tower);
  expect([gone.code, linesOf(gone.out).map(({ event }) => event)]).toEqual([3, ['failed']]);

  const again = await exit([...cats, '--no-wait', '--json']);
  expect([again.code, again.err]).toEqual([3, '']);
  expect(linesOf(again.out).map(({ event }) => event)).toEqual(expect.arrayContaining(['half', 'collected', 'waits']));
  expect(await tokens(cat)).toBe(before[2] + START + 50 + 33);
  const { code, out } = await exit(['leave', '--all'], /seconds to wait/, () => void sleep(HALF_WINDOW + 1));
  expect(out).not.toContain('refuses');
  expect(code).toBe(0);

  // Held 30 of 80; legs 45 and 25 of 50; 40 answered; the session's 150 by the half that was shown.
  const after = await Promise.all([ann, bob, cat, dan].map(tokens));
  const gained = after.map((amount, i) => amount - before[i]);
  expect(gained).toEqual([
    START - 40 - 30 - 45 - 25 - 150 - 101 - 33,
    START + 40 + 30 + 45 + 200,
    START + 150 + 50 + 33,
    START + 25 + 300,
  ]);
  expect(gained.reduce((sum, amount) => sum + amount, 0) + burned).toBe(Number(supply / UNIT));
  expect(await l1.tokenBalance(l1.root)).toBe(BigInt(burned) * UNIT);
  expect(shards.reduce((sum, { engine }) => sum + get(engine.machine.head(), Head.burned), 0)).toBe(burned);
  // Nothing is left to do.
  expect((await exit(['leave', '--all', '--json'])).out.trim().split('\n')).toHaveLength(1);
}, 120_000);

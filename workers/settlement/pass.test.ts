/** Settlement against the real contract on a real EVM, over a shard in memory, dying and overlapping wherever it can. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import type { BatchRecord } from '../../durable/shard/api.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { Signing } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { hex } from '../../protocol/bytes.ts';
import { dying } from '../../test/support/dying.ts';
import { MemoryShard } from '../../test/support/memory-shard.ts';
import type { SettlementEnv } from './env.ts';

let l1: L1;
let shard: MemoryShard;
const owner = privateKeyToAccount(`0x${'11'.repeat(32)}`);
const events: { event: string; [field: string]: unknown }[] = [];
const log = (event: string, fields: object = {}): void => void events.push({ event, ...fields });

/** A module of its own each time: what a fresh isolate, or a second one, would run. */
async function freshPass(): Promise<typeof import('./pass.ts').runPass> {
  vi.resetModules();
  return (await import('./pass.ts')).runPass;
}

const envOver = (rpc: unknown): SettlementEnv => ({
  SHARD: { getByName: () => rpc },
  SHARDS: '1',
  CHAIN_ID: String(l1.chainId),
  ROOT_ADDRESS: l1.root,
  L1_RPC: l1.rpc,
  L1_CONFIRMATIONS: '0',
  POSTER_KEY: l1.posterKey,
  PASS_SECONDS: '8',
  BATCH_SECONDS: '0',
});

async function pass(rpc: unknown = shard.rpc): Promise<void> {
  // Automine makes no block by itself: let L1's clock catch up with ours.
  await l1.request('evm_mine');
  await (
    await freshPass()
  )(envOver(rpc), log);
}

const read = (functionName: 'head' | 'finalized' | 'inboxLength'): Promise<number> =>
  l1.client.readContract({ address: l1.root, abi: rootAbi, functionName }).then(Number);
const records = (): Promise<BatchRecord[]> => shard.batches({ limit: 1000 });
const posts = (): Promise<number> =>
  l1.client
    .getContractEvents({ address: l1.root, abi: rootAbi, eventName: 'BatchPosted', fromBlock: 0n })
    .then((logs) => logs.length);

async function register(amount: number): Promise<void> {
  const { publicKey } = await MachineKey.import(MachineKey.randomSecret());
  const args = [0, hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32)), BigInt(amount)] as const;
  await l1.write(owner, { address: l1.root, abi: rootAbi, functionName: 'register', args });
}

/** Frames that mean nothing and weigh something: the trace takes any bytes. */
function fill(frames: number, bytes: number): void {
  for (let i = 0; i < frames; i++) shard.run(new Uint8Array(bytes).fill(0x77));
}

beforeAll(async () => {
  l1 = await L1.start({ dir: newRun(), blockTime: 0, window: 2, inboxDelay: 10_000 });
  await l1.fund(owner.address);
  await l1.write(
    owner,
    { address: l1.token, abi: testTokenAbi, functionName: 'mint', args: [owner.address, 10n ** 12n] },
    { address: l1.token, abi: testTokenAbi, functionName: 'approve', args: [l1.root, 10n ** 12n] },
  );
  shard = new MemoryShard(0, new Signing({ chainId: l1.chainId, root: l1.root }));
  shard.lag = 2;
});
afterAll(() => l1?.stop());
afterEach(() => {
  if (process.env.DEBUG_EVENTS) console.error(events.map((e) => JSON.stringify(e)).join('\n'));
  events.splice(0);
});

test('takes in the inbox, posts what came of it, finalizes after the window', async () => {
  await register(1000);
  await register(2000);
  await pass();
  expect(await read('head')).toBe(1);
  const [first] = await records();
  expect(first).toMatchObject({ number: 1, state: 'posted', header: { inboxCursor: 2 } });
  expect(first.tx).toMatch(/^0x/);
  expect((await shard.head()).inboxCursor).toBe(2);

  await pass();
  expect(await read('head'), 'nothing new, nothing posted').toBe(1);

  await l1.request('evm_increaseTime', [3]);
  await pass();
  expect(await read('finalized')).toBe(1);
  expect((await records())[0].state).toBe('final');
});

test('cuts a batch that is too big for a transaction into parts', async () => {
  fill(300, 1000);
  fill(12_000, 1);
  await pass();

  const last = (await records()).findLast(({ ranges }) => ranges[0].frames > 12_000)!;
  expect(last.state).toBe('posted');
  const parts = await l1.client.getContractEvents({
    address: l1.root,
    abi: rootAbi,
    eventName: 'DataPosted',
    args: { number: BigInt(last.number) },
    fromBlock: 0n,
  });
  expect(parts.length).toBeGreaterThanOrEqual(4);
  for (const { transactionHash } of parts) {
    const { gasUsed } = await l1.client.getTransactionReceipt({ hash: transactionHash });
    expect(gasUsed).toBeLessThan(16_777_216n);
  }
});

test('may die after any call it makes, and the next pass goes on', async () => {
  for (let n = 0; ; n += 1) {
    await register(1);
    fill(110, 1000);
    const { seq } = await shard.head();
    await l1.request('evm_mine');
    const world = dying(n, shard);
    try {
      await (
        await freshPass()
      )(envOver(world.rpc), log);
    } finally {
      world.restore();
    }
    if (!world.died()) break;
    await pass();
    expect((await shard.head()).cut.toSeq, `after dying at call ${n}`).toBeGreaterThanOrEqual(seq);
    expect((await shard.head()).cut.number, `after dying at call ${n}`).toBe(await read('head'));
  }
  await pass();
  expect(await posts(), 'no batch was posted twice').toBe(await read('head'));
  expect((await records()).every(({ state }) => state === 'posted' || state === 'final')).toBe(true);
  // Every frame is in exactly one batch.
  let seq = 0;
  for (const { ranges } of await records()) {
    expect(ranges[0].firstSeq).toBe(seq);
    seq += ranges[0].frames;
  }
  expect(seq).toBe((await shard.head()).cut.toSeq);
}, 300_000);

test('two at once post one batch', async () => {
  fill(350, 1000);
  const head = await read('head');
  await l1.request('evm_mine');
  const [one, two] = [await freshPass(), await freshPass()];
  await Promise.all([one(envOver(shard.rpc), log), two(envOver(shard.rpc), log)]);
  await pass();
  expect(await read('head')).toBeGreaterThan(head);
  expect(await posts()).toBe(await read('head'));
  expect((await shard.head()).cut.number).toBe(await read('head'));
});

test('a reorg takes batches away: the same ones come back', async () => {
  fill(10, 100);
  await pass();
  fill(10, 100);
  await pass();
  const before = await records();
  const head = await read('head');
  const depth = Number(await l1.client.getBlockNumber()) - before.at(-2)!.block! + 1;
  await l1.request('anvil_reorg', [depth, []]);
  expect(await read('head')).toBeLessThanOrEqual(head - 2);
  await pass();
  await pass();
  expect(await read('head')).toBeGreaterThanOrEqual(head);
  const after = await records();
  expect(after.slice(0, before.length).map(({ hash }) => hash)).toEqual(before.map(({ hash }) => hash));
  expect(events.some(({ event, state, was }) => event === 'batch' && state === 'pending' && was === 'posted')).toBe(
    true,
  );
});

test('outbids a transaction of its own that is stuck', async () => {
  fill(10, 100);
  await l1.request('evm_setAutomine', [false]);
  const head = await read('head');
  await pass();
  expect(events.some(({ event }) => event === 'open')).toBe(true);
  expect(await read('head')).toBe(head);
  const again = (await freshPass())(envOver(shard.rpc), log);
  setTimeout(() => void l1.request('evm_setAutomine', [true]), 7_000);
  await again;
  expect(events.some(({ event, bump }) => event === 'sent' && Number(bump) > 0)).toBe(true);
  await pass();
  expect(await read('head')).toBeGreaterThan(head);
  expect(await posts()).toBe(await read('head'));
}, 60_000);

test('L1 out of reach is logged and costs nothing', async () => {
  await l1.stop();
  const head = await shard.head();
  await (
    await freshPass()
  )(envOver(shard.rpc), log);
  expect(events.map(({ event }) => event)).toContain('pass_failed');
  fill(1, 10);
  await l1.restart();
  // A node that comes back has forgotten how far its clock was put forward.
  await l1.request('evm_increaseTime', [60]);
  await pass();
  await pass();
  expect(Number((await shard.head()).cut.number)).toBeGreaterThan(head.cut.number);
});

test('a batch that leaves out an overdue item is made anew, with the item', async () => {
  fill(10, 100);
  const head = await read('head');
  // The worker dies right after the batch was written down.
  const composeOnly = new Proxy(shard, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'recordBatch')
        return async (batch: BatchRecord) => {
          await target.recordBatch(batch);
          throw new Error('died');
        };
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  await pass(composeOnly);
  expect(await read('head')).toBe(head);
  await register(5);
  await l1.request('evm_increaseTime', [10_001]);
  await pass();
  await pass();
  expect(events.some(({ event }) => event === 'recompose')).toBe(true);
  expect(await read('head')).toBeGreaterThan(head);
  expect((await records()).at(-1)!.header.inboxCursor).toBe(await read('inboxLength'));
});

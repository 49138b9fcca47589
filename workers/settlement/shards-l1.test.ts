/** Many shards against the real contract on a real EVM: what L1 was given is the trace, executed again to the state that L1 was told. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { decodeFunctionData } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { Trace, replayBatch } from '../../protocol/replay.ts';
import { hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { commitment } from '../../protocol/engine.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type ChunkRecord, decodeChunkRecords } from '../../protocol/trace.ts';
import { MemoryShard } from '../../test/support/memory-shard.ts';

const SHARDS = 3;
const owner = privateKeyToAccount(`0x${'11'.repeat(32)}`);
const events: string[] = [];
let l1: L1;
let shards: MemoryShard[];

async function pass(): Promise<void> {
  await l1.request('evm_mine');
  vi.resetModules();
  const { runPass } = await import('./pass.ts');
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
  await runPass(env, (event) => void events.push(event));
}

function travel(): void {
  for (const one of shards) for (const two of shards) if (one !== two) one.deliver(two);
  for (const one of shards) for (const two of shards) if (one !== two) one.acknowledge(two);
}

/** Records of every batch, from the inputs of the transactions that posted it. */
async function posted(): Promise<ChunkRecord[][]> {
  const logs = await l1.client.getContractEvents({ address: l1.root, abi: rootAbi, fromBlock: 0n });
  const batches: ChunkRecord[][] = [];
  const seen = new Set<string>();
  for (const { eventName, args, transactionHash } of logs) {
    if (eventName !== 'DataPosted' || seen.has(transactionHash)) continue;
    seen.add(transactionHash);
    const { input } = await l1.client.getTransaction({ hash: transactionHash });
    const data = decodeFunctionData({ abi: rootAbi, data: input }).args!.at(-1) as `0x${string}`;
    (batches[Number((args as { number: bigint }).number)] ??= []).push(...decodeChunkRecords(unhex(data)));
  }
  return batches;
}

beforeAll(async () => {
  l1 = await L1.start({ dir: newRun(), blockTime: 0, window: 2, inboxDelay: 10_000 });
  await l1.fund(owner.address);
  await l1.write(
    owner,
    { address: l1.token, abi: testTokenAbi, functionName: 'mint', args: [owner.address, 10n ** 12n] },
    { address: l1.token, abi: testTokenAbi, functionName: 'approve', args: [l1.root, 10n ** 12n] },
  );
  const signing = new Signing({ chainId: l1.chainId, root: l1.root });
  shards = Array.from({ length: SHARDS }, (_, shard) => new MemoryShard(shard, signing, SHARDS));
  for (const shard of shards) shard.lag = 2;
});
afterAll(() => l1?.stop());

test('what L1 was given is the trace', async () => {
  for (let round = 0; round < 4; round++) {
    for (let shard = 0; shard < SHARDS; shard++) {
      const { publicKey } = await MachineKey.import(MachineKey.randomSecret());
      const args = [shard, hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32)), 1000n] as const;
      await l1.write(owner, { address: l1.root, abi: rootAbi, functionName: 'register', args });
    }
    await pass();
    // What the inbox sent to the other shards is still under way: it must arrive before the next cut.
    await pass();
    travel();
    await pass();
  }
  travel();
  await pass();
  expect(events).not.toContain('pass_failed');
  const batches = await posted();
  const read = (functionName: 'head' | 'finalized') =>
    l1.client.readContract({ address: l1.root, abi: rootAbi, functionName }).then(Number);
  expect(await read('head')).toBe(batches.length - 1);
  expect(await read('head')).toBeGreaterThan(4);

  const trace = new Trace({ shards: SHARDS, chainId: l1.chainId, root: l1.root, verify: () => true });
  for (const [number, records] of batches.entries()) {
    if (number === 0) continue;
    const { isCanonical, stateRoot } = await replayBatch(trace, records);
    expect(isCanonical).toBe(true);
    const args = [BigInt(number)] as const;
    const { post } = await l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'posted', args });
    expect(hex(commitment(stateRoot))).toBe(post);
  }
  // Not the head's: the pass that posted the last batch may have ticked once more after its cut.
  for (const [shard, { engine }] of trace.runs.entries())
    expect(hex(engine.trie.root())).toBe(hex(await shards[shard].rootAt(batches.length - 1)));
  for (const { engine } of trace.runs) expect(engine.machine.balance(256 + engine.shard)).toBe(1000);

  await l1.request('evm_increaseTime', [3]);
  await pass();
  expect(await read('finalized')).toBe(await read('head'));
});

/**
 * What a step costs at L1, for each operation: the trace of test/vectors, in which all of them happen, on a state where thousands of cells lie beside
 * those it uses, so that witnesses are as long as they are in life.
 */
import { p256 } from '@noble/curves/nist.js';
import { createPublicClient, encodeDeployData, encodeFunctionData, http } from 'viem';
import { stepAbi, stepBytecode } from '../../contracts/abi.ts';
import type { L1 } from '../../local/l1.ts';
import { until } from '../../local/process.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { type Hex, concat, equal, hex, unhex } from '../../protocol/bytes.ts';
import { Agent, Region, addressOf, get } from '../../protocol/cells.ts';
import { Signing, domainSeparator } from '../../protocol/eip712.ts';
import { type Context, FrameKind, stepsOf } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { makeId } from '../../protocol/ids.ts';
import { sha } from '../../protocol/log.ts';
import { Shards } from '../../protocol/shards.ts';
import { Status } from '../../protocol/status.ts';
import { bundleIn } from '../../protocol/step.ts';
import { type ProvenStep, Recorder, proveStep } from '../../protocol/witness.ts';
import { traceVector } from '../vectors/trace.ts';
import { median } from './suite.ts';

const SHARDS = 2;
/** Other cells of each region: from behind what the trace uses. */
const [NOISE_FROM, NOISE_TO] = [64, 4096];
const NOISY = [Region.agent, Region.key, Region.service, Region.capability, Region.session, Region.escrow];
const EMPTY_FROM = 'an account that nobody uses';
/** Of one step, so that its slowest call does not count. */
const CALLS = 3;
/** EIP-7825. */
const TX_GAS = 2n ** 24n;

interface Asked extends ProvenStep {
  readonly name: string;
  readonly shard: number;
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly index: number;
}

export interface StepCosts {
  /** Gas of an L1 transaction that executes the dearest step of each name, by what it does. */
  readonly gas: ReadonlyMap<string, number>;
  /** Median milliseconds of an `eth_call` of a step. */
  readonly callMs: number;
  readonly count: number;
}

const SYSTEM: Readonly<Record<number, string>> = {
  [FrameKind.tick]: 'Tick',
  [FrameKind.inbox]: 'Inbox',
  [FrameKind.receive]: 'Receive',
  [FrameKind.ack]: 'Ack',
  [FrameKind.advance]: 'Advance',
  [FrameKind.tell]: 'TellByNobody',
  [FrameKind.bundle]: 'Opening',
};

/** All steps of the trace, and of a bundle as dear to take apart as one can be. */
function steps(): { readonly domain: Hex; readonly steps: Asked[] } {
  const { domain, frames } = traceVector();
  const recorder = new Recorder();
  const shards = new Shards({
    shards: SHARDS,
    signing: new Signing(domain),
    trie: (shard) => recorder.trie(shard),
  });
  const cellOf = (at: number): Uint8Array => {
    const half = keccak(Uint8Array.of(at >>> 24, at >>> 16, at >>> 8, at));
    return concat(half, keccak(half));
  };
  for (let shard = 0; shard < SHARDS; shard++)
    for (const region of NOISY)
      for (let slot = NOISE_FROM; slot < NOISE_TO; slot++)
        shards
          .engine(shard)
          .trie.edit(region, slot)
          .set(cellOf(addressOf(shard, region, slot)));
  // And there are shards beside these.
  for (let shard = SHARDS; shard < 256; shard = 4 * shard) shards.engine(shard).trie.edit(Region.agent, 1).fill(1);

  const asked: Asked[] = [];
  const run = (shard: number, seq: number, frame: Uint8Array, name?: string): number[] => {
    const bundle = bundleIn(frame);
    let context: Context = 0;
    return Array.from({ length: stepsOf(frame) }, (_, index) => {
      const proven = proveStep(shards, recorder, { shard, seq, frame }, index, context, bundle);
      shards.engine(shard).takeSent();
      ({ context } = proven);
      const own = index === 0 ? SYSTEM[frame[0]] : bundle?.interactions[index - 1].op;
      asked.push({ ...proven, shard, seq, frame, index, name: name ? `${name}${own}` : (own ?? 'Refused') });
      return proven.status;
    });
  };
  for (const { shard, seq, frame } of frames) run(shard, seq, unhex(frame));
  // Of its 256 calls, the last is behind all others.
  const actor = makeId(0, 1);
  const engine = shards.engine(0);
  const call = { op: 'invoke', service: makeId(0, 1), amount: 1 } as const;
  const nonce = get(engine.machine.readAgent(actor), Agent.nonce);
  const body = encodeBundleBody(
    { actor, nonce, expiry: 0xf0000000 },
    Array.from({ length: 256 }, () => call),
  );
  const digest = sha(new Signing(domain).bundle(body));
  const frame = concat(body, p256.sign(digest, sha(Uint8Array.of(1)), { prehash: false, lowS: true }));
  if (run(0, engine.seq, frame, 'Full_')[0] !== Status.ok) throw new Error('the full bundle was refused');
  return { domain: hex(domainSeparator(domain)), steps: asked };
}

/** Executes each at L1 by a transaction of its own. */
export async function stepCosts(l1: L1, progress: (line: string) => void): Promise<StepCosts> {
  const { domain, steps: all } = steps();
  const from = hex(keccak(new TextEncoder().encode(EMPTY_FROM)).subarray(12));
  await l1.fund(from);
  await l1.request('anvil_impersonateAccount', [from]);
  const send = async (tx: { to?: Hex; data: Hex }): Promise<{ gas: number; contract: Hex }> => {
    const sent = { from, ...tx, gas: `0x${TX_GAS.toString(16)}` };
    const hash = (await l1.request('eth_sendTransaction', [sent])) as Hex;
    const receipt = await until('a receipt', () => l1.client.getTransactionReceipt({ hash }).catch(() => null));
    if (receipt.status !== 'success') throw new Error(`${hash} was reverted`);
    return { gas: Number(receipt.gasUsed), contract: receipt.contractAddress! };
  };
  const data = encodeDeployData({ abi: stepAbi, bytecode: stepBytecode, args: [BigInt(SHARDS)] });
  const { contract: to } = await send({ data });
  const client = createPublicClient({ transport: http(l1.rpc) });
  const gas = new Map<string, number>();
  const calls: number[] = [];
  // Of a full bundle, the first and the last.
  const asked = all.filter(({ name, index }) => !name.startsWith('Full_') || index === 0 || index === 256);
  for (const { name, pre, post, shard, seq, frame, index, witness, status } of asked) {
    const args = [domain, hex(pre), shard, BigInt(seq), hex(frame), BigInt(index), hex(witness)] as const;
    const data = encodeFunctionData({ abi: stepAbi, functionName: 'step', args });
    const took: number[] = [];
    for (let i = 0; i < CALLS; i++) {
      const start = performance.now();
      const { data: answer } = await client.call({ to, data, gas: TX_GAS });
      took.push(performance.now() - start);
      if (!equal(unhex(answer!).subarray(0, 32), post)) throw new Error(`L1 comes to something else: ${name} ${seq}`);
    }
    calls.push(Math.min(...took));
    const cost = (await send({ to, data })).gas;
    if (status === Status.ok || !gas.has(name)) gas.set(name, Math.max(gas.get(name) ?? 0, cost));
  }
  for (const [name, cost] of [...gas].toSorted((a, b) => b[1] - a[1]).slice(0, 5)) progress(`${name}: ${cost} gas`);
  return { gas, callMs: median(calls), count: asked.length };
}

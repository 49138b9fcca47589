/** What tests of the shard and the gateway need: agents that exist on chain, and bundles of theirs. */
import { env } from 'cloudflare:workers';
import { signBundle } from '../../protocol/bundle.ts';
import { type Hex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { formatId, makeId, parseId, shardOf } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type SignedReceipt, decodeReceipt } from '../../protocol/receipt.ts';
import { STATUSES } from '../../protocol/status.ts';
import { type Failure, type ShardRpc, type SubmitResult, isFailure, shardStub } from './api.ts';

export interface TestEnv {
  readonly SHARD: DurableObjectNamespace;
  readonly SESSION: DurableObjectNamespace;
  readonly AGENT: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  readonly SEQUENCER_KEY: string;
}

export const testEnv = env as unknown as TestEnv;
export const signing = new Signing({ chainId: Number(testEnv.CHAIN_ID), root: testEnv.ROOT_ADDRESS as Hex });
export const shard0 = (): ShardRpc => shardStub(testEnv.SHARD, 0);
export const FOREVER = 0xffffffff;

export type Submitted = { readonly receipt: SignedReceipt } | Failure;

export function unpacked(result: SubmitResult): Submitted {
  return isFailure(result) ? result : { receipt: decodeReceipt(result.receipt) };
}

/** An agent with its key; counts its own nonces. */
export class TestAgent {
  readonly id: number;
  readonly key: MachineKey;
  readonly owner: Uint8Array;
  nonce = 0;

  constructor(id: number, key: MachineKey, owner: Uint8Array) {
    this.id = id;
    this.key = key;
    this.owner = owner;
  }

  /** A bundle with the next nonce, or the one given. */
  async bundle(
    interactions: readonly Interaction[],
    options: { nonce?: number; expiry?: number; signing?: Signing } = {},
  ): Promise<Uint8Array> {
    const { nonce = this.nonce++, expiry = FOREVER } = options;
    return signBundle(this.key, options.signing ?? signing, { actor: this.id, nonce, expiry }, interactions);
  }

  /** Submits straight to the shard; the receipts as clients see them. */
  async submit(...bundles: Uint8Array[]): Promise<Submitted[]> {
    return (
      await shardStub(testEnv.SHARD, shardOf(this.id)).submit(
        bundles.map((frame) => ({ frame, key: this.key.publicKey })),
      )
    ).map(unpacked);
  }
}

/** Registers agents by the inbox, as L1 would, on any shard. */
export async function registerAgents(count: number, balance = 1_000_000, shard = 0): Promise<TestAgent[]> {
  const inbox = shard0();
  const home = shardStub(testEnv.SHARD, shard);
  const { inboxCursor } = await inbox.head();
  const first = (await home.status()).agents + 1;
  const keys = await Promise.all(Array.from({ length: count }, () => MachineKey.import(MachineKey.randomSecret())));
  const owner = new Uint8Array(20).fill(7);
  const items = keys.map((key, i) => ({
    index: inboxCursor + i,
    bytes: encodeInboxItem({ kind: 'register', shard, owner, key: key.publicKey, amount: balance }),
  }));
  const answer = await inbox.inbox(items);
  if (isFailure(answer)) throw new Error(answer.error.detail);
  // Elsewhere they come by message.
  while ((await home.status()).agents + 1 < first + count) await new Promise((resolve) => setTimeout(resolve, 5));
  return keys.map((key, i) => new TestAgent(makeId(shard, first + i), key, owner));
}

export const transfer = (to: TestAgent, amount: number): Interaction => ({ op: 'transfer', to: to.id, amount });

// --- over several shards ---

export const shardAt = (shard: number): ShardRpc => shardStub(testEnv.SHARD, shard);
export const stubAt = (shard: number): DurableObjectStub => testEnv.SHARD.getByName(`shard-${shard}`);

/** Looks until something is found. */
export async function until<T>(what: string, look: () => Promise<T | false | null | undefined>): Promise<T> {
  for (let i = 0; i < 2000; i++) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain for ${what}`);
}

/** The values that interactions made; throws unless all went well. */
export async function run(agent: TestAgent, ...interactions: Interaction[]): Promise<number[]> {
  const [result] = await agent.submit(await agent.bundle(interactions));
  if (isFailure(result)) throw new Error(`${result.error.code}: ${result.error.detail}`);
  const { outcomes } = result.receipt;
  const failed = outcomes.find(({ status }) => STATUSES[status] !== 'ok');
  if (failed) throw new Error(`it came to ${STATUSES[failed.status]}`);
  return outcomes.slice(1).map(({ value }) => value);
}

export const balanceOf = async (agent: TestAgent): Promise<number> =>
  Number((await shardAt(shardOf(agent.id)).agent(agent.id))?.balance);
export const statusOf = async (escrow: number): Promise<string> =>
  String((await shardAt(shardOf(escrow)).escrow(escrow))?.status);

/** The escrow that an order has opened at the provider's shard. */
export const escrowOf = (order: number, there: number): Promise<number> =>
  until('the escrow of an order', async () => {
    for (let after = 0; ;) {
      const { items, next } = await shardAt(there).escrows({ limit: 100, after });
      const found = items.find((each) => each.order === formatId(order));
      if (found) return parseId(String(found.id));
      if (next === undefined) return null;
      after = next;
    }
  });

/** A service on common terms, but for what is given. */
export const service = (fields: Partial<Extract<Interaction, { op: 'publish' }>> = {}): Interaction => ({
  op: 'publish',
  service: 0,
  active: true,
  ceiling: 1000,
  deadlineSeconds: 600,
  arbiter: 0,
  contestSeconds: 0,
  metadataHash: new Uint8Array(32),
  ...fields,
});

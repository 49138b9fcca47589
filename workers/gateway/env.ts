import type { Context } from 'hono';
import { type ShardRpc, shardStub } from '../../durable/shard/api.ts';
import { type Hex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { shardOf } from '../../protocol/ids.ts';
import { problem } from './problem.ts';

/** What wrangler.toml binds. */
export interface Env {
  readonly SHARD: DurableObjectNamespace;
  readonly SESSION: DurableObjectNamespace;
  readonly AGENT: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
  readonly VERIFIER: DurableObjectNamespace;
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  readonly SHARDS: string;
  readonly SEQUENCER_KEY?: string;
}

export type Ctx = Context<{ Bindings: Env }>;

export const shardCount = (env: Env): number => Math.min(Math.max(Number(env.SHARDS) || 1, 1), 256);

/** A shard by number; throws `wrong_shard` when this deployment has none of that number. */
export function shardNumbered(env: Env, shard: number): ShardRpc {
  if (shard >= shardCount(env)) throw problem('wrong_shard', `there are ${shardCount(env)} shards: no shard ${shard}`);
  return shardStub(env.SHARD, shard);
}

/** The shard an id lives on. */
export const shardHolding = (env: Env, id: number): ShardRpc => shardNumbered(env, shardOf(id));

export const allShards = (env: Env): ShardRpc[] =>
  Array.from({ length: shardCount(env) }, (_, shard) => shardStub(env.SHARD, shard));

let signing: { of: string; value: Signing } | undefined;

/** Digests under this deployment's domain; made once an isolate. */
export function signingOf(env: Env): Signing {
  const of = `${env.CHAIN_ID}:${env.ROOT_ADDRESS}`;
  if (signing?.of !== of)
    signing = { of, value: new Signing({ chainId: Number(env.CHAIN_ID), root: env.ROOT_ADDRESS as Hex }) };
  return signing.value;
}

import type { Namespace } from '../../durable/shard/api.ts';

/** What settlement needs of a deployment. Everything is text, as vars are. */
export interface SettlementEnv {
  readonly SHARD: Namespace;
  readonly SHARDS: string;
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  readonly L1_RPC: string;
  /** Blocks on top of an L1 event before it is acted on. */
  readonly L1_CONFIRMATIONS: string;
  /** The sequencer account's secp256k1 key. Without one the worker only reads the inbox. */
  readonly POSTER_KEY?: string;
  /** The verifier's object. Without it nothing is checked, and games are not answered. */
  readonly VERIFIER?: Namespace;
  /** The challenger's secp256k1 key, of another account than the poster's. Without one lies are only told, not shown. */
  readonly CHALLENGER_KEY?: string;
  /** Seconds one pass may take (45). */
  readonly PASS_SECONDS?: string;
  /** Seconds between two batches, unless much waits (60). */
  readonly BATCH_SECONDS?: string;
  /** Most wei for one unit of gas; above it posting waits (500 gwei). */
  readonly MAX_FEE_WEI?: string;
}

/** Most that is paid for a unit of gas unless said otherwise. */
export const MAX_FEE_WEI = 500_000_000_000n;

/** The same, checked. */
export interface Settings {
  readonly shards: number;
  readonly chainId: number;
  readonly root: `0x${string}`;
  readonly rpc: string;
  readonly confirmations: number;
  readonly posterKey: `0x${string}` | null;
  readonly challengerKey: `0x${string}` | null;
  readonly passMs: number;
  readonly batchSeconds: number;
  readonly maxFee: bigint;
}

function whole(name: string, text: string | undefined, fallback?: number): number {
  const value = text === undefined || text === '' ? fallback : Number(text);
  if (value === undefined || !Number.isSafeInteger(value) || value < 0)
    throw new Error(`${name} must be a whole number, not ${JSON.stringify(text)}`);
  return value;
}

function secret(name: string, text = ''): `0x${string}` | null {
  if (text === '') return null;
  if (!/^0x[0-9a-fA-F]{64}$/.test(text)) throw new Error(`${name} must be 0x and 64 hex digits`);
  return text as `0x${string}`;
}

/** Throws with the name of what is wrong. */
export function readSettings(env: SettlementEnv): Settings {
  if (!/^0x[0-9a-fA-F]{40}$/.test(env.ROOT_ADDRESS ?? '')) throw new Error('ROOT_ADDRESS must be an address');
  if (!/^https?:\/\//.test(env.L1_RPC ?? '')) throw new Error('L1_RPC must be an http(s) URL');
  const shards = whole('SHARDS', env.SHARDS);
  if (shards < 1 || shards > 256) throw new Error('SHARDS must be 1 to 256');
  return {
    shards,
    chainId: whole('CHAIN_ID', env.CHAIN_ID),
    root: env.ROOT_ADDRESS as `0x${string}`,
    rpc: env.L1_RPC,
    confirmations: whole('L1_CONFIRMATIONS', env.L1_CONFIRMATIONS, 0),
    posterKey: secret('POSTER_KEY', env.POSTER_KEY),
    challengerKey: secret('CHALLENGER_KEY', env.CHALLENGER_KEY),
    passMs: 1000 * whole('PASS_SECONDS', env.PASS_SECONDS, 45),
    batchSeconds: whole('BATCH_SECONDS', env.BATCH_SECONDS, 60),
    maxFee: BigInt(env.MAX_FEE_WEI ?? '') || MAX_FEE_WEI,
  };
}

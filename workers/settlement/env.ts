import type { Namespace } from '../../durable/shard/api.ts';
import { type MemberEndpoint, parseMembers } from '../committee/client.ts';

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
  /** Where batches' data goes: `committee`, `blob`, `calldata`, joined by commas; each batch goes to the first that takes it (calldata). */
  readonly DA_MODES?: string;
  /** Most wei for one unit of blob gas; above it the next mode takes the batch (100 gwei). */
  readonly MAX_BLOB_FEE_WEI?: string;
  /** A beacon node's API, for blobs that L1 still has. */
  readonly BEACON_URL?: string;
  /** Seconds between the beacon chain's slots (12); 0: slots are numbered as blocks, as anvil does. */
  readonly SLOT_SECONDS?: string;
  /** Gateways that give what L1 has forgotten, joined by commas. */
  readonly ARCHIVE_URLS?: string;
  /** Where the committee's members are: `0xaddress=https://host`, joined by commas. */
  readonly COMMITTEE_MEMBERS?: string;
  /** The sequencer's P-256 secret, which offers columns to members. */
  readonly SEQUENCER_KEY?: string;
}

export type ModeName = 'committee' | 'blob' | 'calldata';
const MODES: readonly ModeName[] = ['committee', 'blob', 'calldata'];

function modesOf(text: string): readonly ModeName[] {
  const names = text.split(/[\s,]+/).filter((name) => name !== '');
  const known = MODES.filter((mode) => names.includes(mode));
  const isPlain = names.length > 0 && new Set(names).size === names.length && known.length === names.length;
  if (!isPlain) throw new Error(`DA_MODES must be some of ${MODES.join()}, each once`);
  return names as ModeName[];
}

/** Where data outside of calldata is read from. */
export interface DataSources {
  /** Without a slash at its end. */
  readonly beacon: string | null;
  readonly slotSeconds: number;
  readonly archives: readonly string[];
  readonly members: readonly MemberEndpoint[];
}

/** Most that is paid for a unit of gas unless said otherwise. */
export const MAX_FEE_WEI = 500_000_000_000n;

/** What {@link readSources} reads: vars of a Worker, or a process's environment. */
export type SourcesEnv = Pick<SettlementEnv, 'BEACON_URL' | 'SLOT_SECONDS' | 'ARCHIVE_URLS' | 'COMMITTEE_MEMBERS'>;

/** Throws with the name of what is wrong. */
export const readSources = (env: SourcesEnv): DataSources => ({
  beacon: env.BEACON_URL ? urls('BEACON_URL', env.BEACON_URL)[0] : null,
  slotSeconds: whole('SLOT_SECONDS', env.SLOT_SECONDS, 12),
  archives: urls('ARCHIVE_URLS', env.ARCHIVE_URLS),
  members: parseMembers(env.COMMITTEE_MEMBERS ?? ''),
});

/** The same, checked. */
export interface Settings extends DataSources {
  readonly modes: readonly ModeName[];
  readonly maxBlobFee: bigint;
  readonly sequencerKey: `0x${string}` | null;
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

function urls(name: string, text = ''): string[] {
  const all = text.split(/[\s,]+/).filter((url) => url !== '');
  if (!all.every((url) => /^https?:\/\//.test(url))) throw new Error(`${name} must be http(s) URLs`);
  return all.map((url) => url.replace(/\/+$/, ''));
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
    modes: modesOf(env.DA_MODES || 'calldata'),
    maxBlobFee: BigInt(env.MAX_BLOB_FEE_WEI ?? '') || 100_000_000_000n,
    ...readSources(env),
    sequencerKey: secret('SEQUENCER_KEY', env.SEQUENCER_KEY),
  };
}

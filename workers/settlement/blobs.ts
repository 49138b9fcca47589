/** Blobs in transactions (EIP-4844): what they cost, what nodes want with them, and what of a batch's are at L1. */
import type { PublicClient } from 'viem';
import { rootAbi } from '../../contracts/abi.ts';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { versionedHash } from '../../protocol/da/blobs.ts';
import { commitBlob, proveBlob } from '../../protocol/da/kzg.ts';
import type { Block, Chain } from './chain.ts';

/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000;

/** Blobs can't go to L1 now, by no fault of the call: another mode may. */
export class NoBlobs extends Error {}

/** What a transaction with blobs has that others have not. */
export interface Carried {
  readonly blobVersionedHashes: readonly Hex[];
  readonly sidecars: readonly { readonly blob: Hex; readonly commitment: Hex; readonly proof: Hex }[];
  readonly maxFeePerBlobGas: bigint;
}

/** Throws {@link NoBlobs} where they cost more than `maxFee` wei for a unit of gas, or L1 has none. */
export async function carry(client: PublicClient, blobs: readonly Uint8Array[], maxFee: bigint): Promise<Carried> {
  const fee = await client.getBlobBaseFee().catch(() => null);
  if (fee === null) throw new NoBlobs('L1 has no blobs');
  if (fee > maxFee) throw new NoBlobs(`a unit of blob gas costs ${fee} wei, above MAX_BLOB_FEE_WEI`);
  const commitments: Uint8Array[] = [];
  const sidecars: Carried['sidecars'][number][] = [];
  for (const blob of blobs) {
    const commitment = await commitBlob(blob);
    commitments.push(commitment);
    sidecars.push({ blob: hex(blob), commitment: hex(commitment), proof: hex(await proveBlob(blob)) });
  }
  const blobVersionedHashes = commitments.map((commitment) => hex(versionedHash(commitment)));
  return { blobVersionedHashes, sidecars, maxFeePerBlobGas: 2n * fee > 0n ? 2n * fee : 1n };
}

/** What nodes say where no blobs are taken, whatever they cost. */
export const REFUSES_BLOBS = /(?:transaction|tx) type (?:is )?not supported|blob.*not (?:supported|enabled)|4844.*not/i;

/** How many of a batch's blobs are at L1, as its next part's number and the blobs before it. Those of something else count for nothing. */
export async function blobProgress(
  chain: Chain,
  number: number,
  hashes: readonly Hex[],
  latest: Block,
): Promise<{ part: number; blobs: number }> {
  const parts: { readonly part: number; readonly tx: Hex }[] = [];
  for (let to = latest.number; to >= 0 && parts[0]?.part !== 0; to -= LOG_BLOCKS) {
    const logs = await chain.client.getContractEvents({
      address: chain.root,
      abi: rootAbi,
      eventName: 'BlobsPosted',
      args: { number: BigInt(number) },
      fromBlock: BigInt(Math.max(0, to - LOG_BLOCKS + 1)),
      toBlock: BigInt(to),
      strict: true,
    });
    parts.unshift(...logs.map(({ args, transactionHash }) => ({ part: args.part, tx: transactionHash })));
    const first = parts.findLastIndex(({ part }) => part === 0);
    if (first > 0) parts.splice(0, first);
    // Parts are posted while the batch before is the newest: a window's length at the most.
    if (logs.length === 0) break;
  }
  if (parts[0]?.part !== 0) return { part: 0, blobs: 0 };
  let blobs = 0;
  for (const { tx } of parts) {
    const { blobVersionedHashes = [] } = await chain.client.getTransaction({ hash: tx });
    if (!blobVersionedHashes.every((hash, i) => hash === hashes[blobs + i])) return { part: 0, blobs: 0 };
    blobs += blobVersionedHashes.length;
  }
  return { part: parts.length, blobs };
}

/** A batch as L1 has it: its header from the event, its data from the calldata of the transactions that brought it. */
import { toFunctionSelector } from 'viem';
import { rootAbi } from '../../contracts/abi.ts';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import type { BatchHeader, ChunkRecord } from '../../protocol/trace.ts';
import { decodeChunkRecords } from '../../protocol/trace.ts';
import type { Block, Chain } from './chain.ts';

/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000;

export interface PostedData {
  readonly header: BatchHeader;
  readonly hash: Hex;
  readonly tx: Hex;
  readonly block: number;
  /** Unix seconds. */
  readonly postedAt: number;
  /** Transactions that brought its data, in order. */
  readonly parts: readonly Hex[];
}

/** L1 does not (yet, or any more) show what it must have: another look will tell. */
export class NotShown extends Error {}

type WireBatch = {
  readonly [K in keyof BatchHeader]: BatchHeader[K] extends number ? bigint | number : BatchHeader[K];
};

/** A header as the ABI gives it. */
export const fromWire = (batch: WireBatch): BatchHeader => ({
  ...batch,
  number: Number(batch.number),
  steps: Number(batch.steps),
  timeFrom: Number(batch.timeFrom),
  timeTo: Number(batch.timeTo),
  inboxCursor: Number(batch.inboxCursor),
  da: Number(batch.da),
});

/** Where batch `number` is, as it stands now. Throws {@link NotShown} when it does not, or its logs can't be found. */
export async function findPosted(chain: Chain, number: number, latest: Block): Promise<PostedData> {
  const posted = await chain.posted(number);
  if (posted.postedAt === 0) throw new NotShown(`batch ${number} does not stand`);
  const from = await chain.blockAt(posted.postedAt, latest);
  const [to, at] = [BigInt(Math.min(from + LOG_BLOCKS, latest.number)), { address: chain.root, abi: rootAbi } as const];
  const logs = await chain.client.getContractEvents({
    ...at,
    eventName: 'BatchPosted',
    args: { number: BigInt(number) },
    fromBlock: BigInt(from),
    toBlock: to,
    strict: true,
  });
  const log = logs.findLast(({ args }) => args.batchHash === posted.batchHash);
  if (!log) throw new NotShown(`L1 does not show how batch ${number} was posted`);
  const block = Number(log.blockNumber);
  const header = fromWire(log.args.batch);
  const parts = await findParts(chain, number, header.da, { block, logIndex: log.logIndex });
  return { header, hash: posted.batchHash, tx: log.transactionHash, block, postedAt: posted.postedAt, parts };
}

/** The transactions of the newest parts 0, 1, … of a number, of calldata or of blobs, at the time that its batch was posted. */
async function findParts(
  chain: Chain,
  number: number,
  da: number,
  end: { readonly block: number; readonly logIndex: number },
): Promise<Hex[]> {
  // A committee has the data.
  if (da === Da.committee) return [];
  const found: { readonly part: number; readonly tx: Hex }[] = [];
  for (let to = end.block; to >= 0; to -= LOG_BLOCKS) {
    const logs = await chain.client.getContractEvents({
      address: chain.root,
      abi: rootAbi,
      eventName: da === Da.blob ? 'BlobsPosted' : 'DataPosted',
      args: { number: BigInt(number) },
      fromBlock: BigInt(Math.max(0, to - LOG_BLOCKS + 1)),
      toBlock: BigInt(to),
      strict: true,
    });
    const before = logs.filter((log) => Number(log.blockNumber) < end.block || log.logIndex < end.logIndex);
    found.unshift(...before.map(({ args, transactionHash }) => ({ part: args.part, tx: transactionHash })));
    const first = found.findLastIndex(({ part }) => part === 0);
    if (first >= 0) return found.slice(first).map(({ tx }) => tx);
  }
  throw new NotShown(`L1 does not show the data of batch ${number}`);
}

/** The chunk records of a batch, part by part. */
export async function* postedRecords(chain: Chain, { parts }: PostedData): AsyncGenerator<ChunkRecord[]> {
  for (const hash of parts) {
    const { input } = await chain.client.getTransaction({ hash });
    yield decodeChunkRecords(dataIn(input));
  }
}

/** Words before the one that says where the data is: of `postData` the number and the part, of `postBatch` the header's ten. */
const WORDS_BEFORE: Readonly<Record<Hex, number>> = {
  [toFunctionSelector('postData(uint64,uint32,bytes)')]: 2,
  [toFunctionSelector('postBatch((uint64,bytes32,bytes32,bytes32,uint64,uint64,uint64,uint64,bytes32,uint8),bytes)')]:
    10,
};

/**
 * The data in a transaction that posted a part, alone or with its batch. Read as the contract reads it, by where the last argument says that it
 * is, and not by a decoder that may be stricter: a sequencer may lay out its calldata as oddly as it likes, and must not hide its data that way.
 */
export function dataIn(input: Hex): Uint8Array {
  const bytes = unhex(input);
  const before = WORDS_BEFORE[hex(bytes.subarray(0, 4))];
  const args = bytes.subarray(4);
  const word = (at: number): number => {
    const value = at + 32 <= args.length ? BigInt(hex(args.subarray(at, at + 32))) : -1n;
    if (value < 0n || value > BigInt(args.length)) throw new NotShown('the transaction brings no data');
    return Number(value);
  };
  if (before === undefined) throw new NotShown('the transaction posts nothing');
  const at = word(32 * before);
  const length = word(at);
  if (at + 32 + length > args.length) throw new NotShown('the data is cut off');
  return args.subarray(at + 32, at + 32 + length);
}

/** A batch whose data a committee keeps, as L1 has it. */
import { rootAbi } from '../../contracts/abi.ts';
import type { Chain } from '../settlement/chain.ts';
import { dataIn, fromWire } from '../settlement/posted.ts';
import type { CommitteeBatch } from './guard.ts';

/** `da` of a header. */
const COMMITTEE = 2;

/** Batch `number`, if it stands and is of mode 2; null else, or where its logs can't be found. */
export async function committeeBatch(chain: Chain, number: number): Promise<CommitteeBatch | null> {
  const latest = await chain.block();
  const posted = await chain.posted(number);
  const at = posted.postedAt === 0 ? null : await chain.postedIn(number, posted, latest);
  if (!at) return null;
  const logs = await chain.client.getContractEvents({
    address: chain.root,
    abi: rootAbi,
    eventName: 'BatchPosted',
    args: { number: BigInt(number) },
    fromBlock: BigInt(at.block),
    toBlock: BigInt(at.block),
    strict: true,
  });
  const log = logs.findLast(({ args }) => args.batchHash === posted.batchHash);
  if (!log) return null;
  const header = fromWire(log.args.batch);
  if (header.da !== COMMITTEE) return null;
  const { input } = await chain.client.getTransaction({ hash: at.tx });
  return { header, hash: posted.batchHash, block: at.block, certificate: certificateIn(input) };
}

/** Through another contract, a transaction may post what it does not show. */
function certificateIn(input: `0x${string}`): Uint8Array {
  try {
    return dataIn(input);
  } catch {
    return new Uint8Array(0);
  }
}

/** What L1 needs next, from what it has: pure, so that every situation can be tried in a test. */
import type { BatchRecord } from '../../durable/shard/api.ts';
import type { Look, PostedBatch } from './chain.ts';

/** The batch as L1 has it differs from what we wrote down. A person has to look; posting on would only lose the bond. */
export class Diverged extends Error {}

/** How much of `record`'s data L1 already has, as its next part's number and the frames before it. */
export function progress(record: BatchRecord, { pending }: Pick<Look, 'pending'>): { part: number; frames: number } {
  const total = record.ranges.reduce((sum, { frames }) => sum + frames, 0);
  // More frames than the batch has: parts of something else, under the same number. Part 0 voids them.
  const usable = pending.number === record.number && pending.parts > 0 && pending.frames <= total;
  return usable ? { part: pending.parts, frames: pending.frames } : { part: 0, frames: 0 };
}

/** Throws unless `record` extends L1's tip. */
export function checkExtends({ header }: BatchRecord, { head, tip }: Pick<Look, 'head' | 'tip'>): void {
  if (header.number !== head + 1) throw new Diverged(`batch ${header.number} does not follow L1's head ${head}`);
  if (header.prev !== tip.batchHash)
    throw new Diverged(`batch ${header.number} was composed after ${header.prev}, L1 has ${tip.batchHash}`);
  if (header.pre !== tip.post)
    throw new Diverged(`batch ${header.number} starts from ${header.pre}, L1 is at ${tip.post}`);
}

/** Whether the next batch should be cut now: at most one in `batchSeconds`, so that L1 is not paid for next to nothing. */
export const isDue = ({ latest, head, tip }: Pick<Look, 'latest' | 'head' | 'tip'>, batchSeconds: number): boolean =>
  head === 0 || latest.timestamp - tip.postedAt >= batchSeconds;

/** Whether a batch must go out although there is nothing to tell: without one for `freezeAfter` anybody may freeze the deployment. */
export const needsHeartbeat = (
  { latest, head, tip }: Pick<Look, 'latest' | 'head' | 'tip'>,
  freezeAfter: number,
): boolean => head > 0 && latest.timestamp - tip.postedAt >= freezeAfter / 3;

/** How a record must change to say what L1 says; null when it already does. */
export function reconcile(
  record: BatchRecord,
  look: Pick<Look, 'head' | 'finalized'>,
  posted: PostedBatch,
  window: number,
): BatchRecord | null {
  if (record.number > look.head) {
    if (record.state === 'pending') return null;
    // A reorg took it away. It is posted again from the same record.
    const { tx: _tx, block: _block, postedAt: _postedAt, finalAt: _finalAt, ...rest } = record;
    return { ...rest, state: 'pending' };
  }
  if (posted.batchHash !== record.hash)
    throw new Diverged(`batch ${record.number} is ${record.hash} here and ${posted.batchHash} on L1`);
  const state = record.number <= look.finalized ? 'final' : 'posted';
  if (record.state === state && record.postedAt === posted.postedAt) return null;
  return { ...record, state, postedAt: posted.postedAt, finalAt: posted.postedAt + window };
}

/** The newest batch whose window has passed, after `finalized`; null when none has. `postedAt[i]` is that of batch `finalized + 1 + i`. */
export function finalizable(
  finalized: number,
  postedAt: readonly number[],
  window: number,
  now: number,
): number | null {
  let upTo: number | null = null;
  for (const [i, at] of postedAt.entries()) {
    if (at === 0 || now < at + window) break;
    upTo = finalized + 1 + i;
  }
  return upTo;
}

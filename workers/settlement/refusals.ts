/** What to do when L1 would not take what we have for it, by the contract's error. */

/** `look`: L1 moved on since we looked. `wait`: only time can help. `restart`: start the data with part 0. `anew`: compose the batch anew. `next_mode`: its data must go elsewhere. */
export type Remedy = 'look' | 'wait' | 'restart' | 'anew' | 'next_mode' | 'none';

const MOVED_ON = new Set([
  'WrongNumber',
  'WrongPart',
  'AlreadyFinal',
  'NotFinal',
  'WrongPlay',
  'WrongDemand',
  'NotStanding',
  'WrongMove',
  'DeadlinePassed',
  'DeadlineNotPassed',
  'NothingToCollect',
]);
/** The parts on L1 are not this batch's. */
const WRONG_DATA = new Set(['WrongSteps', 'WrongDataRoot', 'WrongBlobs', 'WrongPart', 'NoData']);
/** L1 was away so long that the batch leaves an overdue item out, or that its certificate is stale. */
const STALE = new Set([
  'InboxOverdue',
  'TooShort',
  'WrongEpoch',
  'WrongMembers',
  'BadSignature',
  'BadCertificate',
  'TooFewSignatures',
]);

/** `from`: how much of the batch's data is at L1. */
export function remedyFor(errorName: string, from: number): Remedy {
  if (from > 0 && WRONG_DATA.has(errorName)) return 'restart';
  if (MOVED_ON.has(errorName)) return 'look';
  if (STALE.has(errorName)) return 'anew';
  if (errorName === 'BadTimes') return 'wait';
  return errorName === 'UnsupportedDa' ? 'next_mode' : 'none';
}

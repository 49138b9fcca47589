/**
 * A light client's look at a committee's data (docs/protocol.md §12): a few cells, drawn at random, with their paths. What it says is that whoever answers
 * holds what was committed to, and how sure one can be that the data can be restored; that its encoding is right, only who restores it knows.
 */
import type { Code } from '../../protocol/da/columns.ts';
import { rowsOf } from '../../protocol/da/columns.ts';
import { type Commitment, isCellOf, openCommitment } from '../../protocol/da/offer.ts';
import { type Fetch, MemberClient, type MemberEndpoint } from './client.ts';
import { within } from './collect.ts';

export interface Sampled {
  /** null when nobody says what the dataRoot is the hash of: then nothing was asked for. */
  readonly commitment: Commitment | null;
  readonly asked: number;
  readonly answered: number;
  /** What was not answered, or not with the cell. */
  readonly missing: readonly { readonly column: number; readonly row: number }[];
  /**
   * If every sample was answered: the least probability with which at least one would not have been, were there a share of all rows that nobody could
   * restore. 0 if one was not.
   */
  readonly confidence: number;
}

/**
 * How sure `samples` answered ones make: a row of which fewer than k cells are held has at least n − k + 1 others, so one sample misses each row of such
 * a share with probability 1 − share × (n − k + 1) / n at the most. With all rows (`share` 1) it is whole columns that are withheld.
 */
export const confidence = (samples: number, { n, k }: Code, share = 1): number =>
  1 - (1 - (share * (n - k + 1)) / n) ** samples;

/** A whole number from 0 to `bound` − 1, all equally likely. */
export function randomBelow(bound: number): number {
  const limit = Math.floor(2 ** 32 / bound) * bound;
  for (;;) {
    const [value] = crypto.getRandomValues(new Uint32Array(1));
    if (value < limit) return value % bound;
  }
}

/** Never throws. `members` in the order of the epoch's list. */
export async function sample(
  members: readonly MemberEndpoint[],
  dataRoot: Uint8Array,
  samples: number,
  {
    code,
    timeoutMs,
    share = 1,
    fetch,
    random = randomBelow,
  }: {
    readonly code: Code;
    readonly timeoutMs: number;
    /** Of the rows: what {@link confidence} is about. */
    readonly share?: number;
    readonly fetch?: Fetch;
    readonly random?: (bound: number) => number;
  },
): Promise<Sampled> {
  const clients = members.map((member) => new MemberClient(member, fetch));
  const ask = async <T>(call: (signal: AbortSignal) => Promise<T>): Promise<T | null> => {
    const signal = AbortSignal.timeout(timeoutMs);
    return within(call(signal), signal).catch(() => null);
  };
  const commitments = clients.map(async (client) => {
    const bytes = await ask((signal) => client.commitment(dataRoot, code.n, signal));
    const opened = bytes && openCommitment(bytes, code.n, dataRoot);
    if (!opened) throw new Error('none');
    return opened;
  });
  const commitment = await Promise.any(commitments).catch(() => null);
  if (!commitment) return { commitment, asked: 0, answered: 0, missing: [], confidence: 0 };
  const height = rowsOf(commitment.length, code.k);
  const drawn = Array.from({ length: samples }, () => ({ column: random(code.n), row: random(height) }));
  const good = await Promise.all(
    drawn.map(async ({ column, row }) => {
      const answer = await ask((signal) => clients[column].cells(dataRoot, [row], signal));
      return answer?.some((cell) => cell.row === row && isCellOf(commitment, column, code.k, cell)) === true;
    }),
  );
  const missing = drawn.filter((_, i) => !good[i]);
  const answered = samples - missing.length;
  return {
    commitment,
    asked: samples,
    answered,
    missing,
    confidence: missing.length === 0 ? confidence(samples, code, share) : 0,
  };
}

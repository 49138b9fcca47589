/** The sequencer's side of a committee: a batch's data becomes columns, each member gets its own, and the first signatures of a quorum are a certificate. */
import { equal } from '../../protocol/bytes.ts';
import { encodeCertificate, signedBy } from '../../protocol/da/certificate.ts';
import { type Code, columnRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { encodeOfferHead, rootOfCommitment } from '../../protocol/da/offer.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { codeOf } from '../../protocol/errors.ts';
import { type SigningKey, recoverOwner } from '../../protocol/keys.ts';
import { type Fetch, MemberClient, type MemberEndpoint } from './client.ts';

export interface CollectOptions {
  /** The batch's. */
  readonly number: number;
  readonly data: Uint8Array;
  readonly epoch: number;
  /** Unix seconds for which the members are asked to keep it: at the posting, `retention` must still be to come. */
  readonly until: number;
  readonly code: Code;
  readonly quorum: number;
  /** The sequencer's P-256 key, which L1 names. */
  readonly key: SigningKey;
  readonly signing: Signing;
  /** Milliseconds that the members have. */
  readonly timeoutMs: number;
  readonly fetch?: Fetch;
}

/** What came of a member: it signed; it signed something else; or the code of what it said, or of what went wrong. */
export type Outcome = 'signed' | 'bad_signature' | 'timeout' | (string & {});

export interface Collected {
  readonly dataRoot: Uint8Array;
  readonly certificate: Uint8Array;
  /** Of each member; `pending` of those who were not waited for any more. */
  readonly outcomes: readonly Outcome[];
  /** Resolves when all members have their column, or had their time: more members than a quorum keep the data better. Never rejects. */
  readonly rest: Promise<readonly Outcome[]>;
}

/** A quorum can't be had in time. */
export interface TooFew {
  readonly tooFew: true;
  readonly signed: number;
  readonly outcomes: readonly Outcome[];
}

export const isTooFew = (result: Collected | TooFew): result is TooFew => 'tooFew' in result;

/**
 * `members` in the order of the epoch's list. Ends with the signature that makes a quorum; or as soon as so many members failed that there can be none,
 * and at the latest after `timeoutMs`. Throws for data that is no data, never for what members do.
 */
export async function collect(
  members: readonly MemberEndpoint[],
  { number, data, epoch, until, code, quorum, key, signing, timeoutMs, fetch }: CollectOptions,
): Promise<Collected | TooFew> {
  if (members.length !== code.n) throw new RangeError(`a committee of ${code.n} has not ${members.length} members`);
  const columns = encodeColumns(data, code);
  const commitment = { length: data.length, epoch, roots: columns.map(columnRoot) };
  const dataRoot = rootOfCommitment(commitment);
  const promise = { number, dataRoot, epoch, until };
  const list = members.map(({ address }) => address);
  const signature = await key.sign(signing.offer(promise));
  const head = encodeOfferHead({ number, until, signature, members: list, commitment });
  const wanted = signing.available(promise);

  const signatures = new Map<number, Uint8Array>();
  const outcomes: Outcome[] = members.map(() => 'pending');
  const signal = AbortSignal.timeout(timeoutMs);
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  let failed = 0;
  const ask = async (i: number): Promise<void> => {
    try {
      const answer = await within(new MemberClient(members[i], fetch).offer(head, columns[i], signal), signal);
      const signer = recoverOwner(wanted, answer);
      const isTheirs = signer !== null && equal(signer, list[i]);
      if (isTheirs) signatures.set(i, answer);
      outcomes[i] = isTheirs ? 'signed' : 'bad_signature';
    } catch (error) {
      outcomes[i] = signal.aborted ? 'timeout' : codeOf(error);
    }
    failed += outcomes[i] === 'signed' ? 0 : 1;
    if (signatures.size >= quorum || failed > code.n - quorum) resolve();
  };
  const rest = Promise.all(members.map((_, i) => ask(i))).then(() => outcomes);
  await Promise.race([enough, rest]);
  const first = new Map([...signatures].slice(0, quorum));
  if (first.size < quorum) return { tooFew: true, signed: first.size, outcomes: [...outcomes] };
  const certificate = encodeCertificate({ epoch, until, members: signedBy(list, first) });
  return { dataRoot, certificate, outcomes: [...outcomes], rest };
}

/** Whatever a transport makes of a signal, nobody is waited for any longer. */
export function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(new Error('out of time'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', abort));
}

/**
 * Two halves of the peer's that contradict each other, which its agent can be slashed for (docs/protocol.md §4, *conflict*): how an endpoint comes to see
 * them, and what it does. The evidence is handed out, to be kept, before anything else; then the session serves no more.
 */
import { Agnt2Error } from '../../protocol/errors.ts';
import { type Half, type SignedHalf, contradicts } from '../../protocol/half.ts';
import { type EndpointContext, checkHalf } from './context.ts';

/** Both of one session and direction, each with its payer's signature, which was verified. */
export interface Contradiction {
  readonly first: SignedHalf;
  readonly second: SignedHalf;
}

/** One of the halves kept of the peer that this one contradicts; null when there is none. Neither says anything of its signature. */
export function contradicted({ payee }: Pick<EndpointContext, 'payee'>, half: Half): SignedHalf | null {
  const kept = [payee.half, payee.receipt].find((signed) => signed !== null && contradicts(signed.half, half));
  return kept ?? null;
}

/**
 * What is to be done about a verified half that contradicts one kept: throws `half_mismatch`, which stops the session, once the evidence is kept, and
 * `take` has made of the half what it is worth.
 */
export function catchOut(
  { options }: EndpointContext,
  first: SignedHalf,
  second: SignedHalf,
  take: () => unknown,
): never {
  options.onContradiction?.({ first, second });
  take();
  throw new Agnt2Error('half_mismatch', 'the peer signed two halves that contradict each other');
}

/** The relay's word that the peer contradicts itself. Rejects as {@link catchOut}; resolves when it is nothing of the kind. */
export async function hearAccusation(context: EndpointContext, [first, second]: readonly SignedHalf[]): Promise<void> {
  const { options, payee, peerKey, status } = context;
  if (first.half.dir !== payee.dir || !contradicts(first.half, second.half)) return;
  for (const { half, payer } of [first, second]) await checkHalf(options, half, payee.dir, peerKey, payer);
  if (!status.isClosed()) catchOut(context, first, second, () => {});
}

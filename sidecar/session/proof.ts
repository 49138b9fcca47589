/** What a call's proof says to somebody who was not there (docs/protocol.md §5). */
import { encodeCallRecord } from '../../protocol/call.ts';
import type { Signing } from '../../protocol/eip712.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { sha } from '../../protocol/hash.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { leafHash, verifyInclusion } from '../../protocol/log.ts';
import type { CallProof, SessionFacts } from './types.ts';

/**
 * Checks that the payer signed for this very call in this session: `record` is leaf `record.index` of the log that the half counts, and the half has the
 * payer's signature by its pinned key. Resolves with whether the payee signed too, so that the half is a receipt.
 *
 * Throws `bad_proof` (of another session or direction, or the record is not in the log) · `bad_signature` (either's is not by the key that the session pinned).
 */
export async function verifyCall(
  { dir, record, half: signed, path }: CallProof,
  { session, keyA, keyB }: Pick<SessionFacts, 'session' | 'keyA' | 'keyB'>,
  signing: Signing,
): Promise<{ receipted: boolean }> {
  const { half, payer, payee } = signed;
  if (half.session !== session || half.dir !== dir)
    throw new Agnt2Error('bad_proof', 'the half is of another session or direction');
  const leaf = leafHash(sha, encodeCallRecord(record));
  if (!verifyInclusion(sha, half.root, half.calls, record.index, leaf, path))
    throw new Agnt2Error('bad_proof', `call ${record.index} is not in the log of the half`);
  const [payerKey, payeeKey] = dir === 0 ? [keyA, keyB] : [keyB, keyA];
  const preimage = signing.half(half);
  if (!(await verifyP256(payerKey, preimage, payer)))
    throw new Agnt2Error('bad_signature', 'the payer did not sign this half');
  if (payee !== undefined && !(await verifyP256(payeeKey, preimage, payee)))
    throw new Agnt2Error('bad_signature', 'the payee did not sign this half');
  return { receipted: payee !== undefined };
}

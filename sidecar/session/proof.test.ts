import { expect, test } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { verifyCall } from './proof.ts';
import { pair, request, signing, text } from './testing.ts';

test('a proof holds for its call, session, keys and chain alone', async () => {
  const { left, right, facts } = await pair();
  for (let i = 0; i < 5; i++) {
    const { response, record } = await left.call(request('POST', '/', `body ${i}`), { maxPrice: 2 });
    await text(response);
    await record;
  }
  await left.flush();
  for (const proof of [left.proveCall(0), left.proveCall(4), right.proveCall(4, 0)])
    expect(await verifyCall(proof, facts, signing)).toEqual({ receipted: true });
  const proof = left.proveCall(3);
  const { record, half } = proof;
  const unsigned = { ...proof, half: { ...half, payee: undefined } };
  expect(await verifyCall(unsigned, facts, signing)).toEqual({ receipted: false });

  const refusal = (of: Partial<typeof proof>, by: Partial<typeof facts> = {}): Promise<string> =>
    verifyCall({ ...proof, ...of }, { ...facts, ...by }, signing).then(() => 'none', codeOf);
  expect(await refusal({ record: { ...record, price: record.price + 1 } })).toBe('bad_proof');
  expect(await refusal({ record: { ...record, index: 2 } })).toBe('bad_proof');
  expect(await refusal({ record: { ...record, index: 5 } })).toBe('bad_proof');
  expect(await refusal({ path: proof.path.slice(1) })).toBe('bad_proof');
  expect(await refusal({ dir: 1 })).toBe('bad_proof');
  expect(await refusal({}, { session: facts.session + 256 })).toBe('bad_proof');
  expect(await refusal({}, { keyA: facts.keyB })).toBe('bad_signature');
  expect(await refusal({}, { keyB: facts.keyA })).toBe('bad_signature');
  expect(await refusal({ half: { ...half, half: { ...half.half, paid: half.half.paid - 1 } } })).toBe('bad_signature');
  expect(await refusal({ half: { ...half, payer: half.payee! } })).toBe('bad_signature');
});

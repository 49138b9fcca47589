/** A short run of `npm run fuzz -- --da`. */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { expect, test } from 'vitest';
import { fuzzDa } from './da.ts';

test('what a stranger may send of data is read, or refused with a code', async () => {
  const { inputs, seen, failures } = await fuzzDa(30_000, 1);
  expect(failures).toEqual([]);
  expect(inputs).toBeGreaterThanOrEqual(30_000);
  // Both come about, or nothing was tried.
  for (const name of ['layout', 'offer', 'cells', 'certificate', 'archive', 'commitment']) {
    expect(seen.get(`${name} value`), `${name} values`).toBeGreaterThan(0);
    if (name !== 'layout') expect(seen.get(`${name} malformed`), `${name} refused`).toBeGreaterThan(0);
  }
  expect(seen.get('taken value')).toBeGreaterThan(0);
  expect(seen.get('taken bad_signature')).toBeGreaterThan(0);
});

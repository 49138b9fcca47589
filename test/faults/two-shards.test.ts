/** The same as `npm run faults`, with two kills. */
import { expect, test } from 'vitest';
import { twoShards } from './two-shards.ts';

test('two shards, killed twice in the middle of what crosses them', async () => {
  const { acknowledged, messages, committed, aborted } = await twoShards(2, () => {});
  expect(acknowledged, 'there was load').toBeGreaterThan(10);
  expect(messages, 'it crossed').toBeGreaterThan(10);
  expect(committed + aborted, 'there were workflows').toBeGreaterThan(0);
}, 240_000);

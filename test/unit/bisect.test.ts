/** The first step in which two traces part is named, whatever it is that differs. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import { firstParting } from '../../local/bisect.ts';
import { type Hex, unhex } from '../../protocol/bytes.ts';

const file = JSON.parse(readFileSync(new URL('../vectors/trace.json', import.meta.url), 'utf8')) as {
  domain: { chainId: number; root: Hex };
  shards: number;
  frames: { shard: number; seq: number; frame: Hex; steps: { status: string; value: string }[] }[];
};
const frames = file.frames
  .slice(0, 60)
  .map(({ frame, steps, ...place }) => ({ ...place, frame: unhex(frame), outcomes: steps }));
const source = { name: 'vector', domain: file.domain, shards: file.shards, frames };

test('nothing parts where nothing does', () => {
  expect(firstParting(source, null)).toBeNull();
  expect(firstParting(source, source)).toBeNull();
  expect(firstParting(source, 'reference')).toBeNull();
});

test('an outcome, a frame, and what a batch asserts', () => {
  const i = frames.findIndex(({ outcomes }) => outcomes.length > 3);
  const { shard, seq } = frames[i];
  const outcomes = frames[i].outcomes.with(2, { status: 'over_price', value: '0' });
  const told = { ...source, frames: frames.with(i, { ...frames[i], outcomes }) };
  expect(firstParting(told, null)).toMatchObject({ shard, seq, step: 2, b: { status: 'over_price' } });
  expect(firstParting(source, told)).toMatchObject({ shard, seq, step: 2 });

  const frame = frames[i].frame.slice();
  frame[frame.length - 1] ^= 1;
  const other = { ...source, frames: frames.with(i, { ...frames[i], frame }) };
  expect(firstParting(source, other)).toMatchObject({ shard, seq, what: 'the frames are not the same' });

  const asserted: Hex = `0x${'12'.repeat(32)}`;
  const lied = { ...source, frames: frames.map((one, k) => (k === i ? { ...one, asserted } : one)) };
  expect(firstParting(lied, null)).toMatchObject({ shard, seq, b: asserted });
});

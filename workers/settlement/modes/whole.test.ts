/** Data outside of calldata is held in memory: so there is an end to it, and what is longer goes elsewhere. */
import { expect, test } from 'vitest';
import '../../../protocol/keccak/install.ts';
import { MAX_FRAME_BYTES } from '../../../protocol/bundle.ts';
import { decodeData } from '../../../protocol/da/layout.ts';
import type { Records } from './mode.ts';
import { MAX_DATA_BYTES, wholeOf } from './whole.ts';

const frame = new Uint8Array(MAX_FRAME_BYTES).fill(0x77);
const PAGE = 64;
let read = 0;
/** So many frames of the longest there are, a page at a time. */
const ofFrames = (count: number): Records =>
  async function* () {
    for (read = 0; read < count; read += PAGE)
      yield [{ shard: 0, firstSeq: read, frames: Array.from({ length: Math.min(PAGE, count - read) }, () => frame) }];
  };

test('takes what fits, and reads no further once it does not', async () => {
  const most = Math.floor((MAX_DATA_BYTES - MAX_FRAME_BYTES) / (MAX_FRAME_BYTES + 17));
  const whole = await wholeOf(ofFrames(most));
  if ('cannot' in whole) throw new Error(whole.cannot);
  expect([whole.frames, whole.data.length <= MAX_DATA_BYTES]).toEqual([most, true]);
  expect(decodeData(whole.data, whole.steps)).toHaveLength(most);
  expect(await wholeOf(ofFrames(100 * most))).toEqual({ cannot: `more than ${MAX_DATA_BYTES} bytes of data` });
  expect(read).toBeLessThan(most + 2 * PAGE);
});

/** Data is found where the contract finds it, however its transaction is laid out. */
import { encodeFunctionData } from 'viem';
import { expect, test } from 'vitest';
import { rootAbi } from '../../contracts/abi.ts';
import { type Hex, concat, hex, unhex } from '../../protocol/bytes.ts';
import { NotShown, dataIn } from './posted.ts';
import { toWire } from './sender.ts';

const DATA = Uint8Array.from({ length: 75 }, (_, i) => i);
const hash: Hex = `0x${'ab'.repeat(32)}`;
const header = {
  number: 3,
  prev: hash,
  pre: hash,
  post: hash,
  steps: 9,
  timeFrom: 1,
  timeTo: 2,
  inboxCursor: 0,
  dataRoot: hash,
  da: 0,
};
const part = unhex(encodeFunctionData({ abi: rootAbi, functionName: 'postData', args: [3n, 1, hex(DATA)] }));
const batch = unhex(encodeFunctionData({ abi: rootAbi, functionName: 'postBatch', args: [toWire(header), hex(DATA)] }));

test('as everybody lays it out', () => {
  for (const input of [part, batch]) expect(dataIn(hex(input))).toEqual(DATA);
});

test('with a gap before it, without the padding behind it, and with bytes that belong to nothing', () => {
  const gap = new Uint8Array(41).fill(0xee);
  for (const [input, at] of [
    [part, 4 + 64],
    [batch, 4 + 320],
  ] as const) {
    const start = at + 32;
    const odd = concat(input.subarray(0, start), gap, input.subarray(start, start + 32 + DATA.length));
    odd[start - 1] += gap.length;
    expect(dataIn(hex(odd))).toEqual(DATA);
    expect(dataIn(hex(concat(odd, gap)))).toEqual(DATA);
  }
});

test('what brings none is not taken for any', () => {
  for (const input of [
    hex(part.subarray(0, 4 + 64)),
    hex(part.subarray(0, -40)),
    '0x',
    '0x12345678',
    hex(part.with(4 + 90, 1)),
  ] as const)
    expect(() => dataIn(input)).toThrow(NotShown);
});

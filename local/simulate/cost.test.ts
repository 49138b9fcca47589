import { expect, test } from 'vitest';
import { encodeData } from '../../protocol/da/layout.ts';
import { encodeColumns } from '../../protocol/da/columns.ts';
import { BUNDLE, workload } from '../../test/bench/workload.ts';
import '../../protocol/da/install.ts';
import { L1_RULES, MEASURED_QUORUM, MODES, bytesInBundles, certificateGas, costs, defaults } from './cost.ts';

const INPUTS = defaults({ bytesPerInteraction: 9.7, certificateGas: 58_740 });

test('every dollar is gas, blob gas or storage at its price', () => {
  const base = costs(INPUTS);
  const free = costs({ ...INPUTS, gasGwei: 0, blobGwei: 0, storageUsd: 0 });
  for (const mode of MODES) expect(free[mode].usd).toBe(0);
  const twice = costs({ ...INPUTS, ethUsd: 2 * INPUTS.ethUsd });
  expect(twice.calldata.usd).toBeCloseTo(2 * base.calldata.usd);
  expect(base.blob.usd).toBeCloseTo(((base.blob.gas + base.blob.blobGas * INPUTS.blobGwei) / 1e9) * INPUTS.ethUsd);
  expect(base.committee.usd).toBeCloseTo((base.committee.gas / 1e9) * INPUTS.ethUsd + base.committee.storageUsd);
  // A gigabyte for thirty days at a dollar.
  const kept = costs({ ...INPUTS, storageUsd: 1, retentionDays: 30 }).committee;
  expect(kept.storageUsd).toBeCloseTo(kept.memberBytes / 1e9);
});

test('bytes are those of real data', () => {
  const count = 2 ** 13;
  const frames = workload(count, 2 ** 17, null, 17);
  const wire = frames.reduce((sum, { length }) => sum + length, 0);
  const { data } = encodeData([{ shard: 0, firstSeq: 0, frames }]);
  const inputs = { ...INPUTS, bytesPerInteraction: wire / count, interactionsPerSecond: count, batchSeconds: 1 };
  const of = costs(inputs);
  const columns = encodeColumns(data, inputs.committee).reduce((sum, { length }) => sum + length, 0);
  expect((of.committee.memberBytes * count) / 1e6).toBeCloseTo(columns, -2);
  expect(of.blob.blobGas).toBe((L1_RULES.blobGas * 1e6) / count);
  expect(frames.length * BUNDLE).toBe(count);
  // At calldata's floor, forty gas a byte and what a batch takes.
  expect(of.calldata.gas / of.calldata.l1Bytes).toBeGreaterThan(L1_RULES.calldataFloorGas);
});

test('small bundles cost their signatures, long batches share what a batch takes', () => {
  expect(bytesInBundles(9.7, 64)).toBeCloseTo(9.7);
  expect(bytesInBundles(9.7, 1)).toBeGreaterThan(64 + 8);
  expect(bytesInBundles(9.7, 256)).toBeLessThan(9.7);
  for (const mode of MODES) {
    const [long, brief] = [costs({ ...INPUTS, batchSeconds: 600 }), costs({ ...INPUTS, batchSeconds: 6 })];
    expect(long[mode].gas).toBeLessThan(brief[mode].gas);
  }
});

test('a certificate costs what was measured, and less with fewer signatures', () => {
  expect(certificateGas({ n: 16, k: 6, q: MEASURED_QUORUM }, 58_740)).toBeCloseTo(58_740);
  expect(certificateGas({ n: 16, k: 3, q: 6 }, 58_740)).toBeLessThan(58_740);
});

test('what cannot be is refused', () => {
  for (const wrong of [
    { bundle: 0 },
    { bundle: 257 },
    { bundle: 1.5 },
    { gasGwei: -1 },
    { ethUsd: NaN },
    { interactionsPerSecond: 0 },
    { bytesPerInteraction: 0.5 },
    { bundle: 256, bytesPerInteraction: 30 },
    { committee: { n: 17, k: 6, q: 11 } },
    { committee: { n: 8, k: 6, q: 5 } },
    { committee: { n: 8, k: 0, q: 5 } },
  ])
    expect(() => costs({ ...INPUTS, ...wrong }), JSON.stringify(wrong)).toThrow(RangeError);
});

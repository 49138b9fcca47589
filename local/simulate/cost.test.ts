import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import batches from '../../contracts/snapshots/Batches.json' with { type: 'json' };
import blobs from '../../contracts/snapshots/Blobs.json' with { type: 'json' };
import withdrawals from '../../contracts/snapshots/Withdrawals.json' with { type: 'json' };
import { decodeBundle, encodeBundleBody } from '../../protocol/bundle.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { encodeColumns } from '../../protocol/da/columns.ts';
import { BUNDLE, workload } from '../../test/bench/workload.ts';
import '../../protocol/da/install.ts';
import { inRepository } from '../paths.ts';
import { figure, readCalibration } from './calibration.ts';
import {
  type CostInputs,
  L1_RULES,
  MEASURED_QUORUM,
  MODES,
  bytesInBundles,
  certificateGas,
  costs,
  defaults,
} from './cost.ts';
import { dataOf } from './inputs.ts';

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

/** Bytes of `postBatch` without data: a selector, ten words of header, and an empty string. */
const POST_BYTES = 4 + 32 * (10 + 2);
const DOC = readFileSync(inRepository('docs', 'cost.md'), 'utf8');
/** docs/cost.md written down a second time, in its own letters and numbers: gas, blob gas, and bytes on L1 and at members, of one batch. */
function byTheDoc(inputs: CostInputs) {
  // What a bundle of one pays more than one of 64 is 63 parts of 64 of it.
  const h = ((bytesInBundles(10, 1) - bytesInBundles(10, 64)) * 64) / 63;
  const { bytesPerInteraction: bytes, bundle: b, committee, certificateGas: measured } = inputs;
  const { n, k, q } = committee;
  const I = inputs.interactionsPerSecond * inputs.batchSeconds;
  const F = Math.ceil(I / b);
  const B = I * (bytes - h / 64 + h / b);
  const finalize = Number(withdrawals.finalize);

  const calldata = B + 2 * F;
  const P = Math.ceil(calldata / 99_991);
  const [d, f] = [(calldata + 9 * P) / P, F / P];
  const ticks = Math.floor((120 * 1024 - 9) / 7);
  const g = (Number(batches['postData: 120 KB of ticks']) - 21_000 - 16 * (9 + 7 * ticks)) / ticks;
  const part = 21_000 + Math.max(40 * d, 16 * d + g * f);

  const D = 4 + 17 * (F + 1) + B;
  const count = Math.ceil(D / 126_976);
  const post = Number(blobs['postBatch: two blobs, calldata aside']) + 21_000 + 16 * POST_BYTES;
  const certificate = 18 + 20 * (n - q) + 64 * q;
  const execution = ((measured - 16 * (18 + 20 * 5 + 64 * 11)) * q) / 11;
  return {
    calldata: {
      l1: calldata + 9 * P,
      members: 0,
      gas: Number(batches['postBatch: one tick']) + finalize + P * part,
      blobGas: 0,
    },
    blob: { l1: count * 131_072, members: 0, gas: Math.ceil(count / 6) * post + finalize, blobGas: count * 131_072 },
    committee: {
      l1: POST_BYTES + certificate,
      members: n * 1024 * Math.ceil(D / (1024 * k)),
      gas: post + finalize + 16 * certificate + execution,
      blobGas: 0,
    },
  };
}

test('figures are those of the formulas in docs/cost.md', () => {
  for (const said of [
    '21,000',
    '99,991',
    '126,976',
    '131,072',
    '17 (F + 1)',
    '⌈D / 1,024 k⌉',
    '18 + 20 (n − q) + 64 q',
  ])
    expect(DOC).toContain(said);
  for (const inputs of [
    INPUTS,
    { ...INPUTS, interactionsPerSecond: 100_000, bundle: 8 },
    { ...INPUTS, interactionsPerSecond: 3, bundle: 256, committee: { n: 8, k: 3, q: 5 } },
  ]) {
    const [of, doc] = [costs(inputs), byTheDoc(inputs)];
    const millions = (inputs.interactionsPerSecond * inputs.batchSeconds) / 1e6;
    for (const mode of MODES) {
      const { l1, members, gas, blobGas } = doc[mode];
      expect(of[mode].l1Bytes * millions).toBeCloseTo(l1, 3);
      expect(of[mode].memberBytes * millions).toBeCloseTo(members, 3);
      expect(of[mode].gas * millions).toBeCloseTo(gas, 3);
      expect(of[mode].blobGas * millions).toBeCloseTo(blobGas, 3);
      const dollars = ((gas * inputs.gasGwei + blobGas * inputs.blobGwei) / 1e9) * inputs.ethUsd;
      const storage = ((members / 1e9) * inputs.storageUsd * inputs.retentionDays) / 30;
      expect(of[mode].usd * millions).toBeCloseTo(dollars + storage, 6);
    }
  }
});

test('bytes of smaller bundles are those of real ones', () => {
  const frames = workload(2 ** 12, 2 ** 17, null, 17);
  const bundles = frames.map((frame) => decodeBundle(frame));
  const bytesIn = (size: number): number => {
    let bytes = 0;
    for (const { actor, nonce, interactions } of bundles)
      for (let at = 0; at < interactions.length; at += size)
        bytes +=
          encodeBundleBody({ actor, nonce, expiry: 2_000_000_000 }, interactions.slice(at, at + size)).length +
          SIGNATURE_BYTES;
    return bytes / (frames.length * BUNDLE);
  };
  for (const size of [1, 8, 32])
    expect(Math.abs(bytesInBundles(bytesIn(BUNDLE), size) / bytesIn(size) - 1), String(size)).toBeLessThan(0.05);
});

test('capacities are those that the bench reckons from the bytes it measures', () => {
  const calibration = readCalibration();
  const of = costs(defaults(dataOf(calibration)));
  for (const [mode, metric] of Object.entries({
    calldata: 'interactionsPerSecondAtCalldata',
    blob: 'interactionsPerSecondAtBlobs',
    committee: 'interactionsPerSecondAtCommittee',
  } as const)) {
    const { interactionsPerSecond } = of[mode as keyof typeof of];
    // What a part, a batch and a last blob that is not full take besides, the bench leaves out.
    expect(interactionsPerSecond / figure(calibration, 'da', metric), mode).toBeGreaterThan(0.9);
    expect(interactionsPerSecond / figure(calibration, 'da', metric), mode).toBeLessThan(1.01);
  }
});

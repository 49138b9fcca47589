/** What the module decodes and runs is what TypeScript decodes and runs. Whole traces of all operations: test/unit/reference.test.ts. */
import { expect, test, vi } from 'vitest';
import '../keccak/install.ts';
import { Random } from '../../test/reference/random.ts';
import { engineAt, record } from '../../test/support/recording.ts';
import { BUNDLE, Bundle, decodeBundle } from '../bundle.ts';
import { WASM_FROM } from '../memory.ts';
import { opOf } from '../ops/index.ts';
import { ShardTrie } from '../trie.ts';
import { Wire, numbersOf } from '../wire.ts';
import { NUMBERS, NUMBERS_STRIDE } from './layout.ts';
import { PlainRun } from './run.ts';

/** A shard whose memory has a module. */
function large(): ShardTrie {
  const trie = new ShardTrie();
  trie.memory.grow(WASM_FROM);
  return trie;
}

const bundles = Array.from({ length: 20 }, (_, seed) => record(seed, 2, 100).frames)
  .flat()
  .filter((frame) => frame[0] === BUNDLE);

/** A frame with some bytes other than they were, likely ones. */
function mangled(frame: Uint8Array, random: Random): Uint8Array {
  const out = frame.slice(0, random.chance(0.1) ? random.below(frame.length + 1) : frame.length);
  for (let n = random.below(3); n > 0; n--) {
    const at = random.below(out.length);
    out[at] = random.pick([0, 1, 127, 128, 129, 255, out[at] ^ 128, out[at] + 1, random.below(256)]);
  }
  return out;
}

test('decodes what TypeScript decodes, to the same numbers', () => {
  const random = new Random(1);
  const trie = large();
  const plain = new PlainRun(trie);
  let [good, bad] = [0, 0];
  for (const frame of bundles.flatMap((whole) => [
    whole,
    ...Array.from({ length: 30 }, () => mangled(whole, random)),
  ])) {
    const bundle = new Bundle();
    let first: number;
    try {
      first = bundle.open(frame);
    } catch {
      continue;
    }
    let isCanonical = true;
    try {
      bundle.decode(frame);
    } catch {
      isCanonical = false;
    }
    expect(plain.load(frame, first, 1 + frame[1]), Buffer.from(frame).toString('hex')).toBe(isCanonical);
    if (isCanonical) good += 1;
    else {
      bad += 1;
      continue;
    }
    const { view } = trie.memory;
    for (let i = 0; i < bundle.count; i++) {
      const { slots } = opOf(bundle.codes[i])!;
      const found = Array.from({ length: numbersOf(slots) }, (_, k) =>
        Number(view.getBigUint64(NUMBERS + i * NUMBERS_STRIDE + 8 * k, true)),
      );
      const at = i * (NUMBERS_STRIDE / 8);
      const isList = slots.some(({ wire }) => wire === Wire.list);
      expect(plain.startOf(i)).toBe(bundle.starts[i]);
      expect(found, isList ? 'a list' : bundle.interactions[i].op).toEqual([
        ...bundle.numbers.subarray(at, at + found.length),
      ]);
    }
  }
  expect(Math.min(good, bad)).toBeGreaterThan(500);
}, 120_000);

test('runs random traces as TypeScript does, and much of them', () => {
  const run = vi.spyOn(PlainRun.prototype, 'run');
  const counts = new Map<string, number>();
  for (let seed = 5000; seed < 5040; seed++) {
    const recording = record(seed, 1 + (seed % 2), 120);
    const engines = [engineAt(recording), engineAt(recording, large())];
    for (const frame of recording.frames) {
      run.mockClear();
      const [expected, actual] = engines.map((engine) => engine.execute(engine.seq, frame));
      expect(actual, `seed ${seed}`).toEqual(expected);
      for (const [i, { value: end }] of run.mock.results.entries())
        for (const { op } of decodeBundle(frame).interactions.slice(run.mock.calls[i][2], end))
          counts.set(op, (counts.get(op) ?? 0) + 1);
    }
    const [expected, actual] = engines.map((engine) => engine.trie.root());
    expect(actual, `seed ${seed}`).toEqual(expected);
  }
  expect([...counts.keys()].toSorted()).toEqual(['invoke', 'publish', 'respond', 'transfer', 'withdraw']);
  expect(Math.min(...counts.values())).toBeGreaterThan(10);
}, 120_000);

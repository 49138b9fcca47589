/** A short run of the fuzz that has everything in it: `npm run fuzz` is the long one. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { beforeAll, expect, test } from 'vitest';
import { REACHABLE } from '../reference/coverage.ts';
import { fuzz } from './crowd.ts';
import { type Bytecodes, compile } from './evm.ts';

const MINUTES = 60_000;
const THREADS = Math.min(availableParallelism(), 4);
/** Together these traces come to everything that any is known to come to: `npm run fuzz -- --cover` writes them. */
const seeds = JSON.parse(readFileSync(new URL('seeds.json', import.meta.url), 'utf8')) as number[];

let bytecodes: Bytecodes;
beforeAll(() => {
  bytecodes = compile();
}, 10 * MINUTES);

test(
  'engine, reference and L1 come to the same',
  async () => {
    const share = { bytecodes, hardfork: 'osaka', seeds, firstSeed: 1_000_000, situations: true } as const;
    const { steps, refused, mismatches, seen } = await fuzz(share, 20_000, THREADS);
    expect(mismatches).toEqual([]);
    expect(steps).toBeGreaterThanOrEqual(20_000);
    expect(refused).toBeGreaterThan(100);
    expect(REACHABLE.filter((step) => !seen.has(step))).toEqual([]);
  },
  30 * MINUTES,
);

test(
  'and where the P-256 precompile is missing',
  async () => {
    const share = { bytecodes, hardfork: 'prague', seeds: [], firstSeed: 2_000_000, situations: false } as const;
    const { steps, mismatches, seen } = await fuzz(share, 1000, THREADS);
    expect(mismatches).toEqual([]);
    expect(steps).toBeGreaterThanOrEqual(1000);
    for (const step of ['bundle ok', 'bundle bad_signature']) expect(seen.has(step), step).toBe(true);
  },
  10 * MINUTES,
);

/** Every state of the session model, and that the explorer would notice a rule left out. */
import { describe, expect, test } from 'vitest';
import { type DirectionState, join, payOut } from '../../protocol/half.ts';
import { type Bounds, type Rules, explore } from '../model/session.ts';

const BASE = { calls: 3, credit: 2, deposits: [2, 2], crashes: 1 } as const;
const MALLORY_B: Bounds = { ...BASE, honest: [true, false], relay: 'lying', store: 'kept', closes: true };
const MALLORY_A: Bounds = { ...MALLORY_B, honest: [false, true] };
/** Both relay and peer against one that lost its store: then nobody has what it lost. One of them must be honest. */
const ROBERT: Bounds = { ...BASE, honest: [true, false], relay: 'honest', store: 'lost', closes: false };

describe('every state of a session', () => {
  for (const [what, bounds, least] of [
    ['a against Mallory and a lying relay', MALLORY_B, 400_000],
    ['b against Mallory and a lying relay', MALLORY_A, 400_000],
    ['a, which loses its store, against Mallory', ROBERT, 200_000],
    ['two honest parties', { ...MALLORY_B, honest: [true, true], calls: 2, credit: 1, deposits: [1, 1] }, 40_000],
    [
      'two honest parties, stores lost, over a relay that keeps what it passes',
      { ...ROBERT, honest: [true, true], calls: 2, credit: 1, deposits: [1, 1] },
      20_000,
    ],
  ] as const) {
    test(`no loss beyond credit: ${what}`, { timeout: 300_000 }, () => {
      const { states, steps, closed, finding } = explore(bounds);
      expect(finding).toBeNull();
      expect(states).toBeGreaterThan(least);
      expect(closed).toBeGreaterThan(1000);
      console.log(`${what}: ${states} states, ${steps} steps, ${closed} of them closed`);
    });
  }
});

describe('the explorer sees a rule that is left out', () => {
  const without = (rule: keyof Rules, bounds: Partial<Bounds> = {}) =>
    explore({ ...MALLORY_A, closes: false, ...bounds, rules: { [rule]: false } }).finding;

  for (const [what, rule, bounds, broken] of [
    ['a payee serves beyond its credit', 'credit', {}, 'b loses 3'],
    ['paid may shrink on chain', 'max', {}, 'b loses 3'],
    ['a payee does not look at the deposit', 'coverage', { deposits: [0, 2] }, 'b loses 3'],
    ['who has signed a close goes on', 'close', { closes: true }, 'b loses 3'],
    ['the relay shows nothing to who comes back', 'shows', { store: 'lost', relay: 'honest' }, 'b loses 5'],
    ['a payer takes any number of unknown records', 'allowance', {}, 'b loses 5'],
    ['a payer takes unknown records at any time', 'start', {}, 'b loses 3'],
    ['a payee forgets what it risks as payer', 'shared', {}, 'b loses 3'],
    ['an exit leaves no time to settle', 'delay', {}, 'b loses 3'],
  ] as const) {
    test(what, { timeout: 120_000 }, () => {
      const finding = without(rule, bounds as Partial<Bounds>);
      expect(finding?.broken).toBe(broken);
      expect(finding!.steps.length).toBeGreaterThan(0);
    });
  }

  test('who forgets with its store that it signed a close must not go on in that session', { timeout: 300_000 }, () => {
    const closes: Bounds = { ...ROBERT, closes: true };
    expect(explore(closes).finding?.steps).toContain('a signs a close');
    expect(explore({ ...closes, resumes: false }).finding).toBeNull();
  });
});

test('settlement is independent of order, repetition and of what was settled before', () => {
  const halves = [0, 1, 2].flatMap((calls) =>
    [0, 1, 2].flatMap((paid) => [1, 2].map((root) => ({ calls, paid, root: new Uint8Array(32).fill(root) }))),
  );
  const settle = (order: readonly number[]): DirectionState => {
    const state = { paid: 0, calls: 0, root: new Uint8Array(32) };
    for (const at of order) join(state, halves[at]);
    return state;
  };
  let seen = 0;
  for (let x = 0; x < halves.length; x++)
    for (let y = 0; y < halves.length; y++)
      for (let z = 0; z < halves.length; z++) {
        const expected = settle([x, y, z]);
        for (const order of [
          [z, y, x],
          [y, z, x, y],
          [z, x, x, y, z],
        ]) {
          expect(settle(order)).toEqual(expected);
          seen += 1;
        }
      }
  expect(seen).toBe(3 * 18 ** 3);
});

test('a pay out conserves money and never pays less than nothing', () => {
  const amounts = [0, 1, 2, 5, 2 ** 53 - 1];
  for (const a of amounts)
    for (const b of amounts.filter((x) => a + x < 2 ** 53))
      for (const ab of amounts)
        for (const ba of amounts) {
          const { outA, outB } = payOut(a, b, ab, ba);
          expect(outA + outB).toBe(a + b);
          expect(Math.min(outA, outB)).toBeGreaterThanOrEqual(0);
        }
});

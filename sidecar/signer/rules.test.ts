import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { codeOf } from '../../protocol/errors.ts';
import type { Half } from '../../protocol/half.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { Rules } from './rules.ts';

const AGENT = 7 * 256;
const NOW = 1e12;
const rulesOf = (options: ConstructorParameters<typeof Rules>[0] = {}): Rules => {
  const rules = new Rules({ now: () => NOW, ...options });
  rules.agent = AGENT;
  return rules;
};
const codeFrom = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return codeOf(error);
  }
  return 'ok';
};
const body = (interactions: Interaction[], header: { actor?: number; expiry?: number } = {}): Uint8Array =>
  encodeBundleBody({ actor: AGENT, nonce: 0, expiry: NOW / 1000 + 60, ...header }, interactions);
const invoke = (amount: number): Interaction => ({ op: 'invoke', service: 256, amount });
const half = (more: Partial<Half>): Half => ({
  session: 256,
  dir: 0,
  seq: 1,
  calls: 1,
  paid: 10,
  root: new Uint8Array(32).fill(1),
  ...more,
});

test('a bundle is signed for what an agent at work does, of this agent, soon', () => {
  const rules = rulesOf();
  const bundle = (...args: Parameters<typeof body>): string => codeFrom(() => rules.bundle(body(...args)));
  expect(bundle([invoke(5), { op: 'withdraw', amount: 5 }])).toBe('ok');
  expect(bundle([invoke(5), { op: 'transfer', to: 256, amount: 5 }])).toBe('op_denied');
  expect(bundle([{ op: 'stake', amount: 5 }])).toBe('op_denied');
  expect(bundle([invoke(5)], { actor: AGENT + 256 })).toBe('wrong_agent');
  expect(bundle([invoke(5)], { expiry: NOW / 1000 + 7200 })).toBe('bad_expiry');
  const whole = body([invoke(5)]);
  expect(codeFrom(() => rules.bundle(whole.subarray(0, whole.length - 1)))).toBe('malformed');
  expect(codeFrom(() => rules.bundle(new Uint8Array([...whole, 0])))).toBe('malformed');
  expect(codeFrom(() => rulesOf({ ops: ['transfer'] }).bundle(body([invoke(1)])))).toBe('op_denied');
});

test('the ceiling holds for the sum of what bundles put at risk, an hour and a day', () => {
  let now = NOW;
  const rules = rulesOf({ perHour: 100, perDay: 150, now: () => now });
  const risk = (...interactions: Interaction[]): string =>
    codeFrom(() => rules.bundle(body(interactions, { expiry: now / 1000 + 60 })));
  expect(
    risk(invoke(40), { op: 'open', peer: 256, deposit: 30, exitDelay: 60 }, { op: 'fund', session: 256, amount: 30 }),
  ).toBe('ok');
  expect(risk(invoke(1))).toBe('over_ceiling');
  now += 61 * 60_000;
  expect(risk(invoke(51))).toBe('over_ceiling');
  expect(risk(invoke(50))).toBe('ok');
  now += 24 * 60 * 60_000;
  expect(risk(invoke(100))).toBe('ok');
});

test('of a session and direction no two halves are signed that contradict each other', () => {
  const rules = rulesOf();
  const sign = (more: Partial<Half>): string => codeFrom(() => rules.half(half(more)));
  expect(sign({ seq: 2, calls: 5, paid: 50 })).toBe('ok');
  expect(sign({ seq: 2, calls: 5, paid: 50 })).toBe('ok');
  for (const conflict of [
    { seq: 3, calls: 5, paid: 50, root: new Uint8Array(32) },
    { seq: 3, calls: 5, paid: 51 },
    { seq: 3, calls: 6, paid: 49 },
    { seq: 1, calls: 6, paid: 60 },
    { seq: 3, calls: 4, paid: 60 },
  ])
    expect(sign(conflict)).toBe('half_conflict');
  expect(sign({ dir: 1, seq: 1, calls: 1, paid: 1 })).toBe('ok');
  expect(sign({ session: 512, seq: 1, calls: 1, paid: 1 })).toBe('ok');
  // A crash between signing and saving: the same window, with more in it.
  expect(sign({ seq: 2, calls: 6, paid: 60 })).toBe('ok');
  const close = { session: 256, paidBA: 1, callsBA: 1, rootAB: new Uint8Array(32), rootBA: new Uint8Array(32) };
  expect(codeFrom(() => rules.close({ ...close, paidAB: 59, callsAB: 6 }))).toBe('half_conflict');
  expect(codeFrom(() => rules.close({ ...close, paidAB: 60, callsAB: 6 }))).toBe('ok');
});

test('whatever halves are asked for, those signed form one growing record', () => {
  const any = fc.record({
    seq: fc.integer({ min: 0, max: 5 }),
    calls: fc.integer({ min: 0, max: 5 }),
    paid: fc.integer({ min: 0, max: 5 }),
    fill: fc.integer({ min: 0, max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 30 }), (asked) => {
      const rules = rulesOf();
      const signed: Half[] = [];
      for (const { fill, ...more } of asked) {
        const next = half({ ...more, root: new Uint8Array(32).fill(fill) });
        if (codeFrom(() => rules.half(next)) === 'ok') signed.push(next);
      }
      const roots = new Map<number, string>();
      signed.forEach((next, i) => {
        const before = signed[Math.max(0, i - 1)];
        expect(next.paid).toBeGreaterThanOrEqual(before.paid);
        expect(next.calls).toBeGreaterThanOrEqual(before.calls);
        expect(roots.get(next.calls) ?? String(next.root)).toBe(String(next.root));
        roots.set(next.calls, String(next.root));
      });
    }),
  );
});

test('after its end a key signs nothing', () => {
  const rules = rulesOf({ expires: NOW / 1000 });
  expect(rules.expires).toBe(NOW / 1000);
  const hash = new Uint8Array(32);
  for (const sign of [
    () => rules.bundle(body([invoke(1)])),
    () => rules.half(half({})),
    () => rules.close({ session: 1, paidAB: 0, paidBA: 0, callsAB: 0, callsBA: 0, rootAB: hash, rootBA: hash }),
    () => rules.connect({ agent: AGENT, room: '/x', timeMs: NOW, nonce: hash }),
    () => rules.announce({ agent: AGENT, contentHash: hash, timeMs: NOW }),
  ])
    expect(codeFrom(sign)).toBe('key_expired');
});

test('a socket or a name is signed for this agent and for now', () => {
  const rules = rulesOf();
  const hash = new Uint8Array(32);
  const connect = (more: object): string =>
    codeFrom(() => rules.connect({ agent: AGENT, room: '/agents/0:7/socket', timeMs: NOW, nonce: hash, ...more }));
  expect(connect({})).toBe('ok');
  expect(connect({ agent: 256 })).toBe('wrong_agent');
  expect(connect({ timeMs: NOW + 200_000 })).toBe('stale');
  expect(connect({ room: 'http://elsewhere' })).toBe('malformed');
  expect(codeFrom(() => rules.announce({ agent: 256, contentHash: hash, timeMs: NOW }))).toBe('wrong_agent');
});

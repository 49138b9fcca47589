/** When a payer signs: at the first of 20 ms, 256 calls, or half the credit; at once when the session was idle. */
export interface WindowRule {
  readonly ms: number;
  readonly calls: number;
}

/**
 * Milliseconds until the next half is due: 0 for now, `Infinity` with nothing to sign.
 * @param unsigned what no half covers yet
 * @param sinceMs time since the last half was signed
 */
export function signDelay(
  rule: WindowRule,
  unsigned: { calls: number; value: number },
  credit: number,
  sinceMs: number,
): number {
  if (unsigned.calls === 0) return Infinity;
  if (unsigned.calls >= rule.calls || (unsigned.value > 0 && unsigned.value * 2 >= credit)) return 0;
  return Math.max(0, rule.ms - sinceMs);
}

/** Of the time of a session, and of the processor, its signatures take no more than one part in so many. */
const SHARE = 25;
const MAX_STRETCH_MS = 500;

/** How long a window is where the last signature took so long: on a busy machine they get rarer, not in each other's way. */
export const stretched = (ms: number, tookMs: number): number => Math.max(ms, Math.min(MAX_STRETCH_MS, tookMs * SHARE));

/** When a payer signs: at the first of 20 ms, 256 calls, or half the credit; at once when the session was idle. Where little is owed, the 20 ms become 500. */
export interface WindowRule {
  readonly ms: number;
  readonly calls: number;
}

/** Of the time of a session, and of the processor, its signatures take no more than one part in so many. */
const SHARE = 25;
const MAX_STRETCH_MS = 500;
/** Less than this part of the credit is little. */
const LITTLE = 16;

const longer = (ms: number, than: number): number => Math.max(ms, Math.min(MAX_STRETCH_MS, than));

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
  const { calls, value } = unsigned;
  if (calls === 0) return Infinity;
  if (calls >= rule.calls || (value > 0 && value * 2 >= credit)) return 0;
  const ms = value * LITTLE < credit ? longer(rule.ms, rule.ms * SHARE) : rule.ms;
  return Math.max(0, ms - sinceMs);
}

/** How long a window is where the last signature took so long: on a busy machine they get rarer, not in each other's way. */
export const stretched = (ms: number, tookMs: number): number => longer(ms, tookMs * SHARE);

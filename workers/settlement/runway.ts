/** How long the ether of accounts lasts at the rate at which they have spent it. */

/** Balances in wei, decimal, at one moment. */
export interface Sample {
  readonly atMs: number;
  readonly wei: readonly string[];
}

const EVERY_MS = 3_600_000;
const KEPT = 25;

/**
 * The samples with one more, at most one an hour for a day; and the hours until the first of the accounts is empty, null while none has spent
 * anything. What was paid in meanwhile does not count as spent less.
 */
export function runway(
  samples: readonly Sample[],
  nowMs: number,
  balances: readonly bigint[],
): { readonly samples: readonly Sample[]; readonly hours: number | null } {
  const now: Sample = { atMs: nowMs, wei: balances.map(String) };
  const last = samples.at(-1);
  const kept = last && nowMs - last.atMs < EVERY_MS ? samples : [...samples, now].slice(-KEPT);
  const path = kept.at(-1) === now ? kept : [...kept, now];
  const elapsed = nowMs - path[0].atMs;
  let hours: number | null = null;
  for (const [account, balance] of balances.entries()) {
    let spent = 0n;
    for (const [i, { wei }] of path.entries()) {
      const before = BigInt(path[i - 1]?.wei[account] ?? wei[account]);
      const after = BigInt(wei[account] ?? 0);
      if (after < before) spent += before - after;
    }
    if (spent === 0n || elapsed <= 0) continue;
    const left = Math.floor((Number(balance) / Number(spent)) * (elapsed / EVERY_MS));
    hours = hours === null ? left : Math.min(hours, left);
  }
  return { samples: kept, hours };
}

/** A measured distribution, by some of its quantiles: between two of them it is straight, below the first and above the last constant. */

/** Shares from 0 to 1 and their values, both rising. */
export type Quantiles = readonly (readonly [share: number, value: number])[];

/** The value below which a share of all are. */
export function quantile(of: Quantiles, share: number): number {
  const above = of.findIndex(([at]) => at >= share);
  if (above === 0) return of[0][1];
  if (above < 0) return of.at(-1)![1];
  const [[from, low], [to, high]] = [of[above - 1], of[above]];
  return low + ((high - low) * (share - from)) / (to - from);
}

/** The mean of what exceeds `least`, by that, and 0 of what does not: E[max(0, X − least)]. */
export function meanExcess(of: Quantiles, least: number): number {
  let sum = Math.max(0, of[0][1] - least) * of[0][0] + Math.max(0, of.at(-1)![1] - least) * (1 - of.at(-1)![0]);
  for (let i = 1; i < of.length; i++) {
    const [[from, low], [to, high]] = [of[i - 1], of[i]];
    const [a, b] = [low - least, high - least];
    // Of a straight piece that passes 0, what is above it is a triangle.
    if (a >= 0) sum += ((a + b) / 2) * (to - from);
    else if (b > 0) sum += ((b * b) / (b - a) / 2) * (to - from);
  }
  return sum;
}

/** The share of all that are above `least`. */
export function shareAbove(of: Quantiles, least: number): number {
  if (of[0][1] > least) return 1;
  for (let i = 1; i < of.length; i++) {
    const [[from, low], [to, high]] = [of[i - 1], of[i]];
    if (high > least) return 1 - (from + ((least - low) / (high - low)) * (to - from));
  }
  return 0;
}

export const shifted = (of: Quantiles, by: number): Quantiles =>
  of.map(([share, value]) => [share, Math.max(0, value + by)]);

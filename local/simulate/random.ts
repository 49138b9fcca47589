/** The distributions that the simulation draws from, over the seeded source of the tests. */
import { Random } from '../../test/reference/random.ts';

/** How long something takes: a mean, and how it varies about it. */
export type Law = 'exponential' | 'constant' | 'bursty';

export class Draws extends Random {
  #spare: number | null = null;

  /** An independent source for a part of the simulation, so that one part's draws do not shift another's. */
  static of(seed: number, part: string): Draws {
    let hash = seed >>> 0;
    for (const char of part) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
    return new Draws(hash);
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }
  normal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    const angle = 2 * Math.PI * this.next();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
  /** Of this mean; `sigma` is the standard deviation of its logarithm. */
  lognormal(mean: number, sigma: number): number {
    return mean * Math.exp(sigma * this.normal() - (sigma * sigma) / 2);
  }
  /** One draw of a law with this mean. */
  of(law: Law, mean: number): number {
    if (law === 'constant') return mean;
    if (law === 'exponential') return this.exponential(mean);
    return this.exponential(this.chance(BURST.share) ? mean * BURST.long : mean * BURST.short);
  }
}

/** The bursty law: a mixture of two exponentials, one in ten of them five times as long as the mean. */
const BURST = { share: 0.1, long: 5, short: (1 - 0.1 * 5) / (1 - 0.1) } as const;

/** E[S²] / E[S]² of a law: what the Pollaczek–Khinchine formula asks for. */
export function secondMoment(law: Law): number {
  if (law === 'constant') return 1;
  if (law === 'exponential') return 2;
  return 2 * (BURST.share * BURST.long ** 2 + (1 - BURST.share) * BURST.short ** 2);
}

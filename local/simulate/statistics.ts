/** What a simulation keeps of many values: counts in buckets, so that millions cost no memory. */

/** Buckets grow by 1 %: percentiles are that exact. */
const GROWTH = Math.log(1.01);
const LEAST = 1e-9;
const BUCKETS = Math.ceil(Math.log(1e15) / GROWTH);

export class Sample {
  count = 0;
  sum = 0;
  most = 0;
  readonly #buckets = new Float64Array(BUCKETS);

  /** Values below 10^-9 count as that; units are the caller's. */
  add(value: number): void {
    this.count += 1;
    this.sum += value;
    if (value > this.most) this.most = value;
    const bucket = value <= LEAST ? 0 : Math.floor(Math.log(value / LEAST) / GROWTH);
    this.#buckets[Math.min(BUCKETS - 1, bucket)] += 1;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }

  /** The middle of the bucket below whose end a share `p` (0 … 1) of the values lies; 0 without values. */
  at(p: number): number {
    if (this.count === 0) return 0;
    let left = p * this.count;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#buckets[bucket];
      if (left <= 0) return LEAST * Math.exp((bucket + 0.5) * GROWTH);
    }
    return this.most;
  }
}

/** A mean with the half width of its 99 % confidence interval. */
export interface Estimate {
  readonly mean: number;
  readonly margin: number;
}

/** Of so many batches, Student's t for 99 %, two-sided. */
const BATCHES = 20;
const T_99 = 2.861;

/** By batch means: values that follow each other in a queue depend on each other, means of long stretches of them hardly do. */
export function estimate(values: readonly number[] | Float64Array): Estimate {
  const size = Math.floor(values.length / BATCHES);
  const means: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    let sum = 0;
    for (let i = batch * size; i < (batch + 1) * size; i++) sum += values[i];
    means.push(sum / size);
  }
  const mean = means.reduce((sum, value) => sum + value, 0) / BATCHES;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (BATCHES - 1);
  return { mean, margin: T_99 * Math.sqrt(variance / BATCHES) };
}

/**
 * GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (docs/protocol.md §12), of which 2 is a generator. Elements are bytes, addition is exclusive or.
 * @see https://www.rfc-editor.org/rfc/rfc5510#section-8.1
 */

const MODULUS = 0x11d;
/** Non-zero elements. */
const ORDER = 255;

/** 2^i, twice over, so that the sum of two logarithms needs no reduction. */
const EXP: Uint8Array = new Uint8Array(2 * ORDER);
const LOG: Uint8Array = new Uint8Array(256);
for (let i = 0, power = 1; i < ORDER; i++) {
  EXP[i] = EXP[i + ORDER] = power;
  LOG[power] = i;
  power <<= 1;
  if (power > 255) power ^= MODULUS;
}

export const multiply = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : EXP[LOG[a] + LOG[b]]);

/** Of a non-zero element. */
export const inverse = (a: number): number => EXP[ORDER - LOG[a]];

/**
 * What the values at different `points` are multiplied with to give, summed, the value at `at` of the polynomial of least degree through them
 * (Lagrange): so a column is made of any k others.
 */
export function coefficients(points: readonly number[], at: number): number[] {
  return points.map((point, i) =>
    points.reduce((product, other, j) => {
      if (i === j) return product;
      return multiply(product, multiply(at ^ other, inverse(point ^ other)));
    }, 1),
  );
}

/** λ of docs/protocol.md §12: the values at `points` are on a polynomial of degree below their number less one if they sum to 0 times these. */
export const checkWeights = (points: readonly number[]): number[] =>
  points.map((point, i) =>
    points.reduce((product, other, j) => (i === j ? product : multiply(product, inverse(point ^ other))), 1),
  );

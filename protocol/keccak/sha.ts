/**
 * SHA-256 for the same module: its rounds written out, the state and the message schedule in locals (FIPS 180-4 §6.2). For messages of
 * a few blocks, which is what calls are hashed in, it beats a call out to the platform.
 * @see https://nvlpubs.nist.gov/nistpubs/FIPS/NIST.FIPS.180-4.pdf
 */
import { type Code, I32, func, i32, local, loop, memoryFill } from './assembler.ts';

const BLOCK = 64;
const xor: Code = [0x73];
const rotateLeft: Code = [0x77];
const rotateRight: Code = [0x78];

/** The first 32 bits of the fractional parts of roots of the first primes: cube roots for rounds, square roots to start from (FIPS 180-4 §§4.2.2, 5.3.3). */
const primes = (count: number): number[] => {
  const out: number[] = [];
  for (let n = 2; out.length < count; n++) if (out.every((p) => n % p !== 0)) out.push(n);
  return out;
};
/** ⌊2^32 × the fraction of the `degree`th root of n⌋, exactly: by bisection on integers. */
function fraction(n: number, degree: 2 | 3): number {
  const target = BigInt(n) << BigInt(32 * degree);
  let [low, high] = [0n, BigInt(n) << 32n];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(degree) <= target) low = middle;
    else high = middle;
  }
  return Number(BigInt.asIntN(32, low));
}
const ROUND_CONSTANTS = primes(64).map((p) => fraction(p, 3));
const START = primes(8).map((p) => fraction(p, 2));

const [POINTER, COUNT, OUTPUT, SPARE] = [0, 1, 2, 3];
const STATE = 4;
const WORKING = STATE + 8;
const SCHEDULE = WORKING + 8;
const LOCALS = SCHEDULE + 16 - 3;

/** The bytes of a word the other way round: memory is little-endian, SHA-256 is not. */
const swapped = (word: Code): Code => [
  ...word,
  ...local.tee(SPARE),
  ...i32.const(8),
  ...rotateLeft,
  ...i32.const(0x00ff00ff),
  ...i32.and,
  ...local.get(SPARE),
  ...i32.const(8),
  ...rotateRight,
  ...i32.const(0xff00ff00 | 0),
  ...i32.and,
  ...i32.or,
];

const rotated = (name: number, bits: number): Code => [...local.get(name), ...i32.const(bits), ...rotateRight];
const shifted = (name: number, bits: number): Code => [...local.get(name), ...i32.const(bits), ...i32.shrU];

/** One block at POINTER into the state. */
function block(): Code {
  const out: number[] = [];
  for (let i = 0; i < 8; i++) out.push(...local.get(STATE + i), ...local.set(WORKING + i));
  for (let t = 0; t < 64; t++) {
    const word = SCHEDULE + (t % 16);
    if (t < 16) out.push(...swapped([...local.get(POINTER), ...i32.load(4 * t)]), ...local.set(word));
    else {
      const [near, far] = [SCHEDULE + ((t + 1) % 16), SCHEDULE + ((t + 14) % 16)];
      out.push(...local.get(word), ...local.get(SCHEDULE + ((t + 9) % 16)), ...i32.add);
      out.push(...rotated(near, 7), ...rotated(near, 18), ...xor, ...shifted(near, 3), ...xor, ...i32.add);
      out.push(...rotated(far, 17), ...rotated(far, 19), ...xor, ...shifted(far, 10), ...xor, ...i32.add);
      out.push(...local.set(word));
    }
    // Instead of moving eight words on in every round, their names move.
    const [a, b, c, d, e, f, g, h] = Array.from({ length: 8 }, (_, i) => WORKING + ((i - t + 64) % 8));
    out.push(...local.get(h), ...local.get(word), ...i32.add, ...i32.const(ROUND_CONSTANTS[t]), ...i32.add);
    out.push(...rotated(e, 6), ...rotated(e, 11), ...xor, ...rotated(e, 25), ...xor, ...i32.add);
    out.push(
      ...local.get(f),
      ...local.get(g),
      ...xor,
      ...local.get(e),
      ...i32.and,
      ...local.get(g),
      ...xor,
      ...i32.add,
    );
    out.push(...local.tee(h), ...local.get(d), ...i32.add, ...local.set(d));
    out.push(...local.get(h), ...rotated(a, 2), ...rotated(a, 13), ...xor, ...rotated(a, 22), ...xor, ...i32.add);
    out.push(...local.get(b), ...local.get(c), ...xor, ...local.get(a), ...i32.and);
    out.push(...local.get(b), ...local.get(c), ...i32.and, ...xor, ...i32.add, ...local.set(h));
  }
  for (let i = 0; i < 8; i++)
    out.push(...local.get(STATE + i), ...local.get(WORKING + i), ...i32.add, ...local.set(STATE + i));
  return out;
}

/** (pointer, length, output). Pads in place: 72 bytes past the message must be free. */
export function shaFunction(): Code {
  const end: Code = [...local.get(POINTER), ...local.get(COUNT), ...i32.add];
  return func(
    Array.from({ length: LOCALS }, () => I32),
    [
      // A bit 1, zeros, and the length in bits as the last word of the last block.
      ...end,
      ...i32.const(0),
      ...i32.const(BLOCK + 8),
      ...memoryFill,
      ...end,
      ...i32.const(0x80),
      ...i32.store8(0),
      // The last block starts at (length + 8) / 64 blocks.
      ...local.get(POINTER),
      ...local.get(COUNT),
      ...i32.const(8),
      ...i32.add,
      ...i32.const(6),
      ...i32.shrU,
      ...i32.const(6),
      ...i32.shl,
      ...i32.add,
      ...swapped([...local.get(COUNT), ...i32.const(3), ...i32.shl]),
      ...i32.store(BLOCK - 4),
      // From here on COUNT is how many blocks are left.
      ...local.get(COUNT),
      ...i32.const(8),
      ...i32.add,
      ...i32.const(6),
      ...i32.shrU,
      ...i32.const(1),
      ...i32.add,
      ...local.set(COUNT),
      ...START.flatMap((word, i) => [...i32.const(word), ...local.set(STATE + i)]),
      ...loop(
        block(),
        [...local.get(POINTER), ...i32.const(BLOCK), ...i32.add, ...local.set(POINTER)],
        [...local.get(COUNT), ...i32.const(1), ...i32.sub, ...local.tee(COUNT)],
      ),
      ...START.flatMap((_, i) => [...local.get(OUTPUT), ...swapped(local.get(STATE + i)), ...i32.store(4 * i)]),
    ],
  );
}

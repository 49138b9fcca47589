/**
 * A half: one direction of a session, a grow-only signed record (docs/protocol.md §5). With its payer's signature it
 * is money, with its payee's a receipt. `join` is what chain, relay and both parties do with two of them.
 */
import { Reader, Writer, ZERO_BYTES32, compare, equal, isZero } from './bytes.ts';
import { malformed } from './errors.ts';

/** 0: a pays b; 1: b pays a. */
export type Direction = 0 | 1;

export interface Half {
  readonly session: number;
  readonly dir: Direction;
  /** Window number; grows. */
  readonly seq: number;
  /** Leaves in the call log; grows. */
  readonly calls: number;
  /** Base units owed since the session opened; grows. */
  readonly paid: number;
  /** RFC 6962 head of the call log over `calls` leaves. */
  readonly root: Uint8Array;
}

/** A half with its payer's P-256 signature, and the payee's once it has countersigned. */
export interface SignedHalf {
  readonly half: Half;
  readonly payer: Uint8Array;
  readonly payee?: Uint8Array;
}

export const SIGNATURE_BYTES = 64;

export const encodeHalf = (half: Half): Uint8Array =>
  new Writer()
    .u8(half.dir)
    .u64(half.session)
    .u64(half.seq)
    .u64(half.calls)
    .u64(half.paid)
    .bytes(half.root)
    .bytes(ZERO_BYTES32)
    .finish();

/** Throws `malformed`, also for `locks` other than zero. */
export function decodeHalf(reader: Reader): Half {
  const dir = reader.u8();
  if (dir > 1) throw malformed(`direction ${dir}`);
  const half = {
    dir: dir as Direction,
    session: reader.u64(),
    seq: reader.u64(),
    calls: reader.u64(),
    paid: reader.u64(),
    root: reader.bytes(32),
  };
  if (!isZero(reader.bytes(32))) throw malformed('locks are not supported yet');
  if (half.calls >= 2 ** 48) throw malformed('more than 2^48-1 calls');
  return half;
}

/** Whether `next` is at or above `prev` in every counter, as an honest payer's newer half always is. */
export const covers = (next: Half, prev: Half): boolean =>
  next.seq >= prev.seq && next.calls >= prev.calls && next.paid >= prev.paid;

/**
 * Whether no log could bear both halves of one session and direction: a key that signed them is slashed (docs/protocol.md §4, *conflict*). One that
 * merely goes back is none: it says less than it might.
 */
export const contradicts = (one: Half, other: Half): boolean => {
  const sameRoot = equal(one.root, other.root);
  const twoForOnePlace = one.seq === other.seq && !(one.calls === other.calls && one.paid === other.paid && sameRoot);
  return twoForOnePlace || (one.calls === other.calls && !sameRoot);
};

/** What a chain keeps of a direction: the most paid, and the longest log. Idempotent, commutative, associative. */
export interface DirectionState {
  paid: number;
  calls: number;
  root: Uint8Array;
}

/** Joins a half into `state` in place; false when nothing changed. */
export function join(state: DirectionState, half: Pick<Half, 'paid' | 'calls' | 'root'>): boolean {
  let changed = false;
  if (half.paid > state.paid) {
    state.paid = half.paid;
    changed = true;
  }
  if (half.calls > state.calls || (half.calls === state.calls && compare(half.root, state.root) > 0)) {
    state.calls = half.calls;
    state.root = half.root;
    changed = true;
  }
  return changed;
}

/** What each party gets: `outB = clamp(depositB + paidAB − paidBA, 0, total)`. */
export function payOut(
  depositA: number,
  depositB: number,
  paidAB: number,
  paidBA: number,
): { outA: number; outB: number } {
  const total = depositA + depositB;
  // In bigint: paid − paid is exact in a double only when both are near each other, and the clamp must be exact.
  const outB = Number(clamp(BigInt(depositB) + BigInt(paidAB) - BigInt(paidBA), 0n, BigInt(total)));
  return { outA: total - outB, outB };
}

const clamp = (x: bigint, low: bigint, high: bigint): bigint => (x < low ? low : x > high ? high : x);

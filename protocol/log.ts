/**
 * RFC 6962 Merkle trees over a growing list: head, inclusion proofs, and the frontier that lets a head grow in
 * O(log n) memory. One shape, two hashes: SHA-256 for call logs and payload roots, keccak for `dataRoot`.
 * @see https://www.rfc-editor.org/rfc/rfc6962#section-2.1
 */
import { concat, equal } from './bytes.ts';
import { keccak, sha } from './hash.ts';

export type HashFn = (bytes: Uint8Array) => Uint8Array;

/** Hashing copies nothing it keeps, so leaves and nodes are put together in place. Leaves are tagged 0, nodes 1. */
const leafScratch = new Uint8Array(4 * 1024);
/** The part of it that the last leaf took: records of a log are of one length. */
let leaf = leafScratch;
const nodeScratch = new Uint8Array(65);
nodeScratch[0] = 1;

export function leafHash(hash: HashFn, record: Uint8Array): Uint8Array {
  if (record.length >= leafScratch.length) return hash(concat(Uint8Array.of(0), record));
  if (leaf.length !== record.length + 1) leaf = leafScratch.subarray(0, record.length + 1);
  leaf.set(record, 1);
  return hash(leaf);
}

export function nodeHash(hash: HashFn, left: Uint8Array, right: Uint8Array): Uint8Array {
  // A path from outside may hold anything.
  if (left.length !== 32 || right.length !== 32) return hash(concat(Uint8Array.of(1), left, right));
  nodeScratch.set(left, 1);
  nodeScratch.set(right, 33);
  return hash(nodeScratch);
}

/** Grow-only tree head in O(log n): the roots of the full subtrees, largest first. */
export class Frontier {
  readonly #hash: HashFn;
  #size: number;
  #stack: Uint8Array[];

  constructor(hash: HashFn = sha, size = 0, stack: readonly Uint8Array[] = []) {
    this.#hash = hash;
    this.#size = size;
    this.#stack = [...stack];
  }

  get size(): number {
    return this.#size;
  }

  /** The subtree roots, for persisting; give them back to the constructor with `size`. */
  get stack(): readonly Uint8Array[] {
    return this.#stack;
  }

  append(record: Uint8Array): void {
    this.appendLeaf(leafHash(this.#hash, record));
  }

  appendLeaf(leaf: Uint8Array): void {
    let node = leaf;
    for (let n = this.#size; n % 2 === 1; n = Math.floor(n / 2)) node = nodeHash(this.#hash, this.#stack.pop()!, node);
    this.#stack.push(node);
    this.#size += 1;
  }

  /** The head over everything appended; of nothing, the hash of no bytes. */
  root(): Uint8Array {
    if (this.#size === 0) return this.#hash(new Uint8Array(0));
    return this.#stack.reduceRight((right, left) => nodeHash(this.#hash, left, right));
  }

  clone(): Frontier {
    return new Frontier(this.#hash, this.#size, this.#stack);
  }
}

/** Largest power of two below n (n ≥ 2): where RFC 6962 splits. */
const splitOf = (n: number): number => 2 ** (Math.ceil(Math.log2(n)) - 1);

function subtree(hash: HashFn, leaves: readonly Uint8Array[], from: number, to: number): Uint8Array {
  if (to - from === 1) return leaves[from];
  const split = from + splitOf(to - from);
  return nodeHash(hash, subtree(hash, leaves, from, split), subtree(hash, leaves, split, to));
}

/** Head over leaf hashes. */
export function rootOf(hash: HashFn, leaves: readonly Uint8Array[]): Uint8Array {
  return leaves.length === 0 ? hash(new Uint8Array(0)) : subtree(hash, leaves, 0, leaves.length);
}

/** Audit path of one leaf, from the leaf up (RFC 6962 PATH). */
export const inclusionPath = (hash: HashFn, leaves: readonly Uint8Array[], index: number): Uint8Array[] =>
  pathThrough(leaves.length, index, (from, to) => subtree(hash, leaves, from, to));

/** As {@link inclusionPath}, of `size` leaves that need not be here all at once: `headOf` is the head over those with `from ≤ index < to`. */
export function pathThrough(
  size: number,
  index: number,
  headOf: (from: number, to: number) => Uint8Array,
): Uint8Array[] {
  const path: Uint8Array[] = [];
  let from = 0;
  let to = size;
  if (index < 0 || index >= to) throw new RangeError(`no leaf ${index} among ${to}`);
  while (to - from > 1) {
    const split = from + splitOf(to - from);
    if (index < split) {
      path.unshift(headOf(split, to));
      to = split;
    } else {
      path.unshift(headOf(from, split));
      from = split;
    }
  }
  return path;
}

/** All nodes over leaf hashes, level by level from the leaves up: many paths of one tree take little each. A last node without a sibling goes up as it is. */
export function treeLevels(hash: HashFn, leaves: readonly Uint8Array[]): (readonly Uint8Array[])[] {
  const levels = [leaves];
  for (let level = leaves; level.length > 1; levels.push(level)) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2)
      next.push(i + 1 < level.length ? nodeHash(hash, level[i], level[i + 1]) : level[i]);
    level = next;
  }
  return levels;
}

/** As {@link inclusionPath}, by {@link treeLevels}. */
export function pathIn(levels: readonly (readonly Uint8Array[])[], index: number): Uint8Array[] {
  if (!(index >= 0 && index < levels[0].length)) throw new RangeError(`no leaf ${index} among ${levels[0].length}`);
  return levels.slice(0, -1).flatMap((level, height) => level[Math.floor(index / 2 ** height) ^ 1] ?? []);
}

/** Whether `leaf` is number `index` of a tree of `size` leaves with this root (RFC 9162 §2.1.3.2). Total. */
export function verifyInclusion(
  hash: HashFn,
  root: Uint8Array,
  size: number,
  index: number,
  leaf: Uint8Array,
  path: readonly Uint8Array[],
): boolean {
  if (index < 0 || index >= size) return false;
  let position = index;
  let last = size - 1;
  let node = leaf;
  for (const sibling of path) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      node = nodeHash(hash, sibling, node);
      while (position % 2 === 0 && position !== 0) {
        position = Math.floor(position / 2);
        last = Math.floor(last / 2);
      }
    } else {
      node = nodeHash(hash, node, sibling);
    }
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(node, root);
}

/** Payload root of a bundle: RFC 6962 with SHA-256 over 32-byte payload leaves. */
export const payloadRoot = (payloads: readonly Uint8Array[]): Uint8Array =>
  rootOf(
    sha,
    payloads.map((payload) => leafHash(sha, payload)),
  );

export { keccak, sha };

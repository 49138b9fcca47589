/**
 * What the threads of a parallel executor share: a shard's state in one memory that never moves, the frames they are at,
 * and the few words they tell each other.
 */
import { REGION_SLOTS } from '../../protocol/cells.ts';
import { MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import { PLAIN_END } from '../../protocol/plain/layout.ts';
import { MAX_NUMBERS } from '../../protocol/ops/index.ts';
import { MARK_WORDS, Shape } from '../../protocol/tree.ts';
import { PAGE_CELLS } from '../../protocol/trie.ts';

export const MAX_LANES = 16;

// --- the memory of the state ---

export const PAGE_BYTES: number = PAGE_CELLS * 64;
export const PAGES: number = REGION_SLOTS / PAGE_CELLS;
export const REGIONS = 16;
const PAGE_LEVELS = 5;
export const PAGE = new Shape(PAGE_LEVELS, 0);
export const REGION = new Shape(PAGE_LEVELS, PAGE_LEVELS);
export const SHARD = new Shape(2, 2 * PAGE_LEVELS);

/** Entries of what a thread has hashed at once: two words each. */
export const LIST_BYTES = 8 * 2048;
const LISTS = 2 ** Math.ceil(Math.log2(PLAIN_END));
export const listOf = (lane: number): number => LISTS + lane * LIST_BYTES;
export const SHARD_TREE: number = LISTS + MAX_LANES * LIST_BYTES;
const REGION_TREES = SHARD_TREE + SHARD.byteLength;
export const regionTree = (region: number): number => REGION_TREES + region * REGION.byteLength;

/** Then blocks of five places of 64 KiB: three pages, and their trees in two. */
const FIRST_PLACE = Math.ceil(regionTree(REGIONS) / PAGE_BYTES);
const TREES = 3;
const BLOCK = 5;
export const placeOfPage = (page: number): number => FIRST_PLACE + BLOCK * Math.floor(page / TREES) + (page % TREES);
export const treeOfPage = (page: number): number =>
  (FIRST_PLACE + BLOCK * Math.floor(page / TREES) + TREES) * PAGE_BYTES + (page % TREES) * PAGE.byteLength;

/** All the pages a shard can ever have: address space is cheap, and only what is written to takes memory. */
export const MAX_PAGES: number = 10 * PAGES;

/** Then copies of cells as they were when a root was asked for; and which of them goes to which leaf, as they are hashed. */
export const FROZEN_CELLS = 2 ** 17;
/** Cells hashed together, or up to a page more: few, so that the threads are done together. */
export const UNIT_CELLS = 512;
export const MAX_UNITS: number = FROZEN_CELLS / UNIT_CELLS + 1;
export const FROZEN: number = (placeOfPage(MAX_PAGES) + BLOCK) * PAGE_BYTES;
export const FROZEN_LIST: number = FROZEN + 64 * FROZEN_CELLS;
const FROZEN_END = FROZEN_LIST + 8 * (FROZEN_CELLS + MAX_UNITS);
export const MEMORY_PLACES: number = Math.ceil(FROZEN_END / PAGE_BYTES);

// --- the words ---

/** Places in `control`, each in cache lines of its own. */
export const Word = {
  phase: 0,
  done: 32,
  claim: 64,
  planned: 96,
  limit: 128,
  count: 160,
  failed: 192,
  lanes: 224,
} as const;
export const wordOf = (lane: number): number => Word.lanes + 32 * lane;
export const Phase = { decode: 1, execute: 2, hash: 3, exit: 4 } as const;
/** Looks at a word before a thread sleeps. */
export const SPINS = 20_000;
/** Milliseconds it then sleeps between looks. */
const NAP = 0.05;
const FAILING = 1;
const FAILED = 2;
/** A phase word is how many phases there were, times this, plus which it is. */
export const PHASES = 8;
/** Where a thread stands that holds no frame. */
export const NOWHERE = 2 ** 31 - 1;
/** Positions a frame has: its opening and up to 256 interactions. */
export const POSITIONS = 512;

/** Frames, and steps, that threads work on at once. */
export const MAX_FRAMES = 4096;
export const MAX_STEPS = 2 ** 17;
/** Numbers a thread has room for. */
export const NUMBERS = MAX_STEPS * MAX_NUMBERS;

/** What is known of a frame before it runs. */
export const Kind = { serial: 0, parallel: 1 } as const;

const shared = {
  control: () => new Int32Array(new SharedArrayBuffer(4 * wordOf(MAX_LANES))),
  /** What a thread failed with, as text. */
  failure: () => new Uint8Array(new SharedArrayBuffer(1024)),
  /** Pages to be hashed, and which of their cells. */
  frozen: () => new Int32Array(new SharedArrayBuffer(4 * MAX_PAGES)),
  frozenMarks: () => new Int32Array(new SharedArrayBuffer(4 * MAX_PAGES * MARK_WORDS)),
  /** In pairs, of which of these pages and which of the cells each unit starts with; one more, for where the last ends. */
  units: () => new Int32Array(new SharedArrayBuffer(8 * (MAX_UNITS + 1))),
  /** Whether a page's tree is still to be made. */
  bare: () => new Uint8Array(new SharedArrayBuffer(MAX_PAGES)),
  /** Region and number of each page. */
  keys: () => new Int32Array(new SharedArrayBuffer(4 * MAX_PAGES)),
  /** Base units burned, by thread. */
  burned: () => new Float64Array(new SharedArrayBuffer(8 * MAX_LANES)),

  // By frame; one more, for where the last ends.
  bytes: () => new Uint8Array(new SharedArrayBuffer(MAX_FRAMES * MAX_FRAME_BYTES)),
  byteAt: () => new Int32Array(new SharedArrayBuffer(4 * (MAX_FRAMES + 1))),
  stepAt: () => new Int32Array(new SharedArrayBuffer(4 * (MAX_FRAMES + 1))),
  kinds: () => new Uint8Array(new SharedArrayBuffer(MAX_FRAMES)),
  actors: () => new Float64Array(new SharedArrayBuffer(8 * MAX_FRAMES)),
  nonces: () => new Float64Array(new SharedArrayBuffer(8 * MAX_FRAMES)),
  expiries: () => new Float64Array(new SharedArrayBuffer(8 * MAX_FRAMES)),
  /** Status of the opening. */
  openings: () => new Uint8Array(new SharedArrayBuffer(MAX_FRAMES)),
  /** Serials given before. */
  escrows: () => new Float64Array(new SharedArrayBuffer(8 * MAX_FRAMES)),
  workflows: () => new Float64Array(new SharedArrayBuffer(8 * MAX_FRAMES)),

  // By step.
  codes: () => new Uint8Array(new SharedArrayBuffer(MAX_STEPS)),
  /** Where in `numbers` those of its fields are. */
  numbersAt: () => new Int32Array(new SharedArrayBuffer(4 * MAX_STEPS)),
  /** Position that all others must have reached before. */
  waits: () => new Int32Array(new SharedArrayBuffer(4 * MAX_STEPS)),
  statuses: () => new Uint8Array(new SharedArrayBuffer(MAX_STEPS)),
  values: () => new Float64Array(new SharedArrayBuffer(8 * MAX_STEPS)),
};

export type Shared = { readonly [K in keyof typeof shared]: ReturnType<(typeof shared)[K]> } & {
  readonly lanes: number;
  readonly shard: number;
  readonly shards: number;
  readonly memory: WebAssembly.Memory;
  /** By thread, a bit for every cell: changed since the last root; and by place, whether any is. */
  readonly marks: readonly Int32Array[];
  readonly touched: readonly Uint8Array[];
  /** By thread, what fields decoded to. */
  readonly numbers: readonly Float64Array[];
};

export function makeShared(lanes: number, shard: number, shards: number): Shared {
  const each = <T>(make: () => T): T[] => Array.from({ length: lanes }, make);
  const made = Object.fromEntries(Object.entries(shared).map(([name, make]) => [name, make()]));
  return {
    ...(made as { [K in keyof typeof shared]: ReturnType<(typeof shared)[K]> }),
    lanes,
    shard,
    shards,
    memory: new WebAssembly.Memory({ initial: MEMORY_PLACES, maximum: MEMORY_PLACES, shared: true }),
    marks: each(() => new Int32Array(new SharedArrayBuffer(4 * MEMORY_PLACES * MARK_WORDS))),
    touched: each(() => new Uint8Array(new SharedArrayBuffer(MEMORY_PLACES))),
    numbers: each(() => new Float64Array(new SharedArrayBuffer(8 * NUMBERS))),
  };
}

/** Tells the other threads that this one has failed: whoever waits for it throws. The first to fail says why. */
export function fail({ control, failure }: Shared, error: unknown): void {
  if (Atomics.compareExchange(control, Word.failed, 0, FAILING) !== 0) return;
  failure.set(new TextEncoder().encode(String(error)).subarray(0, failure.length));
  Atomics.store(control, Word.failed, FAILED);
}

/** Throws where a thread has failed. */
export function throwIfFailed({ control, failure }: Shared): void {
  if (Atomics.load(control, Word.failed) !== FAILED) return;
  throw new Error(`a thread has failed: ${new TextDecoder().decode(failure.slice()).replace(/\0+$/, '')}`);
}

/** Sleeps for a moment, or until a word changes; throws where another thread has failed. */
export function nap(shared: Shared, word: number, value: number): void {
  throwIfFailed(shared);
  Atomics.wait(shared.control, word, value, NAP);
}

/** Waits until so many of what is planned while others already take it, and one more, are; false when there are no more. */
export function isPlanned(shared: Shared, number: number): boolean {
  const { control } = shared;
  for (let spins = 0; ; spins++) {
    const planned = Atomics.load(control, Word.planned);
    if (planned > number) return true;
    if (Atomics.load(control, Word.limit) <= number) return false;
    if (spins > SPINS) nap(shared, Word.planned, planned);
  }
}

/** What the fields of a step decoded to. */
export function numbersOf({ numbers, numbersAt }: Shared, step: number): Float64Array {
  const lane = Math.floor(numbersAt[step] / NUMBERS);
  return numbers[lane].subarray(numbersAt[step] % NUMBERS, (numbersAt[step] % NUMBERS) + MAX_NUMBERS);
}

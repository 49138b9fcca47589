/**
 * Witnesses of single steps (docs/protocol.md §10): every cell that a step looks at, with what proves them all together
 * under the state root before it. L1 executes a step on nothing else.
 */
import { Reader, Writer, compare, equal } from './bytes.ts';
import { CELL_BYTES, META_HEAD, Region, addressOf } from './cells.ts';
import type { Bundle } from './bundle.ts';
import { type Context, commitment } from './engine.ts';
import { malformed } from './errors.ts';
import { HASH_BYTES, keccak } from './hash.ts';
import type { Cell, Edit } from './memory.ts';
import type { Shards } from './shards.ts';
import { type StepOutcome, runStep } from './step.ts';
import { DEPTH, type PageImage, type Paging, SHARD_DEPTH, ShardTrie, type StateTree, ZERO_HASHES } from './trie.ts';

/** Most cells of a step, neighbours counted once, and most bytes of its witness: what L1 can be sure to execute. */
export const MAX_WITNESS_GROUPS = 9;
export const MAX_WITNESS_BYTES = 12 * 1024;

/** A cell as a step found it. */
export interface FoundCell {
  readonly address: number;
  readonly cell: Uint8Array;
}

/** Notes which cells of all shards are looked at or written, and what was in them before. */
export class Recorder {
  #found: Map<number, Uint8Array> | null = null;

  /** A trie of a shard that tells; as long as nobody records, it costs a comparison. */
  trie(shard: number, paging: Paging | null = null): ShardTrie {
    return new RecordedTrie(shard, this, paging);
  }

  get isRecording(): boolean {
    return this.#found !== null;
  }
  start(): void {
    this.#found = new Map();
  }
  /** What was found since {@link start}, by address. */
  stop(): FoundCell[] {
    const found = this.#found ?? new Map<number, Uint8Array>();
    this.#found = null;
    return Array.from(found, ([address, cell]) => ({ address, cell })).toSorted((a, b) => a.address - b.address);
  }
  /** Told by a trie before the cell is given to anybody. */
  note(address: number, bytes: Uint8Array, at: Cell): void {
    if (this.#found !== null && !this.#found.has(address)) this.#found.set(address, bytes.slice(at, at + CELL_BYTES));
  }
}

class RecordedTrie extends ShardTrie {
  readonly #shard: number;
  readonly #recorder: Recorder;
  readonly #isPaged: boolean;
  /** While nothing changes: who proves steps asks for it again and again. */
  #root: Uint8Array | null = null;

  constructor(shard: number, recorder: Recorder, paging: Paging | null) {
    super(paging);
    this.#shard = shard;
    this.#recorder = recorder;
    this.#isPaged = paging !== null;
  }

  override cell(region: number, slot: number): Cell {
    const cell = super.cell(region, slot);
    if (this.#recorder.isRecording) this.#recorder.note(addressOf(this.#shard, region, slot), this.memory.bytes, cell);
    return cell;
  }
  override make(region: number, slot: number): Edit {
    if (this.#recorder.isRecording) this.cell(region, slot);
    return super.make(region, slot);
  }
  override mark(cell: Cell): Edit {
    this.#root = null;
    return super.mark(cell);
  }
  override load(image: PageImage): void {
    this.#root = null;
    super.load(image);
  }
  override root(): Uint8Array {
    // A page that came back still has to be hashed, for a proof if not for the root.
    if (this.#isPaged || this.#root === null) this.#root = super.root();
    return this.#root.slice();
  }
}

/** A step with all that L1 needs to execute it, and what it has to come to. */
export interface ProvenStep extends StepOutcome {
  readonly pre: Uint8Array;
  readonly post: Uint8Array;
  readonly witness: Uint8Array;
  /** What it looked at, as it was. */
  readonly cells: readonly FoundCell[];
}

/**
 * Executes a step on all shards' states, as {@link runStep}, and proves it. `recorder` must have made the tries. `pre` is the
 * state's root, where it is known.
 */
export function proveStep(
  shards: Shards,
  recorder: Recorder,
  { shard, seq, frame }: { readonly shard: number; readonly seq: number; readonly frame: Uint8Array },
  index: number,
  context: Context,
  bundle?: Bundle | null,
  preRoot: Uint8Array = shards.tree().root(),
): ProvenStep & { readonly postRoot: Uint8Array } {
  const engine = shards.engine(shard);
  recorder.start();
  let outcome: StepOutcome;
  let cells: FoundCell[];
  try {
    // The engine remembers where the head is and asks for it no more.
    engine.trie.cell(Region.meta, META_HEAD);
    outcome = runStep(engine, seq, frame, index, context, bundle);
  } finally {
    cells = recorder.stop();
  }
  const tree = shards.tree();
  const postRoot = tree.root();
  return {
    ...outcome,
    pre: commitment(preRoot, context),
    post: commitment(postRoot, outcome.context),
    witness: encodeWitness(preRoot, context, cells, tree, (of) => shards.engine(of).trie),
    cells,
    postRoot,
  };
}

/** A node of the whole tree by a number of its own. */
const nodeAt = (level: number, index: number): number => index * (DEPTH + 1) + level;

/**
 * `cells` ascending, as they are under `stateRoot`. `tree` and tries may be those of that state or of any in which no other cell
 * has changed: of what lies beside the cells, all nodes are the same.
 */
export function encodeWitness(
  stateRoot: Uint8Array,
  context: Context,
  cells: readonly FoundCell[],
  tree: StateTree,
  trieOf: (shard: number) => ShardTrie,
): Uint8Array {
  const writer = new Writer().bytes(stateRoot).u8(context).u8(cells.length);
  for (const { address, cell } of cells) writer.u32(address).bytes(cell);
  const nodes = new Map<number, Uint8Array>();
  let above = -1;
  for (const { address } of cells) {
    // Neighbours differ in their leaves only, and each brings the others'.
    const isNeighbour = Math.floor(address / 4) === above;
    above = Math.floor(address / 4);
    if (isNeighbour) continue;
    const shard = Math.floor(address / 4 ** SHARD_DEPTH);
    const within = address % 4 ** SHARD_DEPTH;
    const siblings = [...trieOf(shard).proof(within >>> 20, within & 0xfffff), ...tree.siblings(shard)];
    let node = address;
    for (let level = 0, next = 0; level < DEPTH; level++, node = Math.floor(node / 4)) {
      const first = node - (node % 4);
      for (let child = first; child < first + 4; child++)
        if (child !== node) nodes.set(nodeAt(level, child), siblings[next++]);
    }
  }
  let given = cells.map(({ address }) => address);
  for (let level = 0; level < DEPTH; level++) {
    const isGiven = new Set(given);
    given = parentsOf(given);
    for (const parent of given) {
      const following: Uint8Array[] = [];
      let mask = 0;
      for (let child = 0; child < 4; child++) {
        const at = 4 * parent + child;
        const hash = nodes.get(nodeAt(level, at));
        if (isGiven.has(at) || !hash || equal(hash, ZERO_HASHES[level])) continue;
        mask |= 1 << child;
        following.push(hash);
      }
      writer.u8(mask);
      for (const hash of following) writer.bytes(hash);
    }
  }
  return writer.finish();
}

/** The nodes above ascending nodes of one level, each once. */
function parentsOf(nodes: readonly number[]): number[] {
  const parents: number[] = [];
  for (const node of nodes) {
    const parent = Math.floor(node / 4);
    if (parents.at(-1) !== parent) parents.push(parent);
  }
  return parents;
}

/** A witness as L1 reads it. */
export interface Witness {
  readonly stateRoot: Uint8Array;
  readonly context: Context;
  readonly cells: readonly FoundCell[];
  /** The root with these cells instead, one for each of the witness's; with its own, it must be `stateRoot`. */
  rootWith(cells: readonly Uint8Array[]): Uint8Array;
}

/** Inverse of {@link encodeWitness}. Throws `malformed`, and for a witness that does not open its state root. */
export function openWitness(bytes: Uint8Array): Witness {
  const reader = new Reader(bytes);
  const stateRoot = reader.bytes(HASH_BYTES);
  const context = reader.u8();
  if (context > 2) throw malformed(`context ${context}`);
  const cells: FoundCell[] = [];
  for (let left = reader.u8(); left > 0; left--) {
    const address = reader.u32();
    if (address <= (cells.at(-1)?.address ?? -1)) throw malformed('cells out of order');
    cells.push({ address, cell: reader.bytes(CELL_BYTES) });
  }
  const groups = readNodes(reader, cells);
  reader.end();
  const rootWith = (now: readonly Uint8Array[]): Uint8Array => {
    let hashes = now.map(keccak);
    for (const level of groups) {
      let next = 0;
      const above: Uint8Array[] = [];
      for (const children of level) {
        const block = new Uint8Array(4 * HASH_BYTES);
        children.forEach((hash, child) => block.set(hash ?? hashes[next++], child * HASH_BYTES));
        above.push(keccak(block));
      }
      hashes = above;
    }
    return hashes[0];
  };
  if (cells.length === 0) throw malformed('a witness without cells');
  if (compare(rootWith(cells.map(({ cell }) => cell)), stateRoot) !== 0) throw malformed('it opens another root');
  return { stateRoot, context: context as Context, cells, rootWith };
}

/** Of each level from the bottom, the nodes above cells given, each by its children: null for one that lies above a cell itself. */
function readNodes(reader: Reader, cells: readonly FoundCell[]): (Uint8Array | null)[][][] {
  let given = cells.map(({ address }) => address);
  return Array.from({ length: DEPTH }, (_, level) => {
    const isGiven = new Set(given);
    given = parentsOf(given);
    return given.map((parent) => {
      const mask = reader.u8();
      if (mask > 15) throw malformed('a node has four children');
      return [0, 1, 2, 3].map((child) => {
        const follows = (mask & (1 << child)) !== 0;
        if (!isGiven.has(4 * parent + child)) return follows ? reader.bytes(HASH_BYTES) : ZERO_HASHES[level];
        if (follows) throw malformed('a child above a cell given follows from it');
        return null;
      });
    });
  });
}

/**
 * The state of all shards: maps from addresses to records of bigints, with a journal so that a step that fails writes
 * nothing. It also notes which cells a step looks at, because the page promises that they are few.
 */
import { concat } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import {
  AGENT,
  ESCROW,
  ESCROW_STATUS,
  type Fields,
  HEAD,
  type Layout,
  MESSAGE,
  OUTBOX,
  PEER,
  REGION,
  SESSION,
  SESSION_STATUS,
  blank,
  decode,
  encode,
  layoutAt,
} from './cells.ts';

export interface Entry {
  readonly layout: Layout;
  readonly fields: Readonly<Record<string, bigint>>;
}

export interface Mail {
  readonly from: number;
  readonly to: number;
  readonly number: bigint;
  readonly payload: Uint8Array;
}

export const SMALL = 2n ** 20n;
export const LARGE = 2n ** 44n;
const SHARD_CELLS = 2 ** 24;

export const makeId = (shard: number, serial: bigint): bigint => serial * 256n + BigInt(shard);
export const shardOf = (id: bigint): number => Number(id % 256n);
export const serialOf = (id: bigint): bigint => id / 256n;

const address = (shard: number, region: number, slot: bigint | number): number =>
  shard * SHARD_CELLS + region * 2 ** 20 + Number(slot);

/** Addresses by what stands there. */
export const place = {
  head: (shard: number) => address(shard, REGION.meta, 0),
  inbox: (shard: number) => address(shard, REGION.meta, 1),
  peer: (shard: number, other: number) => address(shard, REGION.meta, 256 + other),
  agent: (id: bigint) => address(shardOf(id), REGION.agent, serialOf(id)),
  key: (id: bigint) => address(shardOf(id), REGION.key, serialOf(id)),
  service: (id: bigint) => address(shardOf(id), REGION.service, serialOf(id)),
  capability: (id: bigint) => address(shardOf(id), REGION.capability, serialOf(id)),
  session: (id: bigint) => address(shardOf(id), REGION.session, 4n * (serialOf(id) % 2n ** 18n)),
  escrow: (id: bigint) => address(shardOf(id), REGION.escrow, serialOf(id) % 2n ** 20n),
  outbox: (shard: number, serial: bigint) => address(shard, REGION.outbox, serial % 2n ** 20n),
  workflow: (id: bigint) => address(shardOf(id), REGION.workflow, 4n * (serialOf(id) % 2n ** 18n)),
  message: (from: number, to: number, number: bigint) =>
    address(from, REGION.message, BigInt(to) * 2n ** 12n + (number % 2n ** 12n)),
} as const;

const ZERO_HASHES: Uint8Array[] = [keccak(new Uint8Array(64))];
for (let h = 0; h < 16; h++) ZERO_HASHES.push(keccak(concat(...Array<Uint8Array>(4).fill(ZERO_HASHES[h]))));

/** Root of the 4-ary tree of this height over the leaf hashes given by their place; all others are zero cells'. */
function treeRoot(leaves: Map<number, Uint8Array>, from: number, height: number): Uint8Array {
  let level = leaves;
  for (let h = from; h < height; h++) {
    const above = new Map<number, Uint8Array>();
    for (const at of level.keys()) {
      const parent = Math.floor(at / 4);
      if (above.has(parent)) continue;
      above.set(parent, keccak(concat(...[0, 1, 2, 3].map((i) => level.get(4 * parent + i) ?? ZERO_HASHES[h]))));
    }
    level = above;
  }
  return level.get(0) ?? ZERO_HASHES[height];
}

export class World {
  readonly shards: number;
  readonly #cells = new Map<number, Entry>();
  #journal: [at: number, before: Entry | undefined][] = [];
  /** Every message ever sent, for whoever feeds the receivers. */
  readonly mail: Mail[] = [];
  /** Money no cell holds any more: withdrawals whose slots were taken over, and refunds the outbox had no slot for. */
  forgotten = 0n;
  /** Addresses the step under way has read or written. */
  readonly touched = new Set<number>();

  constructor(shards: number) {
    this.shards = shards;
  }

  read<L extends Layout>(at: number, layout: L): Fields<L> {
    this.touched.add(at);
    return (this.#cells.get(at)?.fields as Fields<L> | undefined) ?? blank(layout);
  }

  write<L extends Layout>(at: number, layout: L, fields: Fields<L>): void {
    this.touched.add(at);
    this.#journal.push([at, this.#cells.get(at)]);
    this.#cells.set(at, { layout, fields });
  }

  update<L extends Layout>(at: number, layout: L, change: Partial<Fields<L>>): void {
    this.write(at, layout, { ...this.read(at, layout), ...change });
  }

  /** A point to return to. */
  mark(): number {
    return this.#journal.length;
  }

  rollback(mark: number): void {
    for (const [at, before] of this.#journal.splice(mark).toReversed()) {
      if (before) this.#cells.set(at, before);
      else this.#cells.delete(at);
    }
  }

  /** Forgets how to go back before now. */
  settle(): void {
    this.#journal = [];
    this.touched.clear();
  }

  /** How many cells the step has looked at, the four of a session or workflow as one. */
  touchedQuads(): number {
    const places = new Set<number>();
    for (const at of this.touched) {
      const region = Math.floor(at / 2 ** 20) % 16;
      places.add(region === REGION.session || region === REGION.workflow ? at - (at % 4) : at);
    }
    return places.size;
  }

  /** Puts a cell's bytes in place, as a state that a long history would have made. */
  poke(at: number, cell: Uint8Array): void {
    const layout = layoutAt(at % SHARD_CELLS);
    this.#cells.set(at, { layout, fields: decode(layout, cell) });
  }

  /** Every record there is, zero or not. */
  entries(): IterableIterator<[at: number, entry: Entry]> {
    return this.#cells.entries();
  }

  places(): IterableIterator<number> {
    return this.#cells.keys();
  }

  cell(at: number): Uint8Array {
    const entry = this.#cells.get(at);
    return entry ? encode(entry.layout, entry.fields, 64) : new Uint8Array(64);
  }

  /** The cells of a shard that are not zero, by full address. */
  cells(shard: number): Map<number, Uint8Array> {
    const out = new Map<number, Uint8Array>();
    for (const [at, { layout, fields }] of this.#cells) {
      if (Math.floor(at / SHARD_CELLS) !== shard) continue;
      const cell = encode(layout, fields, 64);
      if (cell.some((byte) => byte !== 0)) out.set(at, cell);
    }
    return out;
  }

  root(shard: number): Uint8Array {
    const leaves = [...this.cells(shard)].map(([at, cell]): [number, Uint8Array] => [at % SHARD_CELLS, keccak(cell)]);
    return treeRoot(new Map(leaves), 0, 12);
  }

  stateRoot(): Uint8Array {
    const roots = Array.from({ length: this.shards }, (_, shard): [number, Uint8Array] => [shard, this.root(shard)]);
    return treeRoot(new Map(roots), 12, 16);
  }

  /** The sum that §4 says is constant. */
  money(): bigint {
    const { open, held, contested, waiting } = ESCROW_STATUS;
    let sum = 0n;
    for (const [at, { layout, fields }] of this.#cells) {
      if (layout === HEAD) sum += (fields as Fields<typeof HEAD>).burned;
      if (layout === AGENT) sum += fields.balance + fields.stake;
      if (layout === ESCROW) {
        const { status, service } = fields as Fields<typeof ESCROW>;
        const order = shardOf(service) !== Math.floor(at / SHARD_CELLS);
        if (status === waiting || (!order && (status === open || status === held || status === contested)))
          sum += fields.amount;
      }
      if (layout === SESSION && fields.serial !== 0n && fields.status !== SESSION_STATUS.closed)
        sum += fields.depositA + fields.depositB;
      if (layout === OUTBOX) sum += fields.amount;
      if (layout === MESSAGE) {
        const to = Number(fields.to);
        const { received } = (this.#cells.get(place.peer(to, Math.floor(at / SHARD_CELLS)))?.fields ??
          blank(PEER)) as Fields<typeof PEER>;
        if (fields.number > received) sum += fields.amount;
      }
    }
    return sum;
  }
}

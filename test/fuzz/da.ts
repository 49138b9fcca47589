/**
 * Everything that reads what a stranger may send of a batch's data: its layout, archives, commitments, offers, cells, certificates, what members answer and
 * what they are asked. Any bytes give a value or a coded error, and change nothing.
 */
import { MemberHost } from '../../durable/member/host.ts';
import { SqlCellar } from '../../durable/member/cellar.ts';
import { memorySql } from '../../local/sql.ts';
import { hex } from '../../protocol/bytes.ts';
import { packArchive, unpackArchive } from '../../protocol/da/archive.ts';
import { checkCertificate, decodeCertificate, encodeCertificate, signedBy } from '../../protocol/da/certificate.ts';
import { type Code, cellPath, columnRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { decodeData, encodeData, faultOf } from '../../protocol/da/layout.ts';
import {
  decodeCells,
  decodeCommitment,
  decodeOfferHead,
  encodeCells,
  encodeCommitment,
  encodeOfferHead,
  openCommitment,
  rootOfCommitment,
} from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import { codeOf } from '../../protocol/errors.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey, ownerAddress, signOwner, toCompact } from '../../protocol/keys.ts';
import type { ChunkRecord } from '../../protocol/trace.ts';
import { MemberClient } from '../../workers/committee/client.ts';
import { MemberApp } from '../../workers/committee/member.ts';
import { random } from '../bench/suite.ts';

const CODE: Code = { n: 5, k: 2 };
const ROOT = '0x5fbdb2315678afecb367f032d93f642f64180aa3' as const;
/** Bytes that an archive may become. */
const MOST = 2 ** 20;
/** Errors that are told to whoever sent what was wrong. */
const CODES = new Set([
  'malformed',
  'bad_signature',
  'hash_mismatch',
  'too_large',
  'expired',
  'too_long',
  'not_a_member',
  'wrong_epoch',
  'not_found',
  // Of a member's answer that is none.
  'unavailable',
]);

export interface DaFuzz {
  readonly inputs: number;
  /** Answers by reader: values, and errors by code. */
  readonly seen: ReadonlyMap<string, number>;
  readonly failures: readonly string[];
  readonly longestMs: number;
  readonly rssMb: number;
}

/** One kind of reader: good bytes to change, and what reads them. Throws what it should not. */
interface Target {
  readonly name: string;
  readonly samples: readonly Uint8Array[];
  /** One input in so many is this one's: some take a signature or a stream each. */
  readonly every: number;
  read(bytes: Uint8Array): unknown;
}

const EXTREMES = [0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 254, 255];

/** Bytes made of others: some changed, cut off, doubled, or none of them left. */
function mangled(sample: Uint8Array, next: () => number): Uint8Array {
  const below = (bound: number): number => Math.floor(next() * bound);
  const kind = below(8);
  if (kind === 0) return Uint8Array.from({ length: below(200) }, () => below(256));
  let out = sample.slice();
  if (kind === 1) out = out.subarray(0, below(out.length + 1));
  if (kind === 2) {
    const more = new Uint8Array(out.length + 1 + below(64));
    more.set(out);
    out = more;
  }
  if (kind === 3) {
    const [from, to] = [below(out.length), below(out.length)];
    out.copyWithin(to, from, from + below(100));
  }
  // Most of what readers decide by stands at the front.
  const front = Math.min(out.length, next() < 0.5 ? 24 : out.length);
  for (let changes = below(kind === 7 ? 30 : 4); changes > 0 && front > 0; changes--)
    out[below(front)] = next() < 0.5 ? EXTREMES[below(EXTREMES.length)] : below(256);
  return out;
}

async function targets(): Promise<Target[]> {
  const frame = (seed: number, length: number): Uint8Array => {
    const bytes = Uint8Array.from({ length }, (_, i) => keccak(Uint8Array.of(seed, i & 255, i >> 8))[0]);
    bytes[0] = 0x10;
    bytes[1] = seed;
    return bytes;
  };
  const records: ChunkRecord[] = [
    { shard: 0, firstSeq: 3, frames: [Uint8Array.of(1, 0, 0, 0, 9), frame(1, 90), frame(63, 700)] },
    { shard: 7, firstSeq: 2 ** 40, frames: [frame(2, 120)] },
  ];
  const { data, steps } = encodeData(records);
  const columns = encodeColumns(data, CODE);
  const commitment = { length: data.length, epoch: 1, roots: columns.map(columnRoot) };
  const dataRoot = rootOfCommitment(commitment);
  const secrets = columns.map((_, i) => keccak(Uint8Array.of(i)));
  const members = secrets.map(ownerAddress);
  const signing = new Signing({ chainId: 1, root: ROOT });
  const key = await MachineKey.import(keccak(Uint8Array.of(77)));
  const until = Math.floor(Date.now() / 1000) + 80_000;
  const promise = { number: 4, dataRoot, epoch: 1, until };
  const signature = await key.sign(signing.offer(promise));
  const offer = encodeOfferHead({ number: 4, until, signature, members, commitment });
  const words = signing.available(promise);
  const signatures = new Map(secrets.slice(0, 4).map((secret, i) => [i, toCompact(signOwner(secret, words))]));
  const certificate = encodeCertificate({ epoch: 1, until, members: signedBy(members, signatures) });
  const cells = encodeCells([{ row: 0, content: columns[1].subarray(0, 1024), path: cellPath(columns[1], 0) }]);
  const archive = await packArchive(records);
  const whole = new Uint8Array(offer.length + columns[0].length);
  whole.set(offer);
  whole.set(columns[0], offer.length);

  const store = new MemberHost(memorySql(), cellars(), { maxBytes: 2 ** 20 });
  const chain = {
    terms: async () => ({
      chainId: 1,
      root: ROOT,
      committee: ROOT,
      availability: ROOT,
      code: CODE,
      quorum: 4,
      retention: 60,
      memberStake: 1n,
      sequencerKey: key.publicKey,
    }),
    isListOf: async (epoch: number) => epoch === 1,
  };
  const app = new MemberApp({ secret: secrets[0], chain, store });
  const asked = async (request: Request): Promise<void> => {
    const answer = await app.fetch(request);
    const text = await answer.text();
    if (answer.status >= 500) throw new Error(`a member answered ${answer.status}: ${text.slice(0, 200)}`);
    if (!answer.ok) throw Object.assign(new Error('refused'), { code: (JSON.parse(text) as { code: string }).code });
    const { bytes } = await store.stats();
    if (bytes > columns[0].length) throw new Error(`a member keeps ${bytes} bytes that nobody offered`);
  };
  const answering = (bytes: Uint8Array): MemberClient =>
    new MemberClient(
      { url: 'http://member' },
      async () => new Response(bytes as BodyInit, { status: bytes.length % 5 === 4 ? 503 : 200 }),
    );
  const never = new AbortController().signal;
  const json = new TextEncoder().encode(
    JSON.stringify({ member: hex(members[0]), signature: hex(signatures.get(0)!) }),
  );

  return [
    {
      name: 'layout',
      every: 1,
      samples: [data],
      read: (b) => (faultOf(b, steps) === null ? decodeData(b, steps) : faultOf(b, steps)),
    },
    { name: 'commitment', every: 1, samples: [encodeCommitment(commitment)], read: (b) => decodeCommitment(b, CODE.n) },
    {
      name: 'opened',
      every: 4,
      samples: [encodeCommitment(commitment)],
      read: (b) => openCommitment(b, CODE.n, dataRoot),
    },
    { name: 'offer', every: 1, samples: [offer], read: (b) => decodeOfferHead(b, CODE.n) },
    { name: 'cells', every: 1, samples: [cells, encodeCells([])], read: decodeCells },
    { name: 'certificate', every: 1, samples: [certificate], read: (b) => decodeCertificate(b, CODE.n) },
    {
      name: 'checked',
      every: 200,
      samples: [certificate],
      read: (b) => checkCertificate(b, promise, { members, quorum: 4 }, signing),
    },
    { name: 'archive', every: 8, samples: [archive], read: (b) => unpackArchive(b, MOST) },
    {
      name: 'taken',
      every: 100,
      samples: [whole, offer],
      read: (b) => asked(new Request('http://m/columns', { method: 'POST', body: b as BodyInit })),
    },
    {
      name: 'asked',
      every: 50,
      samples: [new TextEncoder().encode(`${hex(dataRoot)}/cells?rows=0,1`)],
      read: (b) =>
        asked(new Request(`http://m/columns/${encodeURI(String.fromCharCode(...b.map((byte) => byte & 127)))}`)),
    },
    { name: 'promised', every: 20, samples: [json], read: (b) => answering(b).offer(offer, columns[0], never) },
    { name: 'given', every: 20, samples: [cells], read: (b) => answering(b).cells(dataRoot, [0], never) },
    {
      name: 'column',
      every: 50,
      samples: [columns[0]],
      read: (b) => answering(b).column(dataRoot, columns[0].length, never),
    },
  ];
}

function cellars() {
  const cellar = new SqlCellar(memorySql());
  return { columns: cellar, hashes: cellar };
}

/** `wanted` inputs from a seed; `progress` now and then. */
export async function fuzzDa(
  wanted: number,
  seed: number,
  progress: (inputs: number, failures: number) => void = () => {},
): Promise<DaFuzz> {
  const next = random(seed);
  const all = await targets();
  const seen = new Map<string, number>();
  const failures: string[] = [];
  let longestMs = 0;
  let inputs = 0;
  for (let round = 0; inputs < wanted; round++) {
    for (const { name, samples, every, read } of all) {
      if (round % every !== 0) continue;
      const bytes = mangled(samples[Math.floor(next() * samples.length)], next);
      const started = performance.now();
      let answer = 'value';
      try {
        // A reader that answers at once is not waited for: a million times a turn of the loop would be most of the work.
        const value = read(bytes);
        if (value instanceof Promise) await value;
      } catch (error) {
        answer = codeOf(error);
        if (!CODES.has(answer) && failures.length < 100)
          failures.push(`${name}: ${String(error)} of ${hex(bytes.subarray(0, 400))}`);
      }
      longestMs = Math.max(longestMs, performance.now() - started);
      seen.set(`${name} ${answer}`, (seen.get(`${name} ${answer}`) ?? 0) + 1);
      inputs += 1;
    }
    if (round % 10_000 === 0) progress(inputs, failures.length);
  }
  return { inputs, seen, failures, longestMs, rssMb: process.memoryUsage().rss / 2 ** 20 };
}

/** Halves of sessions, from files or a gateway: what L1 can be shown that the state does not know yet. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Reader, type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { type Half, SIGNATURE_BYTES, decodeHalf } from '../../protocol/half.ts';
import { LARGE_SERIALS, parseId, serialOf, shardOf } from '../../protocol/ids.ts';
import { ExitError } from './state.ts';

/** With its payer's signature. */
export interface SignedHalf {
  readonly half: Half;
  readonly signature: Uint8Array;
}

/** Record and signature, as packets have them (docs/protocol.md §8). */
const PACKED_BYTES = 97 + SIGNATURE_BYTES;

/**
 * Halves in a file, or in all files of a folder. A file is JSON, one or a list of
 * `{session: "1:7", dir: 0, seq, calls, paid, root: "0x…", signature: "0x…"}`, or one half as hex: the record's 97 bytes, then the
 * payer's signature. Throws {@link ExitError} where it is neither.
 */
export function readHalves(path: string): SignedHalf[] {
  let files: string[];
  try {
    files = statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => /\.(json|half|hex)$/.test(name))
          .map((name) => join(path, name))
      : [path];
  } catch {
    throw new ExitError(`There is no file or folder ${path}`);
  }
  return files.flatMap((file) => {
    const text = readFileSync(file, 'utf8').trim();
    try {
      if (/^(0x)?[0-9a-f]+$/i.test(text))
        return [unpacked(unhex(text.startsWith('0x') ? (text as Hex) : `0x${text}`, PACKED_BYTES))];
      return [JSON.parse(text) as unknown].flat().map(fromJson);
    } catch (error) {
      throw new ExitError(`${file} holds no signed halves: ${(error as Error).message}`);
    }
  });
}

function unpacked(bytes: Uint8Array): SignedHalf {
  const reader = new Reader(bytes);
  return { half: decodeHalf(reader), signature: reader.bytes(SIGNATURE_BYTES) };
}

function fromJson(json: unknown): SignedHalf {
  const { session, dir, seq, calls, paid, root, signature } = json as Record<string, unknown>;
  if (dir !== 0 && dir !== 1) throw new TypeError('dir is 0 or 1');
  const [n, m, amount] = [seq, calls, paid].map(Number);
  if (![n, m, amount].every((number) => Number.isSafeInteger(number) && number >= 0))
    throw new TypeError('seq, calls and paid are numbers');
  const half = {
    session: parseId(String(session)),
    dir,
    seq: n,
    calls: m,
    paid: amount,
    root: unhex(root as Hex, 32),
  } as const;
  return { half, signature: unhex(signature as Hex, SIGNATURE_BYTES) };
}

/** Halves as they are now. Rejects when they can't be had. */
export type Source = () => Promise<readonly SignedHalf[]>;

const ANSWER_MS = 10_000;

/** The newest halves of all sessions that a gateway's relay holds. What it makes up is refused at L1. */
export function gatewaySource(url: string): Source {
  return async () => {
    const halves: SignedHalf[] = [];
    for (let after: string | undefined = '0:0'; after !== undefined;) {
      const answer = await fetch(new URL(`/sessions?limit=100&after=${after}`, url), {
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
      const { sessions, next } = (await answer.json()) as { sessions: readonly GatewaySession[]; next?: string };
      for (const { id, live } of sessions)
        for (const half of live?.halves ?? [])
          halves.push(fromJson({ ...half, session: id, signature: half.payerSignature }));
      if (next !== undefined && orderOf(next) <= orderOf(after)) throw new Error(`${url} goes around in circles`);
      after = next;
    }
    return halves;
  };
}

interface GatewaySession {
  readonly id: string;
  readonly live?: { readonly halves: readonly (object & { readonly payerSignature: unknown })[] };
}

/** As pages go: shard by shard, by serial. */
const orderOf = (id: string): number => shardOf(parseId(id)) * LARGE_SERIALS + serialOf(parseId(id));

/** As Exits takes it: the half, r and s. */
export const halfArgs = ({ half, signature }: SignedHalf): readonly [object, Hex, Hex] => [
  {
    session: BigInt(half.session),
    dir: half.dir,
    seq: BigInt(half.seq),
    calls: BigInt(half.calls),
    paid: BigInt(half.paid),
    root: hex(half.root),
    locks: `0x${'00'.repeat(32)}`,
  },
  hex(signature.subarray(0, 32)),
  hex(signature.subarray(32)),
];

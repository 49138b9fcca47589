/** Halves of sessions, from files: what a party shows that the state does not know yet. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Reader, type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { type Half, SIGNATURE_BYTES, decodeHalf } from '../../protocol/half.ts';
import { parseId } from '../../protocol/ids.ts';
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

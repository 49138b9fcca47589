/** What ends sessions, as JSON: a signed Close, which a party hands the other to end theirs at once, and signed halves for who leaves alone. */
import { fromUtf8, hex, unhex, utf8 } from '../protocol/bytes.ts';
import type { Close } from '../protocol/eip712.ts';
import { SIGNATURE_BYTES, type SignedHalf } from '../protocol/half.ts';
import { malformed } from '../protocol/errors.ts';
import { formatId, parseId } from '../protocol/ids.ts';
import { readAmount } from './prices.ts';

export interface SignedClose {
  readonly close: Close;
  readonly signature: Uint8Array;
}

export const encodeClose = ({ close, signature }: SignedClose): Uint8Array =>
  utf8(
    JSON.stringify({
      session: formatId(close.session),
      paidAB: String(close.paidAB),
      paidBA: String(close.paidBA),
      callsAB: String(close.callsAB),
      callsBA: String(close.callsBA),
      rootAB: hex(close.rootAB),
      rootBA: hex(close.rootBA),
      signature: hex(signature),
    }),
  );

/** A half as `npx agnt2 exit --halves` reads it, with its payer's signature. */
export interface HalfJson {
  readonly session: string;
  readonly dir: number;
  readonly seq: string;
  readonly calls: string;
  readonly paid: string;
  readonly root: string;
  readonly signature: string;
}

export const halfJson = ({ half, payer }: SignedHalf): HalfJson => ({
  session: formatId(half.session),
  dir: half.dir,
  seq: String(half.seq),
  calls: String(half.calls),
  paid: String(half.paid),
  root: hex(half.root),
  signature: hex(payer),
});

/** Total: throws `malformed` and nothing else. */
export function decodeClose(bytes: Uint8Array): SignedClose {
  let json: Record<string, unknown>;
  try {
    json = Object(JSON.parse(fromUtf8(bytes))) as Record<string, unknown>;
  } catch {
    throw malformed('a close is JSON');
  }
  const number = (key: string): number => {
    const value = readAmount(json[key]);
    if (value === null) throw malformed(`${key} is no number`);
    return value;
  };
  return {
    close: {
      session: parseId(String(json.session)),
      paidAB: number('paidAB'),
      paidBA: number('paidBA'),
      callsAB: number('callsAB'),
      callsBA: number('callsBA'),
      rootAB: unhex(String(json.rootAB), 32),
      rootBA: unhex(String(json.rootBA), 32),
    },
    signature: unhex(String(json.signature), SIGNATURE_BYTES),
  };
}

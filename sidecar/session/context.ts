/** What the rooms of one endpoint share. */
import { Agnt2Error, codeOf, malformed } from '../../protocol/errors.ts';
import type { Direction, Half } from '../../protocol/half.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import type { PayeeLedger, PayerLedger } from './ledger.ts';
import type { Line } from './line.ts';
import type { Status } from './status.ts';
import type { Counters, EndpointOptions } from './types.ts';

export interface EndpointContext {
  readonly options: EndpointOptions;
  readonly payer: PayerLedger;
  readonly payee: PayeeLedger;
  readonly ownKey: Uint8Array;
  readonly peerKey: Uint8Array;
  readonly status: Status;
  readonly line: Line;
  readonly counters: Counters;
  /** Serves and calls no more, for good. */
  readonly stop: (error: Agnt2Error) => void;
}

type Ours = Pick<EndpointOptions, 'facts' | 'signing'>;

/** Throws `malformed` unless the half is of this session and direction. */
export function assertOurs({ facts }: Ours, half: Half, dir: Direction): void {
  if (half.session !== facts.session || half.dir !== dir) throw malformed('a half of another session or direction');
}

/** Rejects with `malformed`, or with `bad_signature` unless `key` signed the half. */
export async function checkHalf(
  ours: Ours,
  half: Half,
  dir: Direction,
  key: Uint8Array,
  signature: Uint8Array,
): Promise<void> {
  assertOurs(ours, half, dir);
  if (!(await verifyP256(key, ours.signing.half(half), signature)))
    throw new Agnt2Error('bad_signature', 'a half not signed by its party');
}

export const asError = (error: unknown): Agnt2Error =>
  error instanceof Agnt2Error
    ? error
    : new Agnt2Error(codeOf(error), error instanceof Error ? error.message : String(error), { cause: error });

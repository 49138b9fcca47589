/**
 * Certificates (docs/protocol.md §12): a quorum of a committee's members says, each with its L1 key, that it keeps its column of a batch's data until a
 * time. And the same words over the next list of members. Parsers are total.
 */
import { type Hex, Reader, Writer, concat, equal, unhex } from '../bytes.ts';
import type { Available, Signing } from '../eip712.ts';
import { malformed } from '../errors.ts';
import { keccak } from '../hash.ts';
import { recoverOwner } from '../keys.ts';
import { MAX_MEMBERS } from './columns.ts';

export const ADDRESS_BYTES = 20;
/** Of a member's signature, EIP-2098. */
export const SIGNATURE_BYTES = 64;
/** Of a certificate before its members: epoch, until, signers. */
const HEAD_BYTES = 18;
export const MAX_CERTIFICATE_BYTES: number = HEAD_BYTES + MAX_MEMBERS * SIGNATURE_BYTES;

/** In the order of a list of members: each one's signature, or its address where it did not sign. */
export type Signed = readonly Uint8Array[];

export interface Certificate {
  readonly epoch: number;
  /** Unix seconds. */
  readonly until: number;
  readonly members: Signed;
}

/** keccak of a list's addresses, as L1 keeps it. */
export const membersHash = (members: readonly Uint8Array[]): Uint8Array => keccak(concat(...members));

/** The list of an epoch, where each of `signatures` is its member's and stands in for it. */
export const signedBy = (members: readonly Uint8Array[], signatures: ReadonlyMap<number, Uint8Array>): Signed =>
  members.map((address, i) => signatures.get(i) ?? address);

/** As `Committee.rotate` takes it: bit i of `signers` is member i's; the addresses of who did not sign, then the signatures. */
export function encodeSigned(members: Signed): { signers: number; signed: Uint8Array } {
  const [others, signatures] = [ADDRESS_BYTES, SIGNATURE_BYTES].map((size) =>
    members.filter(({ length }) => length === size),
  );
  if (members.length > MAX_MEMBERS || others.length + signatures.length !== members.length)
    throw malformed('of every member, 20 bytes of address or 64 of signature');
  const signers = members.reduce((bits, { length }, i) => bits | (length === SIGNATURE_BYTES ? 1 << i : 0), 0);
  return { signers, signed: concat(...others, ...signatures) };
}

export function encodeCertificate({ epoch, until, members }: Certificate): Uint8Array {
  const { signers, signed } = encodeSigned(members);
  return new Writer().u64(epoch).u64(until).u16(signers).bytes(signed).finish();
}

/** Of a committee of `n`. Throws `malformed` for anything that L1 would not take apart either. */
export function decodeCertificate(bytes: Uint8Array, n: number): Certificate {
  const reader = new Reader(bytes);
  const [epoch, until, signers] = [reader.u64(), reader.u64(), reader.u16()];
  if (signers >> n !== 0) throw malformed(`a committee of ${n} has no member above ${n - 1}`);
  const isSigner = (i: number): boolean => ((signers >> i) & 1) === 1;
  const members = Array.from({ length: n }, (): Uint8Array => new Uint8Array(0));
  for (let i = 0; i < n; i++) if (!isSigner(i)) members[i] = reader.bytes(ADDRESS_BYTES);
  for (let i = 0; i < n; i++) if (isSigner(i)) members[i] = reader.bytes(SIGNATURE_BYTES);
  reader.end();
  return { epoch, until, members };
}

/** The addresses that a list of signatures over `preimage` comes from; null where one is nobody's. */
export function recoverMembers(members: Signed, preimage: Uint8Array): Uint8Array[] | null {
  const list = members.map((one) => (one.length === SIGNATURE_BYTES ? recoverOwner(preimage, one) : one));
  return list.every((address) => address !== null) ? list : null;
}

const signersOf = (members: Signed): number => members.filter(({ length }) => length === SIGNATURE_BYTES).length;

/**
 * What a certificate says of a batch's data, if a quorum of those `members` signed it: as L1 checks it, but for the times and epochs that are past.
 * Throws `malformed`, or gives null for one that is no certificate of theirs.
 */
export function checkCertificate(
  bytes: Uint8Array,
  { number, dataRoot }: Pick<Available, 'number' | 'dataRoot'>,
  { members, quorum }: { readonly members: readonly Uint8Array[]; readonly quorum: number },
  signing: Signing,
): Certificate | null {
  const certificate = decodeCertificate(bytes, members.length);
  const { epoch, until } = certificate;
  if (signersOf(certificate.members) < quorum) return null;
  const preimage = signing.available({ number, dataRoot, epoch, until });
  const isTheirs = certificate.members.every((one, i) => {
    const address = one.length === SIGNATURE_BYTES ? recoverOwner(preimage, one) : one;
    return address !== null && equal(address, members[i]);
  });
  return isTheirs ? certificate : null;
}

/** Addresses as bytes, from hex of either case. */
export const addresses = (list: readonly string[]): Uint8Array[] =>
  list.map((address) => unhex(address as Hex, ADDRESS_BYTES));

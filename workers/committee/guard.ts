/**
 * Who looks after a batch whose data a committee keeps (docs/protocol.md §12): gets the data, from the members and from what demands brought to L1; has the
 * cells demanded that nobody gives; closes demands that nobody answered; and shows an encoding that is wrong. Keeps nothing: L1 says what was done.
 */
import { type Hex, equal, hex, unhex } from '../../protocol/bytes.ts';
import { ADDRESS_BYTES, type Certificate, decodeCertificate, recoverMembers } from '../../protocol/da/certificate.ts';
import { columnBytes, columnRoot, rowsOf } from '../../protocol/da/columns.ts';
import { type CellAnswer, type Commitment, MAX_CELLS, isCellOf } from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import type { Chain } from '../settlement/chain.ts';
import { type L1Call, toWire } from '../settlement/sender.ts';
import type { CommitteeChain, CommitteeTerms } from './chain.ts';
import { MemberClient, type MemberEndpoint } from './client.ts';
import { within } from './collect.ts';
import { type Demand, Demands, availabilityCall } from './demands.ts';
import { type EncodingFault, cellProof, columnsToWire, faultBy, faultIn, suspectRow } from './proofs.ts';
import {
  type CellsByRow,
  type RetrieveOptions,
  type Retrieved,
  type Unavailable,
  isUnavailable,
  lackingRows,
  retrieve,
} from './retrieve.ts';

/** A batch of mode 2 as L1 has it. */
export interface CommitteeBatch {
  readonly header: BatchHeader;
  readonly hash: Hex;
  /** Block in which it was posted. */
  readonly block: number;
  /** As it was posted: 0 bytes where its transaction does not show it. */
  readonly certificate: Uint8Array;
}

/** What to do about it: nothing, it is all there; wait, for demands to be answered; or a call of L1. `lost`: nobody even says what was committed to. */
export type Look =
  | { readonly kind: 'good'; readonly retrieved: Retrieved }
  | { readonly kind: 'wait'; readonly open: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'call'; readonly why: 'demand' | 'expire' | 'slash' | 'encoding'; readonly call: L1Call };

export interface GuardOptions extends Pick<RetrieveOptions, 'timeoutMs' | 'maxBytes' | 'fetch' | 'commitment'> {
  /** Demands of one batch that are open at the same time, at most: each takes a bond. */
  readonly maxOpen?: number;
}

const MAX_OPEN = 8;

export class Guard {
  readonly #chain: CommitteeChain;
  readonly #members: readonly MemberEndpoint[];
  readonly #options: GuardOptions;

  /** `members` in the order of the list of the batch's epoch. */
  constructor(chain: CommitteeChain, members: readonly MemberEndpoint[], options: GuardOptions) {
    [this.#chain, this.#members, this.#options] = [chain, members, options];
  }

  /** Looks at the members and at L1. Throws when L1 is away. */
  async look(batch: CommitteeBatch): Promise<Look> {
    const terms = await this.#chain.terms();
    const { code } = terms;
    const made = new Demands(this.#chain);
    const { demands, known } = await made.of(batch);
    const standing = await made.standing(demands);
    const now = await this.#chain.now();
    const late = standing.find(({ deadline }) => deadline < now);
    if (late) return this.#expire(batch, terms, late);

    const { timeoutMs, maxBytes, fetch, commitment } = this.#options;
    const dataRoot = unhex(batch.header.dataRoot);
    const result = await retrieve(this.#members, { dataRoot, code, timeoutMs, maxBytes, fetch, commitment, known });
    if (isUnavailable(result)) {
      if (!result.commitment) return { kind: 'lost' };
      return this.#demandLacking(batch, terms, result.commitment, result, standing);
    }
    for (const column of result.wrong) {
      const fault = await this.#faultOf(result, terms, dataRoot, column, known);
      if (fault) return this.#proveEncoding(batch, result.commitment, fault);
    }
    if (result.wrong.length === 0) return { kind: 'good', retrieved: result };
    const [column] = result.wrong;
    return this.#demand(batch, result.commitment, standing, column, suspectRow(result, column, known));
  }

  /** Of the first row of which too little is known or asked for, a cell of a member that signed for it, if there is one. */
  async #demandLacking(
    batch: CommitteeBatch,
    { code }: CommitteeTerms,
    commitment: Commitment,
    { held, cells }: Unavailable,
    standing: readonly Demand[],
  ): Promise<Look> {
    const signed = certificateOf(batch, code.n)?.members.map(({ length }) => length > ADDRESS_BYTES) ?? [];
    for (const row of lackingRows(commitment, code, { held, cells })) {
      const asked = new Set(standing.filter((demand) => demand.row === row).map(({ column }) => column));
      const isKnown = (column: number): boolean => held.has(column) || cells.get(row)?.has(column) === true;
      const open = Array.from({ length: code.n }, (_, column) => column).filter(
        (column) => !isKnown(column) && !asked.has(column),
      );
      if (code.n - open.length >= code.k || open.length === 0) continue;
      return this.#demand(batch, commitment, standing, open.find((column) => signed[column]) ?? open[0], row);
    }
    return { kind: 'wait', open: standing.length };
  }

  async #demand(
    batch: CommitteeBatch,
    commitment: Commitment,
    standing: readonly Demand[],
    column: number,
    row: number,
  ): Promise<Look> {
    const isAsked = standing.some((demand) => demand.column === column && demand.row === row);
    if (isAsked || standing.length >= (this.#options.maxOpen ?? MAX_OPEN))
      return { kind: 'wait', open: standing.length };
    const bond = await this.#chain.demandBond();
    const args = [toWire(batch.header), columnsToWire(commitment), column, row];
    return { kind: 'call', why: 'demand', call: await availabilityCall(this.#chain, 'demand', args, bond) };
  }

  /** Closes a demand that nobody answered: with its member's stake, where the certificate has its promise. */
  async #expire(batch: CommitteeBatch, { code, chainId, root }: CommitteeTerms, late: Demand): Promise<Look> {
    const certificate = certificateOf(batch, code.n);
    const signature = certificate?.members[late.column];
    if (certificate && signature?.length === 64 && certificate.until >= late.deadline) {
      const { epoch, until } = certificate;
      const { number } = batch.header;
      const words = { number, dataRoot: unhex(batch.header.dataRoot), epoch, until };
      const list = recoverMembers(certificate.members, new Signing({ chainId, root }).available(words));
      if (list && epoch === late.epoch) {
        const args = [late.wire, list.map(hex), BigInt(until), hex(signature)];
        return { kind: 'call', why: 'slash', call: await availabilityCall(this.#chain, 'expireAndSlash', args) };
      }
    }
    return { kind: 'call', why: 'expire', call: await availabilityCall(this.#chain, 'expire', [late.wire]) };
  }

  /** What shows that a column is not as it must be: from its member, whole or in cells, or from L1. */
  async #faultOf(
    retrieved: Retrieved,
    { code: { k } }: CommitteeTerms,
    dataRoot: Uint8Array,
    column: number,
    known: CellsByRow,
  ): Promise<EncodingFault | null> {
    const { commitment, cells } = retrieved;
    const root = commitment.roots[column];
    const client = new MemberClient(this.#members[column], this.#options.fetch);
    const ask = async <T>(call: (signal: AbortSignal) => Promise<T>): Promise<T | null> => {
      const signal = AbortSignal.timeout(this.#options.timeoutMs);
      return within(call(signal), signal).catch(() => null);
    };
    const whole =
      retrieved.held.get(column) ??
      (await ask((signal) => client.column(dataRoot, columnBytes(commitment.length, k), signal)));
    if (whole && equal(columnRoot(whole), root)) return faultIn(retrieved, k, column, whole);
    const seen: CellAnswer[] = [...known.values(), ...cells.values()].flatMap((row) => row.get(column) ?? []);
    const height = rowsOf(commitment.length, k);
    for (let at = 0; at < height; at += MAX_CELLS) {
      const rows = Array.from({ length: Math.min(MAX_CELLS, height - at) }, (_, i) => at + i);
      const answer = await ask((signal) => client.cells(dataRoot, rows, signal));
      if (answer === null) break;
      seen.push(...answer.filter((cell) => isCellOf(commitment, column, k, cell)));
    }
    for (const cell of seen) {
      const fault = faultBy(retrieved, k, column, cell);
      if (fault) return fault;
    }
    return null;
  }

  async #proveEncoding(batch: CommitteeBatch, commitment: Commitment, { place, cells }: EncodingFault): Promise<Look> {
    const args = [toWire(batch.header), BigInt(place), cellProof(commitment, cells)];
    return { kind: 'call', why: 'encoding', call: await availabilityCall(this.#chain, 'proveEncoding', args) };
  }
}

/** Closes a demand of ours whose batch does not stand any more, for its bond; null where there is none. */
export async function dissolving(chain: CommitteeChain, root: Chain, me: Hex): Promise<L1Call | null> {
  for (const { by, number, batchHash, wire } of await new Demands(chain).open())
    if (by.toLowerCase() === me && (await root.posted(number)).batchHash !== batchHash)
      return availabilityCall(chain, 'dissolve', [wire]);
  return null;
}

function certificateOf({ certificate }: CommitteeBatch, n: number): Certificate | null {
  try {
    return decodeCertificate(certificate, n);
  } catch {
    return null;
  }
}

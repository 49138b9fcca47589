/** What a session endpoint is made of, seen from outside. */
import type { CallRecord } from '../../protocol/call.ts';
import type { Signing } from '../../protocol/eip712.ts';
import type { Agnt2Error } from '../../protocol/errors.ts';
import type { Direction, SignedHalf } from '../../protocol/half.ts';
import type { SigningKey } from '../../protocol/keys.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import type { Rate } from '../../protocol/meter.ts';
import type { Sealing } from '../../protocol/seal.ts';
import type { Contradiction } from './contradiction.ts';
import type { SessionStore } from './store.ts';

/** A binary socket, stripped to what a session needs; `socket.ts` adapts the `ws` package and the platform's own. */
export interface PacketSocket {
  send(packet: Uint8Array): void;
  /** Bytes taken and not yet sent; 0 where the platform doesn't say. */
  buffered(): number;
  close(reason: string): void;
  /** Called once. */
  listen(onPacket: (packet: Uint8Array) => void, onClose: (reason: string) => void): void;
}

/** The session cell as both parties rely on it. Keys are x ‖ y as pinned when the session opened. */
export interface SessionFacts {
  readonly session: number;
  readonly a: number;
  readonly b: number;
  readonly keyA: Uint8Array;
  readonly keyB: Uint8Array;
  readonly depositA: number;
  readonly depositB: number;
  /** Seconds. */
  readonly exitDelay: number;
}

export type Role = 'a' | 'b';

/** Answers the peer's calls; `price` is the most this one may cost. A status of 500 or more is not charged. */
export type SessionHandler = (request: ExchangeRequest, context: { price: number }) => Promise<ExchangeResponse>;

export interface EndpointOptions {
  readonly facts: SessionFacts;
  readonly role: Role;
  /** Signs what this side owes; its public key is the one pinned for `role`. */
  readonly key: SigningKey;
  readonly signing: Signing;
  readonly store: SessionStore;
  /** Base units the peer may owe unsigned: all this side risks. */
  readonly credit: number;
  readonly handler?: SessionHandler;
  /** Price of a call of the peer's, base units, and how it is counted; throw a coded error to refuse it. Default: 0. */
  readonly quote?: (request: ExchangeRequest) => number | Quote;
  /** Told what each call of the peer's was recorded at. */
  readonly onCharged?: (price: number) => void;
  /** Milliseconds between halves of a busy session. Default 20. */
  readonly windowMs?: number;
  /** Calls a half covers at most; 1 signs every call. Default 256. */
  readonly windowCalls?: number;
  /** What seals calls; the platform's own unless a test says otherwise. */
  readonly sealing?: Sealing;
  /** How long a call waits for the peer to be there. Default 10,000. */
  readonly peerWaitMs?: number;
  /** Handed the evidence when the peer signed two halves that contradict each other, before anything else is made of it: keep it. */
  readonly onContradiction?: (found: Contradiction) => void;
  /** Sees what stopped the session, refused packets, and what the relay or peer reported. */
  readonly onError?: (error: Agnt2Error) => void;
}

/** What a call costs: at most `price`; counted by `rate` where that says how. */
export interface Quote {
  readonly price: number;
  readonly rate?: Rate;
}

export interface SessionCallOptions {
  /** Base units this call may cost at most. */
  readonly maxPrice: number;
  /** How the call is counted; its record may charge no more than this side counts. */
  readonly rate?: Rate;
  readonly deadlineMs?: number;
  /** Told the record when it is one this side pays for; must not throw. For who needs no promise of it. */
  readonly onRecord?: (record: CallRecord) => void;
}

export interface SessionCall {
  readonly response: ExchangeResponse;
  /** The record both sides now hold; resolves when the response has ended and its hashes and price were checked. */
  readonly record: Promise<CallRecord>;
}

/** A call as anyone can check it: the leaf is number `record.index` of a tree of `half.calls` leaves with root `half.root`. */
export interface CallProof {
  readonly dir: Direction;
  readonly record: CallRecord;
  readonly half: SignedHalf;
  readonly path: Uint8Array[];
}

export type EndpointState = 'offline' | 'waiting' | 'resuming' | 'ready' | 'stopped' | 'closed';

export interface Counters {
  callsOut: number;
  callsIn: number;
  /** Calls refused before the app saw them. */
  refused: number;
  /** Halves signed. */
  windowsOut: number;
  /** Halves of the peer verified and countersigned. */
  windowsIn: number;
  resumes: number;
  packetsIn: number;
  packetsOut: number;
  bytesIn: number;
  bytesOut: number;
}

export const noCounters = (): Counters => ({
  callsOut: 0,
  callsIn: 0,
  refused: 0,
  windowsOut: 0,
  windowsIn: 0,
  resumes: 0,
  packetsIn: 0,
  packetsOut: 0,
  bytesIn: 0,
  bytesOut: 0,
});

/** Adds `more` into `sum`. */
export function addCounters(sum: Counters, more: Counters): void {
  for (const name of Object.keys(more) as (keyof Counters)[]) sum[name] += more[name];
}

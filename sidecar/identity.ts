/** Who we are at the gateway, and how that is said when a socket is opened. */
import { hex } from '../protocol/bytes.ts';
import type { Domain, Signing } from '../protocol/eip712.ts';
import { formatId } from '../protocol/ids.ts';
import type { SigningKey } from '../protocol/keys.ts';
import type { PacketSocket } from './session/index.ts';

/** A key in a process of its own, which has to be shown what it signs. */
export interface ShownKey extends SigningKey {
  /** The key to rotate to, if one was made: x ‖ y. */
  readonly nextKey: Uint8Array | null;
  /** Unix seconds after which it signs no more; null for never. */
  readonly expires: number | null;
  /** Fixes what it signs for, and makes the preimages it takes. */
  signing(domain: Domain, agent: number): Promise<Signing>;
  /** Makes the next key, or names the one there is: x ‖ y. */
  next(): Promise<Uint8Array>;
  /** Takes the next key into use; these sessions keep the one they pinned. */
  promote(sessions: readonly number[]): Promise<void>;
}

/** The key as one that has to be shown what it signs; null for one in this process. */
export const shownKey = (key: SigningKey): ShownKey | null => ('promote' in key ? (key as ShownKey) : null);

export interface Identity {
  readonly agent: number;
  readonly key: SigningKey;
  readonly signing: Signing;
}

/** Opens the socket at `room` (a URL path) of the gateway at `base`. Rejects with `gateway_unavailable`. */
export type Dial = (base: string, room: string, identity: Identity) => Promise<PacketSocket>;

/** The other party of a session. */
export interface Peer {
  readonly session: number;
  readonly agent: number;
  /** As the session pinned it, x ‖ y. */
  readonly key: Uint8Array;
}

/** Sockets of sessions that take the short way where there is one: by the relay that `dialRelay` reaches, and by a link of the parties' own. */
export interface Links {
  /** `onChange` is told when all that is said goes over a link of the parties' own, and when no more. */
  connect(
    peer: Peer,
    role: 'a' | 'b',
    dialRelay: () => Promise<PacketSocket>,
    onChange: (isDirect: boolean) => void,
  ): Promise<PacketSocket>;
  close(): void;
}

/** The URL that opens the socket at `room`, good once and for a minute (`Connect` auth). */
export async function socketUrl(base: string, room: string, { agent, key, signing }: Identity): Promise<string> {
  const timeMs = Date.now();
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const signature = await key.sign(signing.connect({ agent, room, timeMs, nonce }));
  const query = new URLSearchParams({
    agent: formatId(agent),
    timeMs: String(timeMs),
    nonce: hex(nonce),
    signature: hex(signature),
  });
  return `${base}${room}?${query.toString()}`;
}

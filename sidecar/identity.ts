/** Who we are at the gateway, and how that is said when a socket is opened. */
import { hex } from '../protocol/bytes.ts';
import type { Signing } from '../protocol/eip712.ts';
import { formatId } from '../protocol/ids.ts';
import type { MachineKey } from '../protocol/keys.ts';
import type { PacketSocket } from './session/index.ts';

export interface Identity {
  readonly agent: number;
  readonly key: MachineKey;
  readonly signing: Signing;
}

/** Opens the socket at `room` (a URL path) of the gateway at `base`. Rejects with `gateway_unavailable`. */
export type Dial = (base: string, room: string, identity: Identity) => Promise<PacketSocket>;

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

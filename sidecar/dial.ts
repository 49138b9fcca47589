/** Sockets to the gateway: signed in with `Connect`, kept alive by pings, handed out as packet sockets. */
import { randomBytes } from 'node:crypto';
import { WebSocket } from 'ws';
import { hex } from '../protocol/bytes.ts';
import type { Signing } from '../protocol/eip712.ts';
import { formatId } from '../protocol/ids.ts';
import type { MachineKey } from '../protocol/keys.ts';
import { MAX_PACKET_BYTES } from '../protocol/packet.ts';
import { refusal } from './errors.ts';
import { type PacketSocket, packetSocket } from './session/index.ts';

export interface Identity {
  readonly agent: number;
  readonly key: MachineKey;
  readonly signing: Signing;
}

const HANDSHAKE_MS = 10_000;
/** A relay that answers no ping for twice this long is gone, whatever TCP thinks. */
const PING_MS = 20_000;

/** Opens the socket at `room` (a URL path) of the gateway at `base`. Rejects with `gateway_unavailable`. */
export async function dial(base: string, room: string, { agent, key, signing }: Identity): Promise<PacketSocket> {
  const timeMs = Date.now();
  const nonce = new Uint8Array(randomBytes(32));
  const signature = await key.sign(signing.connect({ agent, room, timeMs, nonce }));
  const query = new URLSearchParams({
    agent: formatId(agent),
    timeMs: String(timeMs),
    nonce: hex(nonce),
    signature: hex(signature),
  });
  const ws = new WebSocket(`${base.replace(/^http/, 'ws')}${room}?${query.toString()}`, {
    perMessageDeflate: false,
    maxPayload: MAX_PACKET_BYTES,
    handshakeTimeout: HANDSHAKE_MS,
  });
  return new Promise((resolve, reject) => {
    ws.on('error', (cause) => reject(refusal('gateway_unavailable', `the gateway refused the socket ${room}`, cause)));
    ws.on('open', () => {
      let alive = true;
      const timer = setInterval(() => {
        if (!alive) return ws.terminate();
        alive = false;
        ws.ping();
      }, PING_MS);
      timer.unref();
      ws.on('pong', () => (alive = true));
      ws.on('close', () => clearInterval(timer));
      // What the relay says first may come before anybody listens: it waits in the socket.
      ws.pause();
      const socket = packetSocket(ws as unknown as Parameters<typeof packetSocket>[0]);
      resolve({
        ...socket,
        listen: (onPacket, onClose) => {
          socket.listen(onPacket, onClose);
          ws.resume();
        },
      });
    });
  });
}

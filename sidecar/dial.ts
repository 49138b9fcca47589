/** Sockets to the gateway: signed in with `Connect`, kept alive by pings, handed out as packet sockets. */
import { WebSocket } from 'ws';
import { MAX_PACKET_BYTES } from '../protocol/packet.ts';
import { refusal } from './errors.ts';
import { type Dial, socketUrl } from './identity.ts';
import { packetSocket } from './session/index.ts';

const HANDSHAKE_MS = 10_000;
/** A relay that answers no ping for twice this long is gone, whatever TCP thinks. */
const PING_MS = 20_000;

/** {@link Dial} of Node. */
export const dial: Dial = async (base, room, identity) => {
  const ws = new WebSocket((await socketUrl(base, room, identity)).replace(/^http/, 'ws'), {
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
};

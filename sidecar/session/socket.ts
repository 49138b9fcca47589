/** Adapters to {@link PacketSocket}, and the loop that keeps an endpoint connected. Runtime-neutral. */
import type { SessionEndpoint } from './endpoint.ts';
import { passing } from '../young.ts';
import type { PacketSocket } from './types.ts';

interface Listenable {
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  readonly bufferedAmount?: number;
  readonly readyState: number;
  binaryType?: string;
  addEventListener(type: 'message', listener: (event: { readonly data?: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly reason?: string }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
}

const OPEN = 1;

const toBytes = (data: unknown): Uint8Array | null => {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return null;
};

/** Wraps an open WebSocket: of the `ws` package, of Node, of a browser or of a Worker (after `accept()`). Text messages close it. */
export function packetSocket(ws: Listenable): PacketSocket {
  if (ws.binaryType !== undefined) ws.binaryType = 'arraybuffer';
  return {
    send(packet) {
      if (ws.readyState !== OPEN) return;
      try {
        ws.send(packet);
      } catch {
        // It closed under us; its close event says so.
      }
    },
    buffered: () => ws.bufferedAmount ?? 0,
    close: (reason) => {
      try {
        ws.close(1000, reason.slice(0, 120));
      } catch {
        // Closed already.
      }
    },
    listen(onPacket, onClose) {
      ws.addEventListener('message', ({ data }) => {
        const packet = toBytes(data);
        if (packet === null) ws.close(1003, 'binary packets only');
        else {
          passing(packet.length);
          onPacket(packet);
        }
      });
      ws.addEventListener('close', ({ reason }) => onClose(reason || 'closed'));
      ws.addEventListener('error', () => onClose('error'));
    },
  };
}

/**
 * Keeps `endpoint` connected until `signal` aborts: dials, waits for the socket's end, dials again with jittered backoff
 * (50 ms … 5 s, from the start again after a socket that lived).
 */
export async function keepConnected(
  endpoint: SessionEndpoint,
  dial: () => Promise<PacketSocket>,
  signal: AbortSignal,
  onError: (error: unknown) => void = () => {},
): Promise<void> {
  let failures = 0;
  while (!signal.aborted && endpoint.state !== 'closed') {
    try {
      const socket = await dial();
      const leave = (): void => socket.close('going down');
      signal.addEventListener('abort', leave);
      const began = Date.now();
      const attached = endpoint.attach(socket).finally(() => signal.removeEventListener('abort', leave));
      if (signal.aborted) leave();
      const reason = await attached;
      if (reason === 'replaced') return;
      failures = Date.now() - began > 5_000 ? 0 : failures + 1;
    } catch (error) {
      failures += 1;
      onError(error);
    }
    const delay = Math.min(5_000, 50 * 2 ** Math.min(failures, 7)) * (0.5 + Math.random() / 2);
    await new Promise<void>((resolve) => {
      const over = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', over);
        resolve();
      };
      const timer = setTimeout(over, failures === 0 ? 0 : delay);
      signal.addEventListener('abort', over);
      if (signal.aborted) over();
    });
  }
}

/** The insides of tunnels to peers: some clients (Node's own fetch, gRPC's) ask a proxy for a tunnel even for plain HTTP. It ends in the sidecar. */
import type { Duplex } from 'node:stream';
import type { RequestHead } from './message.ts';

/** Connections that come out of such a tunnel, and the host it was asked for. */
export const tunnels = new WeakMap<Duplex, string>();

/** In a tunnel the target names no host: it is read as if a proxy had been asked for it, and has to agree with the Host field like one. */
export function throughTunnel(head: RequestHead, socket: Duplex): RequestHead {
  const host = tunnels.get(socket);
  return host !== undefined && head.target.startsWith('/') ? { ...head, target: `http://${host}${head.target}` } : head;
}

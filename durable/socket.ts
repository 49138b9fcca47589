/** What the objects that hold sidecars' sockets share. */
import { encodeError } from '../protocol/packet.ts';

/** Remembered by the platform while the object sleeps. */
interface Attachment {
  readonly party: string;
  /** Counts the sockets of a party; only the newest speaks. */
  readonly n: number;
  /** In a session: hellos that the party has still to say, one for each `peer_online` it was sent. */
  readonly owes?: number;
}

/** The newest open socket of a party (a tag of the hibernation API), sleeping or not. */
export function newest(ctx: DurableObjectState, party: string): WebSocket | null {
  let best: WebSocket | null = null;
  let n = -1;
  for (const ws of ctx.getWebSockets(party)) {
    const attachment = ws.deserializeAttachment() as Attachment | null;
    if (ws.readyState === WebSocket.OPEN && attachment !== null && attachment.n > n) {
      best = ws;
      n = attachment.n;
    }
  }
  return best;
}

/** Accepts a party's new socket in place of its older ones. */
export function acceptSocket(ctx: DurableObjectState, party: string): { client: WebSocket; server: WebSocket } {
  const old = ctx.getWebSockets(party);
  const n = Math.max(0, ...old.map((ws) => (ws.deserializeAttachment() as Attachment | null)?.n ?? 0)) + 1;
  const { 0: client, 1: server } = new WebSocketPair();
  server.serializeAttachment({ party, n } satisfies Attachment);
  ctx.acceptWebSocket(server, [party]);
  for (const ws of old) closeSocket(ws, 1000, 'replaced');
  return { client, server };
}

export const owesOf = (ws: WebSocket | null): number =>
  (ws?.deserializeAttachment() as Attachment | null | undefined)?.owes ?? 0;

export const setOwes = (ws: WebSocket, owes: number): void =>
  ws.serializeAttachment({ ...(ws.deserializeAttachment() as Attachment), owes });

export const partyOf = (ws: WebSocket): string => (ws.deserializeAttachment() as Attachment).party;

/** False when the socket is gone; its close event says so, or has. */
export function sendPacket(ws: WebSocket, packet: Uint8Array): boolean {
  try {
    ws.send(packet);
    return true;
  } catch {
    return false;
  }
}

export const sendError = (ws: WebSocket, code: string, detail: string): boolean =>
  sendPacket(ws, encodeError(code, detail));

export function closeSocket(ws: WebSocket, code: number, reason: string): void {
  try {
    ws.close(code, reason);
  } catch {
    // Closed already.
  }
}

/** An RFC 9457 answer. */
export function problemResponse(
  status: number,
  code: string,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  return Response.json(
    { type: `urn:agnt2:problem:${code}`, title: code.replaceAll('_', ' '), status, code, detail },
    { status, headers: { ...headers, 'content-type': 'application/problem+json' } },
  );
}

export const isUpgrade = (request: Request): boolean => request.headers.get('upgrade')?.toLowerCase() === 'websocket';

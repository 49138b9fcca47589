/** The first bytes of a connection say what it is: those of one kind are taken from a server, every other goes where it would have gone. */
import type { Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';

/** How long a connection may take to say what it is. */
const SILENT_MS = 30_000;

/** Reads until `enough` says so, then hands the bytes over; the socket is paused from then on. */
export function gather(socket: Socket, enough: (bytes: Buffer) => boolean, done: (bytes: Buffer) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), SILENT_MS);
  const fail = (): void => void socket.destroy();
  const look = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    if (!enough(bytes)) return;
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('error', fail);
    socket.off('end', fail);
    done(bytes);
  };
  socket.on('readable', look);
  socket.on('error', fail);
  socket.on('end', fail);
  socket.on('close', () => clearTimeout(timer));
  look();
}

export interface Diversion {
  /** Whether a connection that begins so is taken; null: too little to say. */
  readonly isOurs: (bytes: Buffer) => boolean | null;
  /** Has all that came unread before it; `take` gives the connection back to the server. */
  readonly open: (socket: Socket, take: () => void) => void;
  /** Ends what was opened. */
  readonly close: () => void;
}

/** Takes connections of one kind from a server. */
export function divert(server: Server, { isOurs, open, close }: Diversion): void {
  const others = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  /** Connections that did not say yet what they are, and those of ours that are not open yet. */
  const early = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    early.add(socket);
    // Between two readers nobody else hears of it; told by the close that follows.
    socket.on('error', () => {});
    socket.on('close', () => early.delete(socket));
    gather(
      socket,
      (bytes) => isOurs(bytes) !== null,
      (bytes) => {
        socket.unshift(bytes);
        const take = (): void => {
          early.delete(socket);
          for (const other of others) other.call(server, socket);
        };
        if (isOurs(bytes) === true) open(socket, take);
        else take();
      },
    );
  });
  const http = server as HttpServer;
  const { closeAllConnections, closeIdleConnections } = http;
  http.closeAllConnections = () => {
    closeAllConnections.call(http);
    for (const socket of early) socket.destroy();
    close();
  };
  http.closeIdleConnections = () => {
    closeIdleConnections.call(http);
    for (const socket of early) socket.destroy();
  };
}

/** Ports of this machine. */
import { createConnection, createServer } from 'node:net';

const tryPort = (port: number, host: string): Promise<number | null> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, host, () => {
      const address = server.address();
      const got = typeof address === 'object' && address ? address.port : port;
      server.close(() => resolve(got));
    });
  });

/** Whether nobody listens there. */
export const isFree = async (port: number, host = '127.0.0.1'): Promise<boolean> =>
  (await tryPort(port, host)) !== null;

/** `wanted`, or the first of the next hundred that is free, or any. */
export async function freePort(wanted = 0): Promise<number> {
  for (let port = wanted; port > 0 && port < Math.min(65_536, wanted + 100); port++)
    if (await isFree(port)) return port;
  return (await tryPort(0, '127.0.0.1'))!;
}

/** Whether somebody takes connections there. */
export const isListening = (host: string, port: number, timeoutMs = 2000): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const settle = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(timeoutMs, () => settle(false));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });

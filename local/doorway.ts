/** Ways for containers to what listens on this machine's loopback alone. */
import { execFile } from 'node:child_process';
import { type AddressInfo, type Server, createConnection, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';

/** Something on the machine's loopback, where containers can reach it: on the address that the engine's own bridge has. */
export class Doorway {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Connections so far, by who made them. */
  readonly callers: string[] = [];
  readonly #server: Server;

  private constructor(server: Server, host: string, callers: string[]) {
    this.#server = server;
    this.host = host;
    this.port = (server.address() as AddressInfo).port;
    this.callers = callers;
    this.url = `http://${host}:${this.port}`;
  }

  /** Opens one on `host` to `port` of loopback, at any port or at `at`. */
  static open(host: string, port: number, at = 0): Promise<Doorway> {
    const callers: string[] = [];
    const server = createServer((socket) => {
      callers.push(socket.remoteAddress ?? '');
      const to = createConnection({ host: '127.0.0.1', port });
      for (const [one, other] of [
        [socket, to],
        [to, socket],
      ]) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
        one.pipe(other);
      }
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(at, host, () => resolve(new Doorway(server, host, callers)));
    });
  }

  close(): void {
    this.#server.close();
  }
}

/** The machine's address on the engine's own bridge, which containers know as host.docker.internal. */
export async function bridgeAddress(): Promise<string> {
  const format = '{{(index .IPAM.Config 0).Gateway}} {{index .Options "com.docker.network.bridge.name"}}';
  const { stdout } = await promisify(execFile)('docker', ['network', 'inspect', 'bridge', '--format', format]);
  const [gateway, bridge] = stdout.trimEnd().split(' ');
  if (gateway) return gateway;
  // An engine that found its bridge there, left by one before it, names no gateway.
  const found = networkInterfaces()[bridge]?.find(({ family }) => family === 'IPv4');
  if (found === undefined) throw new Error(`the Docker engine's bridge ${bridge} has no address on this machine`);
  return found.address;
}

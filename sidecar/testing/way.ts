/** Test help: a way between two ports that can be broken. */
import net, { type Socket } from 'node:net';

export class Way {
  readonly #sockets = new Set<Socket>();
  readonly #server: net.Server;
  /** The port it leads to. */
  to = 0;
  /** While false nobody gets through. */
  open = true;

  constructor() {
    this.#server = net.createServer((near) => {
      near.on('error', () => {});
      if (!this.open) return near.destroy();
      const far = net.connect(this.to, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => this.#sockets.delete(socket));
      }
      near.pipe(far).pipe(near);
    });
  }

  /** The port it begins at. */
  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as net.AddressInfo).port));
    });
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

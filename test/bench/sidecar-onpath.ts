/** What accounting costs on a call's path: the whole call with everything on against the same with it off, in short rounds by turns on warm processes. */
import net from 'node:net';
import { median, percentile } from './suite.ts';

const BODY_BYTES = 1024;
/** One after the other, so that what one call leaves to be done falls on the next of its own kind. */
const CALLS = 100;
const PAIRS = 80;

/** A request of the local app to its sidecar, or to what stands for it. */
const requestFor = (target: string, port: number): Buffer =>
  Buffer.from(
    `POST ${target} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-length: ${BODY_BYTES}\r\n\r\n${'q'.repeat(BODY_BYTES)}`,
  );

/** A client of one kept-alive connection that does nothing but wait: its own work would be noise. */
export class RawClient {
  readonly #socket: net.Socket;
  readonly #request: Buffer;
  #got = 0;
  #whole = 0;
  #done: (() => void) | null = null;
  #fail: ((error: Error) => void) | null = null;

  private constructor(socket: net.Socket, request: Buffer) {
    this.#socket = socket;
    this.#request = request;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', (error) => this.#fail?.(error));
    socket.on('close', () => this.#fail?.(new Error('the connection closed')));
  }

  static connect(target: string, port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: '127.0.0.1', port, noDelay: true }, () =>
        resolve(new RawClient(socket, requestFor(target, port))),
      );
      socket.once('error', reject);
    });
  }

  #read(chunk: Buffer): void {
    if (this.#got === 0) {
      const head = chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (!head.startsWith('HTTP/1.1 200 ') || end < 0) return void this.#socket.destroy(new Error(head.slice(0, 300)));
      this.#whole = end + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? NaN);
    }
    this.#got += chunk.length;
    if (this.#got < this.#whole) return;
    this.#got = 0;
    this.#done?.();
  }

  /** One call; microseconds. */
  call(): Promise<number> {
    return new Promise((resolve, reject) => {
      const began = performance.now();
      this.#done = () => resolve((performance.now() - began) * 1000);
      this.#fail = reject;
      this.#socket.write(this.#request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

export interface Measured {
  readonly port: number;
  /** CPU time of its two sidecars so far, microseconds. */
  cpuUs(): Promise<number>;
}

export type OnPath = {
  readonly offP50Us: number;
  readonly onP50Us: number;
  readonly onPathUs: number;
  /** Half of the rounds' differences lie within so much of their median. */
  readonly onPathSpreadUs: number;
  readonly cpuPerRequestOffUs: number;
  readonly cpuPerRequestOnUs: number;
};

/** Calls through both, by turns. */
export async function measureOnPath(target: string, off: Measured, on: Measured): Promise<OnPath> {
  const sides = { off, on };
  const clients = {
    off: await RawClient.connect(target, off.port),
    on: await RawClient.connect(target, on.port),
  };
  const round = async (which: 'off' | 'on'): Promise<{ p50: number; cpu: number }> => {
    const samples: number[] = [];
    const before = await sides[which].cpuUs();
    for (let i = 0; i < CALLS; i++) samples.push(await clients[which].call());
    return { p50: percentile(samples, 50), cpu: ((await sides[which].cpuUs()) - before) / CALLS };
  };
  for (let i = 0; i < 20; i++) for (const which of ['off', 'on'] as const) await round(which);
  const p50 = { off: [] as number[], on: [] as number[] };
  const cpu = { off: [] as number[], on: [] as number[] };
  for (let i = 0; i < PAIRS; i++)
    // Neither is always the first.
    for (const which of i % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
      const measured = await round(which);
      p50[which].push(measured.p50);
      cpu[which].push(measured.cpu);
    }
  clients.off.close();
  clients.on.close();
  const differences = p50.on.map((us, i) => us - p50.off[i]);
  const onPathUs = median(differences);
  return {
    offP50Us: median(p50.off),
    onP50Us: median(p50.on),
    onPathUs,
    onPathSpreadUs: median(differences.map((us) => Math.abs(us - onPathUs))),
    cpuPerRequestOffUs: median(cpu.off),
    cpuPerRequestOnUs: median(cpu.on),
  };
}

/**
 * What accounting costs on a call's path: the whole call with everything on against the same with it off, in short rounds by turns on warm processes.
 *
 * What bounds it. On the path are left: the budget, the price and the credit on both sides, the hash of the answer, two short ones, and the record: `pathUs` of sidecar-spans.ts, in one process
 * that does nothing else. Here it is several times that. One call in flight leaves each of four processes on two cores asleep between its turns, and each finds its caches full of the others: a function
 * that takes a fraction of a microsecond in a loop takes one or more, and there are some hundred of them. By leaving one after the other out, by turns in one run, of 75 µs: halves 14, hashes 3, the budget 16, accounts that
 * are kept every 5 ms (decision 26) 12, and 30 for all else that a session has and a bare call has not. What would move it further: a core for each sidecar, and both sidecars in less code.
 * Only rounds by turns say what a change brings: the same code gave 60 and 100 within an hour of a machine that others share.
 */
import net from 'node:net';
import { isShort, median, percentile } from './suite.ts';

const BODY_BYTES = 1024;
/**
 * Of a round, one after the other, so that what one call leaves to be done falls on the next of its own kind: accounts wait for milliseconds, and halves for 256 calls
 * or half a second.
 */
const CALLS = 300;
const PAIRS = isShort ? 10 : 80;
/** Calls in flight at saturation, and calls of a round of it. */
const SATURATION = 32;
const SATURATED_CALLS = 3000;
const RATE_ROUNDS = isShort ? 2 : 8;
const WARM_ROUNDS = 6;

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
  /** Median of the differences of the rounds, each of both kinds one after the other. */
  readonly onPathUs: number;
  /** The median lies between these with 95 % confidence. */
  readonly onPathLowUs: number;
  readonly onPathHighUs: number;
  readonly cpuPerRequestOffUs: number;
  readonly cpuPerRequestOnUs: number;
  /** With {@link SATURATION} calls in flight, and the CPU time of a request then. */
  readonly requestsPerSecondOff: number;
  readonly requestsPerSecondOn: number;
  readonly cpuSaturatedOffUs: number;
  readonly cpuSaturatedOnUs: number;
};

type Which = 'off' | 'on';
const WHICH: readonly Which[] = ['off', 'on'];
/** Neither is always the first. */
const turn = (round: number): readonly Which[] => (round % 2 === 0 ? WHICH : WHICH.toReversed());

/** Between which of the values their median lies with 95 % confidence, by their order alone: whatever their distribution, a machine with others on it makes it a wide one. */
function around(values: readonly number[]): [number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  const away = 0.98 * Math.sqrt(sorted.length);
  const middle = (sorted.length - 1) / 2;
  return [
    sorted[Math.max(0, Math.floor(middle - away))],
    sorted[Math.min(sorted.length - 1, Math.ceil(middle + away))],
  ];
}

/** Calls through both, by turns. */
export async function measureOnPath(target: string, off: Measured, on: Measured): Promise<OnPath> {
  const sides = { off, on };
  const cpu = async (which: Which, calls: number, work: () => Promise<void>): Promise<number> => {
    const before = await sides[which].cpuUs();
    await work();
    return ((await sides[which].cpuUs()) - before) / calls;
  };
  /** Requests a second, and the CPU time of one, with many in flight. */
  const saturate = async (which: Which): Promise<{ rate: number; cpu: number }> => {
    const clients = await Promise.all(
      Array.from({ length: SATURATION }, () => RawClient.connect(target, sides[which].port)),
    );
    let left = SATURATED_CALLS;
    const run = async (client: RawClient): Promise<void> => {
      while (left-- > 0) await client.call();
    };
    let ms = 0;
    const cpuUs = await cpu(which, SATURATED_CALLS, async () => {
      const began = performance.now();
      await Promise.all(clients.map(run));
      ms = performance.now() - began;
    });
    for (const client of clients) client.close();
    return { rate: SATURATED_CALLS / (ms / 1000), cpu: cpuUs };
  };
  // A sidecar that has been at work for minutes, not one that is still being compiled: more code takes longer.
  for (let round = 0; round < WARM_ROUNDS; round++) for (const which of turn(round)) await saturate(which);
  const rates = { off: [] as number[], on: [] as number[] };
  const saturatedCpu = { off: [] as number[], on: [] as number[] };
  for (let round = 0; round < RATE_ROUNDS; round++)
    for (const which of turn(round)) {
      const measured = await saturate(which);
      rates[which].push(measured.rate);
      saturatedCpu[which].push(measured.cpu);
    }
  const clients = {
    off: await RawClient.connect(target, off.port),
    on: await RawClient.connect(target, on.port),
  };
  const p50 = { off: [] as number[], on: [] as number[] };
  const cpuUs = { off: [] as number[], on: [] as number[] };
  for (let round = -WARM_ROUNDS; round < PAIRS; round++)
    for (const which of turn(round)) {
      const samples: number[] = [];
      const spent = await cpu(which, CALLS, async () => {
        for (let i = 0; i < CALLS; i++) samples.push(await clients[which].call());
      });
      if (round < 0) continue;
      p50[which].push(percentile(samples, 50));
      cpuUs[which].push(spent);
    }
  clients.off.close();
  clients.on.close();
  const differences = p50.on.map((us, i) => us - p50.off[i]);
  const [onPathLowUs, onPathHighUs] = around(differences);
  return {
    offP50Us: median(p50.off),
    onP50Us: median(p50.on),
    onPathUs: median(differences),
    onPathLowUs,
    onPathHighUs,
    cpuPerRequestOffUs: median(cpuUs.off),
    cpuPerRequestOnUs: median(cpuUs.on),
    requestsPerSecondOff: median(rates.off),
    requestsPerSecondOn: median(rates.on),
    cpuSaturatedOffUs: median(saturatedCpu.off),
    cpuSaturatedOnUs: median(saturatedCpu.on),
  };
}

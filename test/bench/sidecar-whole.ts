/**
 * Two whole sidecars as users run them, signers and all: the callee's is the image's program, the caller's is `agnt2 sidecar`, which checks its
 * config from source and goes on as a bundle of its own. They meet at a gateway of the tests in this process, which has no part in what is measured: their session goes over a link of their own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { inRepository } from '../../local/paths.ts';
import { freePort } from '../../local/ports.ts';
import { until } from '../../local/process.ts';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { bundle } from '../../sidecar/bundle.ts';
import { MALLOC_ENV, NODE_FLAGS } from '../../sidecar/flags.ts';
import { type TestAgent, TestGateway } from '../../sidecar/testing/gateway.ts';
import { RawClient } from './sidecar-onpath.ts';
import { type Metric, percentile } from './suite.ts';

const HOST = '127.0.0.1';
/** What the caller's app asks its sidecar for. */
const PEER = 'http://bob.agnt2';
const LARGE = 2 * 2 ** 30;
const SEQUENTIAL = 4000;
const IN_FLIGHT = 32;
const SATURATED = 12_000;
const PRICE = 5;
const FUNDS = 1e12;

/** What a process holds, MiB: all of it, Node's own pages included, which processes share. */
const rssOf = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;

interface Running {
  /** Where its app sends its calls. */
  readonly port: number;
  readonly admin: string;
  /** From the start of the process until it was ready. */
  readonly startMs: number;
  rssMb(): number;
  stop(): Promise<void>;
}

interface WholePair {
  readonly callee: Running;
  readonly caller: Running;
  stop(): Promise<void>;
}

/** Starts both, for an app at `origin`, and opens their session. `dir` is for their files, `cache` for compiled code of `agnt2 sidecar`. */
async function wholePair(origin: string, dir: string, cache: string): Promise<WholePair> {
  await bundle(dir);
  const image = [join(dir, 'sidecar.mjs')];
  const command = [inRepository('sidecar', 'cli', 'main.ts'), 'sidecar'];
  const gateway = await TestGateway.start();
  const seller = await gateway.agent(0);
  const buyer = await gateway.agent(FUNDS);
  const run = async (
    program: readonly string[],
    name: string,
    agent: TestAgent,
    more: Record<string, unknown>,
  ): Promise<Running> => {
    const [port, admin] = [await freePort(), await freePort()];
    const file = (ending: string): string => join(dir, `${name}.${ending}`);
    writeFileSync(file('key'), hex(agent.secret), { mode: 0o600 });
    const config = {
      gateway: gateway.url,
      agent: formatId(agent.id),
      keyFile: file('key'),
      listen: `${HOST}:${port}`,
      admin: `${HOST}:${admin}`,
      stateDir: file('state'),
      ...more,
    };
    writeFileSync(file('json'), JSON.stringify(config));
    const began = performance.now();
    const args = ['--disable-warning=ExperimentalWarning', ...NODE_FLAGS, ...program, '--config', file('json')];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...MALLOC_ENV, ...process.env, ...(program === command && { NODE_COMPILE_CACHE: cache }) },
    });
    process.once('exit', () => child.kill('SIGKILL'));
    await ready(child, name);
    return {
      port,
      admin: `http://${HOST}:${admin}`,
      startMs: performance.now() - began,
      rssMb: () => rssOf(child.pid!),
      stop: async () => {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGTERM');
        await ended;
      },
    };
  };
  const dial = [`${HOST}/32`];
  const selling = {
    name: 'bob',
    app: origin,
    services: [{ name: 'work', defaultPrice: PRICE }],
    session: { direct: { listen: `${HOST}:${await freePort()}`, dial } },
  };
  const buying = {
    policy: { perDay: String(FUNDS), perCall: '1000', breaker: {} },
    session: { afterCalls: 0, deposit: String(FUNDS / 2), direct: { dial } },
  };
  // Its first start fills the cache.
  await (await run(command, 'alice', buyer, buying)).stop();
  const callee = await run(image, 'bob', seller, selling);
  const caller = await run(command, 'alice', buyer, buying);
  await openSession(caller);
  return {
    callee,
    caller,
    stop: async () => {
      await caller.stop();
      await callee.stop();
      gateway.stop();
    },
  };
}

function ready(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let last = '';
    createInterface({ input: child.stdout! }).on('line', (line) => {
      last = line;
      if ((JSON.parse(line) as { event: string }).event === 'ready') resolve();
    });
    child.once('exit', () => reject(new Error(`the sidecar of ${name} ended: ${last}`)));
  });
}

/** Calls until a session carries the calls, over the parties' own link. */
async function openSession({ port, admin }: Running): Promise<void> {
  await until('the session', async () => {
    const answer = await fetch(`http://${HOST}:${port}/agents/bob/echo`);
    if (!answer.ok) throw new Error(await answer.text());
    const { sessions } = (await (await fetch(`${admin}/admin/sessions`)).json()) as {
      sessions: { state: string; direct?: boolean }[];
    };
    return sessions.some(({ state, direct }) => state === 'ready' && direct === true);
  });
}

/** Sends or fetches a body of so many bytes, keeping none of it. */
function transfer(port: number, direction: 'up' | 'down', bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = {
      host: HOST,
      port,
      method: direction === 'up' ? 'POST' : 'GET',
      path: `${PEER}${direction === 'up' ? '/up' : `/big?bytes=${bytes}`}`,
    };
    const request = http.request(options, (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
      response.resume().on('end', resolve).on('error', reject);
    });
    request.on('error', reject);
    if (direction === 'down') {
      request.end();
      return;
    }
    const block = Buffer.alloc(64 * 1024, 'b');
    Readable.from(
      (function* () {
        for (let left = bytes; left > 0; left -= block.length) yield block;
      })(),
    ).pipe(request);
  });
}

/** Largest growth of memory of any of the processes while `work` runs, MiB. */
async function growthMb(processes: readonly Running[], work: () => Promise<void>): Promise<number> {
  const before = processes.map(({ rssMb }) => rssMb());
  let most = 0;
  const look = (): void => {
    most = Math.max(most, ...processes.map(({ rssMb }, i) => rssMb() - before[i]));
  };
  const timer = setInterval(look, 100);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  look();
  return most;
}

/** The two under the load of the bench, then with large bodies: what they hold, and how fast they are beside it. */
export async function measureWhole(origin: string, dir: string, cache: string): Promise<Record<string, Metric>> {
  const { callee, caller, stop } = await wholePair(origin, dir, cache);
  const both = [callee, caller];
  const largest = (): number => Math.max(...both.map(({ rssMb }) => rssMb()));
  const idle = largest();
  const clients = await Promise.all(
    Array.from({ length: IN_FLIGHT }, () => RawClient.connect(`${PEER}/echo`, caller.port)),
  );
  const latencies: number[] = [];
  for (let i = 0; i < SEQUENTIAL; i++) latencies.push(await clients[0].call());
  const began = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      for (let i = 0; i < SATURATED / IN_FLIGHT; i++) await client.call();
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const growth = await growthMb(both, async () => {
    await transfer(caller.port, 'up', LARGE);
    await transfer(caller.port, 'down', LARGE);
  });
  const metrics = {
    rssIdleMb: idle,
    // Last of all, when there has been everything.
    rssMb: largest(),
    imageRssMb: callee.rssMb(),
    largeBodyRssGrowthMb: growth,
    wholeP50Us: percentile(latencies, 50),
    wholeRequestsPerSecond: SATURATED / seconds,
    imageStartMs: callee.startMs,
    commandStartMs: caller.startMs,
  };
  for (const client of clients) client.close();
  await stop();
  return metrics;
}

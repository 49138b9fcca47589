/**
 * The sidecar's overhead, all in one run on one origin: keep-alive, 1 KiB each way, medians over interleaved rounds. One proxy hop against its peers (where they are
 * installed), and the whole call between two sidecars with everything on and with accounting, hashing, signing and persistence off.
 *
 * Of the hop and of each peer there are several processes, by turns in each round, and their figure is the median of theirs: what a process adds depends on where its
 * memory came to lie and, with V8, on which of its functions were compiled when and with what; side by side, nine hops added from 73 to 112 µs.
 * They are warm before: a proxy at work for minutes is what is compared. `bareP50Us` is what copies bytes between two sockets of Node and does nothing else.
 *
 * What bounds `hopVsNginx`. A request is two reads, two writes and two to three waits of the system's, ours as the bare proxy's, and the way through Node's streams to each; bare, that adds 1.2 to 1.3
 * times what nginx does. The rest is JavaScript: of the hop's CPU by samples of `perf`, the system has a third, reading and checking both heads a tenth, collecting 3 %, and no function of ours more than 1 %.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../../local/ports.ts';
import { MALLOC_ENV, NODE_FLAGS } from '../../sidecar/flags.ts';
import '../../protocol/keccak/install.ts';
import { type Measured, RawClient, measureOnPath } from './sidecar-onpath.ts';
import { measureSpans } from './sidecar-spans.ts';
import { measureWhole } from './sidecar-whole.ts';
import { type Findings, type Metric, type Suite, isShort, median, percentile } from './suite.ts';

const ROUNDS = 5;
/** Of the hop and each of its peers, and the calls of a round through each. */
const INSTANCES = 5;
const CALLS = 300;
/** Calls through each before, and how many at once. */
const WARM_CALLS = 5000;
const WARM_IN_FLIGHT = 8;
const BODY = Buffer.alloc(1024, 'q');
/** What a local app asks its sidecar for. */
const PEER = 'http://bob.agnt2';

interface Role {
  readonly port: number;
  /** CPU time so far, microseconds. */
  cpuUs(): Promise<number>;
  /** Ends it in good order. */
  stop(): Promise<void>;
}

const children: ChildProcess[] = [];

async function role(cache: string, ...args: string[]): Promise<Role> {
  const child = spawn(
    process.execPath,
    [...NODE_FLAGS, new URL('sidecar-role.ts', import.meta.url).pathname, ...args],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...MALLOC_ENV, ...process.env, NODE_COMPILE_CACHE: cache },
    },
  );
  children.push(child);
  const lines = createInterface({ input: child.stdout! });
  const next = (): Promise<string> => new Promise((resolve) => lines.once('line', resolve));
  const { port } = JSON.parse(await next()) as { port: number };
  return {
    port,
    cpuUs: async () => {
      const line = next();
      child.stdin!.write('usage\n');
      return (JSON.parse(await line) as { cpuUs: number }).cpuUs;
    },
    stop: async () => {
      child.stdin!.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

/** A peer of Debian's, in front of the origin; null where it is not installed. */
async function peer(name: 'nginx' | 'haproxy', origin: number, dir: string): Promise<number | null> {
  const found = spawnSync('which', [name], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })
    .stdout.toString()
    .trim();
  if (!found) return null;
  const port = await freePort();
  const config = join(dir, `${name}-${port}.conf`);
  if (name === 'nginx') {
    const upstream = `upstream o { server 127.0.0.1:${origin}; keepalive 64; keepalive_requests 10000000; }`;
    const server = `server { listen 127.0.0.1:${port}; location / { proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; } }`;
    writeFileSync(
      config,
      `daemon off; master_process off; pid ${dir}/nginx-${port}.pid; error_log /dev/null; worker_processes 1; events {} http { access_log off; keepalive_requests 10000000; ${upstream} ${server} }`,
    );
  } else {
    writeFileSync(
      config,
      `global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\nfrontend f\n  bind 127.0.0.1:${port}\n  default_backend o\nbackend o\n  http-reuse always\n  server s 127.0.0.1:${origin}\n`,
    );
  }
  children.push(spawn(found, name === 'nginx' ? ['-c', config, '-p', dir] : ['-f', config], { stdio: 'ignore' }));
  for (let i = 0; i < 50; i++) {
    if (
      await call(port, new http.Agent()).then(
        () => true,
        () => false,
      )
    )
      return port;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return null;
}

/** One POST of 1 KiB; microseconds. */
function call(port: number, agent: http.Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const request = http.request({
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: '/echo',
      agent,
      headers: { 'content-length': BODY.length },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
      response.resume().on('end', () => resolve((performance.now() - start) * 1000));
    });
    request.end(BODY);
  });
}

/** Latencies of sequential calls over one kept-alive connection. */
async function latencies(port: number, calls: number): Promise<number[]> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const out: number[] = [];
  for (let i = 0; i < calls; i++) out.push(await call(port, agent));
  agent.destroy();
  return out;
}

/** Calls as fast as they go. */
async function warm(port: number): Promise<void> {
  let left = WARM_CALLS;
  const run = async (): Promise<void> => {
    const client = await RawClient.connect('/echo', port);
    while (left-- > 0) await client.call();
    client.close();
  };
  await Promise.all(Array.from({ length: WARM_IN_FLIGHT }, run));
}

/** Percentiles of the calls through each of the instances that there are: `of(name, p)`, microseconds, is the median of the rounds of one, and of these over all. */
async function measureHops(
  ports: Record<string, readonly number[]>,
  progress: (line: string) => void,
): Promise<(name: string, p: number) => Metric> {
  const each = Object.entries(ports);
  // One of each, then the next of each.
  const all = Array.from({ length: INSTANCES }, (_, i) =>
    each.flatMap(([name, of]) => of.slice(i, i + 1).map((port) => ({ name, port, rounds: [] as number[][] }))),
  ).flat();
  for (const { port } of all) await warm(port);
  const of = (name: string, p: number): Metric => {
    const instances = all.filter((one) => one.name === name);
    if (instances.length === 0) return null;
    return median(instances.map(({ rounds }) => median(rounds.map((samples) => percentile(samples, p)))));
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const { port, rounds } of round % 2 === 0 ? all : all.toReversed()) rounds.push(await latencies(port, CALLS));
    const sofar = Object.keys(ports).map((name) => `${name} ${Math.round(of(name, 50) ?? NaN)} µs`);
    progress(`round ${round + 1}: ${sofar.join(', ')}`);
  }
  return of;
}

/** Milliseconds an SSE event took from the origin, whose clock is ours, to here. */
function sseMs(port: number, base = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: `${base}/sse` }, (response) => {
      response.once('data', (data: Buffer) => {
        resolve(Number(process.hrtime.bigint() - BigInt(/\d+/.exec(data.toString())![0])) / 1e6);
        response.resume();
      });
    });
    request.on('error', reject);
  });
}

export const suite: Suite = {
  name: 'sidecar',
  async run(progress): Promise<Findings> {
    const dir = mkdtempSync(join(tmpdir(), 'agnt2-bench-'));
    try {
      // A sidecar's first start fills the cache that the others start from.
      const cache = join(dir, 'cache');
      await (await role(cache, 'callee', 'on', 'http://127.0.0.1:1')).stop();
      const origin = await role(cache, 'origin', '-', '-');
      const url = `http://127.0.0.1:${origin.port}`;
      const pairs = {
        on: await role(cache, 'callee', 'on', url),
        off: await role(cache, 'callee', 'off', url),
      };
      const callers = {
        on: await role(cache, 'caller', 'on', `ws://127.0.0.1:${pairs.on.port}`),
        off: await role(cache, 'caller', 'off', `ws://127.0.0.1:${pairs.off.port}`),
      };
      const measured = (which: 'on' | 'off'): Measured => ({
        port: callers[which].port,
        cpuUs: async () => (await pairs[which].cpuUs()) + (await callers[which].cpuUs()),
      });
      const wholeCall = async () => {
        progress('the whole call, on and off by turns');
        const onPath = await measureOnPath(`${PEER}/echo`, measured('off'), measured('on'));
        return { ...onPath, ...(await measureSpans()) };
      };
      if (isShort) return { metrics: await wholeCall() };
      const several = async <T>(make: () => Promise<T>): Promise<T[]> => {
        const made: T[] = [];
        while (made.length < INSTANCES) made.push(await make());
        return made;
      };
      const peers = async (name: 'nginx' | 'haproxy'): Promise<number[]> =>
        (await several(() => peer(name, origin.port, dir))).filter((port) => port !== null);
      const ports = {
        direct: Array.from({ length: INSTANCES }, () => origin.port),
        hop: (await several(() => role(cache, 'hop', '-', url))).map(({ port }) => port),
        bare: (await several(() => role(cache, 'bare', '-', url))).map(({ port }) => port),
        nginx: await peers('nginx'),
        haproxy: await peers('haproxy'),
      };
      const of = await measureHops(ports, progress);
      const onPath = await wholeCall();
      progress('whole sidecars, and large bodies');
      const whole = await measureWhole(url, dir, cache);
      const events = { direct: [] as number[], on: [] as number[] };
      for (let round = 0; round < 20; round++)
        for (const which of ['direct', 'on'] as const)
          events[which].push(await (which === 'on' ? sseMs(callers.on.port, PEER) : sseMs(origin.port)));
      const [direct, hopUs, nginx] = ['direct', 'hop', 'nginx'].map((name) => of(name, 50));
      const missing = (name: string) => `${name} is not installed`;
      return {
        metrics: {
          directP50Us: direct,
          hopP50Us: hopUs,
          bareP50Us: of('bare', 50),
          nginxP50Us: nginx,
          haproxyP50Us: of('haproxy', 50),
          directP99Us: of('direct', 99),
          hopP99Us: of('hop', 99),
          nginxP99Us: of('nginx', 99),
          haproxyP99Us: of('haproxy', 99),
          hopVsNginx: nginx === null ? null : (hopUs! - direct!) / (nginx - direct!),
          ...onPath,
          ...whole,
          sseFirstByteDirectMs: median(events.direct),
          sseFirstByteMs: median(events.on),
        },
        notes: {
          ...(nginx === null && {
            nginxP50Us: missing('nginx'),
            nginxP99Us: missing('nginx'),
            hopVsNginx: missing('nginx'),
          }),
          ...(ports.haproxy.length === 0 && { haproxyP50Us: missing('haproxy'), haproxyP99Us: missing('haproxy') }),
        },
      };
    } finally {
      for (const child of children) child.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

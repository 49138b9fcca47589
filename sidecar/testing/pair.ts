/** Test help: whole sidecars with plain apps behind them, on one gateway in memory. */
import http, { type IncomingHttpHeaders, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { readConfig } from '../config.ts';
import { listen } from '../http/server.ts';
import { type Pace, Sidecar } from '../sidecar.ts';
import { type TestAgent, TestGateway } from './gateway.ts';
import { type AppCall, WORK } from './refusals.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The problem document, if it is one. */
  readonly problem: { code: string; detail: string; approval?: string } | null;
}

export async function read(message: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString();
  const isProblem = message.headers['content-type'] === 'application/problem+json';
  const problem = isProblem ? (JSON.parse(body) as Answer['problem']) : null;
  return { status: message.statusCode!, headers: message.headers, body, problem };
}

export const ask = (port: number, path: string, options: http.RequestOptions = {}, body?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const out = http.request(
      { host: '127.0.0.1', port, path, agent: false, method: body === undefined ? 'GET' : 'POST', ...options },
      (message) => void read(message).then(resolve, reject),
    );
    out.on('error', reject);
    out.end(body);
  });

/** Asks a sidecar as its app does, through the proxy form. */
export const viaProxy = (port: number, { method, url, headers = {} }: AppCall): Promise<Answer> =>
  ask(port, url, { method, headers: { ...headers, host: /^http:\/\/([^/]+)/.exec(url)?.[1].toLowerCase() ?? '' } });

export async function eventually(check: () => boolean | Promise<boolean>, what: string, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !(await check()); await new Promise((resolve) => setTimeout(resolve, 10)))
    if (Date.now() > end) throw new Error(`never: ${what}`);
}

/** Answers 500 to `/fail` and 200 to all else. */
export const worker: RequestListener = (request, response) => {
  request.resume();
  request.on('end', () => {
    response.statusCode = request.url === '/fail' ? 500 : 200;
    response.end(`${request.method} ${request.url}`);
  });
};

export class Pair {
  readonly gateway: TestGateway;
  readonly dir = mkdtempSync(join(tmpdir(), 'agnt2-pair-'));
  readonly events: { who: string; event: string; [field: string]: unknown }[] = [];
  readonly #pace: Pace;
  readonly #sidecars: Sidecar[] = [];
  readonly #apps: Server[] = [];
  #states = 0;

  private constructor(gateway: TestGateway, pace: Pace) {
    this.gateway = gateway;
    this.#pace = { retryMs: 20, sessionsMs: 100_000, refundsMs: 100_000, peersTtlMs: 60_000, ...pace };
  }

  static async start(pace: Pace = {}, shards = 1): Promise<Pair> {
    return new Pair(await TestGateway.start(shards), pace);
  }

  async app(listener: RequestListener): Promise<string> {
    const server = http.createServer(listener);
    this.#apps.push(server);
    return `http://127.0.0.1:${await listen(server, { host: '127.0.0.1', port: 0 })}`;
  }

  /** `more` goes over a config with a state directory of its own. */
  async sidecar(
    who: string,
    agent: TestAgent,
    more: Record<string, unknown> = {},
    ...[hold, egress]: [
      hold?: ConstructorParameters<typeof Sidecar>[3],
      egress?: ConstructorParameters<typeof Sidecar>[4],
    ]
  ): Promise<Sidecar> {
    const config = readConfig({
      gateway: this.gateway.url,
      agent: formatId(agent.id),
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir: join(this.dir, String(this.#states++)),
      drainSeconds: 5,
      ...more,
    });
    process.env.AGNT2_MACHINE_KEY = hex(agent.secret);
    const onEvent = (event: string, fields: Record<string, unknown>): void =>
      void this.events.push({ who, event, ...fields });
    const made = new Sidecar(config, onEvent, this.#pace, hold, egress);
    this.#sidecars.push(made);
    await made.start();
    return made;
  }

  /** The peer of the refusals' table. */
  async bob(listener: RequestListener = worker): Promise<Sidecar> {
    const agent = await this.gateway.agent(0);
    const made = await this.sidecar('bob', agent, { name: 'bob', app: await this.app(listener), services: [WORK] });
    await eventually(() => made.ready, 'bob is ready');
    return made;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sidecars.map((sidecar) => sidecar.stop()));
    for (const app of this.#apps) {
      app.closeAllConnections();
      app.close();
    }
    this.gateway.stop();
    rmSync(this.dir, { recursive: true });
  }
}

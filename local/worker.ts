/**
 * The Workers and Durable Objects in workerd, by `wrangler dev` or by itself (workerd.ts), with state of its own, and the cron that production has every
 * minute.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { L1 } from './l1.ts';
import { inRepository, packageFile } from './paths.ts';
import { freePort } from './ports.ts';
import { type Child, type SpawnOptions, start, until } from './process.ts';
import { workerd } from './workerd.ts';

export interface WorkerOptions {
  readonly dir: string;
  readonly l1: L1;
  /** The port wished for. */
  readonly port?: number;
  /** How many shards. Default 1. */
  readonly shards?: number;
  /** Milliseconds between two runs of the cron; 0: it is not run. Can be changed later. */
  readonly cronMs?: number;
  /** Vars and secrets on top of the defaults. */
  readonly vars?: Readonly<Record<string, string>>;
  /** Without `wrangler dev` around it, and without the explorer. */
  readonly bare?: boolean;
}

/** What wrangler needs to stay offline and quiet. Its local tracing writes down every call and statement of every object, which costs a third of what a shard can do. */
const QUIET = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  X_LOCAL_EXPLORER: 'false',
  X_LOCAL_OBSERVABILITY: 'false',
  DO_NOT_TRACK: '1',
  CI: '1',
  NO_COLOR: '1',
};

/**
 * Bundles the Worker into the run's folder, with the explorer beside it: `wrangler dev` would restart everything, sockets and all, whenever somebody saved
 * a source file.
 */
function build(dir: string): void {
  const args = ['deploy', '--dry-run', `--outdir=${join(dir, 'worker')}`];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [packageFile('wrangler', 'bin', 'wrangler.js'), ...args],
    {
      cwd: inRepository(),
      env: { ...process.env, ...QUIET },
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`the Worker does not build:\n${stdout}${stderr}`);
  cpSync(inRepository('workers', 'explorer', 'public'), join(dir, 'public'), { recursive: true });
}

type Command = Pick<SpawnOptions, 'command' | 'args' | 'env'>;

/** The command that serves what was built, by `wrangler dev`. */
function wrangler(dir: string, port: number, vars: Readonly<Record<string, string>>): Command {
  const lines = Object.entries(vars).map(([name, value]) => `${name}="${value}"`);
  writeFileSync(join(dir, 'worker.env'), `${lines.join('\n')}\n`, { mode: 0o600 });
  return {
    command: process.execPath,
    args: [
      packageFile('wrangler', 'bin', 'wrangler.js'),
      'dev',
      join(dir, 'worker', 'index.js'),
      '--no-bundle',
      `--assets=${join(dir, 'public')}`,
      '--ip=127.0.0.1',
      `--port=${port}`,
      '--inspector-port=0',
      `--persist-to=${join(dir, 'state')}`,
      `--env-file=${join(dir, 'worker.env')}`,
      '--show-interactive-dev-session=false',
      '--log-level=log',
    ],
    env: QUIET,
  };
}

export class Worker {
  readonly url: string;
  readonly port: number;
  cronMs: number;
  readonly #cronUrl: string;
  readonly #command: Command;
  readonly #log: string;
  #child: Child;
  #stopped = false;
  #cron: Promise<void> = Promise.resolve();

  private constructor(dir: string, port: number, cronUrl: string, cronMs: number, command: Command) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#cronUrl = cronUrl;
    this.cronMs = cronMs;
    this.#command = command;
    this.#log = join(dir, 'worker.log');
    this.#child = this.#spawn();
  }

  static async start(options: WorkerOptions): Promise<Worker> {
    const { dir, l1, port: wished = 0, shards = 1, cronMs = 1000, vars = {}, bare = false } = options;
    const all = {
      CHAIN_ID: String(l1.chainId),
      ROOT_ADDRESS: l1.root,
      L1_RPC: l1.rpc,
      L1_CONFIRMATIONS: '0',
      // anvil is its own beacon node, whose slots are its blocks.
      BEACON_URL: l1.rpc,
      SLOT_SECONDS: '0',
      SHARDS: String(shards),
      SEQUENCER_KEY: l1.sequencerSecret,
      POSTER_KEY: l1.posterKey,
      CHALLENGER_KEY: l1.challengerKey,
      PASS_SECONDS: '10',
      BATCH_SECONDS: '2',
      ...vars,
    };
    build(dir);
    const port = await freePort(wished);
    const [cronPort, inspectorPort] = bare ? [await freePort(), await freePort()] : [port, 0];
    const command = bare ? workerd({ dir, port, cronPort, inspectorPort, vars: all }) : wrangler(dir, port, all);
    const cronUrl = `http://127.0.0.1:${cronPort}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*`;
    const worker = new Worker(dir, port, cronUrl, cronMs, command);
    await worker.#ready();
    return worker;
  }

  get child(): Child {
    return this.#child;
  }

  #spawn(): Child {
    return start({ name: 'worker', cwd: inRepository(), log: this.#log, ...this.#command });
  }

  async #ready(): Promise<void> {
    await until(
      'the gateway',
      () => fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(5000) }).then((r) => r.ok),
      {
        child: this.#child,
        timeoutMs: 60_000,
        everyMs: 100,
      },
    );
    this.#cron = this.#runCron(this.#child);
  }

  async #runCron(child: Child): Promise<void> {
    while (this.cronMs > 0 && !this.#stopped && !child.ended) {
      const startedMs = performance.now();
      await this.tick().catch(() => {});
      const restMs = startedMs + this.cronMs - performance.now();
      await Promise.race([child.exited, sleep(Math.max(0, restMs), undefined, { ref: false })]);
    }
  }

  /** Runs the cron once and waits for it. */
  async tick(): Promise<void> {
    const answer = await fetch(this.#cronUrl, { signal: AbortSignal.timeout(60_000) });
    await answer.arrayBuffer();
  }

  /** `kill -9` of wrangler and workerd together, as when the machine dies. */
  async kill9(): Promise<void> {
    await this.#child.kill9();
    await this.#cron;
  }

  /** Starts again on the same port, from the state on disk. */
  async restart(): Promise<void> {
    this.#child = this.#spawn();
    await this.#ready();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    // What it acknowledged is on disk: nothing is worth waiting for.
    await this.#child.stop(500);
    await this.#cron;
  }
}

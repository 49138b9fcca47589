/** `agnt2 run -- CMD`: any process of this machine as an agent, with its sidecar beside it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { MALLOC_ENV, NODE_FLAGS } from '../flags.ts';
import { CONFIG, type Command, Failure, type Invocation, UsageError, countOf } from './command.ts';
import { eventLine } from './events.ts';
import { mendOf } from './mends.ts';
import { freePort, isFree } from './ports.ts';
import { type Setup, Admin, readSetup, urlOf } from './setup.ts';

export const run: Command = {
  usage: '[options] -- CMD [ARG …]',
  about: [
    "The command gets PORT, where it shall listen, and HTTP_PROXY, HTTPS_PROXY, NO_PROXY and NODE_USE_ENV_PROXY, so that http://NAME.agnt2/… is a call that is paid; AGNT2_URL is the sidecar's own address, for programs that know no proxies. Its output is its own: nothing is put before a line.",
    "PORT is --port, else the port of 'app' in the config, else a free one. The sidecar holds the keys in a process of its own; when it dies it is started again.",
    'SIGTERM first lets the sidecar finish what is in flight, then ends the command; a second one, and every other signal, goes to the command at once.',
  ],
  options: {
    config: CONFIG,
    port: { type: 'string', short: 'p', value: 'PORT', help: 'where the command listens' },
    logs: { type: 'boolean', help: "the sidecar's events on stderr too, marked" },
  },
  exits: {
    125: 'the sidecar did not start; the command was not run',
    126: 'the command could not be run',
    127: 'there is no such command',
    '128+n': 'the command ended by signal n',
    other: "the command's own",
  },
  examples: ['agnt2 run -- node server.js', 'agnt2 run --port 3000 -- python3 -m http.server 3000'],
  run: start,
};

const READY_MS = 60_000;
/** Between starts of a sidecar that keeps dying. */
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 10_000;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
const FORWARDED = ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

/** Where the sidecar's events go when somebody else's command has the terminal. */
export const logFile = (stateDir: string): string => join(stateDir, 'sidecar.log');

/** The sidecar's process, started again whenever it ends unasked. */
class Beside {
  readonly #file: string;
  readonly #log: string;
  readonly #onLine: (line: string) => void;
  #child: ChildProcess | null = null;
  #last = '';
  #stopping = false;

  constructor(file: string, log: string, onLine: (line: string) => void) {
    this.#file = file;
    this.#log = log;
    this.#onLine = onLine;
  }

  /** Starts it; resolves when it is ready. Throws what it ended with. */
  async start(): Promise<void> {
    const ended = this.#spawn();
    const late = setTimeout(READY_MS, 'late' as const, { ref: false });
    const outcome = await Promise.race([this.#seen.promise, ended, late]);
    if (outcome === 'ready') return void this.#keep(ended);
    if (outcome === 'late') {
      await this.stop();
      throw new Failure(
        'not_ready',
        `the sidecar was not ready within ${READY_MS / 1000} s: ${this.#last}`,
        'agnt2 doctor',
      );
    }
    const { code = 'failed', detail = this.#last } = parse(this.#last);
    throw new Failure(code, detail, mendOf(code) ?? 'agnt2 doctor');
  }

  #seen = Promise.withResolvers<'ready'>();

  /** Resolves when it has ended. */
  #spawn(): Promise<void> {
    const node = ['--disable-warning=ExperimentalWarning', ...NODE_FLAGS];
    const args = [...node, MAIN, 'sidecar', '--with-parent', '--config', this.#file];
    // A group of its own: an interrupt at the terminal is the command's, and the sidecar drains after it.
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...MALLOC_ENV, ...process.env },
      detached: true,
    });
    this.#child = child;
    const sink = createWriteStream(this.#log, { flags: 'a', mode: 0o600 });
    let rest = '';
    const take = (chunk: Buffer): void => {
      sink.write(chunk);
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.trim() === '') continue;
        this.#last = line;
        this.#onLine(line);
        if (parse(line).event === 'ready') this.#seen.resolve('ready');
      }
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    return new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('close', () => sink.end(resolve));
    });
  }

  async #keep(ended: Promise<void>): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    for (let current = ended; ;) {
      await current;
      if (this.#stopping) return;
      await setTimeout(pause);
      if (this.#stopping) return;
      pause = Math.min(LAST_PAUSE_MS, pause * 2);
      current = this.#spawn();
    }
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGTERM');
    await ended;
  }
}

function parse(line: string): { event?: string; code?: string; detail?: string } {
  try {
    return Object(JSON.parse(line)) as { event?: string };
  } catch {
    return {};
  }
}

/** The config the sidecar runs by: the file itself, or where the port was chosen here, a copy of it that says so. */
function effective({ file, config }: Setup, port: number): string {
  if (config.app === undefined || new URL(config.app).port === String(port)) return file;
  const raw = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const copy = join(config.stateDir, 'run.json');
  const { keyFile, stateDir } = config;
  writeFileSync(copy, JSON.stringify({ ...raw, keyFile, stateDir, app: `http://127.0.0.1:${port}` }), { mode: 0o600 });
  return copy;
}

async function portOf({ text }: Invocation, { config }: Setup): Promise<number> {
  const asked = text('port');
  if (asked !== undefined) return countOf(asked, '--port', 65_535);
  const configured = config.app === undefined ? 0 : Number(new URL(config.app).port || 0);
  return configured === 0 ? freePort() : configured;
}

async function start(invocation: Invocation): Promise<number> {
  const { rest, args, out, env } = invocation;
  if (rest === null || rest.length === 0 || args.length > 0)
    throw new UsageError('what shall run stands after --, as in agnt2 run -- node server.js');
  let beside: Beside;
  let port: number;
  let setup: Setup;
  try {
    setup = readSetup(invocation);
    const { config } = setup;
    if ((await new Admin(config).status()) !== null)
      throw new Failure('already_running', `a sidecar of this agent runs at ${urlOf(config.admin)}`, 'end it first');
    for (const [key, { host, port }] of Object.entries({ listen: config.listen, admin: config.admin }))
      if (port !== 0 && !(await isFree(port, host)))
        throw new Failure(
          'port_taken',
          `${key} is ${host}:${port}, where another program listens`,
          `set '${key}' in ${setup.file} to a free port`,
        );
    port = await portOf(invocation, setup);
    mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
    const log = logFile(config.stateDir);
    if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) renameSync(log, `${log}.1`);
    const marked = (line: string): void => out.note(`agnt2 | ${eventLine(line, out)}`);
    beside = new Beside(effective(setup, port), log, invocation.flag('logs') ? marked : () => {});
    await beside.start();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    out.failure(error);
    return 125;
  }
  const url = urlOf(setup.config.listen);
  const [command, ...commandArgs] = rest;
  const near = ['localhost', '127.0.0.1', '::1', ...[env.NO_PROXY ?? env.no_proxy].filter((list) => list)].join();
  const child = spawn(command, commandArgs, {
    stdio: 'inherit',
    env: {
      ...env,
      PORT: String(port),
      AGNT2_URL: url,
      HTTP_PROXY: url,
      HTTPS_PROXY: url,
      NO_PROXY: near,
      // curl reads the small one only, lest a CGI's Proxy header be taken for it.
      http_proxy: url,
      https_proxy: url,
      no_proxy: near,
      NODE_USE_ENV_PROXY: '1',
      // The key is the sidecar's.
      AGNT2_MACHINE_KEY: undefined,
    },
  });
  const terminal = process.stdin.isTTY;
  for (const signal of FORWARDED)
    // What is typed reaches the whole foreground group by itself.
    process.on(signal, () => void ((terminal && (signal === 'SIGINT' || signal === 'SIGQUIT')) || child.kill(signal)));
  let terminating = false;
  process.on('SIGTERM', () => {
    if (terminating) return void child.kill('SIGTERM');
    terminating = true;
    void beside.stop().finally(() => child.kill('SIGTERM'));
  });
  const code = await new Promise<number>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const isMissing = error.code === 'ENOENT';
      out.failure(
        new Failure(
          isMissing ? 'no_such_command' : 'not_executable',
          `${command} can't be run: ${error.message}`,
          isMissing ? `see that ${command} is installed and on PATH` : `chmod +x ${command}`,
        ),
      );
      resolve(isMissing ? 127 : 126);
    });
    child.once('exit', (status, signal) => resolve(status ?? 128 + constants.signals[signal!]));
  });
  await beside.stop();
  return code;
}

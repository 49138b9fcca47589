/** Child processes that never outlive us: each leads a process group of its own, and every group is killed on any way out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { basename } from 'node:path';

const alive = new Set<Child>();

/** Kills the groups it was told of when our end of its pipe closes, which even `kill -9` of us does. */
const REAPER = `
const groups = new Set();
process.stdin.on('data', (data) => {
  for (const word of String(data).split('\\n')) {
    if (word.startsWith('+')) groups.add(Number(word.slice(1)));
    else if (word.startsWith('-')) groups.delete(Number(word.slice(1)));
  }
});
process.stdin.on('end', () => {
  for (const group of groups) try { process.kill(-group, 'SIGKILL'); } catch {}
});`;

let reaper: ChildProcess | null = null;

function tellReaper(word: string): void {
  if (!reaper) {
    reaper = spawn(process.execPath, ['-e', REAPER], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    reaper.unref();
    (reaper.stdin as unknown as { unref?: () => void }).unref?.();
    reaper.stdin!.on('error', () => {});
  }
  reaper.stdin!.write(`${word}\n`);
}

export interface SpawnOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Where stdout and stderr go. */
  readonly log: string;
}

/** What a child's end means when nobody asked for it. */
export class ChildFailure extends Error {
  readonly child: Child;

  constructor(child: Child, why: string) {
    super(`${child.name} ${why}\n${child.tail()}`);
    this.child = child;
  }
}

export class Child {
  readonly name: string;
  readonly log: string;
  readonly pid: number;
  /** Resolves when the leader of the group has ended. */
  readonly exited: Promise<void>;
  #process: ChildProcess;
  #ended = false;
  #stopping = false;

  constructor({ name, command, args, env, cwd, log }: SpawnOptions) {
    this.name = name;
    this.log = log;
    const sink = createWriteStream(log, { flags: 'a' });
    this.#process = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process.stdout!.pipe(sink, { end: false });
    this.#process.stderr!.pipe(sink, { end: false });
    this.pid = this.#process.pid ?? 0;
    alive.add(this);
    if (this.pid !== 0) tellReaper(`+${this.pid}`);
    this.exited = new Promise((resolve) => {
      this.#process.once('error', (error) => {
        sink.write(`${String(error)}\n`);
        this.#end(resolve);
      });
      this.#process.once('exit', () => this.#end(resolve));
    });
  }

  #end(resolve: () => void): void {
    this.#ended = true;
    // What the leader left behind in its group goes too.
    this.signal('SIGKILL');
    alive.delete(this);
    tellReaper(`-${this.pid}`);
    resolve();
  }

  get ended(): boolean {
    return this.#ended;
  }
  /** Ended without {@link stop} or {@link kill9}. */
  get crashed(): boolean {
    return this.#ended && !this.#stopping;
  }

  /** Last lines of the log. */
  tail(lines = 25): string {
    try {
      const text = readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
      return `--- last lines of ${basename(this.log)} ---\n${text}`;
    } catch {
      return '';
    }
  }

  /** Signals the whole group; false when there is none left. */
  signal(signal: NodeJS.Signals): boolean {
    if (this.pid === 0) return false;
    try {
      process.kill(-this.pid, signal);
      return true;
    } catch {
      return false;
    }
  }

  /** SIGTERM, then SIGKILL after `graceMs`. */
  async stop(graceMs = 3000): Promise<void> {
    this.#stopping = true;
    if (this.#ended) return;
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** `kill -9` of the whole group, as when a machine dies. */
  async kill9(): Promise<void> {
    this.#stopping = true;
    this.signal('SIGKILL');
    await this.exited;
  }
}

export const start = (options: SpawnOptions): Child => new Child(options);

export async function stopAll(): Promise<void> {
  await Promise.all([...alive].map((child) => child.stop()));
}

/** At once, where the reaper would take a moment. */
process.on('exit', () => {
  for (const child of alive) child.signal('SIGKILL');
});

/** Waits until `check` answers something truthy. A child that dies meanwhile ends the wait with its last words. */
export async function until<T>(
  what: string,
  check: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  { timeoutMs = 30_000, everyMs = 50, child }: { timeoutMs?: number; everyMs?: number; child?: Child } = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    if (child?.ended) throw new ChildFailure(child, 'ended before it was ready');
    try {
      const value = await check();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      const why = `timed out after ${timeoutMs} ms waiting for ${what}${last ? `: ${String(last)}` : ''}`;
      throw child ? new ChildFailure(child, why) : new Error(why);
    }
    await sleep(everyMs);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

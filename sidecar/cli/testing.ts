/** Runs the CLI as a user does: a process of its own, in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import type { TestAgent, TestGateway } from '../testing/gateway.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Waits until stdout or stderr matches. */
  said(what: RegExp): Promise<RegExpExecArray>;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

export function begin(args: readonly string[], { cwd, env = {}, input = '' }: RunOptions): Running {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    cwd,
    env: { ...process.env, AGNT2_CONFIG: undefined, AGNT2_MACHINE_KEY: undefined, NO_COLOR: undefined, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    for (const watcher of watchers) watcher();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    for (const watcher of watchers) watcher();
  });
  child.stdin.end(input);
  const ended = new Promise<Ran>((resolve) => {
    child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
  const said = (what: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = what.exec(stdout) ?? what.exec(stderr);
        if (match === null) return;
        watchers.delete(look);
        resolve(match);
      };
      watchers.add(look);
      look();
      void ended.then(() => reject(new Error(`ended without ${what}:\n${stdout}${stderr}`)));
    });
  return { child, ended, said };
}

export const agnt2 = (args: readonly string[], options: RunOptions): Promise<Ran> => begin(args, options).ended;

export const folder = (): string => mkdtempSync(join(tmpdir(), 'agnt2-cli-'));

/** A folder with the config and the key of an agent. */
export function setUp(gateway: TestGateway, agent: TestAgent, more: Record<string, unknown> = {}): string {
  const dir = folder();
  writeFileSync(join(dir, 'machine.key'), `${hex(agent.secret)}\n`, { mode: 0o600 });
  const config = {
    gateway: gateway.url,
    agent: formatId(agent.id),
    keyFile: 'machine.key',
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    stateDir: 'state',
    drainSeconds: 5,
    ...more,
  };
  writeFileSync(join(dir, 'agnt2.json'), JSON.stringify(config));
  return dir;
}

/** A Docker engine for tests: the one that DOCKER_HOST names or that runs here, else one of our own, gone when the tests are. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, start, until } from '../../../local/process.ts';
import { rootsMissing } from '../../../local/roots.ts';
import { composeCommand as findCompose } from '../../../sidecar/cli/compose.ts';

const DEFAULT_SOCKET = '/var/run/docker.sock';

/** Where an engine's socket is that answers; null for none. Its socket has to be a file: the discovery is given it. */
function running(): string | null {
  const named = process.env.DOCKER_HOST;
  const socket = named === undefined ? DEFAULT_SOCKET : named.replace(/^unix:\/\//, '');
  if (!existsSync(socket) || !statSync(socket).isSocket()) return null;
  const { status } = spawnSync('docker', ['--host', `unix://${socket}`, 'version'], {
    stdio: 'ignore',
    timeout: 10_000,
  });
  return status === 0 ? socket : null;
}

const installed = (tool: string): boolean => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;

/** Compose as the machine has it. */
export const composeCommand: readonly [string, ...string[]] | null = findCompose();

/** Why nothing with Docker can be tested here; null when it can. */
export function dockerMissing(): string | null {
  if (!installed('docker')) return 'docker is not installed';
  if (composeCommand === null) return 'neither docker compose nor docker-compose is installed';
  if (rootsMissing() !== null) return rootsMissing();
  if (running() !== null) return null;
  if (process.getuid?.() !== 0) return 'no Docker engine runs, and only root can start one';
  if (!installed('dockerd')) return 'no Docker engine runs, and dockerd is not installed to start one';
  return null;
}

/** What is installed does not run here: the kernel or iptables won't have it. The engine's log says what. */
export class NoEngine extends Error {}

const DRIVERS = ['overlay2', 'vfs'];

export class Docker {
  readonly socket: string;
  readonly #child: Child | null;
  readonly #dir: string | null;

  private constructor(socket: string, child: Child | null, dir: string | null) {
    this.socket = socket;
    this.#child = child;
    this.#dir = dir;
    // For whatever runs a docker command in this process: the image's builder does.
    process.env.DOCKER_HOST = `unix://${socket}`;
    // The builder of the engine itself: the newer one is a plugin that Debian's client does not bring.
    process.env.DOCKER_BUILDKIT = '0';
  }

  static async start(log: string): Promise<Docker> {
    const found = running();
    if (found !== null) return new Docker(found, null, null);
    sweep();
    const faults: unknown[] = [];
    for (const driver of DRIVERS) {
      // Not in the repository: file watchers and searches would walk through every image.
      const dir = mkdtempSync(join(tmpdir(), 'agnt2-docker-'));
      const socket = join(dir, 'docker.sock');
      const child = start({
        name: 'dockerd',
        command: 'dockerd',
        args: [
          `--storage-driver=${driver}`,
          '--default-ulimit=nofile=1024:1024',
          `--data-root=${join(dir, 'data')}`,
          `--exec-root=${join(dir, 'exec')}`,
          `--pidfile=${join(dir, 'pid')}`,
          `--host=unix://${socket}`,
        ],
        log,
      });
      const docker = new Docker(socket, child, dir);
      try {
        await until('the Docker engine', () => running() !== null, { child, timeoutMs: 60_000, everyMs: 250 });
        return docker;
      } catch (error) {
        faults.push(error);
        await docker.stop();
      }
    }
    throw new NoEngine(`no Docker engine can be started here: ${faults.map(String).join('\n')}`);
  }

  /** Takes all containers and networks away at once, if the engine is ours and so are they; answers whether it is. */
  async clear(): Promise<boolean> {
    if (this.#child === null) return false;
    const all = (await this.run('ps', '--all', '--quiet')).split('\n').filter((id) => id !== '');
    if (all.length > 0) await this.run('rm', '--force', ...all);
    await this.run('network', 'prune', '--force');
    return true;
  }

  /** Stops the engine if it is ours, and leaves nothing of it. */
  async stop(): Promise<void> {
    if (this.#child === null) return;
    // Its containers' supervisors are in groups of their own: the engine ends them when it is asked to.
    await this.#child.stop(30_000);
    for (const mount of mountsUnder(this.#dir!)) spawnSync('umount', ['--lazy', mount]);
    rmSync(this.#dir!, { recursive: true, force: true });
  }

  /** Runs docker to its end; answers its output. Rejects with what it said. */
  run(...args: string[]): Promise<string> {
    return this.feed('', ...args);
  }

  /** The same with something on its standard input. */
  feed(input: string, ...args: string[]): Promise<string> {
    return execute('docker', args, {}, input);
  }
}

/**
 * Takes away what an engine that was killed has left in the kernel: bridges, and rules that name them. One of those gives packets of what may be our own
 * network tomorrow another sender. Nothing, where any engine runs.
 */
function sweep(): void {
  if (spawnSync('pgrep', ['-x', 'dockerd']).status === 0) return;
  const bridge = /\bbr-[0-9a-f]{12}\b/;
  const lines = (command: string, ...args: string[]): string[] =>
    (spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').split('\n');
  for (const table of ['nat', 'filter'])
    for (const rule of lines('iptables', '-t', table, '-S').filter((line) => bridge.test(line)))
      spawnSync('iptables', ['-t', table, ...rule.replace(/^-A/, '-D').split(' ')]);
  for (const line of lines('ip', '-brief', 'link')) {
    const [name] = bridge.exec(line) ?? [];
    if (name !== undefined && line.startsWith(name)) spawnSync('ip', ['link', 'delete', name]);
  }
}

function mountsUnder(dir: string): string[] {
  const { stdout } = spawnSync('cat', ['/proc/mounts'], { encoding: 'utf8' });
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`))
    .toReversed();
}

/** Runs a program to its end; answers its standard output. Rejects with all it said. */
export function execute(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  input = '',
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { env: { ...process.env, ...env }, maxBuffer: 2 ** 26, encoding: 'utf8' },
      (error, stdout, stderr) =>
        error === null
          ? resolve(stdout)
          : reject(
              new Error(
                `${command} ${args.join(' ').slice(0, 200)}: ${error.message.slice(0, 200)}\n${stdout}${stderr}`,
              ),
            ),
    );
    child.stdin!.on('error', () => {});
    child.stdin!.end(input);
  });
}

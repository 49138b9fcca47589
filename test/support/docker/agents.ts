/** Agents in containers, each by the compose file that users paste (`examples/compose/`), as a project of its own. */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Agent } from '../../../local/agents.ts';
import { inRepository } from '../../../local/paths.ts';
import { until } from '../../../local/process.ts';
import type { AdminSession } from '../../../local/sidecars.ts';
import { freeNet, usedNets } from '../../../sidecar/cli/nets.ts';
import { type Docker, composeCommand, execute } from './engine.ts';

/** Whom the image runs as. */
const USER = 65532;

export type Part = 'app' | 'sidecar' | 'discover';

export interface ComposedOptions {
  readonly docker: Docker;
  readonly dir: string;
  /** Makes the names of projects this run's own. */
  readonly run: string;
  /** The gateway's URL as containers reach it. */
  readonly gateway: string;
  readonly agent: Agent;
  readonly image: string;
  readonly price?: string;
  /** Labels of the app beyond its name and price. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly config?: Record<string, unknown>;
  /** Whether the app knows of no proxy. */
  readonly transparent?: boolean;
}

/** Asks the sidecar's admin port as an operator does, from inside its container: it listens on loopback alone. */
const ASK = `
const { readFileSync } = require('node:fs');
const [method, path] = process.argv.slice(1);
let token = '';
try { token = readFileSync('/var/lib/agnt2/admin-token', 'utf8').trim(); } catch {}
fetch('http://127.0.0.1:8403' + path, { method, headers: token ? { authorization: 'Bearer ' + token } : {} }).then(async (answer) => {
  process.stdout.write(await answer.text());
  process.exitCode = answer.ok ? 0 : 1;
}, () => process.exit(1));`;

export class ComposedAgent {
  readonly agent: Agent;
  readonly project: string;
  readonly #options: ComposedOptions;
  readonly #env: Record<string, string>;
  readonly #labels: string;

  private constructor(options: ComposedOptions, net: string | null) {
    const { agent, dir, run, docker, image, price } = options;
    this.agent = agent;
    this.#options = options;
    this.project = `agnt2${run}${agent.name}`;
    this.#labels = join(dir, `${agent.name}.labels.json`);
    this.#env = {
      APP_IMAGE: image,
      AGENT_NAME: agent.name,
      AGENT_CONFIG: join(dir, `${agent.name}.json`),
      MACHINE_KEY: agent.keyFile,
      DOCKER_SOCKET: docker.socket,
      DOCKER_HOST: `unix://${docker.socket}`,
      COMPOSE_PROJECT_NAME: this.project,
      ...(price !== undefined && { AGENT_PRICE: price }),
      ...(net !== null && { AGNT2_NET: net }),
    };
  }

  /** The address that its app's names lead to, where the app knows of no proxy. */
  get address(): string {
    return `${this.#env.AGNT2_NET}.2`;
  }

  /** Brings the three containers up; does not wait for the sidecar to be ready. */
  static async up(options: ComposedOptions): Promise<ComposedAgent> {
    const net = options.transparent === true ? freeNet(options.agent.name, await usedNets()) : null;
    const composed = new ComposedAgent(options, net);
    chownSync(options.agent.keyFile, USER, USER);
    mkdirSync(options.dir, { recursive: true });
    composed.#write(options.config ?? {});
    composed.label(options.labels ?? {});
    await composed.compose('up', '--detach');
    return composed;
  }

  /** Writes the config file; in place, as the container has its inode. */
  #write(config: Readonly<Record<string, unknown>>): void {
    const { agent, gateway, transparent } = this.#options;
    const full = {
      gateway,
      agent: agent.id,
      keyFile: '/run/secrets/machine_key',
      name: agent.name,
      listen: 'agnt2:8402',
      admin: '127.0.0.1:8403',
      stateDir: '/var/lib/agnt2',
      drainSeconds: 30,
      ...(transparent === true && { transparent: { host: 'agnt2' } }),
      ...config,
    };
    writeFileSync(this.#env.AGENT_CONFIG, JSON.stringify(full, null, 2));
    chmodSync(this.#env.AGENT_CONFIG, 0o644);
  }

  /** Changes the config of the running sidecar: settings beside those of its start. Waits until they are in force. */
  async configure(more: Readonly<Record<string, unknown>>): Promise<void> {
    await this.reloads(() => this.#write({ ...this.#options.config, ...more }));
  }

  /** Kills the sidecar, and starts it again by other settings, those too that can't change while it runs. */
  async restart(more: Readonly<Record<string, unknown>>): Promise<void> {
    await this.kill('sidecar');
    this.#write({ ...this.#options.config, ...more });
    await this.start('sidecar');
    await this.ready();
  }

  /** Waits until the sidecar goes by what `change` changed. */
  async reloads(change: () => unknown): Promise<void> {
    const reloads = async (): Promise<number> => (await this.logs('sidecar')).split('"event":"reloaded"').length;
    const before = await reloads();
    await change();
    await until('the change to be in force', async () => (await reloads()) > before, { everyMs: 250 });
  }

  /** Sets labels of the app beyond those of the file; the next `up` makes them so. */
  label(labels: Readonly<Record<string, string>>): void {
    writeFileSync(this.#labels, JSON.stringify({ services: { app: { labels } } }));
  }

  compose(...args: string[]): Promise<string> {
    const [command, ...first] = composeCommand!;
    const example = this.#options.transparent === true ? 'transparent.yaml' : 'compose.yaml';
    const files = [inRepository('examples', 'compose', example), this.#labels].flatMap((file) => ['--file', file]);
    return execute(command, [...first, ...files, ...args], this.#env);
  }

  /** A container's name: compose joins its parts by `_` or `-`, by its version. */
  async container(part: Part): Promise<string> {
    const id = (await this.compose('ps', '--quiet', part)).trim();
    if (id === '') throw new Error(`${this.project} has no ${part}`);
    return id;
  }

  async #each(parts: readonly Part[], verb: readonly string[]): Promise<void> {
    if (parts.length === 0) return;
    const ids = await Promise.all(parts.map((part) => this.container(part)));
    await this.#options.docker.run(...verb, ...ids);
  }

  /** `docker kill -s KILL` of all named at once. */
  kill(...parts: Part[]): Promise<void> {
    return this.#each(parts, ['kill', '--signal=KILL']);
  }
  start(...parts: Part[]): Promise<void> {
    return this.#each(parts, ['start']);
  }

  /** Runs a program in a container, with `input` on its standard input. */
  async exec(part: Part, input: string, ...command: string[]): Promise<string> {
    return this.#options.docker.feed(input, 'exec', '--interactive', await this.container(part), ...command);
  }

  async logs(part: Part): Promise<string> {
    return this.#options.docker.run('logs', await this.container(part));
  }

  async admin(method: string, path: string): Promise<string> {
    return this.exec('sidecar', '', 'node', '-e', ASK, method, path);
  }

  async sessions(): Promise<AdminSession[]> {
    return (JSON.parse(await this.admin('GET', '/admin/sessions')) as { sessions: AdminSession[] }).sessions;
  }

  /** Waits until calls can be made and taken. */
  async ready(): Promise<void> {
    try {
      await until(
        `the sidecar of ${this.agent.name}`,
        () => this.exec('sidecar', '', 'node', '/opt/agnt2/health.mjs', '/readyz').then(() => true),
        { timeoutMs: 90_000, everyMs: 250 },
      );
    } catch (error) {
      const said = await Promise.all((['sidecar', 'discover'] as const).map((part) => this.logs(part).catch(() => '')));
      throw new Error(`${String(error)}\n${said.join('\n---\n').slice(-4000)}`, { cause: error });
    }
  }

  /** Stops the sidecar as a deployment does: what it owes is signed, its sessions are closed. */
  async stopSidecar(): Promise<void> {
    await this.compose('stop', 'sidecar');
  }

  async down(): Promise<void> {
    await this.compose('down', '--volumes', '--timeout', '1');
  }
}

/** Makes a network of the usual kind; answers the machine's address on it, which all containers but those locked in can reach. */
export async function makeBridge(docker: Docker, name: string): Promise<string> {
  await docker.run('network', 'create', name);
  return (await docker.run('network', 'inspect', name, '--format', '{{(index .IPAM.Config 0).Gateway}}')).trim();
}

/** A sidecar as an operator runs it: a config file, a process, an admin port. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MALLOC_ENV, NODE_FLAGS } from '../sidecar/flags.ts';
import type { Agent } from './agents.ts';
import { inRepository } from './paths.ts';
import { freePort } from './ports.ts';
import { type Child, start, until } from './process.ts';

export interface SidecarOptions {
  readonly dir: string;
  readonly gateway: string;
  readonly agent: Agent;
  /** What the config says beyond ports, keys and folders. */
  readonly config?: Record<string, unknown>;
}

export interface AdminSession {
  readonly session: string;
  readonly peer: string;
  readonly role: string;
  readonly state: string;
}

export class SidecarProcess {
  readonly agent: Agent;
  /** Where the app sends its calls. */
  readonly url: string;
  readonly admin: string;
  /** Its config file. */
  readonly config: string;
  readonly #log: string;
  #child: Child;

  private constructor(agent: Agent, url: string, admin: string, config: string, log: string) {
    this.agent = agent;
    this.url = url;
    this.admin = admin;
    this.config = config;
    this.#log = log;
    this.#child = this.#spawn();
  }

  static async start({ dir, gateway, agent, config = {} }: SidecarOptions): Promise<SidecarProcess> {
    const [listen, admin] = [await freePort(), await freePort()];
    const file = join(dir, `${agent.name}.json`);
    const full = {
      gateway,
      agent: agent.id,
      keyFile: agent.keyFile,
      listen: `127.0.0.1:${listen}`,
      admin: `127.0.0.1:${admin}`,
      stateDir: join(dir, `${agent.name}.state`),
      drainSeconds: 20,
      ...config,
    };
    writeFileSync(file, JSON.stringify(full, null, 2));
    const sidecar = new SidecarProcess(
      agent,
      `http://127.0.0.1:${listen}`,
      `http://127.0.0.1:${admin}`,
      file,
      join(dir, `${agent.name}.log`),
    );
    await sidecar.#ready();
    return sidecar;
  }

  get child(): Child {
    return this.#child;
  }

  #spawn(): Child {
    return start({
      name: `the sidecar of ${this.agent.name}`,
      command: process.execPath,
      args: [
        '--disable-warning=ExperimentalWarning',
        ...NODE_FLAGS,
        inRepository('sidecar', 'main.ts'),
        '--config',
        this.config,
      ],
      env: MALLOC_ENV,
      log: this.#log,
    });
  }

  async #ready(): Promise<void> {
    await until(
      `the sidecar of ${this.agent.name}`,
      () => fetch(`${this.admin}/readyz`, { signal: AbortSignal.timeout(2000) }).then((r) => r.ok),
      {
        child: this.#child,
        timeoutMs: 30_000,
      },
    );
  }

  /** Where to reach another agent, by name or id. */
  to(peer: string, path = ''): string {
    return `${this.url}/agents/${peer}${path}`;
  }

  async sessions(): Promise<AdminSession[]> {
    const answer = await fetch(`${this.admin}/admin/sessions`, { signal: AbortSignal.timeout(5000) });
    return ((await answer.json()) as { sessions: AdminSession[] }).sessions;
  }

  /** Ends a session in good order: both sign what it came to, Core pays out. */
  async closeSession(session: string): Promise<void> {
    const answer = await fetch(`${this.admin}/admin/sessions/${session}/close`, {
      method: 'POST',
      signal: AbortSignal.timeout(30_000),
    });
    if (!answer.ok) throw new Error(`closing session ${session} failed: ${await answer.text()}`);
  }

  /** SIGTERM: drains, then ends. */
  async stop(): Promise<void> {
    await this.#child.stop(25_000);
  }
  async kill9(): Promise<void> {
    await this.#child.kill9();
  }
  async restart(): Promise<void> {
    this.#child = this.#spawn();
    await this.#ready();
  }
}

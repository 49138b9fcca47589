/** The agent that a command is about: its config, and where its running sidecar is reached. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { formatId } from '../../protocol/ids.ts';
import { type Config, loadConfig } from '../config.ts';
import type { Endpoint } from '../fields.ts';
import { Failure, type Invocation } from './command.ts';

export interface Setup {
  /** Absolute path of the config. */
  readonly file: string;
  /** With absolute paths. */
  readonly config: Config;
}

/** Where the config is, whether or not it exists. */
export const configFile = ({ text, env }: Pick<Invocation, 'text' | 'env'>): string =>
  resolve(text('config') ?? env.AGNT2_CONFIG ?? 'agnt2.json');

/** Paths in a config are relative to its file: commands work from anywhere. */
export const absolute = (config: Config, file: string): Config => ({
  ...config,
  keyFile: config.keyFile === undefined ? undefined : resolve(dirname(file), config.keyFile),
  stateDir: resolve(dirname(file), config.stateDir),
});

/** Reads the config. Throws `no_config` or `bad_config`. */
export function readSetup(invocation: Pick<Invocation, 'text' | 'env'>): Setup {
  const file = configFile(invocation);
  if (!existsSync(file)) throw new Failure('no_config', `there is no ${file}`);
  return { file, config: absolute(loadConfig(file), file) };
}

/** An endpoint as somebody on this machine reaches it. */
export function urlOf({ host, port }: Endpoint): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

export interface SidecarStatus {
  readonly agent: string;
  readonly ready: boolean;
  /** Why it is not, as `/readyz` has it; null when it is. */
  readonly reason: string | null;
  readonly [field: string]: unknown;
}

/** The operator's port of a running sidecar. */
export class Admin {
  readonly #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  /** One request; throws `not_running`, or the sidecar's own code. */
  async ask<T>(path: string, method = 'GET', headers: Record<string, string> = {}, timeoutMs = 60_000): Promise<T> {
    const url = urlOf(this.#config.admin);
    let answer: Response;
    try {
      answer = await fetch(url + path, { method, headers, signal: AbortSignal.timeout(timeoutMs) });
    } catch {
      throw new Failure('not_running', `no sidecar answers at ${url}`);
    }
    const body = (await answer.json().catch(() => ({}))) as { code?: string; detail?: string };
    if (!answer.ok) throw new Failure(body.code ?? 'not_running', body.detail ?? `${url} answered ${answer.status}`);
    return body as T;
  }

  /** The status of the sidecar that runs for this very agent; null when none does. */
  async status(): Promise<SidecarStatus | null> {
    try {
      const status = await this.ask<SidecarStatus>('/admin/status', 'GET', {}, 5000);
      return status.agent === formatId(this.#config.agent) ? status : null;
    } catch {
      return null;
    }
  }
}

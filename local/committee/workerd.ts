/** Members as real workerd runs them: the Worker of `workers/committee`, once for each, with objects of its own, in one process. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { inRepository, packageFile } from '../paths.ts';
import { freePort } from '../ports.ts';
import { type Child, start, until } from '../process.ts';

const CONFIG = inRepository('workers', 'committee', 'wrangler.toml');

export interface MemberWorkersOptions {
  /** Of the run. */
  readonly dir: string;
  readonly rpc: string;
  readonly root: Hex;
  /** The members' keys: one Worker each. */
  readonly secrets: readonly Uint8Array[];
}

const text = (value: string): string => JSON.stringify(value);

/** Bundles the Worker into the run's folder. */
function build(dir: string): void {
  const args = ['deploy', '--dry-run', `--config=${CONFIG}`, `--outdir=${join(dir, 'member')}`];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [packageFile('wrangler', 'bin', 'wrangler.js'), ...args],
    {
      cwd: inRepository(),
      env: { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`the member's Worker does not build:\n${stdout}${stderr}`);
}

/** Workers of members that are up, and their urls in the order of their keys. */
export class MemberWorkers {
  readonly urls: readonly string[];
  readonly #dir: string;
  readonly #path: string;
  #child: Child;

  private constructor(dir: string, urls: readonly string[], path: string) {
    [this.#dir, this.urls, this.#path] = [dir, urls, path];
    this.#child = this.#spawn();
  }

  static async start({ dir, rpc, root, secrets }: MemberWorkersOptions): Promise<MemberWorkers> {
    build(dir);
    const ports: number[] = [];
    for (let i = 0; i < secrets.length; i++) ports.push(await freePort());
    const date = /^compatibility_date = "([\d-]+)"$/m.exec(readFileSync(CONFIG, 'utf8'))![1];
    const files = readdirSync(join(dir, 'member'));
    const wasm = files.filter((name) => name.endsWith('.wasm'));
    const modules = [
      '(name = "worker.js", esModule = embed "member/worker.js")',
      ...wasm.map((name) => `(name = ${text(name)}, wasm = embed ${text(`member/${name}`)})`),
    ].join(', ');
    const services = secrets.map((secret, i) => {
      mkdirSync(join(dir, 'columns', String(i)), { recursive: true });
      const vars = { L1_RPC: rpc, ROOT_ADDRESS: root, MEMBER_KEY: hex(secret) };
      const bindings = Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`);
      return `(name = "member-${i}", worker = (
      compatibilityDate = ${text(date)},
      modules = [${modules}],
      bindings = [(name = "MEMBER", durableObjectNamespace = "Member"), ${bindings.join(', ')}],
      durableObjectNamespaces = [(className = "Member", uniqueKey = "agnt2-Member-${i}", enableSql = true)],
      durableObjectStorage = (localDisk = "columns-${i}"),
      globalOutbound = "network")),
    (name = "columns-${i}", disk = (path = ${text(join(dir, 'columns', String(i)))}, writable = true)),`;
    });
    const sockets = ports.map(
      (port, i) => `(name = "member-${i}", address = "127.0.0.1:${port}", http = (), service = "member-${i}")`,
    );
    const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ${services.join('\n    ')}
    (name = "network", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [${sockets.join(', ')}]);
`;
    const path = join(dir, 'members.capnp');
    writeFileSync(path, config, { mode: 0o600 });
    const workers = new MemberWorkers(
      dir,
      ports.map((port) => `http://127.0.0.1:${port}`),
      path,
    );
    await workers.#ready();
    return workers;
  }

  #spawn(): Child {
    return start({
      name: 'members',
      cwd: this.#dir,
      log: join(this.#dir, 'members.log'),
      command: packageFile('workerd', 'bin', 'workerd'),
      args: ['serve', '--experimental', this.#path],
    });
  }

  async #ready(): Promise<void> {
    for (const url of this.urls)
      await until(`a member at ${url}`, async () => (await fetch(`${url}/healthz`)).ok, {
        child: this.#child,
        timeoutMs: 60_000,
      });
  }

  get child(): Child {
    return this.#child;
  }

  /** As when the machine dies. */
  async kill9(): Promise<void> {
    await this.#child.kill9();
  }

  /** Starts again, from what is on disk. */
  async restart(): Promise<void> {
    this.#child = this.#spawn();
    await this.#ready();
  }

  async stop(): Promise<void> {
    await this.#child.stop(500);
  }
}

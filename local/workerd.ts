/**
 * workerd by itself: our Worker and its Durable Objects as `workerd serve` runs them, by a configuration made of `wrangler.toml`. What `wrangler dev` puts
 * around them (a proxy in a process of its own, an entry Worker, two that look for assets, a line in a log for every request) costs more than a gateway and a
 * shard together; there is none of it here, and no explorer.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRepository, packageFile } from './paths.ts';

export interface WorkerdOptions {
  /** The run's folder, the built Worker in `worker/` of it. */
  readonly dir: string;
  readonly port: number;
  /** Where a GET runs the cron once. */
  readonly cronPort: number;
  readonly inspectorPort: number;
  readonly vars: Readonly<Record<string, string>>;
}

const CRON = `export default { async fetch(_request, { WORKER }) {
  const { outcome } = await WORKER.scheduled({ scheduledTime: new Date(), cron: '* * * * *' });
  return new Response(outcome, { status: outcome === 'ok' ? 200 : 500 });
} };`;

/** As Cap'n Proto's text form has it, which is JSON's for what we write. */
const text = (value: string): string => JSON.stringify(value);

/** Writes the configuration and returns the command that serves by it. */
export function workerd({ dir, port, cronPort, inspectorPort, vars }: WorkerdOptions): {
  readonly command: string;
  readonly args: readonly string[];
} {
  const toml = readFileSync(inRepository('wrangler.toml'), 'utf8');
  const date = /^compatibility_date = "([\d-]+)"$/m.exec(toml)?.[1];
  const objects = [...toml.matchAll(/^\[\[durable_objects\.bindings\]\]\nname = "(\w+)"\nclass_name = "(\w+)"$/gm)];
  if (!date || objects.length === 0) throw new Error('wrangler.toml is not written as local/workerd.ts reads it');
  mkdirSync(join(dir, 'objects'), { recursive: true });

  const wasm = readdirSync(join(dir, 'worker')).filter((name) => name.endsWith('.wasm'));
  const modules = [
    '(name = "index.js", esModule = embed "worker/index.js")',
    ...wasm.map((name) => `(name = ${text(name)}, wasm = embed ${text(`worker/${name}`)})`),
  ];
  const bindings = [
    ...objects.map(([, name, type]) => `(name = ${text(name)}, durableObjectNamespace = ${text(type)})`),
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`),
  ];
  const namespaces = objects.map(
    ([, , type]) => `(className = ${text(type)}, uniqueKey = ${text(`agnt2-${type}`)}, enableSql = true)`,
  );
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "core:user:agnt2", worker = (
      compatibilityDate = ${text(date)},
      modules = [${modules.join(', ')}],
      bindings = [${bindings.join(', ')}],
      durableObjectNamespaces = [${namespaces.join(', ')}],
      durableObjectStorage = (localDisk = "objects"),
      globalOutbound = "network")),
    (name = "cron", worker = (
      compatibilityDate = ${text(date)},
      compatibilityFlags = ["service_binding_extra_handlers"],
      modules = [(name = "cron.js", esModule = ${text(CRON)})],
      bindings = [(name = "WORKER", service = "core:user:agnt2")])),
    (name = "objects", disk = (path = ${text(join(dir, 'objects'))}, writable = true)),
    (name = "network", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [
    (name = "gateway", address = "127.0.0.1:${port}", http = (), service = "core:user:agnt2"),
    (name = "cron", address = "127.0.0.1:${cronPort}", http = (), service = "cron"),
  ]);
`;
  const path = join(dir, 'workerd.capnp');
  writeFileSync(path, config, { mode: 0o600 });
  return {
    command: packageFile('workerd', 'bin', 'workerd'),
    args: ['serve', '--experimental', `--inspector-addr=127.0.0.1:${inspectorPort}`, path],
  };
}

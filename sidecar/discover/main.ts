/**
 * `node sidecar/discover/main.ts --out DIR`: tells sidecars what the labels of their containers say. The only process that sees
 * the engine's socket, and one that has no key and needs no network. One JSON line per event on stdout.
 *
 *     --out      where `<name>.json` files go; sidecars read them with `--labels DIR`
 *     --socket   the engine's socket (/var/run/docker.sock)
 *     --project  a compose project, or `*` for every container; by default the project it runs in itself, if any
 *     --once     looks once, and ends
 */
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { Agnt2Error, codeOf } from '../../protocol/errors.ts';
import { Discovery } from './discover.ts';
import { Engine } from './engine.ts';

const print = (event: string, fields: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify({ event, timeMs: Date.now(), ...fields })}\n`);
};

try {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: '/run/agnt2' },
      socket: { type: 'string', default: '/var/run/docker.sock' },
      project: { type: 'string' },
      once: { type: 'boolean', default: false },
    },
  });
  const engine = new Engine(values.socket);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  // A container's host name is its id, unless somebody chose another.
  const own = async (): Promise<string | null> => engine.projectOf(hostname());
  const project = values.project === '*' ? null : (values.project ?? (await own()));
  const discovery = new Discovery(engine, values.out, project, print);
  print('watching', { project: project ?? '*' });
  if (values.once) await discovery.look();
  else await discovery.follow(stop.signal);
} catch (error) {
  print('failed', { code: codeOf(error), detail: error instanceof Agnt2Error ? error.detail : String(error) });
  process.exitCode = 1;
}

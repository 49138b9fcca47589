/** `agnt2 docker`: puts `docker agnt2` beside the Docker CLI's other plugins. */
import { existsSync, lstatSync, mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, EXIT, Failure, type Invocation, UsageError } from './command.ts';

export const docker: Command = {
  usage: 'install | uninstall | status',
  about: [
    "A link in the Docker CLI's plugin folder ($DOCKER_CONFIG/cli-plugins, else ~/.docker/cli-plugins). It needs no engine.",
  ],
  words: ['install', 'uninstall', 'status'],
  exits: { 3: 'status: not installed' },
  examples: ['agnt2 docker install && docker agnt2 doctor --docker'],
  run,
};

const PLUGIN = fileURLToPath(new URL('docker-agnt2.mjs', import.meta.url));

async function run({ args, out, env }: Invocation): Promise<number> {
  const [what = 'status', ...more] = args;
  if (!['install', 'uninstall', 'status'].includes(what) || more.length > 0)
    throw new UsageError('docker install | uninstall | status');
  const dir = join(env.DOCKER_CONFIG ?? join(homedir(), '.docker'), 'cli-plugins');
  const link = join(dir, 'docker-agnt2');
  const stat = lstatSync(link, { throwIfNoEntry: false });
  const isOurs = stat?.isSymbolicLink() === true && readlinkSync(link) === PLUGIN;
  if (what !== 'status' && stat !== undefined && !isOurs && (existsSync(link) || !stat.isSymbolicLink()))
    throw new Failure('not_ours', `${link} is another program's`, `rm ${link}, if it is of no use any more`);
  if (what === 'install') {
    mkdirSync(dir, { recursive: true });
    if (!isOurs) {
      rmSync(link, { force: true });
      symlinkSync(PLUGIN, link);
    }
    out.result({ ok: true, installed: true, link }, [`docker agnt2 is ${link}`]);
    return EXIT.done;
  }
  if (what === 'uninstall') {
    if (isOurs) rmSync(link);
    out.result({ ok: true, installed: false, link }, ['docker agnt2 is gone']);
    return EXIT.done;
  }
  out.result({ ok: isOurs, installed: isOurs, link }, [
    isOurs ? `docker agnt2 is ${link}` : 'not installed: agnt2 docker install',
  ]);
  return isOurs ? EXIT.done : 3;
}

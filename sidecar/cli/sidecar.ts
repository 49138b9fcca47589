/** `agnt2 sidecar`: runs the sidecar of a config in this process, bundled where that can be. */
import { dirname, resolve } from 'node:path';
import { ownBundle } from '../bundle.ts';
import { CONFIG, type Command, UsageError } from './command.ts';
import { configFile, readSetup } from './setup.ts';

export const sidecar: Command = {
  about: [
    'One JSON line per event on stdout. SIGTERM or SIGINT ends it in good order: what is in flight is finished, sessions are signed and closed, what is owed to Core is sent.',
    'Paths in the config are relative to its file.',
  ],
  options: {
    config: CONFIG,
    'with-parent': { type: 'boolean', help: 'ends in good order when the process that started it does' },
  },
  examples: ['agnt2 sidecar --config seller/agnt2.json'],
  run,
};

async function run(invocation: Parameters<Command['run']>[0]): Promise<number> {
  if (invocation.args.length > 0) throw new UsageError(`sidecar takes no ${invocation.args[0]}`);
  const file = configFile(invocation);
  // Says what is wrong as every command does; main.ts says it in its own lines.
  readSetup(invocation);
  process.chdir(dirname(file));
  const args = [...(invocation.flag('with-parent') ? ['--with-parent'] : []), '--config', resolve(file)];
  const program = await ownBundle();
  if (program !== null && process.platform !== 'win32')
    // In the place of this process, with its id and its streams: what the checks took is gone.
    process.execve?.(process.execPath, [process.execPath, ...process.execArgv, program, ...args], process.env);
  process.argv = [process.argv[0], process.argv[1], ...args];
  await import('../main.ts');
  // It ends the process by itself.
  return new Promise(() => {});
}

/** `agnt2 sidecar`: runs the sidecar of a config in this process. */
import { dirname, resolve } from 'node:path';
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

const LOOK_MS = 500;

async function run(invocation: Parameters<Command['run']>[0]): Promise<number> {
  if (invocation.args.length > 0) throw new UsageError(`sidecar takes no ${invocation.args[0]}`);
  const file = configFile(invocation);
  // Says what is wrong as every command does; main.ts says it in its own lines.
  readSetup(invocation);
  if (invocation.flag('with-parent')) {
    const parent = process.ppid;
    const timer = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(timer);
      process.kill(process.pid, 'SIGTERM');
    }, LOOK_MS);
    timer.unref();
  }
  process.chdir(dirname(file));
  process.argv = [process.argv[0], process.argv[1], '--config', resolve(file)];
  await import('../main.ts');
  // It ends the process by itself.
  return new Promise(() => {});
}

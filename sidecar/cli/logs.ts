/** `agnt2 logs`: what the sidecar beside `agnt2 run` said. */
import { closeSync, existsSync, openSync, readSync, statSync, watchFile, unwatchFile } from 'node:fs';
import { CONFIG, type Command, EXIT, Failure, type Invocation, UsageError, countOf } from './command.ts';
import { eventLine } from './events.ts';
import { logFile } from './run.ts';
import { readSetup } from './setup.ts';

export const logs: Command = {
  about: ['With --json the lines as they are. A sidecar that was started by itself writes to its own stdout.'],
  options: {
    config: CONFIG,
    lines: { type: 'string', short: 'n', value: 'N', default: '50', help: 'how many of the last' },
    follow: { type: 'boolean', short: 'f', help: 'goes on with what comes, until interrupted' },
  },
  examples: ['agnt2 logs -f'],
  run,
};

const POLL_MS = 250;

/** What a file holds from an offset on. */
function readFrom(file: string, offset: number): Buffer {
  const size = statSync(file).size;
  // Begun anew: the old one is under another name.
  const from = size < offset ? 0 : offset;
  const buffer = Buffer.alloc(size - from);
  const handle = openSync(file, 'r');
  try {
    return buffer.subarray(0, readSync(handle, buffer, 0, buffer.length, from));
  } finally {
    closeSync(handle);
  }
}

async function run(invocation: Invocation): Promise<number> {
  const { text, flag, out, args } = invocation;
  if (args.length > 0) throw new UsageError(`logs takes no ${args[0]}`);
  const file = logFile(readSetup(invocation).config.stateDir);
  if (!existsSync(file))
    throw new Failure(
      'no_log',
      `there is no ${file}`,
      'agnt2 run -- CMD writes it; another sidecar writes to its own stdout',
    );
  const show = (line: string): void => void process.stdout.write(`${out.isJson ? line : eventLine(line, out)}\n`);
  const whole = readFrom(file, 0);
  const lines = whole.toString().split('\n');
  let rest = lines.pop()!;
  const count = countOf(text('lines')!, '--lines');
  for (const line of count === 0 ? [] : lines.slice(-count)) show(line);
  if (!flag('follow')) return EXIT.done;
  let offset = whole.length;
  return new Promise((resolve) => {
    watchFile(file, { interval: POLL_MS }, ({ size }) => {
      if (size === 0) return;
      const more = readFrom(file, offset);
      offset = size < offset ? more.length : offset + more.length;
      const fresh = (rest + more.toString()).split('\n');
      rest = fresh.pop()!;
      for (const line of fresh) show(line);
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        unwatchFile(file);
        resolve(EXIT.done);
      });
  });
}

/** `agnt2 COMMAND …`: finds the command, reads its arguments, and ends with its exit code. */
import { COMMANDS, find } from './commands.ts';
import { EXIT, UsageError, parse } from './command.ts';
import { commandHelp, overview } from './help.ts';
import { Output } from './output.ts';

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  const out = new Output(false, process.env);
  if (name === undefined || name === '--help' || name === '-h' || (name === 'help' && args.length === 0)) {
    out.result({}, overview(COMMANDS, out));
    return EXIT.done;
  }
  if (name === '--version' || name === 'version') {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } });
    out.result({}, [`agnt2 ${manifest.version}`]);
    return EXIT.done;
  }
  const entry = find(name === 'help' ? args[0] : name);
  if (entry === undefined) {
    out.note(`agnt2 knows no ${name === 'help' ? args[0] : name}; 'agnt2 --help' lists what it knows`);
    return EXIT.usage;
  }
  const command = await entry.load();
  const before = args.slice(0, args.includes('--') ? args.indexOf('--') : args.length);
  if (name === 'help' || (command.raw !== true && (before.includes('--help') || before.includes('-h')))) {
    out.result({}, commandHelp(entry, command, out));
    return EXIT.done;
  }
  let output = new Output(before.includes('--json'), process.env);
  try {
    if (command.raw === true) return await command.run({ ...parse(command, [], process.env, () => output), args });
    return await command.run(parse(command, args, process.env, (isJson) => (output = new Output(isJson, process.env))));
  } catch (error) {
    if (error instanceof UsageError) {
      output.note(`${error.message}; 'agnt2 ${entry.name} --help' says how`);
      return EXIT.usage;
    }
    output.failure(error);
    return EXIT.failed;
  }
}

// Whoever reads us may stop reading, as `head` does.
process.stdout.on('error', () => process.exit(EXIT.done));
process.exitCode = await main(process.argv.slice(2));

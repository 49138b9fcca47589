/** Help pages, made from the commands' own data. */
import { COMMON, type Command, EXIT, type Entry, type Option } from './command.ts';
import { type Output, columns } from './output.ts';

/** Lines of at most 100 characters. */
function wrap(text: string, indent = ''): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > 100 && line.trim() !== '') {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

export function overview(commands: readonly Entry[], out: Output): string[] {
  return [
    'agnt2 COMMAND …: services that call, pay and trust each other',
    '',
    ...columns(commands.map(({ name, summary }) => [name, summary])),
    '',
    "'agnt2 COMMAND --help' says more. Exit codes: 0 done, 1 failed (with a code and what mends it), 2 wrong usage.",
    `Start with ${out.paint('bold', 'agnt2 up')} in one terminal and ${out.paint('bold', 'agnt2 init --local')} in another.`,
  ];
}

const nameOf = (name: string, { short, type, value = 'TEXT' }: Option): string =>
  `${short === undefined ? '    ' : `-${short}, `}--${name}${type === 'string' ? ` ${value}` : ''}`;

export function commandHelp({ name, summary }: Entry, command: Command, out: Output): string[] {
  const { usage = '', about = [], options = {}, exits = {}, examples = [], raw } = command;
  const heading = (text: string): string[] => ['', out.paint('bold', text)];
  if (raw === true) return [`agnt2 ${name} …: ${summary}`, `  'agnt2 ${name} --help' of the program itself says more.`];
  const all = Object.entries({ ...options, ...COMMON });
  return [
    `agnt2 ${name} ${usage}`.trimEnd(),
    ...wrap(`${summary}.`, '  '),
    ...about.flatMap((paragraph) => ['', ...wrap(paragraph, '  ')]),
    ...heading('Options'),
    ...columns(
      all.map(([key, option]) => [
        nameOf(key, option),
        `${option.help}${option.default === undefined ? '' : ` (default: ${option.default})`}`,
      ]),
    ),
    ...heading('Exit codes'),
    ...columns([
      [String(EXIT.done), 'done'],
      [String(EXIT.failed), 'failed: a code, what happened, and what mends it'],
      [String(EXIT.usage), 'wrong usage'],
      ...Object.entries(exits),
    ]),
    ...(examples.length === 0 ? [] : [...heading('Examples'), ...examples.map((line) => `  ${line}`)]),
  ];
}

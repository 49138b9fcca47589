/** `agnt2 completion SHELL`: a script for the shell, made from the commands' own data. */
import { COMMON, type Command, EXIT, type Entry, type Invocation, type Option, UsageError } from './command.ts';
import { COMMANDS } from './commands.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

export const completion: Command = {
  usage: SHELLS.join(' | '),
  words: SHELLS,
  examples: [
    'bash: source <(agnt2 completion bash)      in ~/.bashrc',
    'zsh:  agnt2 completion zsh > "${fpath[1]}/_agnt2"',
    'fish: agnt2 completion fish > ~/.config/fish/completions/agnt2.fish',
  ],
  run: async ({ args, out }: Invocation) => {
    const writer = WRITERS[args[0] as (typeof SHELLS)[number]];
    if (writer === undefined || args.length > 1) throw new UsageError(`which shell? ${SHELLS.join(', ')}`);
    const script = writer(
      await Promise.all(COMMANDS.map(async ({ name, summary, load }) => ({ name, summary, ...(await load()) }))),
    );
    out.result({ ok: true, script }, [script]);
    return EXIT.done;
  },
};

/** A command with what lists show of it. */
type Known = Command & Omit<Entry, 'load'>;

const optionsOf = (command: Command): [string, Option][] =>
  command.raw === true ? [] : Object.entries({ ...command.options, ...COMMON });
const takesPath = ({ value }: Option): boolean => value === 'FILE' || value === 'DIR';

function bash(commands: readonly Known[]): string {
  const cases = commands.map((command) => {
    const flags = optionsOf(command).flatMap(([name, { short }]) => [`--${name}`, ...(short ? [`-${short}`] : [])]);
    return `    ${command.name}) words='${[...(command.words ?? []), ...flags].join(' ')}' ;;`;
  });
  const paths = new Set(
    commands.flatMap((c) =>
      optionsOf(c)
        .filter(([, o]) => takesPath(o))
        .map(([name]) => `--${name}`),
    ),
  );
  return `# bash completion of agnt2
_agnt2() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words i
  COMPREPLY=()
  # What runs after -- has completions of its own.
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ \${COMP_WORDS[i]} == -- ]]; then COMPREPLY=($(compgen -c -f -- "$current")); return; fi
  done
  case $before in
    ${[...paths, '-c', '-o'].join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${[...commands.map(({ name }) => name), '--help', '--version'].join(' ')}' -- "$current"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _agnt2 agnt2`;
}

const quoted = (text: string): string => text.replaceAll("'", "'\\''");

function zsh(commands: readonly Known[]): string {
  const brackets = (text: string): string =>
    quoted(text).replaceAll('[', '\\[').replaceAll(']', '\\]').replaceAll(':', '\\:');
  const spec = ([name, option]: [string, Option]): string => {
    const argument =
      option.type === 'string' ? `:${brackets(option.value ?? 'TEXT')}:${takesPath(option) ? '_files' : ''}` : '';
    const many = option.multiple === true ? '*' : '';
    return `'${many}--${name}[${brackets(option.help)}]${argument}'`;
  };
  const cases = commands.map((command) => {
    const words = command.words === undefined ? "'*::file:_files'" : `'1:what:(${command.words.join(' ')})'`;
    return `    ${command.name}) _arguments ${[...optionsOf(command).map(spec), words].join(' ')} ;;`;
  });
  return `#compdef agnt2
_agnt2() {
  local -a commands=(
${commands.map(({ name, summary }) => `    '${name}:${quoted(summary).replaceAll(':', '\\:')}'`).join('\n')}
  )
  if ((CURRENT == 2)); then _describe command commands; return; fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _agnt2 ]; then _agnt2 "$@"; else compdef _agnt2 agnt2; fi`;
}

function fish(commands: readonly Known[]): string {
  const lines = commands.flatMap((command) => {
    const within = `-n '__fish_seen_subcommand_from ${command.name}'`;
    return [
      `complete -c agnt2 -n __fish_use_subcommand -f -a ${command.name} -d '${quoted(command.summary)}'`,
      ...(command.words ?? []).map((word) => `complete -c agnt2 ${within} -f -a ${word}`),
      ...optionsOf(command).map(([name, option]) => {
        const short = option.short === undefined ? '' : ` -s ${option.short}`;
        const value = option.type === 'boolean' ? '' : takesPath(option) ? ' -r -F' : ' -x';
        return `complete -c agnt2 ${within} -l ${name}${short}${value} -d '${quoted(option.help)}'`;
      }),
    ];
  });
  return ['# fish completion of agnt2', ...lines].join('\n');
}

const WRITERS: Readonly<Record<(typeof SHELLS)[number], (commands: readonly Known[]) => string>> = {
  bash,
  zsh,
  fish,
};

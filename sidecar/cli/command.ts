/** What a command of the CLI is: data that help, completion and parsing are made from, and what it does. */
import { parseArgs } from 'node:util';
import type { Output } from './output.ts';

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  readonly default?: string;
  /** What stands for the value in help; `FILE` and `DIR` complete to paths. */
  readonly value?: string;
  readonly help: string;
}

export interface Invocation {
  readonly args: readonly string[];
  /** What stands after `--`; null without one. */
  readonly rest: readonly string[] | null;
  readonly env: NodeJS.ProcessEnv;
  readonly out: Output;
  text(option: string): string | undefined;
  texts(option: string): readonly string[];
  flag(option: string): boolean;
}

/** A command as lists show it. */
export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

export interface Command {
  /** What follows the name, without options. */
  readonly usage?: string;
  /** Paragraphs of help. */
  readonly about?: readonly string[];
  readonly options?: Readonly<Record<string, Option>>;
  /** Words that may come first. */
  readonly words?: readonly string[];
  /** Exit codes besides {@link EXIT}. */
  readonly exits?: Readonly<Record<string, string>>;
  readonly examples?: readonly string[];
  /** Takes all its arguments as they are: a program of its own. */
  readonly raw?: boolean;
  /** Answers the exit code. */
  run(invocation: Invocation): Promise<number>;
}

/** Exit codes that mean the same for every command. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** Wrong arguments: exit code 2. */
export class UsageError extends Error {}

/** Something failed: a stable code, what happened, and the command or edit that mends it. */
export class Failure extends Error {
  readonly code: string;
  readonly mend: string | undefined;

  constructor(code: string, detail: string, mend?: string) {
    super(detail);
    this.code = code;
    this.mend = mend;
  }
}

/** Options of every command. */
export const COMMON: Readonly<Record<string, Option>> = {
  json: { type: 'boolean', help: 'one JSON object on stdout, errors included' },
  help: { type: 'boolean', short: 'h', help: 'this page' },
};

/** The config file of the agent that a command is about. */
export const CONFIG: Option = {
  type: 'string',
  short: 'c',
  value: 'FILE',
  help: "the agent's config (default: $AGNT2_CONFIG, else agnt2.json)",
};

/** Reads the arguments of a command. Throws {@link UsageError}. */
export function parse(
  command: Command,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  output: (isJson: boolean) => Output,
): Invocation {
  const cut = argv.indexOf('--');
  const own = cut < 0 ? argv : argv.slice(0, cut);
  const options = { ...command.options, ...COMMON };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({
      args: [...own],
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(options).map(([name, { type, short, multiple = false }]) => [
          name,
          { type, multiple, ...(short !== undefined && { short }) },
        ]),
      ),
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
  const values = parsed.values as Record<string, string | boolean | string[] | undefined>;
  return {
    args: parsed.positionals,
    rest: cut < 0 ? null : argv.slice(cut + 1),
    env,
    out: output(values.json === true),
    text: (name) => (values[name] as string | undefined) ?? options[name]?.default,
    texts: (name) => (values[name] as string[] | undefined) ?? [],
    flag: (name) => values[name] === true,
  };
}

/** A whole number of base units (or of anything else). Throws {@link UsageError}. */
export function countOf(text: string, what: string, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value > max)
    throw new UsageError(`${what} must be a whole number, not ${JSON.stringify(text)}`);
  return value;
}

/** What people and programs see: plain words in colours where there is a terminal, or one JSON object. */
import { codeOf, Agnt2Error } from '../../protocol/errors.ts';
import { Failure } from './command.ts';
import { mendOf } from './mends.ts';

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof STYLES;

/** Whether a stream takes colours: a terminal, unless NO_COLOR (https://no-color.org) is set to anything. */
export const takesColour = (stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean =>
  stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';

export interface Streams {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

export class Output {
  readonly isJson: boolean;
  readonly #streams: Streams;
  readonly #colours: { stdout: boolean; stderr: boolean };

  constructor(isJson: boolean, env: NodeJS.ProcessEnv, streams: Streams = process) {
    this.isJson = isJson;
    this.#streams = streams;
    this.#colours = { stdout: takesColour(streams.stdout, env), stderr: takesColour(streams.stderr, env) };
  }

  /** The text, coloured where stdout takes it. */
  paint(style: Style, text: string, stream: 'stdout' | 'stderr' = 'stdout'): string {
    return this.#colours[stream] ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text;
  }

  /** A line for people; with --json it goes to stderr, out of the programs' way. */
  say(line: string): void {
    (this.isJson ? this.#streams.stderr : this.#streams.stdout).write(`${line}\n`);
  }
  /** A line that is no result. */
  note(line: string): void {
    this.#streams.stderr.write(`${line}\n`);
  }
  /** Bytes of the result as they are. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#streams.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** The result: the object for programs, the lines for people. */
  result(value: Record<string, unknown>, lines: readonly string[] = []): void {
    if (this.isJson) this.#streams.stdout.write(`${JSON.stringify(value)}\n`);
    else for (const line of lines) this.#streams.stdout.write(`${line}\n`);
  }

  /** What went wrong, and what to do. */
  failure(error: unknown): void {
    const { code, detail, mend } = describe(error);
    if (this.isJson) {
      this.#streams.stdout.write(`${JSON.stringify({ ok: false, error: { code, detail, ...(mend && { mend }) } })}\n`);
      return;
    }
    this.note(`${this.paint('red', code, 'stderr')}: ${detail}`);
    if (mend) this.note(`  ${this.paint('bold', 'mend:', 'stderr')} ${mend}`);
  }
}

export interface Described {
  readonly code: string;
  readonly detail: string;
  readonly mend: string | undefined;
}

/** Anything thrown, as a code, a sentence and what mends it. */
export function describe(error: unknown): Described {
  if (error instanceof Failure)
    return { code: error.code, detail: error.message, mend: error.mend ?? mendOf(error.code) };
  const code = codeOf(error);
  const detail = error instanceof Agnt2Error ? error.detail : error instanceof Error ? error.message : String(error);
  return { code, detail, mend: mendOf(code) };
}

/** Two columns, the first as wide as it needs. */
export function columns(rows: readonly (readonly [string, string])[], indent = '  '): string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${indent}${left.padEnd(width)}  ${right}`.trimEnd());
}

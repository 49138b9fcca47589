/** The programs of `local/`, as commands: each has its own options and help. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Command, Failure } from './command.ts';

/** Runs a script of the checkout with the arguments as they are; answers its exit code. */
export async function runScript(script: string, args: readonly string[]): Promise<number> {
  const path = fileURLToPath(new URL(`../../local/${script}`, import.meta.url));
  if (!existsSync(path))
    throw new Failure(
      'not_here',
      `${script} is not part of this installation`,
      'run it from a checkout of the repository',
    );
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...args], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => void ((signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal)));
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

const script = (file: string): Command => ({ raw: true, run: ({ args }) => runScript(file, args) });

export const up: Command = script('start.ts');
export const verify: Command = script('verify.ts');
export const bisect: Command = script('bisect.ts');
export const exit: Command = script('exit.ts');
export const member: Command = script('member.ts');
export const committee: Command = script('committee.ts');
export const cost: Command = script('cost.ts');

#!/usr/bin/env node
/**
 * `npx agnt2 COMMAND …`: the programs of this folder under one name, on the Node that the project brings. Plain JavaScript, so that whatever
 * Node is installed can start it.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const COMMANDS = {
  up: ['start.ts', 'the whole system on this machine, trading'],
  verify: ['verify.ts', 'a full node: executes every batch again, and challenges what is wrong'],
  bisect: ['bisect.ts', 'the first step in which two traces part'],
  exit: ['exit.ts', 'money out of a frozen deployment, or forced at L1'],
  deploy: ['deploy.ts', 'the contracts on any EVM chain'],
};

const [name, ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : null;
if (!command) {
  const known = Object.entries(COMMANDS).map(([each, [, what]]) => `  ${each.padEnd(8)} ${what}\n`);
  const isHelp = name === undefined || name === '--help' || name === 'help';
  (isHelp ? process.stdout : process.stderr).write(
    `${isHelp ? '' : `agnt2 knows no ${name}\n\n`}agnt2 COMMAND …\n\n${known.join('')}\n'agnt2 COMMAND --help' says more.\n`,
  );
  process.exit(isHelp ? 0 : 2);
}
const own = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
const node = existsSync(own) ? own : process.execPath;
const child = spawn(node, [fileURLToPath(new URL(command[0], import.meta.url)), ...args], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));

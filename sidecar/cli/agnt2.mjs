#!/usr/bin/env node
/**
 * `agnt2 COMMAND …`, on whatever Node is installed: plain JavaScript that finds a Node which runs TypeScript as it is, the one that
 * the project brings before the one that started this, and hands over to main.ts.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The first that strips types without a flag and has SQLite. */
const LEAST = [22, 18];
const isEnough = ([major, minor]) => major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]);

const own = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));
const node = existsSync(own) ? own : process.execPath;
if (node === process.execPath && !isEnough(process.versions.node.split('.').map(Number))) {
  process.stderr.write(
    `node_too_old: this is Node ${process.versions.node}; agnt2 needs ${LEAST.join('.')} or newer\n` +
      '  mend: npm install node@24 (beside agnt2), or install a newer Node from https://nodejs.org\n',
  );
  process.exit(1);
}

const main = fileURLToPath(new URL('main.ts', import.meta.url));
// A sidecar stays, and its memory counts (flags.ts).
const lean =
  process.argv[2] === 'sidecar'
    ? JSON.parse(readFileSync(new URL('../flags.json', import.meta.url), 'utf8'))
    : { node: [], v8: [], env: {} };
const args = ['--disable-warning=ExperimentalWarning', ...lean.node, ...lean.v8, main, ...process.argv.slice(2)];
const { HOME, XDG_CACHE_HOME } = process.env;
const caches = XDG_CACHE_HOME || (HOME && join(HOME, '.cache'));
const env = { ...lean.env, ...(caches && { NODE_COMPILE_CACHE: join(caches, 'agnt2', 'compiled') }), ...process.env };
const child = spawn(node, args, { stdio: 'inherit', env });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) {
  // A terminal's interrupt reaches the child by itself: twice would be an impatient user.
  const isTyped = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT');
  process.on(signal, () => isTyped || child.kill(signal));
}
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));

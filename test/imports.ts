/** The import rule of the house: which room may import which. Part of `npm run check`. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** What each room may import besides itself; tests, benches and `local` may import everything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  durable: ['protocol'],
  workers: ['protocol', 'durable', 'contracts/abi.ts', 'package.json'],
  // The ABI for what an owner does at L1 by the CLI.
  sidecar: ['protocol', 'contracts/abi.ts', 'package.json'],
};

let broken = 0;
for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
  for (const file of globSync(`${room}/**/*.ts`, { exclude: (name) => name.endsWith('.test.ts') })) {
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']*)'/g)) {
      const path = normalize(join(dirname(file), target));
      if (![room, ...allowed].some((place) => path === place || path.startsWith(`${place}/`))) {
        console.error(`${file} imports ${path}: ${room} may import only ${allowed.join(', ') || 'itself'}`);
        broken += 1;
      }
    }
  }
}
process.exitCode = broken > 0 ? 1 : 0;

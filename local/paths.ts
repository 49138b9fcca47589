/** Where things are: the repository, its tools, and a run's own folder under `.agnt2/`. */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository: string = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
export const inRepository = (...parts: string[]): string => join(repository, ...parts);

/** A file of an installed package, whatever its `exports` say. */
export const packageFile = (name: string, ...parts: string[]): string => inRepository('node_modules', name, ...parts);

const DAY_MS = 86_400_000;

/** A new empty folder for this run's state and logs; leftovers of runs older than a day go. */
export function newRun(): string {
  const base = inRepository('.agnt2');
  mkdirSync(base, { recursive: true });
  for (const name of readdirSync(base)) {
    const path = join(base, name);
    if (name.startsWith('run-') && Date.now() - statSync(path).mtimeMs > DAY_MS)
      rmSync(path, { recursive: true, force: true });
  }
  const dir = join(
    base,
    `run-${new Date()
      .toISOString()
      .replace(/[^0-9]/g, '')
      .slice(0, 14)}-${process.pid}-${counter++}`,
  );
  mkdirSync(dir, { recursive: true });
  return dir;
}
let counter = 0;

/** Where things are: the repository, its tools, and a run's own folder under `.agnt2/`. */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository: string = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
export const inRepository = (...parts: string[]): string => join(repository, ...parts);

/** A file of an installed package, whatever its `exports` say. */
export const packageFile = (name: string, ...parts: string[]): string => inRepository('node_modules', name, ...parts);

/** Logs of a run that failed stay this long. */
const KEPT_MS = 3_600_000;

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A new empty folder for this run's state and logs; leftovers of runs that ended a while ago go. */
export function newRun(): string {
  const base = inRepository('.agnt2');
  mkdirSync(base, { recursive: true });
  for (const name of readdirSync(base)) {
    const owner = Number(/^run-\d+-(\d+)-\d+$/.exec(name)?.[1] ?? 0);
    const path = join(base, name);
    const old = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > KEPT_MS;
    if (owner > 0 && old && !isAlive(owner)) rmSync(path, { recursive: true, force: true });
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

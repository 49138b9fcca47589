/**
 * The sidecar's programs bundled, one file without dependencies each: what the image holds, and what `agnt2 sidecar` of a checkout runs. From source
 * a sidecar holds 8 MB more, and its signer 30: a module of its own for every file, and what strips their types.
 */
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PROGRAMS = {
  sidecar: 'sidecar/main.ts',
  signer: 'sidecar/signer/main.ts',
  discover: 'sidecar/discover/main.ts',
  health: 'sidecar/health.ts',
};
/** All that a bundle is made of; the lock stands for the packages. */
const SOURCES = ['sidecar/**/*.ts', 'sidecar/*.json', 'protocol/**/*.ts', 'contracts/abi.ts', 'package*.json'];

/** Fills `dir` with a file for each program. `readable` leaves the lines as they are, for stack traces. Throws without esbuild. */
export async function bundle(dir: string, { readable = false } = {}): Promise<void> {
  const { buildSync } = await import('esbuild');
  buildSync({
    entryPoints: Object.entries(PROGRAMS).map(([out, path]) => ({ in: join(ROOT, path), out })),
    absWorkingDir: ROOT,
    outdir: dir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minifySyntax: true,
    minifyWhitespace: !readable,
    legalComments: 'eof',
    // `ws` asks for these at run time and does without; it is CommonJS, and asks Node for its own modules by require.
    external: ['bufferutil', 'utf-8-validate'],
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'warning',
  });
}

/** What changes when a source does. */
function versionOf(): string {
  const hash = createHash('sha256');
  for (const path of globSync(SOURCES, { cwd: ROOT }).toSorted()) {
    const { size, mtimeMs } = statSync(join(ROOT, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** The sidecar of this checkout, bundled, and bundled again when a source has changed: half a second. Null where it can't be: there is no esbuild, or no right to write. */
export async function ownBundle(): Promise<string | null> {
  const dir = join(ROOT, '.agnt2', 'bundle');
  const made = `${dir}-${process.pid}`;
  const program = join(dir, 'sidecar.mjs');
  try {
    const version = versionOf();
    if (textOf(join(dir, 'version')) === version) return program;
    await bundle(made, { readable: true });
    writeFileSync(join(made, 'version'), version);
    mkdirSync(dir, { recursive: true });
    // File by file, as others may be starting from here; the version last, which says that all are there.
    for (const file of [...Object.keys(PROGRAMS).map((name) => `${name}.mjs`), 'version']) {
      // Only comments are not ASCII by now, and one such character has V8 keep two bytes for each of a file.
      writeFileSync(join(made, file), readFileSync(join(made, file), 'utf8').replaceAll(/\P{ASCII}/gu, '?'));
      renameSync(join(made, file), join(dir, file));
    }
    return program;
  } catch {
    return null;
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

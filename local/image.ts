/**
 * `npm run image`: the sidecar's image. Bundles the sidecar into files without dependencies, and has Docker build `sidecar/Dockerfile`.
 *
 *     --tag      what to call it (agnt2/sidecar)
 *     --base     an image with node 24 in it (node:24-bookworm-slim)
 *     --offline  makes that base too, out of npm's node and three of Debian's packages: no registry is asked.
 *                Without it, the same where the default base can't be had and Debian's packages can
 */
import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from '../sidecar/bundle.ts';
import { MALLOC_ENV, OPTION_FLAGS } from '../sidecar/flags.ts';
import { inRepository, packageFile } from './paths.ts';
import { rootsMissing, run, unpackDebian } from './roots.ts';

/** What a base made here is called. */
export const OWN_BASE = 'agnt2/node:24';

/** What only a person at a terminal or a compiler needs. */
const SUPERFLUOUS = ['usr/share/doc', 'usr/share/locale', 'usr/share/lintian', 'usr/share/gdb', 'usr/share/gcc'];

/** A docker command, at the engine that `env` or the user's context names. */
const docker = (...args: string[]): string => run('docker', args);

/** An image with Node and the libraries it needs, and nothing else: no shell, no package manager. */
export function makeBase(dir: string, tag: string): void {
  const root = join(dir, 'base');
  rmSync(root, { recursive: true, force: true });
  unpackDebian(root, ['libstdc++6'], join(dir, 'archives'));
  for (const path of SUPERFLUOUS) rmSync(join(root, path), { recursive: true, force: true });
  // Character sets of iconv, which Node does not use.
  rmSync(join(root, 'usr', 'lib', 'x86_64-linux-gnu', 'gconv'), { recursive: true, force: true });
  mkdirSync(join(root, 'usr', 'local', 'bin'), { recursive: true });
  copyFileSync(packageFile('node', 'bin', 'node'), join(root, 'usr', 'local', 'bin', 'node'));
  importRoot(dir, root, tag);
}

/** Makes an image of a root file system. */
export function importRoot(dir: string, root: string, tag: string): void {
  const archive = join(dir, 'root.tar');
  run('tar', [
    '--create',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
    `--file=${archive}`,
    `--directory=${root}`,
    '.',
  ]);
  docker('import', '--change', 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', archive, tag);
  rmSync(archive);
}

/** Builds the sidecar's image; without `base`, from one that is made here. */
export async function buildImage({ dir, tag, base }: { dir: string; tag: string; base?: string }): Promise<void> {
  const context = join(dir, 'context');
  rmSync(context, { recursive: true, force: true });
  const state = join(context, 'root', 'var', 'lib', 'agnt2');
  mkdirSync(state, { recursive: true });
  mkdirSync(join(context, 'root', 'run', 'agnt2'), { recursive: true });
  // A volume takes its mode from here, and which user the operator chose nobody knows yet.
  chmodSync(state, 0o1777);
  await bundle(join(context, 'root', 'opt', 'agnt2'));
  cpSync(inRepository('sidecar', 'Dockerfile'), join(context, 'Dockerfile'));
  if (base === undefined) makeBase(dir, OWN_BASE);
  const settings = Object.entries(MALLOC_ENV).map(([name, value]) => `${name}=${value}`);
  const given = [`BASE=${base ?? OWN_BASE}`, `NODE_FLAGS=${OPTION_FLAGS.join(' ')}`, ...settings];
  docker('build', '--quiet', '--tag', tag, ...given.flatMap((arg) => ['--build-arg', arg]), context);
}

const DEFAULT_BASE = 'node:24-bookworm-slim';

/** Whether the engine has an image, or gets it from its registry. */
function has(image: string): boolean {
  return ['inspect', 'pull'].some((verb) => {
    try {
      docker('image', verb, image);
      return true;
    } catch {
      return false;
    }
  });
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      tag: { type: 'string', default: 'agnt2/sidecar' },
      base: { type: 'string', default: DEFAULT_BASE },
      offline: { type: 'boolean', default: false },
    },
  });
  const dir = inRepository('.agnt2', 'image');
  const isOffline = values.offline || (values.base === DEFAULT_BASE && rootsMissing() === null && !has(DEFAULT_BASE));
  if (isOffline && !values.offline) console.log(`${DEFAULT_BASE} can't be had here: a base is made on the spot`);
  await buildImage({ dir, tag: values.tag, base: isOffline ? undefined : values.base });
  const bytes = Number(docker('image', 'inspect', '--format', '{{.Size}}', values.tag));
  console.log(`${values.tag}: ${(bytes / 1e6).toFixed(1)} MB`);
}

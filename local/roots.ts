/** Root file systems out of Debian's packages, without a registry, a shell in them, or root's rights: what an image holds is what its packages hold. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Runs a tool to its end; answers its output. Throws with what it said. */
export function run(command: string, args: readonly string[], options: { cwd?: string; input?: string } = {}): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    ...options,
  });
  if (error || status !== 0)
    throw new Error(`${command} ${args.slice(0, 4).join(' ')} … failed: ${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}

/** Why no root can be made here; null when one can. */
export function rootsMissing(): string | null {
  for (const tool of ['apt-get', 'dpkg-deb'])
    if (spawnSync(tool, ['--version']).error) return `${tool} is not installed: only Debian's packages are known here`;
  return null;
}

/**
 * Unpacks packages and all they depend on into `root`, as they come from Debian (apt checks their signatures). Nothing of
 * them is run: what their install scripts would do to a file system is the caller's to do. `cache` keeps the archives.
 */
export function unpackDebian(root: string, packages: readonly string[], cache: string): void {
  const archives = join(cache, packages.join('+'));
  mkdirSync(join(archives, 'partial'), { recursive: true });
  mkdirSync(root, { recursive: true });
  const install = (): string =>
    run('apt-get', [
      'install',
      '--yes',
      '--download-only',
      '--no-install-recommends',
      // As if nothing were installed, so that everything comes.
      '-o=Dir::State::status=/dev/null',
      `-o=Dir::Cache::archives=${archives}`,
      '-o=Debug::NoLocking=1',
      '-o=APT::Sandbox::User=',
      ...packages,
    ]);
  try {
    install();
  } catch {
    // Lists that are old or were never fetched name archives that are gone.
    run('apt-get', ['update', '-qq']);
    install();
  }
  for (const archive of readdirSync(archives).filter((name) => name.endsWith('.deb')))
    run('dpkg-deb', ['--extract', join(archives, archive), root]);
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'tmp'), { recursive: true, mode: 0o1777 });
  writeFileSync(
    join(root, 'etc', 'passwd'),
    'root:x:0:0:root:/:/sbin/nologin\nwww-data:x:33:33:www-data:/var/www:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n',
  );
  writeFileSync(join(root, 'etc', 'group'), 'root:x:0:\nadm:x:4:\nwww-data:x:33:\nnonroot:x:65532:\n');
}

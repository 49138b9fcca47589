/** Images of services that others wrote, with no line of theirs changed: Debian's nginx and Python, npm's MCP reference server and Firestore emulator. */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { importRoot } from '../../../local/image.ts';
import { repository } from '../../../local/paths.ts';
import { run, unpackDebian } from '../../../local/roots.ts';

export const IMAGES = {
  nginx: 'agnt2-test/nginx',
  python: 'agnt2-test/python',
  mcp: 'agnt2-test/mcp',
  firestore: 'agnt2-test/firestore',
};

/** What makes an image of a root: a Dockerfile's lines. */
function imageOf(dir: string, root: string, tag: string, lines: readonly string[]): void {
  importRoot(dir, root, `${tag}-root`);
  const context = join(dir, 'image');
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, 'Dockerfile'), [`FROM ${tag}-root`, ...lines, ''].join('\n'));
  run('docker', ['build', '--quiet', '--tag', tag, context]);
}

/** Debian's nginx with Debian's configuration, and curl, which Docker's own nginx image has too. */
function nginx(dir: string, archives: string): void {
  const root = join(dir, 'nginx');
  unpackDebian(root, ['nginx-light', 'curl'], archives);
  // What the package's install script does, and what Docker's own nginx image does: the site enabled, logs to where Docker sees them.
  mkdirSync(join(root, 'etc/nginx/sites-enabled'), { recursive: true });
  rmSync(join(root, 'etc/nginx/sites-enabled/default'), { force: true });
  symlinkSync('/etc/nginx/sites-available/default', join(root, 'etc/nginx/sites-enabled/default'));
  mkdirSync(join(root, 'var/www/html'), { recursive: true });
  cpSync(join(root, 'usr/share/nginx/html/index.html'), join(root, 'var/www/html/index.html'));
  for (const [file, target] of [
    ['access.log', '/dev/stdout'],
    ['error.log', '/dev/stderr'],
  ]) {
    mkdirSync(join(root, 'var/log/nginx'), { recursive: true });
    rmSync(join(root, 'var/log/nginx', file), { force: true });
    symlinkSync(target, join(root, 'var/log/nginx', file));
  }
  mkdirSync(join(root, 'run'), { recursive: true });
  imageOf(dir, root, IMAGES.nginx, ['EXPOSE 80', 'STOPSIGNAL SIGQUIT', 'CMD ["nginx", "-g", "daemon off;"]']);
}

/** Debian's Python, serving a folder. */
function python(dir: string, archives: string): void {
  const root = join(dir, 'python');
  unpackDebian(root, ['python3-minimal', 'libpython3-stdlib'], archives);
  mkdirSync(join(root, 'srv'), { recursive: true });
  writeFileSync(join(root, 'srv', 'paper.txt'), 'A paper.\n'.repeat(100));
  imageOf(dir, root, IMAGES.python, [
    'WORKDIR /srv',
    'ENV PYTHONUNBUFFERED=1',
    'EXPOSE 8000',
    // As the first process of a container Python would not hear SIGTERM.
    'STOPSIGNAL SIGINT',
    'CMD ["python3", "-m", "http.server", "8000"]',
  ]);
}

/** Folders of a package and of all it depends on, in the repository's own node_modules. */
function closure(name: string, from: string, found = new Set<string>()): Set<string> {
  for (let dir = from; ; dir = dirname(dir)) {
    const path = join(dir, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) {
      if (found.has(path)) return found;
      found.add(path);
      const { dependencies = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as {
        dependencies?: Record<string, string>;
      };
      for (const dependency of Object.keys(dependencies)) closure(dependency, path, found);
      return found;
    }
    if (dir === dirname(dir)) throw new Error(`${name} is not installed`);
  }
}

/** A package of npm's on our node base, as a Dockerfile with `npm install` in it would come out. */
function npm(dir: string, base: string, tag: string, name: string, lines: readonly string[]): void {
  const context = join(dir, name);
  for (const path of closure(name, repository))
    cpSync(path, join(context, 'app', relative(repository, path)), {
      recursive: true,
      // Nested packages come by themselves, if anybody depends on them; what only a debugger or a compiler reads can stay away.
      filter: (source) => source === path || !/\/node_modules$|\.map$|\.d\.[cm]?ts$/.test(source),
    });
  writeFileSync(
    join(context, 'Dockerfile'),
    [`FROM ${base}`, 'WORKDIR /app', 'COPY app /app', ...lines, ''].join('\n'),
  );
  run('docker', ['build', '--quiet', '--tag', tag, context]);
}

/** The MCP reference server. */
const mcp = (dir: string, base: string): void =>
  npm(dir, base, IMAGES.mcp, '@modelcontextprotocol/server-everything', [
    'ENV PORT=3001',
    'EXPOSE 3001',
    'CMD ["node", "node_modules/@modelcontextprotocol/server-everything/dist/index.js", "streamableHttp"]',
  ]);

/** A database that speaks Google's Firestore v1, over gRPC; started as its README says. */
const firestore = (dir: string, base: string): void =>
  npm(dir, base, IMAGES.firestore, '@firestore-emulator/server', [
    'EXPOSE 8080',
    `CMD ["node", "-e", "new (require('@firestore-emulator/server').FirestoreServer)().start(8080)"]`,
  ]);

/** Makes all of them. `base` is an image with Node in it. */
export function makeImages(dir: string, archives: string, base: string): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o755);
  nginx(dir, archives);
  python(dir, archives);
  mcp(dir, base);
  firestore(dir, base);
}

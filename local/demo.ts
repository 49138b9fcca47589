/** The demo services: two published npm packages, not a byte changed, that know nothing of AGNT2. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from './paths.ts';
import { freePort } from './ports.ts';
import { type Child, start, until } from './process.ts';

export interface Service {
  readonly url: string;
  readonly child: Child;
}

async function listens(url: string, child: Child): Promise<void> {
  // Any answer will do: what matters is that somebody listens.
  await until(
    child.name,
    () =>
      fetch(url, { signal: AbortSignal.timeout(2000) })
        .then((r) => r.arrayBuffer())
        .then(() => true),
    { child },
  );
}

/** The MCP reference server, over streamable HTTP at `/mcp`. */
export async function startEverything(dir: string): Promise<Service> {
  const port = await freePort();
  const child = start({
    name: 'server-everything',
    command: process.execPath,
    args: [packageFile('@modelcontextprotocol/server-everything', 'dist', 'index.js'), 'streamableHttp'],
    env: { PORT: String(port) },
    log: join(dir, 'server-everything.log'),
  });
  const url = `http://127.0.0.1:${port}`;
  await listens(`${url}/mcp`, child);
  return { url, child };
}

/** json-server: a REST API over a file. */
export async function startJsonServer(dir: string): Promise<Service> {
  const port = await freePort();
  const db = join(dir, 'db.json');
  const papers = Array.from({ length: 20 }, (_, i) => ({
    id: i + 1,
    title: `Paper ${i + 1}`,
    citations: (i * 37) % 101,
  }));
  writeFileSync(db, JSON.stringify({ papers, notes: [] }));
  const child = start({
    name: 'json-server',
    command: process.execPath,
    args: [
      packageFile('json-server', 'lib', 'cli', 'bin.js'),
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--quiet',
      db,
    ],
    cwd: dir,
    log: join(dir, 'json-server.log'),
  });
  const url = `http://127.0.0.1:${port}`;
  await listens(`${url}/papers/1`, child);
  return { url, child };
}

/** A committee member as a Node process serves it: the same app as the Worker's, its columns in an SQLite file. */
import type { AddressInfo } from 'node:net';
import { type ServerType, createAdaptorServer } from '@hono/node-server';
import { SqlCellar } from '../../durable/member/cellar.ts';
import { MemberHost } from '../../durable/member/host.ts';
import type { MemberChain } from '../../workers/committee/chain.ts';
import { MemberApp, type MemberLimits } from '../../workers/committee/member.ts';
import { openSql } from '../sql.ts';

/** Connections at the same time: what a stranger may make us hold. */
const MAX_CONNECTIONS = 512;
const SWEEP_MS = 60_000;

export interface ServeOptions {
  readonly secret: Uint8Array;
  readonly chain: MemberChain;
  /** Of the SQLite file. */
  readonly path: string;
  readonly maxBytes: number;
  readonly host?: string;
  /** 0: any. */
  readonly port?: number;
  readonly limits?: Partial<MemberLimits>;
}

export interface ServedMember {
  readonly app: MemberApp;
  readonly store: MemberHost;
  readonly url: string;
  close(): Promise<void>;
}

/** Listens; resolves when it does. */
export async function serveMember(options: ServeOptions): Promise<ServedMember> {
  const { secret, chain, path, maxBytes, host = '127.0.0.1', port = 0, limits } = options;
  const sql = openSql(path, { durable: true });
  const cellar = new SqlCellar(sql);
  const store = new MemberHost(sql, { columns: cellar, hashes: cellar }, { maxBytes });
  const app = new MemberApp({ secret, chain, store, limits });
  const sweep = (): void => void store.sweep(Date.now()).catch((error: unknown) => console.error(error));
  sweep();
  const timer = setInterval(sweep, SWEEP_MS);
  timer.unref();
  const server: ServerType = createAdaptorServer({ fetch: (request) => app.fetch(request), hostname: host });
  if ('maxConnections' in server) server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    app,
    store,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        clearInterval(timer);
        if ('closeAllConnections' in server) server.closeAllConnections();
        server.close(() => {
          sql.close();
          resolve();
        });
      }),
  };
}

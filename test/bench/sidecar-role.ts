/**
 * One process of the sidecar bench: `node sidecar-role.ts ROLE MODE TARGET`. Prints `{"port"}` once it listens, and answers `rss` on stdin.
 * origin: 1 KiB replies, `/big?bytes=N`, and `/sse` (one event that says when it left). hop: our proxy's data path alone. callee, caller: two sidecars' ends of one session transport; with mode `on` everything a session
 * does (hashes, records, halves, receipts, a store on disk), with `off` the same transport bare.
 */
import { mkdtempSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { join } from 'node:path';
import { WebSocket, WebSocketServer } from 'ws';
import { encodeError } from '../../protocol/packet.ts';
import { Signing } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Handler } from '../../protocol/exchange.ts';
import { HttpClient } from '../../sidecar/http/client.ts';
import { createExchangeServer, listen } from '../../sidecar/http/server.ts';
import { CallMux } from '../../protocol/mux.ts';
import { type PacketSocket, SessionEndpoint, type SessionFacts, packetSocket } from '../../sidecar/session/index.ts';
import { sqliteStore } from '../../sidecar/session/store-sqlite.ts';

const [role, mode, target] = process.argv.slice(2);
const HOST = '127.0.0.1';
const signing = new Signing({ chainId: 31337, root: '0x00000000000000000000000000000000000000aa' });
const keys = {
  a: await MachineKey.import(new Uint8Array(32).fill(1)),
  b: await MachineKey.import(new Uint8Array(32).fill(2)),
};
const facts: SessionFacts = {
  session: 256,
  a: 256,
  b: 512,
  keyA: keys.a.publicKey,
  keyB: keys.b.publicKey,
  depositA: 1e12,
  depositB: 0,
  exitDelay: 60,
};

const toOrigin = (origin: string): Handler => {
  const client = new HttpClient(origin, 'the origin', { unreachable: 'app_unreachable', broken: 'app_failed' });
  return (request) => client.send(request);
};

/** A socket that tells its end, as the relay would, that the other one is there. */
function paired(ws: WebSocket): PacketSocket {
  const socket = packetSocket(ws);
  return {
    ...socket,
    listen(onPacket, onClose) {
      socket.listen(onPacket, onClose);
      onPacket(encodeError('peer_online', 'both parties are here'));
    },
  };
}

/** The caller's or callee's end over a socket: a handler that sends calls, answering incoming ones with `serve`. */
function end(which: 'a' | 'b', ws: WebSocket, serve: Handler | null): Handler {
  if (mode === 'off') {
    const socket = packetSocket(ws);
    const mux = new CallMux({
      send: (packet) => socket.send(packet),
      buffered: () => socket.buffered(),
      numbering: which === 'a' ? 'even' : 'odd',
      digests: false,
      ...(serve
        ? { handler: async (request) => ({ response: await serve(request), end: () => new Uint8Array(0) }) }
        : {}),
    });
    socket.listen(
      (packet) => mux.receive(packet),
      () => process.exit(0),
    );
    return async (request) => (await mux.call(request)).response;
  }
  const endpoint = new SessionEndpoint({
    facts,
    role: which,
    key: keys[which],
    signing,
    store: sqliteStore(join(mkdtempSync(join(tmpdir(), 'agnt2-bench-')), 'sessions.db'), facts.session),
    credit: 1_000_000,
    quote: () => 5,
    ...(serve ? { handler: serve } : {}),
  });
  endpoint.attach(paired(ws));
  return async (request) => (await endpoint.call(request, { maxPrice: 5 })).response;
}

/** A body of so many bytes, never all at once. */
function* big(bytes: number): Generator<Buffer> {
  const block = Buffer.alloc(64 * 1024, 'b');
  for (let left = bytes; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length));
}

async function start(): Promise<number> {
  if (role === 'origin') {
    const reply = Buffer.alloc(1024, 'o');
    const server = http.createServer((request, response) => {
      const bytes = Number(/^\/big\?bytes=(\d+)$/.exec(request.url ?? '')?.[1] ?? 0);
      if (request.url === '/sse') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        // The event comes well after the head, so that what is measured is its own way.
        setTimeout(() => response.write(`data: ${process.hrtime.bigint()}\n\n`), 50);
        setTimeout(() => response.end(), 100);
      } else if (bytes > 0) Readable.from(big(bytes)).pipe(response);
      else request.resume().on('end', () => response.end(reply));
    });
    return listen(server, { host: HOST, port: 0 });
  }
  if (role === 'hop') {
    const forward = toOrigin(target);
    return listen(
      createExchangeServer((request, exchange) => forward(exchange(request.url))),
      { host: HOST, port: 0 },
    );
  }
  if (role === 'callee') {
    const server = new WebSocketServer({ host: HOST, port: 0, perMessageDeflate: false });
    server.on('connection', (ws) => end('b', ws, toOrigin(target)));
    await new Promise((resolve) => server.once('listening', resolve));
    return (server.address() as { port: number }).port;
  }
  const ws = new WebSocket(target, { perMessageDeflate: false });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  const call = end('a', ws, null);
  return listen(
    createExchangeServer((request, exchange) => call(exchange(request.url))),
    { host: HOST, port: 0 },
  );
}

console.log(JSON.stringify({ port: await start() }));
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ rssMb: process.memoryUsage().rss / 2 ** 20, cpuUs: user + system }));
});
process.stdin.on('end', () => process.exit(0));

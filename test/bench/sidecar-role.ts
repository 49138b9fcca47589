/**
 * One process of the sidecar bench: `node sidecar-role.ts ROLE MODE TARGET`. Prints `{"port"}` once it listens, and answers `usage` on stdin.
 * origin: 1 KiB replies, `/big?bytes=N`, and `/sse` (one event that says when it left). hop: our proxy's data path alone. bare: what copies bytes between two sockets and reads none of them, the least that a proxy in Node can be. callee, caller: the two sidecars of a whole
 * call (sidecar-ends.ts); MODE is on or off.
 */
import net from 'node:net';
import { Readable } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
// As a sidecar does: short messages are hashed in WebAssembly.
import '../../protocol/keccak/install.ts';
import type { Handler } from '../../protocol/exchange.ts';
import { App } from '../../sidecar/app.ts';
import { HttpClient } from '../../sidecar/http/client.ts';
import { http } from '../../sidecar/http/node.ts';
import { createExchangeServer, listen } from '../../sidecar/http/server.ts';
import { Metrics } from '../../sidecar/metrics.ts';
import { packetSocket } from '../../sidecar/session/index.ts';
import { type Mode, callee, caller } from './sidecar-ends.ts';

const [role, mode, target] = process.argv.slice(2);
const HOST = '127.0.0.1';

const toOrigin = (origin: string): Handler => {
  const client = new HttpClient(origin, 'the origin', { unreachable: 'app_unreachable', broken: 'app_failed' });
  return (request) => client.send(request);
};

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
  if (role === 'bare') {
    const to = { host: HOST, port: Number(new URL(target).port), noDelay: true };
    const server = net.createServer({ noDelay: true }, (socket) => {
      const upstream = net.connect(to);
      for (const [from, into] of [
        [socket, upstream],
        [upstream, socket],
      ]) {
        from.on('data', (chunk) => into.write(chunk));
        from.on('close', () => into.destroy());
        from.on('error', () => {});
      }
    });
    return listen(server, { host: HOST, port: 0 });
  }
  if (role === 'callee') {
    const server = new WebSocketServer({ host: HOST, port: 0, perMessageDeflate: false });
    server.on('connection', (ws) => void callee(mode as Mode, packetSocket(ws), new App(target, new Metrics())));
    await new Promise((resolve) => server.once('listening', resolve));
    return (server.address() as { port: number }).port;
  }
  const ws = new WebSocket(target, { perMessageDeflate: false });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  return listen(createExchangeServer(await caller(mode as Mode, packetSocket(ws))), { host: HOST, port: 0 });
}

console.log(JSON.stringify({ port: await start() }));
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ cpuUs: user + system }));
});
process.stdin.on('end', () => process.exit(0));

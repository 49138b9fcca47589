/**
 * What stands between a call and its answer within the two sidecars, without what the machine adds: both ends in this process, with no sockets and no app between them, and of
 * each call the four spans in which somebody waits. Caller: asked → packet leaves; callee: packet comes → app is asked; app has answered → packet leaves; caller: packet comes → answered.
 */
import { CallSignal } from '../../protocol/aborts.ts';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import type { App } from '../../sidecar/app.ts';
import type { PacketSocket } from '../../sidecar/session/index.ts';
import { type Mode, callee, caller } from './sidecar-ends.ts';
import { median } from './suite.ts';

const CALLS = 200;
const ROUNDS = 40;
const BODY = new Uint8Array(1024).fill(113);

/** Sums the spans of one call. */
class Watch {
  #began = 0;
  us = 0;

  begin(): void {
    this.#began = performance.now();
  }
  end(): void {
    if (this.#began === 0) return;
    this.us += (performance.now() - this.#began) * 1000;
    this.#began = 0;
  }
}

/** Two ends of a socket, on which a packet takes a turn. */
function line(watch: Watch): [PacketSocket, PacketSocket] {
  const listeners: ((packet: Uint8Array) => void)[] = [];
  const end = (own: number): PacketSocket => ({
    send(packet) {
      watch.end();
      // In a turn of its own, as in another process: what the sender's turn still does is not in the receiver's span.
      setImmediate(() => {
        watch.begin();
        listeners[1 - own](packet);
      });
    },
    buffered: () => 0,
    close() {},
    listen: (onPacket) => void (listeners[own] = onPacket),
  });
  return [end(0), end(1)];
}

async function pair(mode: Mode): Promise<() => Promise<number>> {
  const watch = new Watch();
  const [left, right] = line(watch);
  const app: Pick<App, 'serve'> = {
    serve: async () => {
      watch.end();
      await new Promise((resolve) => setImmediate(resolve));
      watch.begin();
      return { status: 200, headers: [['content-length', String(BODY.length)]], body: new Whole(BODY) };
    },
  };
  const [handle] = await Promise.all([caller(mode, left), callee(mode, right, app)]);
  const headers = [['content-length', String(BODY.length)]] as const;
  const exchange = (target: string): ExchangeRequest => ({
    method: 'POST',
    target,
    headers,
    body: new Whole(BODY),
    signal: new CallSignal(),
  });
  return async () => {
    watch.us = 0;
    watch.begin();
    const { body } = await handle({ method: 'POST', url: 'http://bob.agnt2/echo', fields: headers }, exchange);
    watch.end();
    (body as Whole).take();
    await new Promise((resolve) => setImmediate(resolve));
    return watch.us;
  };
}

/** Medians over interleaved rounds, microseconds. */
export async function measureSpans(): Promise<{ pathOnUs: number; pathOffUs: number; pathUs: number }> {
  const calls = { off: await pair('off'), on: await pair('on') };
  const spans = { off: [] as number[], on: [] as number[] };
  for (let round = -20; round < ROUNDS; round++)
    for (const which of ['off', 'on'] as const) {
      const us: number[] = [];
      for (let i = 0; i < CALLS; i++) us.push(await calls[which]());
      if (round >= 0) spans[which].push(median(us));
    }
  const [pathOnUs, pathOffUs] = [median(spans.on), median(spans.off)];
  return { pathOnUs, pathOffUs, pathUs: median(spans.on.map((us, i) => us - spans.off[i])) };
}

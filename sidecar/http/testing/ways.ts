/** Test help: one app as its callers come to it, by four ways, and what both ends of an exchange saw of it. */
import { hex } from '../../../protocol/bytes.ts';
import { sha } from '../../../protocol/log.ts';
import { App } from '../../app.ts';
import { Metrics } from '../../metrics.ts';
import { normaliseTarget } from '../../target.ts';
import { Pair, ask, eventually } from '../../testing/pair.ts';
import { acceptHttp2 } from '../h2-server.ts';
import { type ExchangeServer, type Listener, createExchangeServer, listen } from '../server.ts';
import type { Fields } from './corpus.ts';

export type Way = 'direct' | 'one hop' | 'a session' | 'first contact';

/** Where a way begins; the name of the peer goes before the path, or is the authority. */
export interface Entry {
  readonly port: number;
  readonly prefix: string;
  readonly authority: string;
}

/** What the app saw of an exchange. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
}
/** What its caller got. */
export interface Got {
  readonly status: number;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
  readonly interim: readonly { readonly status: number; readonly headers: Fields }[];
  /** What reached the caller before more was sent, of exchanges in lockstep. */
  readonly steps: readonly string[];
}
export interface Made<G extends Got = Got> {
  readonly saw: Seen;
  readonly got: G;
}

export const keyOf = (way: Way): string => way.replace(' ', '-');
/** Under which an app finds the exchange it is asked for. */
export const pathOf = (way: Way, index: number, target: string): string => `/${keyOf(way)}/${index}${target}`;
/** Throws for a path that is of no exchange. */
export function readPath(path: string): { key: string; index: number; target: string } {
  const match = /^\/([a-z-]+)\/(\d+)(.*)$/s.exec(path);
  if (match === null) throw new Error(`${path} is of no exchange`);
  return { key: match[1], index: Number(match[2]), target: match[3] };
}

/** A short body as it is, a long one by its length and hash. */
export const shown = (body: Buffer): string =>
  body.length > 500 ? `${body.length} bytes ${hex(sha(body))}` : body.toString('latin1');

export async function gather(
  message: AsyncIterable<unknown>,
  onChunk: (chunk: Buffer) => void = () => {},
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) {
    chunks.push(chunk as Buffer);
    onChunk(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

const HOP = /^(?:connection|keep-alive|proxy-.*|te|transfer-encoding|upgrade|x-hop|x-secret)$/i;
const OURS = /^agnt2-/;
/** The fields that have to be the same: all that are not of one hop, and not the host, which every hop names anew. */
const endToEnd = (fields: Fields): Fields =>
  fields.filter(([name]) => !HOP.test(name) && !/^(?:host|:.*)$/i.test(name));

/** An exchange as far as it has to be the same by every way. */
export const comparable = <G extends Got>({ saw, got }: Made<G>): Made<G> => ({
  saw: { ...saw, headers: endToEnd(saw.headers).filter(([name]) => !OURS.test(name)) },
  got: { ...got, headers: endToEnd(got.headers) },
});
/** Makes the exchange of each index once, however often it is compared with. */
export function memoised<T>(make: (index: number) => Promise<T>): (index: number) => Promise<T> {
  const made = new Map<number, Promise<T>>();
  return (index) => {
    let result = made.get(index);
    if (result === undefined) made.set(index, (result = make(index)));
    return result;
  };
}

/** What AGNT2 itself told the app, by names. */
export const told = ({ saw }: Made): string[] => saw.headers.map(([name]) => name).filter((name) => OURS.test(name));

/** An app's answer that waits, step by step, until its caller has what was sent before. */
export class Lockstep {
  #arrived: () => void = () => {};
  #next: Promise<void> = Promise.resolve();

  begin(): void {
    this.#next = new Promise((resolve) => (this.#arrived = resolve));
  }
  async step(): Promise<void> {
    await this.#next;
    this.begin();
  }
  arrived(): void {
    this.#arrived();
  }
}

export class Ways {
  readonly #entries: ReadonlyMap<Way, Entry>;
  readonly #pair: Pair;
  readonly #hop: { app: App; server: ExchangeServer };

  private constructor(pair: Pair, hop: { app: App; server: ExchangeServer }, entries: ReadonlyMap<Way, Entry>) {
    this.#pair = pair;
    this.#hop = hop;
    this.#entries = entries;
  }

  /** Opens all ways to an app on this machine, `http://…` or `h2c://…`. */
  static async open(app: string): Promise<Ways> {
    const pair = await Pair.start();
    const { gateway } = pair;
    const [bob, alice, carol] = [await gateway.agent(0), await gateway.agent(10_000), await gateway.agent(10_000)];
    const drainSeconds = 1;
    const services = [{ name: 'all', routes: [], defaultPrice: 1 }];
    const callee = await pair.sidecar('bob', bob, { name: 'bob', app, services, drainSeconds });
    await eventually(() => callee.ready, 'bob is ready', 20_000);
    const policy = { perDay: 9000, perCall: 10 };
    const session = { deposit: 2000, credit: 500, afterCalls: 100_000 };
    const caller = await pair.sidecar('alice', alice, { policy, session, drainSeconds });
    const stranger = await pair.sidecar('carol', carol, { policy, session: { deposit: 0 }, drainSeconds });
    const opened = await ask(caller.ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
    if (opened.status >= 300) throw new Error(`no session: ${opened.body}`);
    const hopApp = new App(app, new Metrics());
    const listener: Listener = (request, exchange) => hopApp.serve(exchange(normaliseTarget(request.url)), 0, 'free');
    const server = createExchangeServer(listener);
    acceptHttp2(server, listener);
    const hop = await listen(server, { host: '127.0.0.1', port: 0 });
    const plain = { prefix: '', authority: 'app.example' };
    const named = { prefix: '/agents/bob', authority: 'bob.agnt2' };
    return new Ways(
      pair,
      { app: hopApp, server },
      new Map<Way, Entry>([
        ['direct', { port: Number(new URL(app).port), ...plain }],
        ['one hop', { port: hop, ...plain }],
        ['a session', { port: caller.ports.listen, ...named }],
        ['first contact', { port: stranger.ports.listen, ...named }],
      ]),
    );
  }

  get(way: Way): Entry {
    return this.#entries.get(way)!;
  }

  async close(): Promise<void> {
    this.#hop.server.closeAllConnections();
    this.#hop.server.close();
    this.#hop.app.close();
    await this.#pair.stop();
  }
}

/** Test help: one app as its callers come to it, by four ways. */
import { App } from '../../app.ts';
import { Metrics } from '../../metrics.ts';
import { normaliseTarget } from '../../target.ts';
import { Pair, ask, eventually } from '../../testing/pair.ts';
import { acceptHttp2 } from '../h2-server.ts';
import { type ExchangeServer, type Listener, createExchangeServer, listen } from '../server.ts';

export type Way = 'direct' | 'one hop' | 'a session' | 'first contact';

/** Where a way begins; the name of the peer goes before the path, or is the authority. */
export interface Entry {
  readonly port: number;
  readonly prefix: string;
  readonly authority: string;
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

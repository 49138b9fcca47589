/** An agent as a process of Node: its stores in files, its app and its peers by HTTP, a port for the app and one for the operator. */
import type { Server } from 'node:http';
import { join } from 'node:path';
import { formatId } from '../protocol/ids.ts';
import { MachineKey, type SigningKey } from '../protocol/keys.ts';
import { adminToken, createAdminServer } from './admin.ts';
import { Agent, type OnEvent, type Pace } from './agent.ts';
import { App } from './app.ts';
import { type Config, loadSecret } from './config.ts';
import { dial } from './dial.ts';
import { acceptTunnels } from './egress/connect.ts';
import { Egress, type EgressOptions } from './egress/egress.ts';
import { DirectLinks } from './direct.ts';
import { HttpClient } from './http/client.ts';
import { acceptHttp2 } from './http/h2-server.ts';
import { type ExchangeServer, createExchangeServer, listen } from './http/server.ts';
import { Metrics } from './metrics.ts';
import { SqlStore } from './session/store-sql.ts';
import { openSessions } from './session/store-sqlite.ts';
import { openStore } from './sqlite.ts';
import type { Store } from './store.ts';

export type { OnEvent, Pace } from './agent.ts';

export class Sidecar {
  readonly #config: Config;
  readonly #onEvent: OnEvent;
  readonly #store: Store;
  readonly #metrics = new Metrics();
  readonly #app: App;
  readonly #gateway: HttpClient;
  readonly #sessionFile;
  readonly #agent: Agent;
  readonly #egress: Egress;
  readonly #hold: (config: Config) => Promise<SigningKey>;
  #key: (SigningKey & { close?: () => void }) | null = null;
  #admin: Server | null = null;
  #links: DirectLinks | null = null;
  #listener: ExchangeServer | null = null;
  #listening = false;
  #stopping = false;
  /** Ports in use, for configs that ask for any. */
  ports: { listen: number; admin: number } = { listen: 0, admin: 0 };

  /** `hold` brings the machine key from wherever it is; without, this process reads it itself. `egress`: another resolver and dialler. */
  constructor(
    config: Config,
    onEvent: OnEvent = () => {},
    pace: Pace = {},
    hold: (config: Config) => Promise<SigningKey> = (own) => MachineKey.import(loadSecret(own)),
    egress: Pick<EgressOptions, 'resolve' | 'connect'> = {},
  ) {
    this.#config = config;
    this.#hold = hold;
    this.#onEvent = onEvent;
    this.#store = openStore(config.stateDir);
    this.#sessionFile = openSessions(join(config.stateDir, 'sessions.sqlite'));
    this.#app = new App(config.app, this.#metrics);
    this.#gateway = new HttpClient(config.gateway, 'the gateway', {
      unreachable: 'gateway_unavailable',
      broken: 'peer_failed',
    });
    this.#egress = new Egress({ config: config.egress, gateway: config.gateway, ...egress });
    this.#agent = new Agent({
      config,
      store: this.#store,
      storeOf: (session) => new SqlStore(this.#sessionFile, session),
      app: this.#app,
      gateway: this.#gateway,
      dial,
      egress: this.#egress,
      links: async (identity, onError) => {
        this.#links = new DirectLinks(identity, config.session.direct, onError);
        await this.#links.start();
        return this.#links;
      },
      metrics: this.#metrics,
      onEvent,
      pace,
    });
  }

  get ready(): boolean {
    return this.#listening && this.#agent.ready;
  }

  /** Starts everything; resolves when calls can be made and taken. Rejects with what only a person can mend; waits for the rest. */
  async start(): Promise<void> {
    const key = await this.#hold(this.#config);
    this.#key = key;
    const agent = this.#agent;
    this.#admin = createAdminServer(
      {
        token: adminToken(join(this.#config.stateDir, 'admin-token')),
        policy: agent.policy,
        nextKey: () => agent.nextKey(),
        ready: () => this.ready,
        status: async () => ({ ...(await agent.status()), ready: this.ready }),
        sessions: () => agent.sessions(),
        halves: () => agent.halves(),
        openSession: (peer) => agent.openSession(peer),
        closeSession: (session) => agent.closeSession(session),
      },
      this.#metrics,
    );
    this.ports.admin = await listen(this.#admin, this.#config.admin);
    await agent.start(key);
    this.#listener = createExchangeServer(agent.outbound.handle, agent.onError);
    acceptHttp2(this.#listener, agent.outbound.handle, agent.onError);
    acceptTunnels(this.#listener, this.#egress, agent.onError);
    this.ports.listen = await listen(this.#listener, this.#config.listen);
    this.#listening = true;
    this.#onEvent('ready', {
      agent: formatId(this.#config.agent),
      listen: this.ports.listen,
      admin: this.ports.admin,
      services: agent.services.map(formatId),
    });
  }

  /** Looks at the sessions and the escrows now, not at the next turn. */
  async sweep(): Promise<void> {
    await this.#agent.sweep();
  }

  /** Finishes what is in flight, signs and closes the sessions, sends what is owed to Core; at most `drainSeconds` for all of it. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#listener?.close();
    this.#listener?.closeIdleConnections();
    await this.#agent.stop();
    this.#links?.close();
    this.#listener?.closeAllConnections();
    this.#admin?.closeAllConnections();
    this.#admin?.close();
    this.#key?.close?.();
    this.#app.close();
    this.#gateway.close();
    this.#store.close();
    this.#sessionFile.close();
    this.#onEvent('stopped', {});
  }
}

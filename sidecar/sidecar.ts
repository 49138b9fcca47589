/** An agent as a process of Node: its stores in files, its app and its peers by HTTP, a port for the app and one for the operator. */
import type { Server } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
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
import { refusal } from './errors.ts';
import { HttpClient } from './http/client.ts';
import { fetchBy } from './http/fetch.ts';
import { acceptHttp2 } from './http/h2-server.ts';
import { type ExchangeServer, createExchangeServer, listen } from './http/server.ts';
import { Metrics } from './metrics.ts';
import { SessionFile } from './session/store-sqlite.ts';
import { openStore } from './sqlite.ts';
import type { Store } from './store.ts';
import { AccessLog } from './telemetry/accesslog.ts';
import { SpanExporter, otlpFrom } from './telemetry/otlp.ts';
import { started } from './young.ts';
import { Transparent } from './transparent/transparent.ts';

export type { OnEvent, Pace } from './agent.ts';

/** What the start has made what it is. */
const FIXED: readonly (keyof Config)[] = [
  'gateway',
  'agent',
  'keyFile',
  'signer',
  'name',
  'app',
  'listen',
  'admin',
  'stateDir',
  'accessLog',
  'transparent',
];
/** How long the last spans may take. */
const SPANS_MS = 3000;

export class Sidecar {
  #config: Config;
  readonly #onEvent: OnEvent;
  readonly #store: Store;
  readonly #metrics = new Metrics();
  readonly #app: App;
  readonly #gateway: HttpClient;
  readonly #sessions: SessionFile;
  readonly #agent: Agent;
  readonly #accessLog: AccessLog | null = null;
  readonly #spans: SpanExporter | null = null;
  readonly #egress: Egress;
  readonly #hold: (config: Config) => Promise<SigningKey>;
  #key: (SigningKey & { close?: () => void }) | null = null;
  #admin: Server | null = null;
  #links: DirectLinks | null = null;
  #listener: ExchangeServer | null = null;
  #transparent: Transparent | null = null;
  #listening = false;
  #stopping = false;
  /** Ports in use, for configs that ask for any; 0 where it does not listen. */
  ports: { listen: number; admin: number; direct: number } = { listen: 0, admin: 0, direct: 0 };

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
    this.#sessions = new SessionFile(join(config.stateDir, 'sessions.sqlite'), (error) => this.#agent.onError(error));
    const otlp = otlpFrom(process.env, config.name ?? formatId(config.agent));
    if (config.accessLog) this.#accessLog = new AccessLog((fields) => onEvent('access', fields));
    if (otlp !== null) this.#spans = new SpanExporter(otlp);
    const sinks = [this.#accessLog, this.#spans].filter((sink) => sink !== null);
    if (sinks.length > 0) this.#metrics.notes = { sinks, ratio: otlp?.ratio ?? null };
    this.#metrics.gauge('agnt2_spans_dropped', 'Spans no collector took', () => this.#spans?.dropped ?? 0);
    this.#metrics.gauge(
      'agnt2_access_dropped',
      'Calls the access log had no room for',
      () => this.#accessLog?.dropped ?? 0,
    );
    this.#metrics.gauge('agnt2_tunnels', 'Tunnels of the local app that are open', () => this.#egress.tunnels);
    this.#app = new App(config.app, this.#metrics);
    this.#gateway = new HttpClient(config.gateway, 'the gateway', {
      unreachable: 'gateway_unavailable',
      broken: 'peer_failed',
    });
    this.#egress = new Egress({ config: config.egress, gateway: config.gateway, ...egress });
    this.#agent = new Agent({
      config,
      store: this.#store,
      storeOf: (session) => this.#sessions.storeOf(session),
      app: this.#app,
      gateway: this.#gateway,
      fetch: fetchBy(this.#gateway),
      dial,
      egress: this.#egress,
      links: async (identity, onError) => {
        this.#links = new DirectLinks(identity, config.session.direct, onError, { retryMs: pace.linkRetryMs });
        await this.#links.start();
        this.ports.direct = this.#links.port;
        return this.#links;
      },
      metrics: this.#metrics,
      onEvent,
      pace,
    });
  }

  get ready(): boolean {
    return this.#unready === null;
  }
  /** What it goes by now. */
  get config(): Config {
    return this.#config;
  }
  get #unready(): string | null {
    return this.#agent.unready ?? (this.#listening ? null : 'starting');
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
        unready: () => this.#unready,
        status: async () => ({ ...(await agent.status()), ready: this.ready, reason: this.#unready }),
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
    if (this.#config.transparent !== null) {
      const { handle: listener } = agent.outbound;
      const { transparent: config } = this.#config;
      this.#transparent = new Transparent({ config, listener, egress: this.#egress, onError: agent.onError });
      await this.#transparent.start();
    }
    this.#listening = true;
    started();
    this.#onEvent('ready', {
      agent: formatId(this.#config.agent),
      listen: this.ports.listen,
      admin: this.ports.admin,
      services: agent.services.map(formatId),
    });
  }

  /**
   * Goes on by another config: all of it, or, when something of it can't change at run time (`needs_restart`) or its
   * services can't be published, none. Answers which settings changed.
   */
  async reload(config: Config): Promise<string[]> {
    if (this.#stopping) return [];
    const isChanged = (key: keyof Config): boolean => !isDeepStrictEqual(config[key], this.#config[key]);
    const fixed = FIXED.filter(isChanged);
    if (fixed.length > 0)
      throw refusal('needs_restart', `${fixed.join(', ')} can't change while the sidecar runs; restart it for that`);
    const changed = (Object.keys(config) as (keyof Config)[]).filter(isChanged);
    if (changed.length === 0) return [];
    await this.#agent.configure(config);
    this.#egress.configure(config.egress);
    this.#config = config;
    this.#onEvent('reloaded', { changed });
    return changed;
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
    this.#transparent?.stop();
    await this.#agent.stop();
    this.#links?.close();
    this.#listener?.closeAllConnections();
    this.#transparent?.close();
    this.#accessLog?.flush();
    await Promise.race([this.#spans?.flush(), setTimeout(SPANS_MS, undefined, { ref: false })]);
    this.#admin?.closeAllConnections();
    this.#admin?.close();
    this.#key?.close?.();
    this.#app.close();
    this.#gateway.close();
    this.#store.close();
    this.#sessions.close();
    this.#onEvent('stopped', {});
  }
}

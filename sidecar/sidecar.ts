/** One sidecar: every part of it made, started in order, and stopped in order. */
import type { Server } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { hex } from '../protocol/bytes.ts';
import { Signing } from '../protocol/eip712.ts';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import { createAdminServer } from './admin.ts';
import { App } from './app.ts';
import { type Config, loadSecret } from './config.ts';
import { Core, type NetworkFacts } from './core.ts';
import type { Identity } from './dial.ts';
import { refusal } from './errors.ts';
import { Far } from './far.ts';
import { FirstContact } from './firstcontact.ts';
import { HttpClient } from './http/client.ts';
import { createExchangeServer, listen } from './http/server.ts';
import { Inbound } from './inbound.ts';
import { Mailbox } from './mailbox.ts';
import { Metrics } from './metrics.ts';
import { Outbound } from './outbound.ts';
import { Peers } from './peers.ts';
import { Policy } from './policy.ts';
import type { PricedService } from './prices.ts';
import { publish } from './publish.ts';
import { Refunds } from './refunds.ts';
import { Responder } from './responder.ts';
import { SqliteStore, openSessions } from './session/store-sqlite.ts';
import { SessionManager } from './sessions.ts';
import { Store } from './store.ts';
import { Unasked } from './unasked.ts';
import { Wallet } from './wallet.ts';

/** Told of everything worth a line: `{"event": …, …}`. */
export type OnEvent = (event: string, fields: Record<string, unknown>) => void;

/** Times that tests shorten. */
export interface Pace {
  readonly retryMs?: number;
  readonly sessionsMs?: number;
  readonly refundsMs?: number;
  readonly unaskedMs?: number;
  readonly peersTtlMs?: number;
}

/** What runs once the network is known. */
interface Running {
  readonly wallet: Wallet;
  readonly inbound: Inbound;
  readonly outbound: Outbound;
  readonly mailbox: Mailbox;
  readonly sessions: SessionManager;
  readonly responder: Responder;
  readonly refunds: Refunds;
  readonly unasked: Unasked;
  readonly listener: Server;
}

const RETRY_MS = 1000;
const FORGET_TAKEN_MS = 90 * 24 * 3600 * 1000;

/** Waits, at most until `signal` aborts. A timer nobody waits for keeps no process alive. */
const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  setTimeout(ms, undefined, { signal, ref: signal !== undefined }).catch(() => {});

export class Sidecar {
  readonly #config: Config;
  readonly #onEvent: OnEvent;
  readonly #pace: Pace;
  readonly #store: Store;
  readonly #core: Core;
  readonly #metrics = new Metrics();
  readonly #policy: Policy;
  readonly #app: App;
  readonly #gateway: HttpClient;
  readonly #peers: Peers;
  readonly #sessionFile;
  readonly #stopping = new AbortController();
  #services: readonly PricedService[] = [];
  #admin: Server | null = null;
  #running: Running | null = null;
  #ready = false;
  #stopped = false;
  /** Ports in use, for configs that ask for any. */
  ports: { listen: number; admin: number } = { listen: 0, admin: 0 };

  constructor(config: Config, onEvent: OnEvent = () => {}, pace: Pace = {}) {
    this.#config = config;
    this.#onEvent = onEvent;
    this.#pace = pace;
    this.#store = new Store(config.stateDir);
    this.#sessionFile = openSessions(this.#store.file('sessions.sqlite') ?? ':memory:');
    this.#core = new Core(config.gateway);
    this.#policy = new Policy(config.policy, this.#store);
    this.#app = new App(config.app, this.#metrics);
    this.#gateway = new HttpClient(config.gateway, 'the gateway', {
      unreachable: 'gateway_unavailable',
      broken: 'peer_failed',
    });
    this.#peers = new Peers(this.#core, pace.peersTtlMs);
  }

  get ready(): boolean {
    return (
      this.#ready &&
      !this.#stopping.signal.aborted &&
      (this.#config.app === undefined || this.#running?.mailbox.online === true)
    );
  }

  readonly #onError = (error: unknown): void => {
    // What was still in the air when the stores closed was on disk or with the peer before.
    if (this.#stopped) return;
    // Only what a coded error says of itself: a cause may hold what a log must not.
    const known = error instanceof Agnt2Error;
    this.#onEvent('error', {
      code: codeOf(error),
      detail: known ? error.detail : error instanceof Error ? error.message : 'unknown',
    });
  };

  /** Starts everything; resolves when calls can be made and taken. Rejects with what only a person can mend; waits for the rest. */
  async start(): Promise<void> {
    const key = await MachineKey.import(loadSecret(this.#config));
    this.#startMetrics();
    this.#admin = createAdminServer(
      {
        ready: () => this.ready,
        status: () => this.#status(),
        sessions: () => this.#running?.sessions.list() ?? [],
        openSession: async (peer) => this.#assertRunning().sessions.open((await this.#peers.resolve(peer)).agent),
        closeSession: (session) => this.#assertRunning().sessions.leave(session),
      },
      this.#metrics,
    );
    this.ports.admin = await listen(this.#admin, this.#config.admin);
    const network = await this.#patiently(() => this.#core.status());
    this.#pin(network);
    const identity: Identity = { agent: this.#config.agent, key, signing: new Signing(network.domain) };
    await this.#patiently(() => this.#checkKey(key));
    const running = (this.#running = this.#assemble(identity, network));
    if (this.#config.app !== undefined) {
      const { wallet } = running;
      this.#services = await this.#patiently(() =>
        publish({ config: this.#config, identity, core: this.#core, wallet, store: this.#store }),
      );
      await running.responder.recover();
      running.mailbox.start();
      running.unasked.start();
    }
    // Not waited for: only money that a crash left without a note depends on it.
    void running.refunds.adopt().catch(this.#onError);
    await running.sessions.start();
    running.refunds.start();
    this.ports.listen = await listen(running.listener, this.#config.listen);
    this.#ready = true;
    this.#onEvent('ready', {
      agent: formatId(this.#config.agent),
      listen: this.ports.listen,
      admin: this.ports.admin,
      services: this.#services.map(({ id }) => formatId(id)),
    });
  }

  #assertRunning(): Running {
    if (this.#running === null) throw refusal('not_ready', 'the sidecar has not found its gateway yet');
    return this.#running;
  }

  #assemble(identity: Identity, network: NetworkFacts): Running {
    const { agent } = this.#config;
    const [core, store, metrics, app, onError] = [this.#core, this.#store, this.#metrics, this.#app, this.#onError];
    const { sequencerKey } = network;
    const firstSeq = network.seq.get(shardOf(agent)) ?? 0;
    const wallet = new Wallet({ core, key: identity.key, signing: identity.signing, agent, sequencerKey, firstSeq });
    const far = new Far({ core, wallet, signing: identity.signing, sequencerKey });
    const refunds = new Refunds({
      core,
      wallet,
      store,
      policy: this.#policy,
      metrics,
      everyMs: this.#pace.refundsMs,
      onError,
    });
    const onUnknown = (): void => void refunds.adopt().catch(onError);
    const firstContact = new FirstContact({ wallet, gateway: this.#gateway, store, onUnknown });
    const services = (): readonly PricedService[] => this.#services;
    const sessions = new SessionManager({
      identity,
      config: this.#config.session,
      core,
      far,
      store,
      app,
      firstContact,
      metrics,
      services,
      storeOf: (session) => new SqliteStore(this.#sessionFile, session),
      onEvent: this.#onEvent,
      onError,
      everyMs: this.#pace.sessionsMs,
    });
    const responder = new Responder({ store, wallet, core, metrics, onError });
    const shortest = Math.min(...this.#config.services.map(({ deadlineSeconds }) => deadlineSeconds));
    const unasked = new Unasked({
      agent,
      core,
      store,
      responder,
      everyMs: this.#pace.unaskedMs ?? Unasked.paceOf(shortest),
      onError,
    });
    const joinsWorkflows = (service: number): boolean => {
      const table = this.#services.find(({ id }) => id === service)?.table;
      return this.#config.services.some((own) => own.workflows && own === table);
    };
    const inbound = new Inbound({
      check: { core, signing: identity.signing, sequencerKey, agent, joinsWorkflows },
      app,
      store,
      responder,
      metrics,
      services,
      join: (session) => sessions.join(session),
    });
    const mailbox = new Mailbox(core.base, identity, inbound.handle, {
      error: onError,
      change: (online) => this.#onEvent(online ? 'online' : 'offline', {}),
    });
    const outbound = new Outbound({ agent, peers: this.#peers, policy: this.#policy, firstContact, sessions, metrics });
    const listener = createExchangeServer(outbound.handle, onError);
    return { wallet, inbound, outbound, mailbox, sessions, responder, refunds, unasked, listener };
  }

  /** A sequencer's key, once trusted, stays the one trusted: receipts mean nothing if it could be changed behind our back. */
  #pin({ domain, sequencerKey }: NetworkFacts): void {
    const seen = `${domain.chainId} ${domain.root} ${hex(sequencerKey)}`;
    const pinned = this.#store.fact('network');
    if (pinned === null) this.#store.setFact('network', seen);
    else if (pinned !== seen)
      throw refusal(
        'network_changed',
        'the gateway speaks for another network than this state directory; use a new stateDir if that is meant',
      );
  }

  async #checkKey(key: MachineKey): Promise<void> {
    const onChain = await this.#core.key(this.#config.agent);
    if (hex(onChain) !== hex(key.publicKey))
      throw refusal(
        'wrong_key',
        `${formatId(this.#config.agent)} has another machine key on chain; rotate it or fix keyFile`,
      );
  }

  /** Retries while the gateway is away; anything else is for a person. */
  async #patiently<T>(run: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await run();
      } catch (error) {
        if (codeOf(error) !== 'gateway_unavailable' || this.#stopping.signal.aborted) throw error;
        this.#onError(error);
        await sleep(this.#pace.retryMs ?? RETRY_MS, this.#stopping.signal);
      }
    }
  }

  async #status(): Promise<Record<string, unknown>> {
    const { hour, day } = this.#policy.spent();
    const facts = await this.#core.agent(this.#config.agent).catch(() => null);
    return {
      agent: formatId(this.#config.agent),
      ready: this.ready,
      balance: facts === null ? null : String(facts.balance),
      spent: { hour: String(hour), day: String(day) },
      services: this.#services.map(({ id }) => formatId(id)),
      pendingResponds: this.#running?.responder.pending ?? 0,
    };
  }

  #startMetrics(): void {
    const gauge = this.#metrics.gauge.bind(this.#metrics);
    gauge('agnt2_ready', 'Whether calls can be made and taken', () => (this.ready ? 1 : 0));
    gauge('agnt2_sessions', 'Sessions held', () => this.#running?.sessions.list().length ?? 0);
    gauge('agnt2_in_flight_out', 'Calls of the local app in flight', () => this.#running?.outbound.inFlight ?? 0);
    gauge('agnt2_in_flight_in', 'First-contact calls at the local app', () => this.#running?.inbound.inFlight ?? 0);
    gauge('agnt2_budget_hour_units', 'Base units spent or at risk in the last hour', () => this.#policy.spent().hour);
    gauge('agnt2_budget_day_units', 'Base units spent or at risk in the last day', () => this.#policy.spent().day);
    gauge('agnt2_pending_responds', 'Answers owed to Core', () => this.#running?.responder.pending ?? 0);
  }

  /** Looks at the sessions and the escrows now, not at the next turn. */
  async sweep(): Promise<void> {
    const { sessions, refunds, unasked } = this.#assertRunning();
    await Promise.all([sessions.watch(), refunds.look(), unasked.look()]);
  }

  /** Finishes what is in flight, signs and closes the sessions, sends what is owed to Core; at most `drainSeconds` for all of it. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    this.#onEvent('draining', {});
    const running = this.#running;
    if (running !== null) {
      const deadline = sleep(this.#config.drainSeconds * 1000).then(() => 'late' as const);
      const result = await Promise.race([this.#drain(running), deadline]);
      if (result === 'late')
        this.#onEvent('error', { code: 'timeout', detail: 'draining took too long; what is owed is on disk' });
      running.listener.closeAllConnections();
      await running.mailbox.close();
    }
    this.#admin?.closeAllConnections();
    this.#admin?.close();
    this.#stopped = true;
    this.#policy.flush();
    this.#app.close();
    this.#gateway.close();
    this.#store.close();
    this.#sessionFile.close();
    this.#onEvent('stopped', {});
  }

  async #drain({ outbound, inbound, listener, sessions, responder, refunds, unasked, wallet }: Running): Promise<void> {
    outbound.stop();
    inbound.stop();
    listener.close();
    listener.closeIdleConnections();
    while (outbound.inFlight + inbound.inFlight > 0) await setTimeout(20);
    await sessions.stop();
    await unasked.stop();
    await responder.drain();
    await refunds.stop();
    await wallet.idle();
    this.#store.forgetTaken(Date.now() - FORGET_TAKEN_MS);
  }
}

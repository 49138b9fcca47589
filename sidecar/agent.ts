/** One agent at work: everything of a sidecar but what runs it, so that it runs in Node and in a Durable Object alike. Made, started and stopped in order. */
import { setTimeout } from 'node:timers/promises';
import { hex } from '../protocol/bytes.ts';
import { Signing } from '../protocol/eip712.ts';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { formatId, parseId, shardOf } from '../protocol/ids.ts';
import type { SigningKey } from '../protocol/keys.ts';
import type { App } from './app.ts';
import type { Config, SessionConfig } from './config.ts';
import { Core, type Fetch, type NetworkFacts } from './core.ts';
import { refusal } from './errors.ts';
import { Far } from './far.ts';
import { FirstContact } from './firstcontact.ts';
import type { HttpClient } from './http/client.ts';
import { type Dial, type Identity, type Links, type ShownKey, shownKey } from './identity.ts';
import { Inbound } from './inbound.ts';
import { Mailbox } from './mailbox.ts';
import { Metrics } from './metrics.ts';
import { Outbound, type OutboundOptions } from './outbound.ts';
import { Peers } from './peers.ts';
import { Policy } from './policy/policy.ts';
import type { PricedService } from './prices.ts';
import { publish } from './publish.ts';
import { Refunds } from './refunds.ts';
import { Responder } from './responder.ts';
import type { SessionStore } from './session/index.ts';
import { SessionManager } from './sessions.ts';
import type { Store } from './store.ts';
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
  readonly rotationMs?: number;
  /** Until a new link is offered to a peer after one broke. */
  readonly linkRetryMs?: number;
}

/** What a runtime brings. */
export interface AgentOptions {
  readonly config: Config;
  readonly store: Store;
  /** The durable store of one session's halves and records. */
  readonly storeOf: (session: number) => SessionStore;
  readonly app: Pick<App, 'serve'>;
  /** The way to the gateway for first-contact calls. */
  readonly gateway: Pick<HttpClient, 'send'>;
  /** The way to it for all else; the platform's `fetch`, where the runtime brings none. */
  readonly fetch?: Fetch;
  readonly dial: Dial;
  /** The way of the local app to what is not AGNT2, if it has one. */
  readonly egress?: OutboundOptions['egress'];
  /** Starts what makes links of our own with peers; none where the runtime can't. */
  readonly links?: (identity: Identity, onError: (error: unknown) => void) => Promise<Links>;
  readonly metrics: Metrics;
  readonly onEvent?: OnEvent;
  readonly pace?: Pace;
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
}

const RETRY_MS = 1000;
/** How often the chain is asked for a rotation that is under way. */
const ROTATION_MS = 5000;
const FORGET_TAKEN_MS = 90 * 24 * 3600 * 1000;

/** Waits, at most until `signal` aborts. A timer nobody waits for keeps no process alive. */
const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  setTimeout(ms, undefined, { signal, ref: signal !== undefined }).catch(() => {});

export class Agent {
  readonly #options: AgentOptions;
  #config: Config;
  /** The config's, kept one object: who was given it sees what a reload changes. */
  readonly #session: { -readonly [K in keyof SessionConfig]: SessionConfig[K] };
  readonly #onEvent: OnEvent;
  readonly #pace: Pace;
  readonly #core: Core;
  readonly #policy: Policy;
  readonly #peers: Peers;
  readonly #stopping = new AbortController();
  #services: readonly PricedService[] = [];
  #shown: ShownKey | null = null;
  #identity: Identity | null = null;
  #rotation: NodeJS.Timeout | undefined;
  #running: Running | null = null;
  #started = false;
  #stopped = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { config, store, metrics, onEvent = () => {}, pace = {} } = options;
    this.#config = config;
    this.#session = { ...config.session };
    this.#onEvent = onEvent;
    this.#pace = pace;
    this.#core = new Core(config.gateway, options.fetch);
    this.#policy = new Policy(config.policy, store.policy);
    this.#peers = new Peers(this.#core, pace.peersTtlMs, ({ services }) => this.#policy.see(services));
    this.#startMetrics(metrics);
  }

  /** Whether calls can be made and taken. */
  get ready(): boolean {
    return this.unready === null;
  }

  /** Why they can't: `draining`, `starting`, `key_expired`, or `offline` while the gateway could bring us no call; null when they can. */
  get unready(): string | null {
    if (this.#stopping.signal.aborted) return 'draining';
    if (!this.#started) return 'starting';
    if (Date.now() / 1000 >= (this.#shown?.expires ?? Infinity)) return 'key_expired';
    return this.#config.app === undefined || this.#running?.mailbox.online === true ? null : 'offline';
  }

  /** Ids of the services offered. */
  get services(): readonly number[] {
    return this.#services.map(({ id }) => id);
  }

  /** What a person decides about it is the operator's port's business. */
  get policy(): Policy {
    return this.#policy;
  }

  /** Takes calls of the local app. Throws `not_ready` before the network is known. */
  get outbound(): Outbound {
    return this.#assertRunning().outbound;
  }

  readonly onError = (error: unknown): void => {
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
  async start(key: SigningKey): Promise<void> {
    const network = await this.#patiently(() => this.#core.status());
    this.#options.store.pinNetwork(network);
    const { agent } = this.#config;
    const shown = (this.#shown = shownKey(key));
    const signing = shown === null ? new Signing(network.domain) : await shown.signing(network.domain, agent);
    const identity: Identity = (this.#identity = { agent, key, signing });
    await this.#patiently(() => this.#checkKey(key));
    const links = (await this.#options.links?.(identity, this.onError)) ?? null;
    const running = (this.#running = this.#assemble(identity, network, links));
    if (this.#config.app !== undefined) {
      const { wallet } = running;
      this.#services = await this.#patiently(() =>
        publish({ config: this.#config, identity, core: this.#core, wallet, store: this.#options.store }),
      );
      await running.responder.recover();
      running.mailbox.start();
      running.unasked.start();
    }
    // Not waited for: only money that a crash left without a note depends on it.
    void running.refunds.adopt().catch(this.onError);
    await running.sessions.start();
    running.refunds.start();
    if (shown !== null) {
      this.#rotation = setInterval(() => void this.#rotate().catch(this.onError), this.#pace.rotationMs ?? ROTATION_MS);
      this.#rotation.unref();
    }
    this.#started = true;
  }

  sessions(): ReturnType<SessionManager['list']> {
    return this.#running?.sessions.list() ?? [];
  }
  /** Newest halves of the sessions that are not over; see `npx agnt2 exit`. */
  halves(): ReturnType<SessionManager['halves']> {
    return this.#running?.sessions.halves() ?? [];
  }
  /** Opens a session with a peer, by name or id. Rejects with the shard's or the peer's refusal. */
  async openSession(peer: string): Promise<void> {
    return this.#assertRunning().sessions.open((await this.#peers.resolve(peer)).agent);
  }
  /** Leaves a session; rejects with `unknown_session` when we hold no such one. */
  async closeSession(session: number): Promise<void> {
    return this.#assertRunning().sessions.leave(session);
  }

  #assertRunning(): Running {
    if (this.#running === null) throw refusal('not_ready', 'the sidecar has not found its gateway yet');
    return this.#running;
  }

  #assemble(identity: Identity, network: NetworkFacts, links: Links | null): Running {
    const { agent } = this.#config;
    const { store, metrics, app, gateway, dial, storeOf } = this.#options;
    const [core, onError] = [this.#core, this.onError];
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
    const firstContact = new FirstContact({ wallet, gateway, store, onUnknown });
    const services = (): readonly PricedService[] => this.#services;
    const sessions = new SessionManager({
      identity,
      dial,
      links,
      config: this.#session,
      core,
      far,
      store,
      app,
      firstContact,
      metrics,
      services,
      storeOf,
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
    const mailbox = new Mailbox(core.base, identity, dial, inbound.handle, {
      error: onError,
      change: (online) => this.#onEvent(online ? 'online' : 'offline', {}),
    });
    const outbound = new Outbound({
      agent,
      perCall: this.#config.policy.perCall,
      peers: this.#peers,
      policy: this.#policy,
      firstContact,
      sessions,
      metrics,
      egress: this.#options.egress,
    });
    return { wallet, inbound, outbound, mailbox, sessions, responder, refunds, unasked };
  }

  async #checkKey(key: SigningKey): Promise<void> {
    const onChain = hex(await this.#core.key(this.#config.agent));
    if (onChain === hex(key.publicKey)) return;
    const { nextKey } = this.#shown ?? { nextKey: null };
    // Rotated while this sidecar was down: its sessions can only be left now.
    if (nextKey !== null && onChain === hex(nextKey)) return this.#shown!.promote([]);
    throw refusal(
      'wrong_key',
      `${formatId(this.#config.agent)} has another machine key on chain; rotate it or fix keyFile`,
    );
  }

  /** The key to rotate to, x ‖ y: made by the signer, for the owner to sign. Throws `not_rotatable`. */
  async nextKey(): Promise<Uint8Array> {
    if (this.#shown === null) throw refusal('not_rotatable', 'the machine key is in this process, not in a signer');
    return this.#shown.next();
  }

  /** Takes the next key into use once the chain has it. Open sessions pinned the old one: they are closed with it. */
  async #rotate(): Promise<void> {
    const shown = this.#shown;
    if (shown === null || shown.nextKey === null || this.#stopping.signal.aborted) return;
    const { sessions } = this.#assertRunning();
    const next = hex(shown.nextKey);
    if (hex(await this.#core.key(this.#config.agent)) !== next) return;
    const open = sessions.list().map(({ session }) => parseId(session));
    await shown.promote(open);
    this.#onEvent('key_rotated', { sessions: open.length });
    for (const session of open) void sessions.leave(session).catch(this.onError);
  }

  /** Retries while the gateway is away; anything else is for a person. */
  async #patiently<T>(run: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await run();
      } catch (error) {
        if (codeOf(error) !== 'gateway_unavailable' || this.#stopping.signal.aborted) throw error;
        this.onError(error);
        await sleep(this.#pace.retryMs ?? RETRY_MS, this.#stopping.signal);
      }
    }
  }

  /**
   * Goes on by another config: its services and prices, policy, session settings, description. Services are published
   * first; then all of it changes in one turn, between calls. Rejects with what publishing failed by, and nothing changed.
   */
  async configure(config: Config): Promise<void> {
    const { wallet } = this.#assertRunning();
    const { store } = this.#options;
    const isOffered = JSON.stringify([config.services, config.description]);
    let services = this.#services;
    if (config.app !== undefined && isOffered !== JSON.stringify([this.#config.services, this.#config.description]))
      services = await this.#patiently(() =>
        publish({ config, identity: this.#identity!, core: this.#core, wallet, store }),
      );
    else if (services.length > 0) config = { ...config, services: this.#config.services };
    this.#config = config;
    this.#services = services;
    this.#policy.configure(config.policy);
    Object.assign(this.#session, config.session);
  }

  /** What operators see. */
  async status(): Promise<Record<string, unknown>> {
    const { hour, day } = this.#policy.spent();
    const facts = await this.#core.agent(this.#config.agent).catch(() => null);
    return {
      agent: formatId(this.#config.agent),
      ready: this.ready,
      balance: facts === null ? null : String(facts.balance),
      spent: { hour: String(hour), day: String(day) },
      services: this.#services.map(({ id }) => formatId(id)),
      pendingResponds: this.#running?.responder.pending ?? 0,
      contradictions: this.#options.store.evidence.some().map(({ session, peer, state, code }) => ({
        session: formatId(session),
        peer: formatId(peer),
        state,
        code,
      })),
    };
  }

  #startMetrics(metrics: Metrics): void {
    const gauge = metrics.gauge.bind(metrics);
    gauge('agnt2_ready', 'Whether calls can be made and taken', () => (this.ready ? 1 : 0));
    gauge('agnt2_sessions', 'Sessions held', () => this.#running?.sessions.list().length ?? 0);
    this.#startSessionMetrics(metrics);
    gauge('agnt2_in_flight_out', 'Calls of the local app in flight', () => this.#running?.outbound.inFlight ?? 0);
    gauge('agnt2_in_flight_in', 'First-contact calls at the local app', () => this.#running?.inbound.inFlight ?? 0);
    gauge('agnt2_budget_hour_units', 'Base units spent or at risk in the last hour', () => this.#policy.spent().hour);
    gauge('agnt2_budget_day_units', 'Base units spent or at risk in the last day', () => this.#policy.spent().day);
    gauge('agnt2_key_expires_seconds', 'Seconds until the machine key signs no more; +Inf for never', () => {
      return (this.#shown?.expires ?? Infinity) - Date.now() / 1000;
    });
    gauge('agnt2_circuits_open', 'Peers that are not called now because they failed', () => this.#policy.openCircuits);
    gauge('agnt2_approvals_waiting', 'Calls that wait for a person', () => {
      return this.#policy.approvals().filter(({ state }) => state === 'waiting').length;
    });
    gauge('agnt2_price_rises', 'Services whose newer prices wait for a person', () => this.#policy.priceRises().length);
    gauge('agnt2_pending_responds', 'Answers owed to Core', () => this.#running?.responder.pending ?? 0);
  }

  #startSessionMetrics(metrics: Metrics): void {
    const { evidence } = this.#options.store;
    const found = 'Sessions whose peer signed two halves that contradict each other';
    metrics.counter('agnt2_contradictions_total', found, () => evidence.count());
    metrics.counter('agnt2_slashes_total', 'Of them, those whose peer was slashed', () => evidence.count('slashed'));
    const of = (read: (totals: ReturnType<SessionManager['totals']>) => number) => (): number =>
      this.#running === null ? 0 : read(this.#running.sessions.totals());
    const counter = (name: string, help: string, read: Parameters<typeof of>[0]): void =>
      metrics.counter(`agnt2_session_${name}_total`, help, of(read));
    counter('calls_out', 'Calls made in sessions, control calls included', (totals) => totals.callsOut);
    counter('calls_in', 'Calls answered in sessions, control calls included', (totals) => totals.callsIn);
    counter('refused', 'Calls refused in sessions before the app saw them', (totals) => totals.refused);
    counter('windows_out', 'Halves signed', (totals) => totals.windowsOut);
    counter('windows_in', 'Halves of peers verified and countersigned', (totals) => totals.windowsIn);
    counter('resumes', 'Times that two parties met and compared what they have', (totals) => totals.resumes);
    counter('bytes_out', 'Bytes of packets sent', (totals) => totals.bytesOut);
    counter('bytes_in', 'Bytes of packets received', (totals) => totals.bytesIn);
    const unsigned = (name: string, help: string, read: Parameters<typeof of>[0]): void =>
      metrics.gauge(`agnt2_session_unsigned_${name}_units`, help, of(read));
    unsigned('pays', 'Base units owed to peers that no half covers yet', (totals) => totals.unsigned.pays);
    unsigned('earns', 'Base units that peers owe and have not signed', (totals) => totals.unsigned.earns);
  }

  /** Looks at the sessions and the escrows now, not at the next turn. */
  async sweep(): Promise<void> {
    const { sessions, refunds, unasked } = this.#assertRunning();
    await Promise.all([sessions.watch(), refunds.look(), unasked.look(), this.#rotate()]);
  }

  /** Finishes what is in flight, signs and closes the sessions, sends what is owed to Core; at most `drainSeconds` for all of it. Its stores may be closed then. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    clearInterval(this.#rotation);
    this.#onEvent('draining', {});
    const running = this.#running;
    if (running !== null) {
      const deadline = sleep(this.#config.drainSeconds * 1000).then(() => 'late' as const);
      const result = await Promise.race([this.#drain(running), deadline]);
      if (result === 'late')
        this.#onEvent('error', { code: 'timeout', detail: 'draining took too long; what is owed is on disk' });
      await running.mailbox.close();
    }
    this.#stopped = true;
    this.#policy.flush();
  }

  async #drain({ outbound, inbound, sessions, responder, refunds, unasked, wallet }: Running): Promise<void> {
    outbound.stop();
    inbound.stop();
    while (outbound.inFlight + inbound.inFlight > 0) await setTimeout(20);
    await sessions.stop();
    await unasked.stop();
    await responder.drain();
    await refunds.stop();
    await wallet.idle();
    this.#options.store.forgetTaken(Date.now() - FORGET_TAKEN_MS);
  }
}

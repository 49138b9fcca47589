/**
 * The sessions of one agent: opened when calls to a peer repeat, joined when a peer opens one, used by calls both ways,
 * left in good order. What a session is (halves, windows, resume) lives in session/; here is only its life.
 */
import { codeOf } from '../protocol/errors.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { equal } from '../protocol/bytes.ts';
import { sessionRoom } from '../protocol/packet.ts';
import type { CallRecord } from '../protocol/call.ts';
import type { App } from './app.ts';
import type { SessionConfig } from './config.ts';
import type { Core, SessionFacts as SessionCell } from './core.ts';
import type { Dial, Identity, Links } from './identity.ts';
import { refusal } from './errors.ts';
import type { Far } from './far.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import type { Rate } from '../protocol/meter.ts';
import type { FirstContact } from './firstcontact.ts';
import { EMPTY } from './http/body.ts';
import { Leaving } from './leaving.ts';
import { CLOSE, type Live, REFRESH, control, factsOf, readSmall, roleOf, until } from './live.ts';
import type { Metrics } from './metrics.ts';
import type { Sessions } from './outbound.ts';
import type { Reservation } from './policy/policy.ts';
import { type PricedService, offerOf } from './prices.ts';
import { Openings } from './opening.ts';
import { type HalfJson, halfJson } from './closing.ts';
import {
  type Counters,
  type PacketSocket,
  type Quote,
  SessionEndpoint,
  type SessionStore,
  addCounters,
  keepConnected,
  noCounters,
} from './session/index.ts';
import { Slashing } from './slashing.ts';
import type { SessionRow, Store } from './store.ts';
import { CONTROL, isNormal } from './target.ts';

export interface SessionManagerOptions {
  readonly identity: Identity;
  readonly dial: Dial;
  /** Links of our own with peers, where the runtime has such. */
  readonly links: Links | null;
  readonly config: SessionConfig;
  readonly core: Core;
  readonly far: Far;
  readonly store: Store;
  readonly app: Pick<App, 'serve'>;
  readonly firstContact: FirstContact;
  readonly metrics: Metrics;
  readonly services: () => readonly PricedService[];
  /** The durable store of one session's halves and records. */
  readonly storeOf: (session: number) => SessionStore;
  readonly onEvent: (event: string, fields: Record<string, unknown>) => void;
  readonly onError: (error: unknown) => void;
  /** Milliseconds between looks at the sessions' cells. Default 15,000. */
  readonly everyMs?: number;
  readonly now?: () => number;
}

const READY_MS = 10_000;
/** After a peer refused a session, it isn't asked again for this long; doubles. */
const REFUSED_MS = 60_000;
const MAX_SESSIONS = 4096;
/** How long relay and peer may take to show what was signed, to one that lost it. */
const SHOWN_MS = 3_000;
/** The store's note that it is not new. */
const STORE = 'sessions';

export class SessionManager implements Sessions {
  readonly #options: SessionManagerOptions;
  readonly #now: () => number;
  readonly #live = new Map<number, Live>();
  /** The session our calls to a peer use. */
  readonly #byPeer = new Map<number, Live>();
  readonly #coreCalls = new Map<number, number>();
  readonly #opening = new Map<number, Promise<void>>();
  readonly #joining = new Map<number, Promise<void>>();
  /** Of sessions that are over. */
  readonly #past = noCounters();
  readonly #refused = new Map<number, { untilMs: number; ms: number }>();
  readonly #leaving: Leaving;
  readonly #openings: Openings;
  readonly #slashing: Slashing;
  #timer: NodeJS.Timeout | null = null;
  #adopting: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: SessionManagerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
    this.#openings = new Openings({ ...options, agent: options.identity.agent });
    this.#slashing = new Slashing({ ...options, now: this.#now });
    this.#leaving = new Leaving({
      ...options,
      live: this.#live,
      quiet: (live) => {
        live.closing = true;
        this.#forgetPeer(live);
      },
      detach: (live) => this.#detach(live),
      resume: (row) => (this.#stopping ? Promise.resolve() : this.#resume(row)),
      now: this.#now,
    });
  }

  /** What admin and metrics show. */
  list(): {
    session: string;
    peer: string;
    role: string;
    state: string;
    direct: boolean;
    pays: number;
    earns: number;
    unsigned: { pays: number; earns: number };
  }[] {
    return [...this.#live.values()].map(({ id, peer, role, direct, endpoint }) => ({
      session: formatId(id),
      peer: formatId(peer),
      role,
      state: endpoint.state,
      direct,
      ...endpoint.accrued,
      unsigned: endpoint.unsigned,
    }));
  }

  /** Newest halves of all sessions that are not over, as `npx agnt2 exit --halves` reads them: what the peer signed and what we did. */
  halves(): HalfJson[] {
    const { store, storeOf } = this.#options;
    return store.sessions().flatMap(({ session }) => {
      const records = storeOf(session);
      return ([0, 1] as const).flatMap((dir) => {
        const signed = records.load(dir)?.half ?? null;
        return signed === null ? [] : [halfJson(signed)];
      });
    });
  }

  /** What sessions have done since this process began, those that are over included; what is unsigned now. */
  totals(): Counters & { unsigned: { pays: number; earns: number } } {
    const sum = { ...this.#past, unsigned: { pays: 0, earns: 0 } };
    for (const { endpoint } of this.#live.values()) {
      addCounters(sum, endpoint.counters);
      sum.unsigned.pays += endpoint.unsigned.pays;
      sum.unsigned.earns += endpoint.unsigned.earns;
    }
    return sum;
  }

  /** Takes up the sessions of the last run. */
  async start(): Promise<void> {
    for (const row of this.#options.store.sessions()) {
      try {
        await this.#resume(row);
      } catch (error) {
        this.#options.onError(error);
      }
    }
    // Talking to their peers may take long; calls need not wait for it.
    this.#adopting = this.#adopt().catch((error: unknown) => this.#options.onError(error));
    void this.#slashing.look();
    this.#timer = setInterval(() => void this.watch(), this.#options.everyMs ?? 15_000);
    this.#timer.unref();
  }

  /** Takes up sessions that stand on chain and not in the store: as if just opened, or just announced by their peer. */
  async #adopt(): Promise<void> {
    const { identity, store } = this.#options;
    const unknown = await this.#openings.unknown();
    if (store.fact(STORE) === null) {
      for (const { id, a, b } of unknown) store.saveSession(id, a === identity.agent ? b : a, 'exiting');
      store.setFact(STORE, 'begun');
      await Promise.all(unknown.map((cell) => this.#abandon(cell)));
      return;
    }
    for (const cell of unknown) {
      if (this.#stopping) return;
      try {
        if (cell.a !== identity.agent) await this.join(cell.id);
        else if (cell.status === 'open') {
          store.saveSession(cell.id, cell.b, 'open');
          await this.#begin(cell);
        } else store.saveSession(cell.id, cell.b, 'exiting');
      } catch (error) {
        // What a stranger opened with us and the policy does not like is not our business.
        if (cell.a === identity.agent) this.#options.onError(error);
      }
    }
  }

  /**
   * Leaves a session that an earlier life of this agent was in, if it had one: the store is new. What was signed comes from the relay and the peer, but
   * not whether a close was among it, and what is served above a signed close is lost.
   */
  async #abandon(cell: SessionCell): Promise<void> {
    try {
      if (this.#stopping || cell.status !== 'open') return;
      const live = await this.#attach(cell, true);
      await until(() => live.endpoint.state === 'ready', SHOWN_MS);
      await this.#leaving.leave(live);
    } catch (error) {
      // The next look leaves it.
      this.#options.onError(error);
    }
  }

  async #resume({ session, peer, state }: SessionRow): Promise<void> {
    const cell = await this.#options.core.session(session);
    if (cell.status === 'closed') this.#options.store.saveSession(session, peer, 'closed');
    else if (cell.status === 'open' && state === 'open') {
      try {
        await this.#attach(cell);
      } catch (error) {
        // Our key was rotated: this session can't be used any more, only left.
        if (codeOf(error) !== 'wrong_key') throw error;
        await this.#leaving.leaveUnattached(cell);
      }
    } else await this.#leaving.leaveUnattached(cell);
  }

  // ---- calls of ours ----

  call(
    agent: number,
    request: ExchangeRequest,
    maxPrice: number,
    rate: Rate | undefined,
    reservation: Reservation,
  ): Promise<ExchangeResponse> | null {
    const live = this.#byPeer.get(agent);
    if (live === undefined || live.closing || live.endpoint.state !== 'ready') return null;
    return this.#call(live, request, maxPrice, rate, reservation);
  }

  async #call(
    live: Live,
    request: ExchangeRequest,
    maxPrice: number,
    rate: Rate | undefined,
    reservation: Reservation,
  ): Promise<ExchangeResponse> {
    const began = performance.now();
    try {
      // Without its record nobody knows what a call cost; the budget keeps the most it may have.
      const onRecord = ({ price }: CallRecord): void => {
        reservation.settle(price);
        this.#options.metrics.spent.add('route="session"', price);
      };
      const { response } = await live.endpoint.call(request, { maxPrice, rate, onRecord });
      this.#options.metrics.sessionSeconds.observe((performance.now() - began) / 1000);
      return response;
    } catch (error) {
      if (codeOf(error) === 'insufficient_deposit') this.#fund(live);
      throw error;
    }
  }

  async ensure(agent: number): Promise<boolean> {
    const isReady = (): boolean => {
      const live = this.#byPeer.get(agent);
      return live !== undefined && !live.closing && live.endpoint.state === 'ready';
    };
    if (isReady()) return true;
    if (!this.#options.config.auto || this.#stopping || (this.#refused.get(agent)?.untilMs ?? 0) > this.#now())
      return false;
    await this.open(agent).catch((error: unknown) => this.#options.onError(error));
    return isReady();
  }

  noteCoreCall(agent: number): void {
    const { config } = this.#options;
    if (!config.auto || this.#stopping) return;
    const calls = (this.#coreCalls.get(agent) ?? 0) + 1;
    this.#coreCalls.set(agent, calls);
    if (calls <= config.afterCalls || this.#byPeer.has(agent) || this.#opening.has(agent)) return;
    if ((this.#refused.get(agent)?.untilMs ?? 0) > this.#now()) return;
    void this.open(agent).catch((error: unknown) => this.#options.onError(error));
  }

  // ---- opening and joining ----

  /** Opens a session with a peer and waits until both sides are on it. Rejects with the shard's or the peer's refusal. */
  open(peer: number): Promise<void> {
    let opening = this.#opening.get(peer);
    if (opening === undefined) {
      opening = this.#open(peer).finally(() => this.#opening.delete(peer));
      this.#opening.set(peer, opening);
    }
    return opening;
  }

  async #open(peer: number): Promise<void> {
    try {
      await this.#begin(await this.#openings.open(peer));
      this.#refused.delete(peer);
    } catch (error) {
      const ms = Math.min((this.#refused.get(peer)?.ms ?? REFUSED_MS / 2) * 2, 3_600_000);
      this.#refused.set(peer, { untilMs: this.#now() + ms, ms });
      throw error;
    }
  }

  /** Begins a session of ours that stands on chain: waits until the peer is on it too, else leaves it. */
  async #begin(cell: SessionCell): Promise<void> {
    const { firstContact, onEvent } = this.#options;
    const live = await this.#attach(cell);
    try {
      await firstContact.announceSession(live.peer, live.id);
      if (!(await until(() => live.endpoint.state === 'ready', READY_MS)))
        throw refusal('peer_offline', 'the peer did not come to the session');
    } catch (error) {
      // Nothing was paid in it: the deposit comes back after the exit delay.
      void this.#leaving.leave(live).catch((fault: unknown) => this.#options.onError(fault));
      throw error;
    }
    this.#byPeer.set(live.peer, live);
    const [session, peer] = [formatId(live.id), formatId(live.peer)];
    onEvent('session_open', { session, peer, deposit: String(cell.depositA) });
  }

  /** Joins a session a peer opened with us, if the policy likes it. Throws a coded refusal. */
  join(session: number): Promise<void> {
    if (this.#live.has(session)) return Promise.resolve();
    let joining = this.#joining.get(session);
    if (joining === undefined) {
      joining = this.#join(session).finally(() => this.#joining.delete(session));
      this.#joining.set(session, joining);
    }
    return joining;
  }

  async #join(session: number): Promise<void> {
    const { core, config, store, identity, onEvent } = this.#options;
    if (this.#stopping) throw refusal('draining', 'this agent is going down');
    // One whose end we signed must not begin again: what would be served in it, its close does not count.
    if ((store.sessionState(session) ?? 'open') !== 'open')
      throw refusal('session_draining', 'this session is being left');
    if (this.#live.size >= MAX_SESSIONS) throw refusal('busy', 'too many sessions');
    const cell = await core.session(session);
    const role = roleOf(cell, identity.agent);
    if (cell.status !== 'open') throw refusal('session_not_open', 'the session is not open');
    if (cell.exitDelay < config.minExitDelay)
      throw refusal('bad_duration', `an exit delay under ${config.minExitDelay} s is too short to settle in`);
    const deposit = role === 'a' ? cell.depositB : cell.depositA;
    if (deposit < config.minDeposit)
      throw refusal('deposit_too_small', `a deposit under ${config.minDeposit} is not worth a session`);
    const live = await this.#attach(cell);
    store.saveSession(session, live.peer, 'open');
    onEvent('session_joined', { session: formatId(session), peer: formatId(live.peer), deposit: String(deposit) });
  }

  /** Makes the endpoint of an open session and keeps it connected. */
  async #attach(cell: SessionCell, closing = false): Promise<Live> {
    const { core, identity, config, dial, storeOf, onError } = this.#options;
    const known = this.#live.get(cell.id);
    if (known !== undefined) return known;
    const role = roleOf(cell, identity.agent);
    const pinned = await core.sessionKeys(cell.id);
    const own = role === 'a' ? pinned.a : pinned.b;
    if (!equal(own, identity.key.publicKey))
      throw refusal('wrong_key', 'the session was opened for another machine key of ours');
    // Two answers may have come for the same session meanwhile.
    const raced = this.#live.get(cell.id);
    if (raced !== undefined) return raced;
    const peer = role === 'a' ? cell.b : cell.a;
    const endpoint = new SessionEndpoint({
      facts: factsOf(cell, pinned),
      role,
      key: identity.key,
      signing: identity.signing,
      store: storeOf(cell.id),
      credit: config.credit,
      quote: (request) => this.#quote(live, request),
      handler: (request) => this.#serve(live, request),
      onCharged: (price) => this.#options.metrics.earned.add('route="session"', price),
      onContradiction: (found) => {
        this.#slashing.found(peer, found);
        this.#leaving.leaveSoon(live);
      },
      onError,
    });
    const live: Live = {
      id: cell.id,
      peer,
      role,
      peerKey: role === 'a' ? pinned.b : pinned.a,
      endpoint,
      link: new AbortController(),
      direct: false,
      closing,
      signed: false,
      asking: false,
      funding: null,
      left: null,
    };
    this.#live.set(cell.id, live);
    // A session we joined or took up again serves our own calls to that peer too.
    if (!closing && !this.#byPeer.has(peer) && !this.#opening.has(peer)) this.#byPeer.set(peer, live);
    const room = sessionRoom(formatId(cell.id));
    const dialRelay = (): Promise<PacketSocket> => dial(core.base, room, identity);
    const { links } = this.#options;
    const other = { session: cell.id, agent: peer, key: live.peerKey };
    const onLink = (isDirect: boolean): void => void (live.direct = isDirect);
    const connect = links === null ? dialRelay : () => links.connect(other, role, dialRelay, onLink);
    void keepConnected(endpoint, connect, live.link.signal, onError);
    return live;
  }

  // ---- calls of the peer ----

  #quote(live: Live, request: ExchangeRequest): number | Quote {
    if (request.target.startsWith(CONTROL)) return 0;
    if (live.closing) throw refusal('session_draining', 'this session is being closed');
    if (!isNormal(request.method, request.target))
      throw refusal('bad_target', 'the request target is not in its normal form');
    const offer = offerOf(this.#options.services(), request.method, request.target);
    if (offer === null) throw refusal('unknown_service', 'this agent serves nothing');
    return offer.rate === undefined ? offer.price : offer;
  }

  async #serve(live: Live, request: ExchangeRequest): Promise<ExchangeResponse> {
    const { app, metrics } = this.#options;
    if (request.target === CLOSE) return this.#leaving.answerClose(live, request);
    if (request.target === REFRESH) return this.#answerRefresh(live, request);
    if (request.target.startsWith(CONTROL)) throw refusal('not_found', 'no such control call');
    const price = (): number => offerOf(this.#options.services(), request.method, request.target)?.price ?? 0;
    const response = await app.serve(request, live.peer, 'session', price);
    metrics.callsIn.add('route="session"');
    return response;
  }

  // ---- deposits ----

  /** Adds a deposit's worth, once at a time; calls go through Core until both sides know. */
  #fund(live: Live): void {
    const { far, config, onError } = this.#options;
    if (live.funding !== null || live.closing || config.deposit === 0 || !config.auto) return;
    live.funding = (async () => {
      await far.submit(shardOf(live.id), { op: 'fund', session: live.id, amount: config.deposit });
      await this.#refresh(live);
      await control(live, REFRESH);
      this.#options.onEvent('session_funded', { session: formatId(live.id), amount: String(config.deposit) });
    })()
      .catch(onError)
      .finally(() => (live.funding = null));
  }

  async #refresh(live: Live): Promise<void> {
    const cell = await this.#options.core.session(live.id);
    live.endpoint.setDeposits(cell.depositA, cell.depositB);
  }

  async #answerRefresh(live: Live, request: ExchangeRequest): Promise<ExchangeResponse> {
    await readSmall(request.body);
    await this.#refresh(live);
    return { status: 204, headers: [], body: EMPTY };
  }

  // ---- leaving ----

  /** Leaves a session: see leaving.ts. Rejects with `unknown_session` when we hold no such one. */
  leave(session: number): Promise<void> {
    const live = this.#live.get(session);
    return live === undefined
      ? Promise.reject(refusal('unknown_session', 'no such session here'))
      : this.#leaving.leave(live);
  }

  /** Looks at every session's cell now. */
  async watch(): Promise<void> {
    await this.#openings.late().catch((error: unknown) => this.#options.onError(error));
    await this.#leaving.watch();
    await this.#slashing.look();
  }

  #forgetPeer(live: Live): void {
    if (this.#byPeer.get(live.peer) === live) this.#byPeer.delete(live.peer);
  }

  #detach(live: Live): void {
    if (this.#live.get(live.id) === live) addCounters(this.#past, live.endpoint.counters);
    this.#forgetPeer(live);
    this.#coreCalls.delete(live.peer);
    this.#live.delete(live.id);
    live.link.abort();
    live.endpoint.close();
  }

  /** Leaves every session; sessions of peers that don't answer are settled and exit alone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.allSettled([this.#adopting, ...this.#opening.values()]);
    await Promise.allSettled([...this.#live.keys()].map((session) => this.leave(session)));
    await this.#leaving.idle();
    await this.#slashing.idle();
  }
}

/**
 * The sessions of one agent: opened when calls to a peer repeat, joined when a peer opens one, used by calls both ways,
 * left in good order. What a session is (halves, windows, resume) lives in session/; here is only its life.
 */
import { encodeClose, decodeClose } from './closing.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId } from '../protocol/ids.ts';
import { equal } from '../protocol/bytes.ts';
import { sessionRoom } from '../protocol/packet.ts';
import type { App } from './app.ts';
import type { SessionConfig } from './config.ts';
import type { Core, SessionFacts as SessionCell } from './core.ts';
import { type Identity, dial } from './dial.ts';
import { refusal } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from './exchange.ts';
import type { FirstContact } from './firstcontact.ts';
import { EMPTY, bytes } from './http/body.ts';
import type { Metrics } from './metrics.ts';
import type { Sessions } from './outbound.ts';
import type { Reservation } from './policy.ts';
import { type PricedService, offerOf } from './prices.ts';
import { SessionEndpoint, type SessionStore, keepConnected } from './session/index.ts';
import type { Store } from './store.ts';
import { normaliseTarget } from './target.ts';
import type { Wallet } from './wallet.ts';
import type { Close } from '../protocol/eip712.ts';
import { verifyP256 } from '../protocol/keys.ts';

export interface SessionManagerOptions {
  readonly identity: Identity;
  readonly config: SessionConfig;
  readonly core: Core;
  readonly wallet: Wallet;
  readonly store: Store;
  readonly app: App;
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

interface Live {
  readonly id: number;
  readonly peer: number;
  readonly role: 'a' | 'b';
  readonly keys: { readonly own: Uint8Array; readonly peer: Uint8Array };
  readonly endpoint: SessionEndpoint;
  readonly link: AbortController;
  /** No new calls of ours; set when either side starts to close it. */
  closing: boolean;
  /** Our own control call is in flight. */
  asking: boolean;
  funding: Promise<void> | null;
  /** The whole of leaving, once begun. */
  left: Promise<void> | null;
}

/** Targets under this are the sidecars' own, inside a session; the app never sees them. */
const CONTROL = '/.agnt2/';
const CLOSE = `${CONTROL}close`;
const REFRESH = `${CONTROL}refresh`;
const READY_MS = 10_000;
const CLOSE_MS = 10_000;
/** After a peer refused a session, it isn't asked again for this long; doubles. */
const REFUSED_MS = 60_000;
const MAX_SESSIONS = 4096;
const MAX_CONTROL_BYTES = 4096;
/** Seconds a finalize waits past exitAt: the shard's clock may lag ours. */
const SLACK = 3;
const GONE = new Set(['session_closed', 'unknown_session']);

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(reached: () => boolean, ms: number): Promise<boolean> {
  for (const end = performance.now() + ms; !reached(); await wait(5)) if (performance.now() > end) return false;
  return true;
}

async function readSmall(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_CONTROL_BYTES) throw refusal('bad_request', 'a control call is small');
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

export class SessionManager implements Sessions {
  readonly #options: SessionManagerOptions;
  readonly #now: () => number;
  readonly #live = new Map<number, Live>();
  /** The session our calls to a peer use. */
  readonly #byPeer = new Map<number, Live>();
  readonly #coreCalls = new Map<number, number>();
  readonly #opening = new Map<number, Promise<void>>();
  readonly #joining = new Map<number, Promise<void>>();
  readonly #refused = new Map<number, { untilMs: number; ms: number }>();
  #timer: NodeJS.Timeout | null = null;
  #watching: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: SessionManagerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
  }

  /** What admin and metrics show. */
  list(): {
    session: string;
    peer: string;
    role: string;
    state: string;
    pays: number;
    earns: number;
    unsigned: { pays: number; earns: number };
  }[] {
    return [...this.#live.values()].map(({ id, peer, role, endpoint }) => ({
      session: formatId(id),
      peer: formatId(peer),
      role,
      state: endpoint.state,
      ...endpoint.accrued,
      unsigned: endpoint.unsigned,
    }));
  }

  /** Takes up the sessions of the last run. */
  async start(): Promise<void> {
    for (const { session } of this.#options.store.sessions()) {
      try {
        await this.#resume(session);
      } catch (error) {
        this.#options.onError(error);
      }
    }
    this.#timer = setInterval(() => void this.watch(), this.#options.everyMs ?? 15_000);
    this.#timer.unref();
  }

  async #resume(session: number): Promise<void> {
    const cell = await this.#options.core.session(session);
    if (cell.status === 'open') await this.#attach(cell);
    else if (cell.status === 'exiting') await this.#settleAlone(session);
    else this.#options.store.saveSession(session, 0, 'closed');
  }

  // ---- calls of ours ----

  call(
    agent: number,
    request: ExchangeRequest,
    maxPrice: number,
    reservation: Reservation,
  ): Promise<ExchangeResponse> | null {
    const live = this.#byPeer.get(agent);
    if (live === undefined || live.closing || live.endpoint.state !== 'ready') return null;
    return this.#call(live, request, maxPrice, reservation);
  }

  async #call(
    live: Live,
    request: ExchangeRequest,
    maxPrice: number,
    reservation: Reservation,
  ): Promise<ExchangeResponse> {
    try {
      const { response, record } = await live.endpoint.call(request, { maxPrice });
      record.then(
        ({ price }) => {
          reservation.settle(price);
          this.#options.metrics.spent.add('route="session"', price);
        },
        // Without its record nobody knows what it cost; the budget keeps the most it may have.
        () => {},
      );
      return response;
    } catch (error) {
      if (codeOf(error) === 'insufficient_deposit') this.#fund(live);
      throw error;
    }
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
    const { wallet, core, config, store, firstContact, onEvent } = this.#options;
    let live: Live | null = null;
    try {
      const { value: session } = await wallet.submitOne({
        op: 'open',
        peer,
        deposit: config.deposit,
        exitDelay: config.exitDelay,
      });
      store.saveSession(session, peer, 'open');
      live = await this.#attach(await core.session(session));
      await firstContact.announceSession(peer, session);
      const { endpoint } = live;
      if (!(await until(() => endpoint.state === 'ready', READY_MS)))
        throw refusal('peer_offline', 'the peer did not come to the session');
      this.#refused.delete(peer);
      this.#byPeer.set(peer, live);
      onEvent('session_open', { session: formatId(session), peer: formatId(peer), deposit: String(config.deposit) });
    } catch (error) {
      const ms = Math.min((this.#refused.get(peer)?.ms ?? REFUSED_MS / 2) * 2, 3_600_000);
      this.#refused.set(peer, { untilMs: this.#now() + ms, ms });
      // Nothing was paid in it: the deposit comes back after the exit delay.
      if (live !== null) void this.#leaveAlone(live).catch((fault: unknown) => this.#options.onError(fault));
      throw error;
    }
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
  async #attach(cell: SessionCell): Promise<Live> {
    const { core, identity, config, storeOf, onError } = this.#options;
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
      facts: {
        session: cell.id,
        a: cell.a,
        b: cell.b,
        keyA: pinned.a,
        keyB: pinned.b,
        depositA: cell.depositA,
        depositB: cell.depositB,
        exitDelay: cell.exitDelay,
      },
      role,
      key: identity.key,
      signing: identity.signing,
      store: storeOf(cell.id),
      credit: config.credit,
      quote: (request) => this.#quote(live, request),
      handler: (request, { price }) => this.#serve(live, request, price),
      onError,
    });
    const live: Live = {
      id: cell.id,
      peer,
      role,
      keys: { own, peer: role === 'a' ? pinned.b : pinned.a },
      endpoint,
      link: new AbortController(),
      closing: false,
      asking: false,
      funding: null,
      left: null,
    };
    this.#live.set(cell.id, live);
    // A session we joined or took up again serves our own calls to that peer too.
    if (!this.#byPeer.has(peer) && !this.#opening.has(peer)) this.#byPeer.set(peer, live);
    const room = sessionRoom(formatId(cell.id));
    void keepConnected(endpoint, () => dial(core.base, room, identity), live.link.signal, onError);
    return live;
  }

  // ---- calls of the peer ----

  #quote(live: Live, request: ExchangeRequest): number {
    if (request.target.startsWith(CONTROL)) return 0;
    if (live.closing) throw refusal('session_draining', 'this session is being closed');
    if (normaliseTarget(request.target) !== request.target)
      throw refusal('bad_target', 'the request target is not in its normal form');
    const offer = offerOf(this.#options.services(), request.method, request.target);
    if (offer === null) throw refusal('unknown_service', 'this agent serves nothing');
    return offer.price;
  }

  async #serve(live: Live, request: ExchangeRequest, price: number): Promise<ExchangeResponse> {
    const { app, metrics } = this.#options;
    if (request.target === CLOSE) return this.#answerClose(live, request);
    if (request.target === REFRESH) return this.#answerRefresh(live, request);
    if (request.target.startsWith(CONTROL)) throw refusal('not_found', 'no such control call');
    const response = await app.serve(request, live.peer, 'session');
    metrics.callsIn.add('route="session"');
    if (response.status < 500) metrics.earned.add('route="session"', price);
    return response;
  }

  // ---- deposits ----

  /** Adds a deposit's worth, once at a time; calls go through Core until both sides know. */
  #fund(live: Live): void {
    const { wallet, config, onError } = this.#options;
    if (live.funding !== null || live.closing || config.deposit === 0 || !config.auto) return;
    live.funding = (async () => {
      await wallet.submitOne({ op: 'fund', session: live.id, amount: config.deposit });
      await this.#refresh(live);
      await this.#control(live, REFRESH);
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

  async #control(live: Live, target: string): Promise<Uint8Array> {
    const request = { method: 'POST', target, headers: [], body: EMPTY, signal: AbortSignal.timeout(CLOSE_MS) };
    const { response } = await live.endpoint.call(request, { maxPrice: 0, deadlineMs: CLOSE_MS });
    const body = await readSmall(response.body);
    if (response.status >= 300) throw refusal('peer_failed', `the peer answered ${response.status} to ${target}`);
    return body;
  }

  // ---- leaving ----

  /** Leaves a session: with the peer's signature at once when it gives it, else alone through the exit delay. */
  leave(session: number): Promise<void> {
    const live = this.#live.get(session);
    if (live === undefined) return Promise.reject(refusal('unknown_session', 'no such session here'));
    return (live.left ??= this.#leave(live));
  }

  async #leave(live: Live): Promise<void> {
    live.closing = true;
    this.#forgetPeer(live);
    // The peer may have brought our common close on chain a moment ago: then nobody is left to ask.
    const cell = await this.#options.core.session(live.id).catch(() => null);
    if (cell?.status === 'closed') return this.#over(live, 'session_closed', {});
    try {
      await this.#closeTogether(live);
    } catch (error) {
      this.#options.onEvent('session_close_alone', { session: formatId(live.id), code: codeOf(error) });
      await this.#leaveAlone(live);
    }
  }

  /** Asks the peer to sign how it ended, and brings that on chain. */
  async #closeTogether(live: Live): Promise<void> {
    const { endpoint } = live;
    const { identity, wallet } = this.#options;
    if (endpoint.state !== 'ready') throw refusal('peer_offline', 'the peer is not connected');
    if (!(await until(() => endpoint.inFlight.outgoing === 0, CLOSE_MS)))
      throw refusal('timeout', 'calls are still in flight');
    live.asking = true;
    let body: Uint8Array;
    try {
      body = await this.#control(live, CLOSE);
    } finally {
      live.asking = false;
    }
    const { close, signature } = decodeClose(body);
    const { pays, earns } = endpoint.accrued;
    const [paidByUs, paidToUs] = live.role === 'a' ? [close.paidAB, close.paidBA] : [close.paidBA, close.paidAB];
    if (close.session !== live.id || paidByUs > pays || paidToUs < earns)
      throw refusal('close_mismatch', 'the peer counts another sum');
    if (!(await verifyP256(live.keys.peer, identity.signing.close(close), signature)))
      throw refusal('bad_signature', 'the peer did not sign its close');
    try {
      await wallet.submitOne({ op: 'close', close, signature });
    } catch (error) {
      // Both may close at the same moment; either way it is closed as both agreed.
      if (!GONE.has(codeOf(error))) throw error;
    }
    this.#over(live, 'session_closed', { paid: String(paidByUs), earned: String(paidToUs) });
  }

  /** The peer's wish to close: no more calls either way, last halves signed, then our signature under what they say. */
  async #answerClose(live: Live, request: ExchangeRequest): Promise<ExchangeResponse> {
    await readSmall(request.body);
    live.closing = true;
    this.#forgetPeer(live);
    const { endpoint } = live;
    const quiet = (): boolean => endpoint.inFlight.incoming <= 1 && endpoint.inFlight.outgoing <= (live.asking ? 1 : 0);
    // What we owe we sign by ourselves; what we are owed is the asker's to sign, and it does within its window.
    const signed = (): boolean => endpoint.unsigned.pays === 0 && endpoint.unsigned.earns === 0;
    if (!(await until(() => quiet() && signed(), CLOSE_MS / 2))) {
      live.closing = live.left !== null;
      throw refusal('timeout', 'not everything is signed yet');
    }
    const close = closeOf(live);
    const signature = await this.#options.identity.key.sign(this.#options.identity.signing.close(close));
    // Should the asker not bring it on chain, we leave alone; by then it has had ample time.
    setTimeout(() => void this.#afterSigned(live), CLOSE_MS * 3).unref();
    return {
      status: 200,
      headers: [['content-type', 'application/json']],
      body: bytes(encodeClose({ close, signature })),
    };
  }

  async #afterSigned(live: Live): Promise<void> {
    if (!this.#live.has(live.id)) return;
    try {
      const { status } = await this.#options.core.session(live.id);
      if (status === 'closed') this.#over(live, 'session_closed', {});
      else await (live.left ??= this.#leaveAlone(live));
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** Settles what the peer signed and starts the exit; `watch` finalizes when its delay is over. */
  async #leaveAlone(live: Live): Promise<void> {
    const { wallet, store, onEvent } = this.#options;
    live.closing = true;
    this.#forgetPeer(live);
    await live.endpoint.drain(1000).catch(() => {});
    await this.#settle(live);
    let exitAt: number | null = null;
    try {
      exitAt = (await wallet.submitOne({ op: 'exit', session: live.id })).value;
    } catch (error) {
      if (GONE.has(codeOf(error))) return this.#over(live, 'session_closed', {});
      // Somebody else's exit runs already: the same delay, the same end.
      if (codeOf(error) !== 'session_not_open') throw error;
    }
    store.saveSession(live.id, live.peer, 'exiting', exitAt);
    onEvent('session_exiting', { session: formatId(live.id), exitAt });
    this.#detach(live);
  }

  /** Brings the newest half the peer signed on chain: the money we are owed. */
  async #settle(live: Live): Promise<void> {
    const { earns } = live.endpoint.halves();
    if (earns !== null) await this.#settleHalf(earns);
  }

  async #settleHalf({ half, payer }: NonNullable<ReturnType<SessionEndpoint['halves']>['earns']>): Promise<void> {
    try {
      await this.#options.wallet.submitOne({ op: 'settle', half, signature: payer });
    } catch (error) {
      if (codeOf(error) !== 'stale_half' && !GONE.has(codeOf(error))) throw error;
    }
  }

  /** As {@link #settle}, for a session without an endpoint: after a restart in the middle of an exit. */
  async #settleAlone(session: number): Promise<void> {
    const { storeOf, core, identity } = this.#options;
    const role = roleOf(await core.session(session), identity.agent);
    const earns = storeOf(session).load(role === 'a' ? 1 : 0)?.half ?? null;
    if (earns !== null) await this.#settleHalf(earns);
  }

  /** Looks at every session's cell: settles where somebody exits, finalizes what is due, forgets what is closed. */
  watch(): Promise<void> {
    return (this.#watching = this.#watching
      .then(() => this.#watch())
      .catch((error: unknown) => this.#options.onError(error)));
  }

  async #watch(): Promise<void> {
    const { core, store, wallet, onError } = this.#options;
    for (const { session, peer } of store.sessions()) {
      try {
        const cell = await core.session(session);
        const live = this.#live.get(session);
        if (cell.status === 'closed') {
          if (live !== undefined) this.#over(live, 'session_closed', {});
          else store.saveSession(session, peer, 'closed');
        } else if (cell.status === 'exiting') {
          if (live !== undefined) await (live.left ??= this.#leaveAlone(live));
          if (this.#now() / 1000 < cell.exitAt + SLACK) continue;
          await wallet.submitOne({ op: 'finalize', session });
          store.saveSession(session, peer, 'closed');
        }
      } catch (error) {
        if (codeOf(error) === 'unknown_session') store.saveSession(session, peer, 'closed');
        else onError(error);
      }
    }
  }

  #forgetPeer(live: Live): void {
    if (this.#byPeer.get(live.peer) === live) this.#byPeer.delete(live.peer);
  }

  #detach(live: Live): void {
    this.#forgetPeer(live);
    this.#live.delete(live.id);
    live.link.abort();
    live.endpoint.close();
  }

  #over(live: Live, event: string, fields: Record<string, unknown>): void {
    this.#options.store.saveSession(live.id, live.peer, 'closed');
    this.#coreCalls.delete(live.peer);
    this.#detach(live);
    this.#options.onEvent(event, { session: formatId(live.id), ...fields });
  }

  /** Leaves every session; sessions of peers that don't answer are settled and exit alone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.allSettled(this.#opening.values());
    await Promise.allSettled([...this.#live.keys()].map((session) => this.leave(session)));
    await this.#watching;
  }
}

function roleOf(cell: SessionCell, agent: number): 'a' | 'b' {
  if (cell.a === agent) return 'a';
  if (cell.b === agent) return 'b';
  throw refusal('not_party', 'the session is between others');
}

const NO_ROOT = new Uint8Array(32);

/** Both directions as their newest halves say. */
function closeOf({ id, role, endpoint }: Live): Close {
  const { pays, earns } = endpoint.halves();
  const [ab, ba] = role === 'a' ? [pays?.half, earns?.half] : [earns?.half, pays?.half];
  return {
    session: id,
    paidAB: ab?.paid ?? 0,
    paidBA: ba?.paid ?? 0,
    callsAB: ab?.calls ?? 0,
    callsBA: ba?.calls ?? 0,
    rootAB: ab?.root ?? NO_ROOT,
    rootBA: ba?.root ?? NO_ROOT,
  };
}

/**
 * How sessions end: closed at once when both sign how it ended, else settled with what the peer signed and left through
 * the exit delay. Whatever fails on the way is tried again at the next look.
 */
import { codeOf } from '../protocol/errors.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { verifyP256 } from '../protocol/keys.ts';
import { decodeClose, encodeClose } from './closing.ts';
import type { Core, SessionFacts as SessionCell } from './core.ts';
import type { Far } from './far.ts';
import type { Identity } from './identity.ts';
import { refusal } from './errors.ts';
import type { ExchangeRequest, ExchangeResponse } from '../protocol/exchange.ts';
import { bytes } from './http/body.ts';
import { CLOSE, CONTROL_MS, type Live, closeOf, control, readSmall, roleOf, until } from './live.ts';
import type { SessionEndpoint, SessionStore } from './session/index.ts';
import type { SessionRow, Store } from './store.ts';

export interface LeavingOptions {
  readonly identity: Identity;
  readonly core: Core;
  readonly far: Far;
  readonly store: Store;
  readonly storeOf: (session: number) => SessionStore;
  readonly live: ReadonlyMap<number, Live>;
  /** Lets no new call into the session. */
  readonly quiet: (live: Live) => void;
  /** Ends its endpoint and forgets it. */
  readonly detach: (live: Live) => void;
  /** Takes up a session of the store that has no endpoint: on it again, or out of it. */
  readonly resume: (row: SessionRow) => Promise<void>;
  readonly onEvent: (event: string, fields: Record<string, unknown>) => void;
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
}

/** Seconds a finalize waits past exitAt: the shard's clock may lag ours. */
const SLACK = 3;
const GONE = new Set(['session_closed', 'unknown_session']);
/** The session ended between our look and our step. */
const ENDED = new Set([...GONE, 'session_not_exiting']);

export class Leaving {
  readonly #options: LeavingOptions;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: LeavingOptions) {
    this.#options = options;
  }

  /** Leaves a session: with the peer's signature at once when it gives it, else alone through the exit delay. */
  leave(live: Live): Promise<void> {
    return this.#once(live, () => this.#leave(live));
  }

  /** {@link leave}, of a session in which there is nothing else to be done: when the packet at hand has been dealt with, so that what its peer owes is settled. */
  leaveSoon(live: Live): void {
    queueMicrotask(() => void this.leave(live).catch(this.#options.onError));
  }

  #once(live: Live, run: () => Promise<void>): Promise<void> {
    return (live.left ??= run().catch((error: unknown) => {
      // The gateway was away, say: the next look at the session tries again.
      live.left = null;
      throw error;
    }));
  }

  async #leave(live: Live): Promise<void> {
    this.#options.quiet(live);
    // The peer may have brought our common close on chain a moment ago: then nobody is left to ask.
    const cell = await this.#options.core.session(live.id).catch(() => null);
    if (cell?.status === 'closed') return this.#over(live, {});
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
    const { identity, far } = this.#options;
    if (endpoint.state !== 'ready') throw refusal('peer_offline', 'the peer is not connected');
    if (!(await until(() => endpoint.inFlight.outgoing === 0, CONTROL_MS)))
      throw refusal('timeout', 'calls are still in flight');
    live.asking = true;
    let body: Uint8Array;
    try {
      body = await control(live, CLOSE);
    } finally {
      live.asking = false;
    }
    const { close, signature } = decodeClose(body);
    const { pays, earns } = endpoint.accrued;
    const [paidByUs, paidToUs] = live.role === 'a' ? [close.paidAB, close.paidBA] : [close.paidBA, close.paidAB];
    // Calls are reputation: the peer shall count no more of them than there were.
    const ours = closeOf(live);
    const inflated = close.callsAB > ours.callsAB || close.callsBA > ours.callsBA;
    if (close.session !== live.id || paidByUs > pays || paidToUs < earns || inflated)
      throw refusal('close_mismatch', 'the peer counts another sum');
    if (!(await verifyP256(live.peerKey, identity.signing.close(close), signature)))
      throw refusal('bad_signature', 'the peer did not sign its close');
    try {
      await far.submit(shardOf(live.id), { op: 'close', close, signature });
    } catch (error) {
      // Both may close at the same moment; either way it is closed as both agreed.
      if (!GONE.has(codeOf(error))) throw error;
    }
    this.#over(live, { paid: String(paidByUs), earned: String(paidToUs) });
  }

  /** The peer's wish to close: no more calls either way, last halves signed, then our signature under what they say. */
  async answerClose(live: Live, request: ExchangeRequest): Promise<ExchangeResponse> {
    await readSmall(request.body);
    this.#options.quiet(live);
    const { endpoint } = live;
    const quiet = (): boolean => endpoint.inFlight.incoming <= 1 && endpoint.inFlight.outgoing <= (live.asking ? 1 : 0);
    // What we owe we sign by ourselves; what we are owed is the asker's to sign, and it does within its window.
    const signed = (): boolean => endpoint.unsigned.pays === 0 && endpoint.unsigned.earns === 0;
    if (!(await until(() => quiet() && signed(), CONTROL_MS / 2))) {
      live.closing = live.signed || live.left !== null;
      throw refusal('timeout', 'not everything is signed yet');
    }
    live.signed = true;
    const close = closeOf(live);
    const signature = await this.#options.identity.key.sign(this.#options.identity.signing.close(close));
    // From here the asker may close at this sum at any time, so also after a restart nothing is served above it.
    this.#options.store.saveSession(live.id, live.peer, 'exiting');
    // Should the asker not bring it on chain, we leave alone; by then it has had ample time.
    setTimeout(() => void this.#afterSigned(live), CONTROL_MS * 3).unref();
    return {
      status: 200,
      headers: [['content-type', 'application/json']],
      body: bytes(encodeClose({ close, signature })),
    };
  }

  async #afterSigned(live: Live): Promise<void> {
    if (!this.#options.live.has(live.id)) return;
    try {
      const { status } = await this.#options.core.session(live.id);
      if (status === 'closed') this.#over(live, {});
      else await this.#once(live, () => this.#leaveAlone(live));
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** Settles what the peer signed and starts the exit; `watch` finalizes when its delay is over. */
  async #leaveAlone(live: Live): Promise<void> {
    const { far, store, onEvent } = this.#options;
    this.#options.quiet(live);
    await live.endpoint.drain(1000).catch(() => {});
    await this.#settle(live);
    let exitAt: number | null = null;
    try {
      exitAt = await far.submit(shardOf(live.id), { op: 'exit', session: live.id });
    } catch (error) {
      if (GONE.has(codeOf(error))) return this.#over(live, {});
      // Somebody else's exit runs already: the same delay, the same end.
      if (codeOf(error) !== 'session_not_open') throw error;
    }
    store.saveSession(live.id, live.peer, 'exiting', exitAt);
    onEvent('session_exiting', { session: formatId(live.id), exitAt });
    this.#options.detach(live);
  }

  /** Brings the newest half the peer signed on chain: the money we are owed. */
  async #settle(live: Live): Promise<void> {
    const { earns } = live.endpoint.halves();
    if (earns !== null) await this.#settleHalf(earns);
  }

  async #settleHalf({ half, payer }: NonNullable<ReturnType<SessionEndpoint['halves']>['earns']>): Promise<void> {
    try {
      await this.#options.far.submit(shardOf(half.session), { op: 'settle', half, signature: payer });
    } catch (error) {
      if (codeOf(error) !== 'stale_half' && !GONE.has(codeOf(error))) throw error;
    }
  }

  /** Goes on leaving a session without an endpoint: after a restart in the middle of it. */
  async leaveUnattached(cell: SessionCell): Promise<void> {
    const { storeOf, identity, far, store } = this.#options;
    const role = roleOf(cell, identity.agent);
    const earns = storeOf(cell.id).load(role === 'a' ? 1 : 0)?.half ?? null;
    const settled = role === 'a' ? cell.paidBA : cell.paidAB;
    if (earns !== null && earns.half.paid > settled) await this.#settleHalf(earns);
    if (cell.status !== 'open') return;
    const exitAt = await far.submit(shardOf(cell.id), { op: 'exit', session: cell.id });
    store.saveSession(cell.id, role === 'a' ? cell.b : cell.a, 'exiting', exitAt);
  }

  /** Looks at every session's cell: settles where somebody exits, finalizes what is due, forgets what is closed. */
  watch(): Promise<void> {
    return (this.#watching = this.#watching
      .then(() => this.#watch())
      .catch((error: unknown) => this.#options.onError(error)));
  }

  async #watch(): Promise<void> {
    const { core, store, far, onError } = this.#options;
    for (const row of store.sessions()) {
      const { session, peer } = row;
      try {
        const cell = await core.session(session);
        const live = this.#options.live.get(session);
        if (cell.status === 'closed') {
          if (live !== undefined) this.#over(live, {});
          else store.saveSession(session, peer, 'closed');
        } else if (cell.status === 'exiting') {
          if (live !== undefined) await this.#once(live, () => this.#leaveAlone(live));
          // What could not be taken up when the gateway was away is owed all the same.
          else await this.leaveUnattached(cell);
          if (this.#options.now() / 1000 < cell.exitAt + SLACK) continue;
          await far.submit(shardOf(session), { op: 'finalize', session });
          store.saveSession(session, peer, 'closed');
        } else if (live === undefined) await this.#options.resume(row);
      } catch (error) {
        if (ENDED.has(codeOf(error))) store.saveSession(session, peer, 'closed');
        else onError(error);
      }
    }
  }

  /** Until no look is under way. */
  async idle(): Promise<void> {
    await this.#watching;
  }

  #over(live: Live, fields: Record<string, unknown>): void {
    this.#options.store.saveSession(live.id, live.peer, 'closed');
    this.#options.detach(live);
    this.#options.onEvent('session_closed', { session: formatId(live.id), ...fields });
  }
}

/**
 * An agent in a program of its own, without proxy or policy: it opens sessions and joins those that others open with it, and ends them in good order.
 * What is signed is on disk before it is sent, as in a sidecar, so a program that is killed loses nothing: started again it finds its sessions
 * by `unattended`.
 */
import { join } from 'node:path';
import { Signing } from '../../protocol/eip712.ts';
import { equal } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import type { SigningKey } from '../../protocol/keys.ts';
import { sessionRoom } from '../../protocol/packet.ts';
import { Core, type NetworkFacts, type SessionFacts as SessionCell } from '../core.ts';
import { dial } from '../dial.ts';
import { refusal } from '../errors.ts';
import { Far } from '../far.ts';
import type { Identity } from '../identity.ts';
import { Leaving } from '../leaving.ts';
import { CLOSE, type Live, factsOf, roleOf, until } from '../live.ts';
import { Openings } from '../opening.ts';
import { type EndpointOptions, SessionEndpoint, type SessionFacts, keepConnected } from '../session/index.ts';
import { SessionFile } from '../session/store-sqlite.ts';
import { Slashing } from '../slashing.ts';
import { openStore } from '../sqlite.ts';
import type { Store } from '../store.ts';
import { CONTROL } from '../target.ts';
import { Wallet } from '../wallet.ts';

export interface PartyOptions {
  /** The gateway's URL, without a trailing slash. */
  readonly gateway: string;
  /** The machine key; the agent is the one that has it on chain. */
  readonly key: SigningKey;
  /** Folder of what must not be forgotten, made when missing; of one program at a time, and of one network. */
  readonly stateDir: string;
  /** Base units in a session that we open, all that can be spent in it. Default 10,000. */
  readonly deposit?: number;
  /** Seconds that a session of ours which one side leaves alone stays open for the other's halves. Default 3600. */
  readonly exitDelay?: number;
  /** Base units that a peer may owe us unsigned, calls in flight included, and that we pay for what we can't remember asking for. Default 10,000. */
  readonly credit?: number;
  /** Hears what went wrong beside any call: refused sockets, steps that are tried again. */
  readonly onError?: (error: unknown) => void;
}

/** How we behave in a session; without a `handler` we only call. */
export type Conduct = Pick<
  EndpointOptions,
  'handler' | 'quote' | 'onCharged' | 'windowMs' | 'windowCalls' | 'peerWaitMs'
>;

/** A session that we are in. */
export interface Seat {
  readonly endpoint: SessionEndpoint;
  /** Parties, keys and deposits as they stood when we came. */
  readonly facts: SessionFacts;
}

/** Between looks at the sessions' cells. */
const WATCH_MS = 15_000;
/** How long relay and peer may take to show what was signed. */
const SHOWN_MS = 3_000;
/** The store's note that it is not new. */
const STORE = 'sessions';

export class Party {
  readonly #identity: Identity;
  readonly #core: Core;
  readonly #store: Store;
  readonly #file: SessionFile;
  readonly #openings: Openings;
  readonly #leaving: Leaving;
  readonly #slashing: Slashing;
  readonly #live = new Map<number, Live>();
  readonly #seats = new Map<number, Promise<Seat>>();
  readonly #credit: number;
  readonly #onError: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;
  #abandoning: Promise<unknown> = Promise.resolve();

  /**
   * Finds the agent of the key and what the folder knows of it. Rejects with `gateway_unavailable`, `unknown_agent` when no agent has the
   * key, `network_changed` when the folder is of another network.
   */
  static async start(options: PartyOptions): Promise<Party> {
    const core = new Core(options.gateway);
    const [network, [agent]] = await Promise.all([core.status(), core.agentsByKey(options.key.publicKey)]);
    if (agent === undefined) throw refusal('unknown_agent', 'no agent has this machine key: register one (agnt2 init)');
    const store = openStore(options.stateDir);
    let party: Party | null = null;
    try {
      store.pinNetwork(network);
      party = new Party(options, core, network, agent, store);
      await party.#begin();
      return party;
    } catch (error) {
      if (party !== null) party.#close();
      store.close();
      throw error;
    }
  }

  private constructor(options: PartyOptions, core: Core, network: NetworkFacts, agent: number, store: Store) {
    const { key, stateDir, deposit = 10_000, exitDelay = 3600, credit = 10_000, onError = () => {} } = options;
    const { domain, sequencerKey, seq } = network;
    const signing = new Signing(domain);
    const firstSeq = seq.get(shardOf(agent)) ?? 0;
    const wallet = new Wallet({ core, key, signing, agent, sequencerKey, firstSeq });
    const far = new Far({ core, wallet, signing, sequencerKey });
    this.#identity = { agent, key, signing };
    this.#core = core;
    this.#store = store;
    this.#credit = credit;
    this.#onError = onError;
    this.#file = new SessionFile(join(stateDir, 'sessions.sqlite'), onError);
    this.#openings = new Openings({ agent, core, far, store, config: { deposit, exitDelay } });
    this.#slashing = new Slashing({ far, store, onEvent: () => {}, onError });
    this.#leaving = new Leaving({
      identity: this.#identity,
      core,
      far,
      store,
      storeOf: (session) => this.#file.storeOf(session),
      live: this.#live,
      quiet: (live) => void (live.closing = true),
      detach: (live) => this.#detach(live),
      // In one that is open nobody is before the program says how it behaves there.
      resume: async ({ session, state }) => {
        if (state === 'exiting') await this.#leaving.leaveUnattached(await core.session(session));
      },
      onEvent: () => {},
      onError,
      now: () => Date.now(),
    });
    this.#timer = setInterval(() => void this.watch(), WATCH_MS);
    this.#timer.unref();
  }

  /** In a new folder nobody knows whether a close was signed of the sessions that there are: they are left (docs/decisions/0017). */
  async #begin(): Promise<void> {
    if (this.#store.fact(STORE) !== null) return;
    const unknown = await this.#openings.unknown();
    for (const { id, a, b } of unknown) this.#store.saveSession(id, a === this.agent ? b : a, 'exiting');
    this.#store.setFact(STORE, 'begun');
    const open = unknown.filter(({ status }) => status === 'open');
    this.#abandoning = Promise.all(open.map((cell) => this.#abandon(cell).catch(this.#onError)));
  }

  /** Leaves an open session that we are not in. What our folder lacks comes from the relay and the peer, if they are there. */
  async #abandon(cell: SessionCell): Promise<void> {
    let seat: Seat;
    try {
      seat = await this.#sit(cell, {});
    } catch (error) {
      // Our key was rotated: nothing can be signed in it any more.
      if (codeOf(error) !== 'wrong_key') throw error;
      return this.#leaving.leaveUnattached(cell);
    }
    const live = this.#live.get(cell.id);
    if (live === undefined) return;
    live.closing = true;
    await until(() => seat.endpoint.state === 'ready', SHOWN_MS);
    await this.#leaving.leave(live);
  }

  get agent(): number {
    return this.#identity.agent;
  }
  /** What this network's parties sign: `verifyCall` takes it. */
  get signing(): Signing {
    return this.#identity.signing;
  }

  /** Opens a session with a peer; calls in it wait until the peer has joined. Rejects with the shard's refusal. */
  async open(peer: number, conduct: Conduct = {}): Promise<Seat> {
    return this.#sit(await this.#openings.open(peer), conduct);
  }

  /**
   * Open sessions of ours that nobody here is in: those that others opened with us (`b` is we), and ours that an earlier run was in. Look at
   * `exitDelay` before you `join` what a stranger opened: it is the time in which you must bring what you are owed on chain.
   */
  async unattended(): Promise<SessionCell[]> {
    const all = await this.#core.sessionsOf(this.agent);
    return all.filter(({ id, status }) => status === 'open' && !this.#seats.has(id) && !this.#isOver(id));
  }

  /** Joins an open session; the seat we have, when we are in it. Rejects with `session_not_open`, `not_party`, `session_draining`, `wrong_key`. */
  async join(session: number, conduct: Conduct = {}): Promise<Seat> {
    const cell = await this.#core.session(session);
    // One whose end we signed must not begin again: what would be served in it, its close does not count.
    if (this.#isOver(session)) throw refusal('session_draining', 'this session is being left');
    if (cell.status !== 'open') throw refusal('session_not_open', 'the session is not open');
    return this.#sit(cell, conduct);
  }

  #isOver(session: number): boolean {
    return (this.#store.sessionState(session) ?? 'open') !== 'open';
  }

  #sit(cell: SessionCell, conduct: Conduct): Promise<Seat> {
    let seat = this.#seats.get(cell.id);
    if (seat === undefined) {
      seat = this.#attach(cell, conduct).catch((error: unknown) => {
        this.#seats.delete(cell.id);
        throw error;
      });
      this.#seats.set(cell.id, seat);
    }
    return seat;
  }

  async #attach(cell: SessionCell, { handler, quote, ...conduct }: Conduct): Promise<Seat> {
    const { agent, key, signing } = this.#identity;
    const role = roleOf(cell, agent);
    const facts = factsOf(cell, await this.#core.sessionKeys(cell.id));
    const [own, peerKey] = role === 'a' ? [facts.keyA, facts.keyB] : [facts.keyB, facts.keyA];
    if (!equal(own, key.publicKey))
      throw refusal('wrong_key', 'the session was opened for another machine key of ours');
    const peer = role === 'a' ? cell.b : cell.a;
    const endpoint = new SessionEndpoint({
      ...conduct,
      credit: this.#credit,
      facts,
      role,
      key,
      signing,
      store: this.#file.storeOf(cell.id),
      quote: (request) => {
        if (request.target.startsWith(CONTROL)) return 0;
        if (live.closing) throw refusal('session_draining', 'this session is being closed');
        return quote?.(request) ?? 0;
      },
      handler: async (request, context) => {
        if (request.target === CLOSE) return this.#leaving.answerClose(live, request);
        if (request.target.startsWith(CONTROL) || handler === undefined)
          throw refusal('not_found', 'nothing is served here');
        return handler(request, context);
      },
      onContradiction: (found) => {
        this.#slashing.found(peer, found);
        this.#leaving.leaveSoon(live);
      },
      onError: this.#onError,
    });
    const link = new AbortController();
    const live: Live = {
      id: cell.id,
      peer,
      role,
      peerKey,
      endpoint,
      link,
      direct: false,
      closing: false,
      signed: false,
      asking: false,
      funding: null,
      left: null,
    };
    this.#live.set(cell.id, live);
    // Only what is new: that it is being left already must not be forgotten.
    if (this.#store.sessionState(cell.id) === null) this.#store.saveSession(cell.id, peer, 'open');
    const room = sessionRoom(formatId(cell.id));
    void keepConnected(endpoint, () => dial(this.#core.base, room, this.#identity), link.signal, this.#onError);
    return { endpoint, facts };
  }

  /**
   * Leaves a session in good order: no new calls, those in flight end, both sign what they came to, and it is paid out at once; without the
   * peer what it signed is brought on chain, and the rest comes back after the exit delay (`watch`). The endpoint still proves its calls.
   */
  async leave(session: number): Promise<void> {
    const live = this.#live.get(session);
    if (live !== undefined) return this.#leaving.leave(live);
    const cell = await this.#core.session(session);
    await (cell.status === 'open' ? this.#abandon(cell) : this.#leaving.leaveUnattached(cell));
  }

  /** Looks at every session of ours: answers a peer that leaves alone, pays out what is due, lets go of what is over. Done every 15 seconds. */
  async watch(): Promise<void> {
    await this.#openings.late().catch(this.#onError);
    await this.#leaving.watch();
    await this.#slashing.look();
  }

  #detach(live: Live): void {
    this.#live.delete(live.id);
    this.#seats.delete(live.id);
    live.link.abort();
    live.endpoint.close();
  }

  /** Leaves every session and closes the folder. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.allSettled([this.#abandoning, ...this.#seats.values()]);
    await Promise.all([...this.#live.keys()].map((session) => this.leave(session).catch(this.#onError)));
    await this.#leaving.idle();
    await this.#slashing.idle();
    for (const live of this.#live.values()) this.#detach(live);
    this.#close();
    this.#store.close();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#file.close();
  }
}

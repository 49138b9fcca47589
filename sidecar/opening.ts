/** How our sessions begin on chain: with a peer of another shard that takes a message there, and a crash may come between any two lines. */
import { formatId, shardOf } from '../protocol/ids.ts';
import { codeOf } from '../protocol/errors.ts';
import type { SessionConfig } from './config.ts';
import type { Core, SessionFacts } from './core.ts';
import { refusal } from './errors.ts';
import type { Far, Sent } from './far.ts';
import type { Store } from './store.ts';

export interface OpeningsOptions {
  readonly agent: number;
  readonly core: Core;
  readonly far: Far;
  readonly store: Store;
  readonly config: Pick<SessionConfig, 'deposit' | 'exitDelay'>;
}

/** After these nothing is known of the session yet: what the message made is asked for again later. */
const UNKNOWN = new Set([
  'outcome_pending',
  'bad_receipt',
  'gateway_unavailable',
  'gateway_failed',
  'unavailable',
  'overloaded',
]);

export class Openings {
  readonly #options: OpeningsOptions;
  /** Messages that somebody waits for, `to:number`. */
  readonly #awaited = new Set<string>();

  constructor(options: OpeningsOptions) {
    this.#options = options;
  }

  /** Opens a session with our deposit; resolves with its cell, on disk as ours. Rejects with the status it was refused with. */
  async open(peer: number): Promise<SessionFacts> {
    const { agent, core, far, store, config } = this.#options;
    const { deposit, exitDelay } = config;
    let sent: Sent | null = null;
    try {
      const session = await far.submit(shardOf(peer), { op: 'open', peer, deposit, exitDelay }, (message) => {
        sent = message;
        this.#awaited.add(keyOf(message));
        store.addOpening(message, peer);
      });
      if (sent === null) store.saveSession(session, peer, 'open');
      const cell = await core.session(session);
      if (cell.a !== agent || cell.b !== peer || cell.depositA < deposit)
        throw refusal('bad_receipt', `${formatId(session)} is not the session we opened`);
      store.saveSession(session, peer, 'open');
      if (sent !== null) store.removeOpening(sent);
      return cell;
    } catch (error) {
      if (sent !== null && !UNKNOWN.has(codeOf(error))) store.removeOpening(sent);
      throw error;
    } finally {
      if (sent !== null) this.#awaited.delete(keyOf(sent));
    }
  }

  /** Looks after openings whose outcome nobody waited for: what did open is left again, its deposit comes back after the exit delay. */
  async late(): Promise<void> {
    const { far, store } = this.#options;
    for (const { peer, ...sent } of store.openings()) {
      if (this.#awaited.has(keyOf(sent))) continue;
      try {
        const session = await far.outcome(sent);
        if (session === null) continue;
        if (store.sessionState(session) === null) store.saveSession(session, peer, 'exiting');
      } catch (error) {
        if (UNKNOWN.has(codeOf(error))) continue;
        // Refused there: the deposit has come back as a credit.
      }
      store.removeOpening(sent);
    }
  }

  /** Sessions of ours, not closed, that the store has no note of: a crash came between, or the disk was lost. */
  async unknown(): Promise<SessionFacts[]> {
    const { agent, core, store } = this.#options;
    const all = await core.sessionsOf(agent);
    return all.filter(({ id, status }) => status !== 'closed' && store.sessionState(id) === null);
  }
}

const keyOf = ({ to, number }: Sent): string => `${to}:${number}`;

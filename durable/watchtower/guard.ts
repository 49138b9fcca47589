/**
 * A session object's own watch, by its alarm: while it holds halves that say more than the chain has, it looks at the session every now and then, and has
 * them settled when somebody is leaving. It looks at least four times within an exit's delay; between looks the object sleeps.
 */
import { codeOf } from '../../protocol/errors.ts';
import { SessionStatus } from '../../protocol/cells.ts';
import type { SignedHalf } from '../../protocol/half.ts';
import { shardOf } from '../../protocol/ids.ts';
import { type Namespace, shardStub } from '../shard/api.ts';
import { unsettled, watchtowerStub } from './api.ts';

export interface GuardEnv {
  readonly SHARD: Namespace;
  readonly WATCHTOWER?: Namespace;
}

const SECOND_MS = 1000;
/** Looks within an exit's delay. */
const LOOKS = 4;
/** Longest between two looks: at a session that is open, and at one that somebody is leaving. */
const OPEN_MS = 900 * SECOND_MS;
const EXITING_MS = 30 * SECOND_MS;
/** Until the first look, which says how long the exit's delay is. */
const FIRST_MS = 15 * SECOND_MS;

export class Guard {
  readonly #ctx: DurableObjectState;
  readonly #env: GuardEnv;
  /** Whether an alarm is set, as far as this life of the object knows. */
  #armed = false;

  constructor(ctx: DurableObjectState, env: GuardEnv) {
    this.#ctx = ctx;
    this.#env = env;
  }

  /** A half was kept. */
  kept(): void {
    if (this.#armed || !this.#env.WATCHTOWER) return;
    this.#armed = true;
    const { storage } = this.#ctx;
    // One that was set in another life is not put off.
    this.#ctx.waitUntil(
      storage.getAlarm().then((at) => (at === null ? storage.setAlarm(Date.now() + FIRST_MS) : undefined)),
    );
  }

  /** The alarm: never throws, as a platform that sees an alarm fail too often forgets it. */
  async look(session: number, halves: readonly (SignedHalf | null)[]): Promise<void> {
    let next: number | null;
    // A half that is kept during the look sets an alarm of its own.
    this.#armed = false;
    try {
      next = await this.#look(session, halves);
    } catch (error) {
      console.log(JSON.stringify({ room: 'session', event: 'watch_failed', session, code: codeOf(error) }));
      next = EXITING_MS;
    }
    if (next === null) return;
    this.#armed = true;
    await this.#ctx.storage.setAlarm(Date.now() + next);
  }

  /** Milliseconds until the next look; null when there is nothing to look after. */
  async #look(session: number, halves: readonly (SignedHalf | null)[]): Promise<number | null> {
    const facts = await shardStub(this.#env.SHARD, shardOf(session)).sessionFacts(session);
    if (facts === null || facts.status === SessionStatus.closed) return null;
    const rows = unsettled(halves, facts);
    if (rows.length === 0) return null;
    const share = (facts.exitDelay * SECOND_MS) / LOOKS;
    if (facts.status === SessionStatus.open) return Math.max(SECOND_MS, Math.min(share, OPEN_MS));
    await watchtowerStub(this.#env.WATCHTOWER!).answer(rows);
    // Until the chain has them: a session of another shard is settled by a message.
    return Math.max(SECOND_MS, Math.min(share / LOOKS, EXITING_MS));
  }
}

/**
 * What the signer signs and what not, whoever asks: it trusts nothing that the sidecar says but the content it signs, so
 * that who takes over the sidecar can't take more than these rules leave. Kept in memory: they hold for the signer's life.
 */
import { decodeBundle } from '../../protocol/bundle.ts';
import { concat, equal } from '../../protocol/bytes.ts';
import type { Announce, Close, Connect } from '../../protocol/eip712.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';
import { type Direction, type Half, SIGNATURE_BYTES } from '../../protocol/half.ts';
import type { Interaction } from '../../protocol/ops/index.ts';

/** Operations of an agent at work. None of them moves its money but into an escrow, into a session, or to its owner. */
export const WORKING_OPS: readonly string[] = [
  'abort',
  'attest',
  'close',
  'contest',
  'exit',
  'expire',
  'finalize',
  'fund',
  'invoke',
  'open',
  'plan',
  'publish',
  'respond',
  'rule',
  'settle',
  'slash',
  'withdraw',
];

export interface RuleOptions {
  readonly ops?: readonly string[];
  /** Base units that bundles may put at risk (escrows, deposits) in any 60 minutes, and in any 24 hours. */
  readonly perHour?: number;
  readonly perDay?: number;
  /** Unix seconds after which nothing is signed. */
  readonly expires?: number;
  /** In milliseconds. */
  readonly now?: () => number;
}

/** A bundle that could be sent much later could be kept for when it hurts. */
const MAX_BUNDLE_SECONDS = 3600;
const MAX_SKEW_MS = 120_000;
/** Sessions and directions remembered; the oldest are forgotten. */
const MAX_HALVES = 65_536;
const HOUR = 60;
const DAY = 24 * HOUR;
const ROOM = /^\/[\x21-\x7e]{1,256}$/;

const refuse = (code: string, detail: string): Agnt2Error => new Agnt2Error(code, detail);
const NO_SIGNATURE = new Uint8Array(SIGNATURE_BYTES);

/** Base units an operation puts at risk. */
const riskOf = (interaction: Interaction): number =>
  'amount' in interaction && (interaction.op === 'invoke' || interaction.op === 'fund')
    ? interaction.amount
    : interaction.op === 'open'
      ? interaction.deposit
      : 0;

export class Rules {
  readonly #ops: ReadonlySet<string>;
  readonly #perHour: number;
  readonly #perDay: number;
  readonly #expires: number;
  readonly #now: () => number;
  #agent = -1;
  /** The newest half signed, by session and direction. */
  readonly #halves = new Map<string, Half>();
  /** minute → base units. */
  readonly #risked = new Map<number, number>();

  constructor({ ops = WORKING_OPS, perHour, perDay, expires, now = Date.now }: RuleOptions = {}) {
    this.#ops = new Set(ops);
    this.#perHour = perHour ?? Infinity;
    this.#perDay = perDay ?? Infinity;
    this.#expires = expires ?? Infinity;
    this.#now = now;
  }

  /** Unix seconds; null for never. */
  get expires(): number | null {
    return this.#expires === Infinity ? null : this.#expires;
  }

  /** Whose key it is, from now on. */
  set agent(agent: number) {
    this.#agent = agent;
  }

  #assertValid(): void {
    if (this.#now() / 1000 >= this.#expires)
      throw refuse('key_expired', `the machine key expired at ${new Date(this.#expires * 1000).toISOString()}`);
  }

  #assertOwn(agent: number): void {
    if (agent !== this.#agent) throw refuse('wrong_agent', 'this key signs for one agent only');
  }

  /** Throws `op_denied`, `over_ceiling`, `bad_expiry`, `wrong_agent`, `key_expired` or `malformed`. */
  bundle(body: Uint8Array): void {
    this.#assertValid();
    const { actor, expiry, interactions } = decodeBundle(concat(body, NO_SIGNATURE));
    this.#assertOwn(actor);
    if (expiry > this.#now() / 1000 + MAX_BUNDLE_SECONDS)
      throw refuse('bad_expiry', `a bundle must expire within ${MAX_BUNDLE_SECONDS} s`);
    for (const { op } of interactions)
      if (!this.#ops.has(op)) throw refuse('op_denied', `the signer signs no ${op}; its --ops say which it does`);
    this.#risk(interactions.reduce((sum, interaction) => sum + riskOf(interaction), 0));
  }

  #risk(amount: number): void {
    if (amount === 0) return;
    const minute = Math.floor(this.#now() / 60_000);
    let [hour, day] = [amount, amount];
    for (const [at, risked] of this.#risked) {
      if (at <= minute - DAY) this.#risked.delete(at);
      else day += risked;
      if (at > minute - HOUR) hour += risked;
    }
    if (hour > this.#perHour) throw refuse('over_ceiling', `the signer's ceiling is ${this.#perHour} an hour`);
    if (day > this.#perDay) throw refuse('over_ceiling', `the signer's ceiling is ${this.#perDay} a day`);
    this.#risked.set(minute, (this.#risked.get(minute) ?? 0) + amount);
  }

  /**
   * As payer or payee, never two halves of which one could be held against the other: later ones count more calls at no
   * less money, and the same calls are the same log. Throws `half_conflict`, `key_expired`.
   */
  half(half: Half): void {
    this.#assertValid();
    const key = `${half.session} ${half.dir}`;
    const before = this.#halves.get(key);
    if (before !== undefined) {
      const grows = half.seq >= before.seq && half.paid >= before.paid && half.calls > before.calls;
      const same = half.calls === before.calls && half.paid === before.paid && equal(half.root, before.root);
      if (!grows && !(same && half.seq >= before.seq))
        throw refuse('half_conflict', 'another half of this session was signed that this one contradicts');
    } else if (this.#halves.size >= MAX_HALVES) this.#halves.delete(this.#halves.keys().next().value!);
    this.#halves.set(key, half);
  }

  /** Throws `half_conflict` for a close below what was signed, `key_expired`. */
  close({ session, paidAB, paidBA, callsAB, callsBA }: Close): void {
    this.#assertValid();
    const check = (dir: Direction, paid: number, calls: number): void => {
      const half = this.#halves.get(`${session} ${dir}`);
      if (half !== undefined && (paid < half.paid || calls < half.calls))
        throw refuse('half_conflict', 'the close says less than a half that was signed');
    };
    check(0, paidAB, callsAB);
    check(1, paidBA, callsBA);
  }

  /** It moves no money: who has a session's calls in its power has them without it. */
  pairing(): void {
    this.#assertValid();
  }

  connect({ agent, room, timeMs }: Connect): void {
    this.#assertValid();
    this.#assertOwn(agent);
    this.#assertNow(timeMs);
    if (!ROOM.test(room)) throw malformed('a room is the path of a socket');
  }

  announce({ agent, timeMs }: Announce): void {
    this.#assertValid();
    this.#assertOwn(agent);
    this.#assertNow(timeMs);
  }

  #assertNow(timeMs: number): void {
    if (Math.abs(timeMs - this.#now()) > MAX_SKEW_MS) throw refuse('stale', 'what is signed now says another time');
  }
}

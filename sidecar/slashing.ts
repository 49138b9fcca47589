/**
 * What a peer that contradicts itself has coming (docs/protocol.md §4, *slash*): its two halves are kept, then brought on chain, again after a restart,
 * until Core has slashed it or refuses for good. A message that was sent twice slashes once.
 */
import { codeOf } from '../protocol/errors.ts';
import type { SignedHalf } from '../protocol/half.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import type { EvidenceRow, EvidenceState } from './evidence.ts';
import type { Far } from './far.ts';
import type { Contradiction } from './session/index.ts';
import type { Store } from './store.ts';

export interface SlashingOptions {
  readonly far: Far;
  readonly store: Store;
  readonly onEvent: (event: string, fields: Record<string, unknown>) => void;
  readonly onError: (error: unknown) => void;
  /** In milliseconds. Default: the clock's. */
  readonly now?: () => number;
}

/** Statuses after which the same evidence comes to nothing else. */
const FINAL = new Set(['unknown_session', 'no_conflict', 'bad_signature']);
/** Milliseconds until what failed is tried again; doubles. */
const RETRY_MS = 15_000;
const MAX_RETRY_MS = 3_600_000;

export class Slashing {
  readonly #options: SlashingOptions;
  readonly #now: () => number;
  #looking: Promise<void> = Promise.resolve();
  /** What failed, by session and direction: not to be tried before. */
  readonly #waits = new Map<string, { untilMs: number; ms: number }>();

  constructor(options: SlashingOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
  }

  /** Keeps the evidence, on disk when this returns, and begins to bring it on chain. */
  found(peer: number, found: Contradiction): void {
    const { store, onEvent } = this.#options;
    if (!store.convict(peer, found)) return;
    const { first, second } = found;
    const said = ({ half: { seq, calls, paid } }: SignedHalf): string => `seq ${seq}: ${paid} for ${calls} calls`;
    const [session, by] = [formatId(first.half.session), formatId(peer)];
    onEvent('peer_contradicted', { session, peer: by, first: said(first), second: said(second) });
    void this.look();
  }

  /** Brings what is owed on chain. One look after the other; never rejects. */
  look(): Promise<void> {
    return (this.#looking = this.#looking
      .then(() => this.#look())
      .catch((error: unknown) => this.#options.onError(error)));
  }

  /** Until no look is under way. */
  async idle(): Promise<void> {
    await this.#looking;
  }

  async #look(): Promise<void> {
    for (const row of this.#options.store.evidence.owed()) {
      if ((this.#waits.get(keyOf(row))?.untilMs ?? 0) <= this.#now()) await this.#submit(row);
    }
  }

  async #submit(row: EvidenceRow): Promise<void> {
    const { session, dir, first, second } = row;
    try {
      const halves = { first: wordOf(first), second: wordOf(second) };
      await this.#options.far.submit(shardOf(session), { op: 'slash', session, dir, ...halves });
      this.#end(row, 'slashed', null);
    } catch (error) {
      const code = codeOf(error);
      // By us, when the answer got lost, or by whoever else has the two halves.
      if (code === 'already_slashed') return this.#end(row, 'slashed', null);
      if (FINAL.has(code)) return this.#end(row, 'refused', code);
      const ms = Math.min(2 * (this.#waits.get(keyOf(row))?.ms ?? RETRY_MS / 2), MAX_RETRY_MS);
      this.#waits.set(keyOf(row), { untilMs: this.#now() + ms, ms });
      this.#options.onError(error);
    }
  }

  #end(row: EvidenceRow, state: EvidenceState, code: string | null): void {
    const { store, onEvent } = this.#options;
    store.evidence.end(row, state, code);
    this.#waits.delete(keyOf(row));
    const [session, peer] = [formatId(row.session), formatId(row.peer)];
    onEvent(state === 'slashed' ? 'peer_slashed' : 'slash_refused', { session, peer, ...(code !== null && { code }) });
  }
}

const keyOf = ({ session, dir }: EvidenceRow): string => `${session} ${dir}`;

/** A half as `slash` takes it. */
const wordOf = ({ half: { seq, calls, paid, root }, payer }: SignedHalf) => ({
  seq,
  calls,
  paid,
  root,
  signature: payer,
});

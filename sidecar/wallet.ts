/**
 * The wallet signs this agent's bundles and sees each through to a verified receipt. It holds the machine key only; the owner's
 * key never comes here. One request to the gateway is in flight at a time, so nonces never race; whatever gathers meanwhile goes together
 * in the next, each submission a bundle of its own (its payload leaf then opens alone). A bundle is re-sent with the same
 * bytes until its fate is known: nonce and expiry see to it that it happens at most once.
 */
import { signBundle } from '../protocol/bundle.ts';
import { equal, hex } from '../protocol/bytes.ts';
import type { Signing } from '../protocol/eip712.ts';
import { codeOf } from '../protocol/errors.ts';
import { shardOf } from '../protocol/ids.ts';
import type { SigningKey } from '../protocol/keys.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import { type SignedReceipt, verifyReceipt } from '../protocol/receipt.ts';
import { type Outcome, STATUSES, Status } from '../protocol/status.ts';
import type { BundleResult, Core } from './core.ts';
import { refusal } from './errors.ts';

export interface Submitted {
  readonly shard: number;
  readonly seq: number;
  /** One per interaction. */
  readonly outcomes: readonly Outcome[];
  readonly receipt: SignedReceipt;
}

export interface WalletOptions {
  readonly core: Core;
  readonly key: SigningKey;
  readonly signing: Signing;
  readonly agent: number;
  /** The sequencer's key as pinned at start. */
  readonly sequencerKey: Uint8Array;
  /** The next frame of our shard when we started: receipts of ours stand at or after it. */
  readonly firstSeq: number;
  /** Seconds a bundle stays valid. */
  readonly bundleSeconds?: number;
  /** Milliseconds before a re-send; doubles up to 2 s. */
  readonly retryMs?: number;
  readonly now?: () => number;
}

interface Submission {
  readonly interactions: readonly Interaction[];
  readonly payloads: readonly (Uint8Array | undefined)[];
  readonly resolve: (submitted: Submitted) => void;
  readonly reject: (error: unknown) => void;
  attempts: number;
}

interface Signed {
  readonly submission: Submission;
  readonly frame: Uint8Array;
  readonly nonce: number;
}

/** Bundles in one request. */
const MAX_REQUEST = 64;
/** Times a bundle is signed anew after a nonce that wasn't ours to use. */
const MAX_ATTEMPTS = 5;
/** Frames looked through for one whose answer was lost. */
const MAX_SCAN = 4096;

/** Refusals of a shard that is busy, not of a bundle that is wrong. */
const BUSY = new Set(['overloaded', 'unavailable', 'stale_key']);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Wallet {
  readonly #options: WalletOptions;
  readonly #now: () => number;
  readonly #queue: Submission[] = [];
  #nonce: number | null = null;
  #running: Promise<void> | null = null;
  #lastSeq: number;

  constructor(options: WalletOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
    this.#lastSeq = options.firstSeq;
  }

  get agent(): number {
    return this.#options.agent;
  }

  /**
   * Submits one bundle. Resolves with its place and each interaction's outcome (which may be a refusal), verified
   * against the pinned sequencer key. Rejects with the shard's code when the bundle as a whole was refused, `bad_receipt`,
   * `gateway_unavailable` when it certainly didn't happen, `unknown_outcome` when nobody can tell.
   */
  submit(interactions: readonly Interaction[], payloads: readonly (Uint8Array | undefined)[] = []): Promise<Submitted> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ interactions, payloads, resolve, reject, attempts: 0 });
      this.#running ??= this.#run();
    });
  }

  /** As {@link submit}, of one interaction; throws its status when it isn't `ok`. Returns its value and place. */
  async submitOne(interaction: Interaction, payload?: Uint8Array): Promise<Submitted & { value: number }> {
    const submitted = await this.submit([interaction], [payload]);
    const [{ status, value }] = submitted.outcomes;
    if (status !== Status.ok) throw refusal(STATUSES[status], `the shard refused ${interaction.op}`);
    return { ...submitted, value };
  }

  /** Waits until nothing is queued or in flight. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    // What is submitted in one turn goes together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_REQUEST);
      try {
        await this.#send(await this.#sign(batch));
      } catch (error) {
        this.#nonce = null;
        for (const { reject } of batch) reject(error);
      }
    }
    // In the same turn as the last look at the queue: whoever comes next starts a new run.
    this.#running = null;
  }

  async #sign(batch: readonly Submission[]): Promise<Signed[]> {
    const { core, key, signing, agent, bundleSeconds = 60 } = this.#options;
    this.#nonce ??= (await core.agent(agent)).nonce;
    const expiry = Math.floor(this.#now() / 1000) + bundleSeconds;
    const signed: Signed[] = [];
    for (const submission of batch) {
      const nonce = this.#nonce;
      try {
        const frame = await signBundle(
          key,
          signing,
          { actor: agent, nonce, expiry },
          submission.interactions,
          submission.payloads,
        );
        signed.push({ submission, frame, nonce });
        this.#nonce += 1;
      } catch (error) {
        submission.reject(error);
      }
    }
    return signed;
  }

  /** Posts frames until each one's fate is known. */
  async #send(signed: readonly Signed[]): Promise<void> {
    const { core, retryMs = 100, bundleSeconds = 60 } = this.#options;
    const deadline = this.#now() + (bundleSeconds + 2) * 1000;
    // Where a frame of ours can stand at the earliest, should its answer get lost.
    const from = this.#lastSeq;
    let pending = signed;
    const stale: Signed[] = [];
    for (let wait = retryMs; pending.length > 0; wait = Math.min(wait * 2, 2000)) {
      let cause: unknown;
      try {
        pending = await this.#sort(pending, await core.submit(pending.map(({ frame }) => frame)), stale);
        if (pending.length === 0) break;
      } catch (error) {
        if (codeOf(error) !== 'gateway_unavailable') throw error;
        cause = error;
      }
      // Past its expiry no shard takes the bundle any more: what hasn't happened by then never will.
      if (this.#now() + wait > deadline) {
        await this.#unanswered(pending, from, cause);
        break;
      }
      await sleep(wait);
    }
    if (stale.length > 0) await this.#recover(stale, from);
  }

  /** Deals with each result; returns those to be sent again as they are, and adds those with a nonce not due to `stale`. */
  async #sort(sent: readonly Signed[], results: readonly BundleResult[], stale: Signed[]): Promise<Signed[]> {
    const again: Signed[] = [];
    for (const [i, result] of results.entries()) {
      const signed = sent[i];
      const { submission, frame } = signed;
      if ('receipt' in result) await this.#accept(submission, frame, result.receipt);
      else if (result.place !== undefined)
        await this.#accept(submission, frame, await this.#options.core.receipt(result.place.shard, result.place.seq));
      else if (BUSY.has(result.error.code)) again.push(signed);
      // Behind one that is sent again, the nonce is only not due yet.
      else if (result.error.code === 'bad_nonce') (again.length > 0 ? again : stale).push(signed);
      else {
        // The nonce stays unused, so those behind it fail with `bad_nonce` and are signed anew.
        this.#nonce = null;
        submission.reject(result.error);
      }
    }
    return again;
  }

  /** Bundles refused for their nonce: either they happened and only the answer was lost, or another nonce is due. */
  async #recover(stale: readonly Signed[], from: number): Promise<void> {
    const { core, agent } = this.#options;
    const { nonce } = await core.agent(agent);
    this.#nonce = null;
    const again: Submission[] = [];
    for (const { submission, frame, nonce: used } of stale) {
      const found = used < nonce ? await this.#find(frame, from) : null;
      if (found === 'unknown')
        submission.reject(
          refusal('unknown_outcome', 'the bundle may or may not have happened: its frame is too far back to find'),
        );
      else if (found !== null) await this.#accept(submission, frame, found);
      else if (++submission.attempts >= MAX_ATTEMPTS)
        submission.reject(refusal('bad_nonce', "somebody else uses this agent's nonces"));
      else again.push(submission);
    }
    this.#queue.unshift(...again);
  }

  /** The gateway stayed silent past the expiry. */
  async #unanswered(signed: readonly Signed[], from: number, cause: unknown): Promise<void> {
    this.#nonce = null;
    const { core, agent } = this.#options;
    const facts = await core.agent(agent).catch(() => null);
    for (const { submission, frame, nonce } of signed) {
      if (facts === null)
        submission.reject(refusal('unknown_outcome', "the gateway can't be asked what became of the bundle", cause));
      else {
        const found = nonce < facts.nonce ? await this.#find(frame, from).catch(() => 'unknown' as const) : null;
        if (found === 'unknown')
          submission.reject(refusal('unknown_outcome', 'nobody can tell what became of the bundle', cause));
        else if (found !== null) await this.#accept(submission, frame, found);
        else submission.reject(refusal('gateway_unavailable', 'the bundle expired before the gateway took it', cause));
      }
    }
  }

  /** The receipt of a frame somewhere between `from` and now; null when it isn't there. */
  async #find(frame: Uint8Array, from: number): Promise<SignedReceipt | 'unknown' | null> {
    const { core, agent } = this.#options;
    const shard = shardOf(agent);
    const end = (await core.status()).seq.get(shard) ?? 0;
    if (end - from > MAX_SCAN) return 'unknown';
    for (let seq = from; seq < end; seq++) {
      const there = await core.frame(shard, seq);
      if (equal(there.bytes, frame)) return there.receipt ?? (await core.receipt(shard, seq));
    }
    return null;
  }

  async #accept(submission: Submission, frame: Uint8Array, receipt: SignedReceipt): Promise<void> {
    const { sequencerKey, signing, agent } = this.#options;
    if (receipt.receipt.shard !== shardOf(agent) || !(await verifyReceipt(sequencerKey, signing, receipt, frame))) {
      this.#nonce = null;
      submission.reject(
        refusal(
          'bad_receipt',
          `the receipt for frame ${hex(receipt.receipt.frameHash)} is not the sequencer's word on our bundle`,
        ),
      );
      return;
    }
    const { seq } = receipt.receipt;
    this.#lastSeq = Math.max(this.#lastSeq, seq + 1);
    const [opening, ...outcomes] = receipt.outcomes;
    if (opening === undefined || opening.status !== Status.ok || outcomes.length !== submission.interactions.length) {
      this.#nonce = null;
      const code = STATUSES[opening?.status ?? Status.malformed];
      submission.reject(refusal(code === 'ok' ? 'bad_receipt' : code, 'the shard refused the bundle'));
      return;
    }
    submission.resolve({ shard: receipt.receipt.shard, seq, outcomes, receipt });
  }
}

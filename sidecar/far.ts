/**
 * Operations on records of other shards. At home they are only sent (docs/protocol.md §4a); what they came to is the outcome of the
 * frame that received them, and the sequencer's receipt for that frame is what we take for it, not the gateway's word.
 */
import { setTimeout } from 'node:timers/promises';
import { Writer, equal } from '../protocol/bytes.ts';
import type { Signing } from '../protocol/eip712.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { type MessageOf, SystemFrame, decodeMessage } from '../protocol/messages.ts';
import { type Interaction, encodeInteraction } from '../protocol/ops/index.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import { STATUSES, Status } from '../protocol/status.ts';
import type { Core } from './core.ts';
import { refusal } from './errors.ts';
import type { Wallet } from './wallet.ts';

export interface FarOptions {
  readonly core: Core;
  readonly wallet: Wallet;
  readonly signing: Signing;
  /** As pinned at start. */
  readonly sequencerKey: Uint8Array;
  /** Milliseconds that an outcome on another shard is waited for. Default 20,000. */
  readonly waitMs?: number;
}

/** A message of ours that is on its way. */
export interface Sent {
  readonly to: number;
  readonly number: number;
  /** What it asks for, as its bundle had it. */
  readonly interaction: Uint8Array;
}

/** Longest that one request waits: the gateway's own bound. */
const REQUEST_MS = 10_000;
/** Where too many wait the gateway answers at once: then it is asked again after this. */
const AGAIN_MS = 200;
/** x ‖ y, which a call that opens a session carries behind its interaction. */
const KEY_BYTES = 64;

export class Far {
  readonly #options: FarOptions;

  constructor(options: FarOptions) {
    this.#options = options;
  }

  /**
   * As {@link Wallet.submitOne}, of an interaction whose record is on `shard`: resolves with the value it made there, rejects with the status
   * it had there, or with `outcome_pending` when that did not come in time. `onSent` is told of the message as soon as it is on its way.
   */
  async submit(shard: number, interaction: Interaction, onSent: (sent: Sent) => void = () => {}): Promise<number> {
    const { wallet, waitMs = 20_000 } = this.#options;
    const { value } = await wallet.submitOne(interaction);
    if (shard === shardOf(wallet.agent)) return value;
    const writer = new Writer();
    encodeInteraction(writer, interaction);
    const sent = { to: shard, number: value, interaction: writer.finish() };
    onSent(sent);
    const made = await patiently(waitMs, (ms) => this.outcome(sent, ms));
    if (made !== null) return made;
    throw refusal('outcome_pending', `shard ${shard} has not said what became of ${interaction.op}`);
  }

  /** The value that a message made; null while it is on its way, after at most `waitMs`. Rejects with the status it had. */
  async outcome({ to, number, interaction }: Sent, waitMs = 0): Promise<number | null> {
    const { core, wallet, signing, sequencerKey } = this.#options;
    const place = await core.received(shardOf(wallet.agent), to, number, waitMs);
    if (place === null) return null;
    const frame = await core.frame(to, place.seq);
    const receipt = frame.receipt ?? (await core.receipt(to, place.seq));
    const placed = receipt.receipt.shard === to && receipt.receipt.seq === place.seq;
    const [outcome] = receipt.outcomes;
    if (!placed || outcome === undefined || !(await verifyReceipt(sequencerKey, signing, receipt, frame.bytes)))
      throw refusal('bad_receipt', `frame ${to}:${place.seq} has no receipt of the sequencer`);
    if (!carries(frame.bytes, wallet.agent, interaction))
      throw refusal('bad_receipt', `frame ${to}:${place.seq} does not bring what ${formatId(wallet.agent)} sent`);
    if (outcome.status !== Status.ok)
      throw refusal(STATUSES[outcome.status], `shard ${to} refused it; what was paid for it comes back`);
    return outcome.value;
  }
}

/** Asks, each time for as long as one request may wait, until there is an answer or `ms` have passed. */
export async function patiently<T>(ms: number, ask: (waitMs: number) => Promise<T | null>): Promise<T | null> {
  const end = performance.now() + ms;
  for (;;) {
    const asked = performance.now();
    const answer = await ask(Math.max(0, Math.ceil(Math.min(end - asked, REQUEST_MS))));
    if (answer !== null || performance.now() >= end) return answer;
    await setTimeout(Math.max(0, Math.min(AGAIN_MS - (performance.now() - asked), end - performance.now())));
  }
}

/** Whether a frame receives this interaction of an agent of another shard. */
function carries(frame: Uint8Array, agent: number, interaction: Uint8Array): boolean {
  if (frame[0] !== SystemFrame.receive || frame[1] !== shardOf(agent)) return false;
  let call: MessageOf<'call'>;
  try {
    const message = decodeMessage(frame.subarray(2));
    if (message.kind !== 'call') return false;
    call = message;
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return false;
  }
  const more = call.rest.length - interaction.length;
  return (
    call.actor === agent &&
    (more === 0 || more === KEY_BYTES) &&
    equal(call.rest.subarray(0, interaction.length), interaction)
  );
}

/** What must be true of an escrow before the app works for it. */
import { requestHead } from '../protocol/call.ts';
import { decodeBundle } from '../protocol/bundle.ts';
import type { Signing } from '../protocol/eip712.ts';
import { formatId, parseId, shardOf } from '../protocol/ids.ts';
import { leafHash, sha, verifyInclusion } from '../protocol/log.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import { Status } from '../protocol/status.ts';
import type { Core, EscrowFacts } from './core.ts';
import { refusal } from './errors.ts';
import { patiently } from './far.ts';
import type { Offer } from './prices.ts';

/** What a caller says of how it pays. */
export interface EscrowClaim {
  /** The escrow, or the order at the payer's shard that opens one at ours. */
  readonly escrow: number;
  readonly shard: number;
  readonly seq: number;
  readonly index: number;
}

/** Reads the claim out of a first-contact call's meta; null when it brings no escrow. Throws `payment_required` for half a claim. */
export function readClaim(meta: Readonly<Record<string, string>>): EscrowClaim | null {
  const { escrow, frame, index = '0' } = meta;
  if (escrow === undefined) return null;
  try {
    const place = /^(\d{1,3}):(\d{1,15})$/.exec(frame ?? '')!;
    if (!/^\d{1,3}$/.test(index)) throw new Error('index');
    return { escrow: parseId(escrow), shard: Number(place[1]), seq: Number(place[2]), index: Number(index) };
  } catch (cause) {
    throw refusal(
      'payment_required',
      'a paid call names its escrow, the frame that opened it and the interaction index',
      cause,
    );
  }
}

export interface EscrowCheck {
  readonly core: Core;
  readonly signing: Signing;
  readonly sequencerKey: Uint8Array;
  /** Us. */
  readonly agent: number;
  /** Whether a service of ours takes the risk of workflows: that an answer is not paid because others are missing. */
  readonly joinsWorkflows: (service: number) => boolean;
  /** Milliseconds that an order's escrow may take to arrive. Default 8,000. */
  readonly arrivalMs?: number;
  readonly now?: () => number;
}

/** Seconds an answer needs at least to get onto Core before the deadline. */
const DEADLINE_MARGIN = 2;

/**
 * Checks that the escrow is open, ours, enough, and opened for exactly this method and target: by its cell, and by the
 * invoke in a frame that the sequencer vouches for. Returns the escrow, which of an order is the one it opened. Throws a coded refusal.
 */
export async function checkEscrow(
  check: EscrowCheck,
  claim: EscrowClaim,
  offer: Offer,
  method: string,
  target: string,
): Promise<EscrowFacts> {
  const { agent, now = Date.now } = check;
  const escrow = await findEscrow(check, claim, () => checkFrame(check, claim, offer, method, target));
  if (escrow.payee !== agent) throw refusal('not_payee', 'the escrow is for another agent');
  if (escrow.service !== offer.service)
    throw refusal('wrong_service', `this target is served by ${formatId(offer.service)}`);
  if (escrow.amount < offer.price)
    throw refusal('escrow_too_small', `this call costs ${offer.price}, the escrow holds ${escrow.amount}`);
  if (escrow.status !== 'open') throw refusal('escrow_not_open', `the escrow is ${escrow.status}`);
  if (escrow.deadline < now() / 1000 + DEADLINE_MARGIN)
    throw refusal('deadline_passed', "the escrow's deadline is too near");
  if (escrow.workflow !== 0) await checkWorkflow(check, escrow);
  return escrow;
}

/** The escrow on our shard that a claim is about, once its frame has been checked. */
async function findEscrow(
  { core, agent, arrivalMs = 8000 }: EscrowCheck,
  { escrow: claimed }: EscrowClaim,
  checked: () => Promise<void>,
): Promise<EscrowFacts> {
  if (shardOf(claimed) === shardOf(agent)) {
    const [escrow] = await Promise.all([core.escrow(claimed), checked()]);
    return escrow;
  }
  // First the frame: nobody makes us wait for an order that it does not show.
  await checked();
  const order = await patiently(arrivalMs, async (waitMs) => {
    const facts = await core.escrow(claimed, waitMs);
    return facts.escrow === null && facts.status === 'sent' ? null : facts;
  });
  if (order === null) throw refusal('not_arrived', "the order's escrow has not come to our shard yet");
  const { escrow, status } = order;
  if (escrow === null) throw refusal('escrow_not_open', `the order is ${status}`);
  if (escrow.order !== claimed || shardOf(escrow.id) !== shardOf(agent))
    throw refusal('escrow_not_open', 'the order opened no escrow on our shard');
  return escrow;
}

/** What is held for a workflow is paid only when every leg is done: the plan must be one that can still come to that. */
async function checkWorkflow(
  { core, joinsWorkflows, now = Date.now }: EscrowCheck,
  escrow: EscrowFacts,
): Promise<void> {
  const { service, workflow, leg, payer } = escrow;
  if (!joinsWorkflows(service)) throw refusal('workflow_refused', 'this service is no leg of workflows');
  const { legs, status, deadline } = await core.workflow(workflow);
  if (status !== 'open' || deadline < now() / 1000 + DEADLINE_MARGIN)
    throw refusal('workflow_closed', 'the workflow takes no more answers');
  const planned = legs[leg];
  if (planned === undefined || planned.payer !== payer || planned.service !== service || planned.done)
    throw refusal('wrong_leg', 'the workflow has no such leg to be done');
}

async function checkFrame(
  check: EscrowCheck,
  claim: EscrowClaim,
  offer: Offer,
  method: string,
  target: string,
): Promise<void> {
  const { core, signing, sequencerKey } = check;
  const mismatch = (why: string): Error => refusal('frame_mismatch', `frame ${claim.shard}:${claim.seq} ${why}`);
  if (claim.shard !== shardOf(claim.escrow)) throw mismatch('is on another shard than the escrow');
  const frame = await core.frame(claim.shard, claim.seq);
  const receipt = frame.receipt ?? (await core.receipt(claim.shard, claim.seq));
  const placed = receipt.receipt.shard === claim.shard && receipt.receipt.seq === claim.seq;
  if (!placed || !(await verifyReceipt(sequencerKey, signing, receipt, frame.bytes)))
    throw mismatch('has no receipt of the sequencer');
  let bundle;
  try {
    bundle = decodeBundle(frame.bytes);
  } catch {
    throw mismatch('is no bundle');
  }
  const interaction = bundle.interactions[claim.index];
  const outcome = receipt.outcomes[claim.index + 1];
  if (interaction?.op !== 'invoke' || outcome?.status !== Status.ok || outcome.value !== claim.escrow)
    throw mismatch('did not open this escrow');
  if (interaction.service !== offer.service) throw mismatch('invokes another service');
  // One payload leaf opens alone; in a bundle of several the caller would have to bring a path, which first contact has no field for.
  const leaf = leafHash(sha, requestHead(method, target));
  if (
    !bundle.payloadRoot ||
    !verifyInclusion(sha, bundle.payloadRoot, bundle.interactions.length, claim.index, leaf, [])
  )
    throw mismatch('pays for another method and target');
}

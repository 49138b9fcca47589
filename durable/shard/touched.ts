/** Which escrows, workflows, sessions and agents a frame may have changed, from its operations and messages alone: a few too many do no harm. */
import type { Bundle } from '../../protocol/bundle.ts';
import { Reader } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { decodeInboxItem } from '../../protocol/inbox.ts';
import { CALL_REST, type Message, decodeMessage } from '../../protocol/messages.ts';
import { abort } from '../../protocol/ops/abort.ts';
import { contest } from '../../protocol/ops/contest.ts';
import { exit } from '../../protocol/ops/exit.ts';
import { expire } from '../../protocol/ops/expire.ts';
import { MAX_NUMBERS, decodeOp } from '../../protocol/ops/index.ts';
import { invoke } from '../../protocol/ops/invoke.ts';
import { plan } from '../../protocol/ops/plan.ts';
import { register } from '../../protocol/ops/register.ts';
import { respond } from '../../protocol/ops/respond.ts';
import { rotate } from '../../protocol/ops/rotate.ts';
import { rule } from '../../protocol/ops/rule.ts';
import { tell } from '../../protocol/ops/tell.ts';
import { Status } from '../../protocol/status.ts';

/** Told of what was touched. */
export interface Touch {
  escrow(id: number): void;
  workflow(id: number): void;
  /** A workflow, and the escrow of one of its legs. */
  leg(workflow: number, leg: number): void;
  /** An agent that may be new, or have another key. */
  agent(id: number): void;
  /** A session that somebody leaves. */
  session(id: number): void;
}

/** First byte of the payload in a receive frame. */
const PAYLOAD = 2;

/** An operation went well: its numbers from `at` on, and what it made. */
function touchedByOp(touch: Touch, code: number, numbers: Float64Array, at: number, value: number): void {
  switch (code) {
    case register.code:
      return touch.agent(value);
    case rotate.code:
      return touch.agent(numbers[at]);
    case invoke.code:
      return touch.escrow(value);
    case respond.code:
    case expire.code:
    case contest.code:
    case rule.code:
      return touch.escrow(numbers[at]);
    case exit.code:
      return touch.session(numbers[at]);
    case plan.code:
      return touch.workflow(value);
    case abort.code:
      return touch.workflow(numbers[at]);
    case tell.code:
      return touch.leg(numbers[at], numbers[at + 1]);
  }
}

/** A bundle ran, with these outcomes. */
export function touchedByBundle(
  touch: Touch,
  { codes, count, numbers }: Bundle,
  statuses: Uint8Array,
  values: Float64Array,
): void {
  for (let i = 0; i < count; i++)
    if (statuses[i + 1] === Status.ok) touchedByOp(touch, codes[i], numbers, i * MAX_NUMBERS, values[i + 1]);
}

const ofCall = new Float64Array(MAX_NUMBERS);

/** A receive frame went well, and made this. */
export function touchedByMessage(touch: Touch, frame: Uint8Array, value: number): void {
  const message = decoded(frame);
  switch (message?.kind) {
    case 'call':
      return touchedByOp(touch, decodeOp(new Reader(frame, PAYLOAD + CALL_REST), ofCall, 0), ofCall, 0, value);
    case 'invoke':
      return touch.escrow(value);
    case 'report':
      return touch.escrow(message.order);
    case 'leg':
      return touch.workflow(message.workflow);
    case 'verdict':
      return touch.escrow(message.escrow);
    case 'item':
      return touchedByItem(touch, message.rest, value);
  }
}

/** An inbox item went well, and made this. One that was sent on did nothing here: a few too many do no harm. */
export function touchedByItem(touch: Touch, bytes: Uint8Array, value: number): void {
  const item = decodeInboxItem(bytes);
  if (item.kind === 'register') touch.agent(value);
  if (item.kind === 'rotate') touch.agent(item.agent);
  if (item.kind !== 'act') return;
  try {
    touchedByOp(touch, decodeOp(new Reader(item.interaction), ofCall, 0), ofCall, 0, value);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
  }
}

function decoded(frame: Uint8Array): Message | null {
  try {
    return decodeMessage(frame.subarray(PAYLOAD));
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

/** What a message does on the shard that receives it (docs/protocol.md §4a). */
import { Escrow, EscrowStatus, Peer } from './cells.ts';
import { Reader } from './bytes.ts';
import { codeOf } from './errors.ts';
import { keccak } from './hash.ts';
import type { Machine } from './machine.ts';
import { NONE } from './memory.ts';
import { CALL_REST, type Foreign, type Message, type MessageKind, type MessageOf, decodeMessage } from './messages.ts';
import { applyItem } from './moves/inbox.ts';
import { pay, rate, slash, slashReaches } from './moves/agent.ts';
import { isSettleable, settleOrder, start, terms, verdict } from './moves/escrow.ts';
import { join } from './moves/workflow.ts';
import { type Interaction, MAX_NUMBERS, decodeOp, interactionAt, runSentOp } from './ops/index.ts';
import { open } from './ops/open.ts';
import { Status } from './status.ts';

/** Kinds that may have to answer, or to send on. */
const ANSWERED: ReadonlySet<MessageKind> = new Set(['call', 'invoke', 'leg', 'verdict', 'slash']);
/** First byte of the payload in a receive frame. */
const PAYLOAD = 2;

/** Runs a receive frame, which is `machine.frame`. Returns the status. */
export function receive(machine: Machine, foreign: Foreign): number {
  const { cells, frame } = machine;
  const from = frame.length < PAYLOAD ? machine.shard : frame[1];
  if (from === machine.shard || from >= machine.shards) return Status.malformed;
  const payload = frame.subarray(PAYLOAD);
  const peer = machine.peer(from);
  const number = Peer.received.get(cells, peer) + 1;
  if (!foreign.holds(from, number, keccak(payload))) return Status.no_message;
  const message = decoded(payload);
  if (message !== null && ANSWERED.has(message.kind) && !machine.reaches(from)) return Status.congested;
  const { escrows } = machine;
  const status = message === null ? Status.malformed : apply(machine, from, message);
  // It stays next, and nothing has happened: an invoke's serial has not been given either.
  if (status === Status.congested) machine.escrows = escrows;
  else Peer.received.set(cells, machine.edit(peer), number);
  return status;
}

/** Runs an ack frame, which is `machine.frame`. Returns the status. */
export function acknowledge(machine: Machine, foreign: Foreign): number {
  const { cells, frame } = machine;
  if (frame.length !== 8) return Status.malformed;
  const reader = new Reader(frame, 1);
  const to = reader.u8();
  const number = reader.uint(6);
  if (to === machine.shard || to >= machine.shards) return Status.malformed;
  const peer = machine.peer(to);
  if (number <= Peer.acked.get(cells, peer) || number > Peer.sent.get(cells, peer)) return Status.stale_ack;
  if (!foreign.received(to, number)) return Status.not_received;
  Peer.acked.set(cells, machine.edit(peer), number);
  return Status.ok;
}

/** The call in a receive frame, as whoever is about to run it may want to know it; null for another message. Throws `malformed`. */
export function messageCall(frame: Uint8Array): { actor: number; interactions: [Interaction] } | null {
  const message = decodeMessage(frame.subarray(PAYLOAD));
  if (message.kind !== 'call') return null;
  const decoded = new Float64Array(MAX_NUMBERS);
  const code = decodeOp(new Reader(frame, PAYLOAD + CALL_REST), decoded, 0);
  return { actor: message.actor, interactions: [interactionAt(code, frame, decoded, 0)] };
}

/** null for what no shard has written. */
function decoded(payload: Uint8Array): Message | null {
  try {
    return decodeMessage(payload);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

function apply(machine: Machine, from: number, message: Message): number {
  switch (message.kind) {
    case 'call':
      return receiveCall(machine, from, message);
    case 'invoke':
      return receiveInvoke(machine, from, message);
    case 'report':
      return receiveReport(machine, message);
    case 'credit':
      if (machine.agent(message.agent) === NONE) return Status.unknown_agent;
      pay(machine, message.agent, message.amount, message.calls, message.volume);
      return Status.ok;
    case 'leg': {
      const { workflow, leg, escrow, payer, service } = message;
      const status = join(machine, workflow, leg, escrow, payer, service);
      if (status !== Status.ok) machine.send(from, 0, 0, { kind: 'verdict', escrow, release: 0 });
      return status;
    }
    case 'verdict':
      return verdict(machine, message.escrow, message.release === 1);
    case 'rating':
      if (machine.agent(message.agent) === NONE) return Status.unknown_agent;
      rate(machine, message.agent, message.score);
      return Status.ok;
    case 'slash':
      if (machine.agent(message.agent) === NONE) return Status.unknown_agent;
      if (!slashReaches(machine, message.agent, message.reporter)) return Status.congested;
      slash(machine, message.agent, message.reporter);
      return Status.ok;
    case 'item':
      return applyItem(machine, message.rest);
  }
}

const numbers = new Float64Array(MAX_NUMBERS);

/** An interaction whose record is here, of an actor that is not. */
function receiveCall(machine: Machine, from: number, { actor, value }: MessageOf<'call'>): number {
  const reader = new Reader(machine.frame, PAYLOAD + CALL_REST);
  let code: number;
  try {
    code = decodeOp(reader, numbers, 0);
    machine.actorKey = code === open.code ? reader.skip(64) : 0;
    reader.end();
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return Status.malformed;
  }
  const status = runSentOp(machine, actor, code, numbers);
  machine.actorKey = 0;
  if (status !== Status.ok && status !== Status.congested && value > 0)
    machine.send(from, actor, value, { kind: 'credit', agent: actor, amount: value, calls: 0, volume: 0 });
  return status;
}

/** A call of a service of this shard, paid for elsewhere. Value: the escrow's id. */
function receiveInvoke(machine: Machine, from: number, message: MessageOf<'invoke'>): number {
  const { order, payer, service, amount, workflow, leg } = message;
  const id = machine.takeEscrowId();
  const refused =
    id === 0
      ? Status.region_full
      : terms(machine, payer, service, amount, workflow) ||
        (machine.hasEscrowSlot(id) ? Status.ok : Status.region_full);
  if (refused !== Status.ok) {
    const nothing = { escrow: 0, payee: 0, status: EscrowStatus.refunded, paid: 0, penalty: 0 };
    machine.send(from, payer, amount, { kind: 'report', order, ...nothing, refund: amount });
    return refused;
  }
  const cell = machine.createEscrow(id, payer, service, amount, workflow, leg);
  start(machine, cell);
  Escrow.link.set(machine.cells, cell, order);
  return machine.ok(id);
}

function receiveReport(machine: Machine, message: MessageOf<'report'>): number {
  const order = machine.escrow(message.order);
  if (order === NONE) return Status.unknown_escrow;
  if (!isSettleable(machine, order)) return Status.escrow_not_open;
  settleOrder(machine, order, message);
  return Status.ok;
}

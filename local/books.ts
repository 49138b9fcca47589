/** What the trace says of each agent's money: where it came from, where it went, and what has not been decided yet. */
import { decodeBundle } from '../protocol/bundle.ts';
import { Reader } from '../protocol/bytes.ts';
import {
  Agent as AgentCell,
  Escrow,
  EscrowStatus,
  Head,
  META_PEERS,
  MessageCell,
  Peer,
  Region,
  Session,
  SessionStatus,
  Workflow,
  WorkflowStatus,
  get,
  messageSlot,
  slotOf,
} from '../protocol/cells.ts';
import { type Engine, FrameKind } from '../protocol/engine.ts';
import { codeOf } from '../protocol/errors.ts';
import { payOut } from '../protocol/half.ts';
import { makeId, shardOf } from '../protocol/ids.ts';
import { type InboxItem, decodeInboxItem } from '../protocol/inbox.ts';
import { type Message, MESSAGE_KINDS, decodeMessage } from '../protocol/messages.ts';
import { type Interaction, MAX_NUMBERS, decodeInteraction, decodeOp, interactionAt } from '../protocol/ops/index.ts';
import type { OnFrame, TraceReplay } from './replay.ts';

/** Base units of one agent. */
export interface AgentBooks {
  readonly id: string;
  readonly name: string;
  deposited: number;
  /** Given by a sponsor, less given as one, and transfers. */
  given: number;
  /** Paid to it, its share of others' penalties too. */
  earned: number;
  spent: number;
  /** In calls and sessions that have not ended, and on the way between shards. */
  locked: number;
  /** Put at stake. */
  staked: number;
  withdrawn: number;
  /** As the gateway shows it. */
  balance: number;
}

/** An agent of whom nothing is booked yet. */
export const NOBODY: AgentBooks = {
  id: '',
  name: '',
  deposited: 0,
  given: 0,
  earned: 0,
  spent: 0,
  locked: 0,
  staked: 0,
  withdrawn: 0,
  balance: 0,
};

/** Base units by where they are in the trace. */
export interface Placed {
  readonly balances: number;
  readonly stakes: number;
  readonly escrows: number;
  readonly sessions: number;
  /** In messages sent and not received. */
  readonly travelling: number;
  readonly burned: number;
}

/** What happened, counted where it did. */
export interface Happened {
  /** Calls through Core that were paid. */
  readonly coreCalls: number;
  readonly sessionCalls: number;
  readonly sessions: number;
  readonly committed: number;
  readonly aborted: number;
  /** Messages received. */
  readonly messages: number;
  readonly frames: number;
  /** Outbox ids of refunds: money from L1 that found no agent and never was anybody's balance. */
  readonly refunds: ReadonlySet<number>;
}

type Of = (agent: number) => AgentBooks;

/** What a call message asks for. */
function interactionOf(message: Message): Interaction | null {
  if (message.kind !== 'call') return null;
  const numbers = new Float64Array(MAX_NUMBERS);
  const code = decodeOp(new Reader(message.rest), numbers, 0);
  return interactionAt(code, message.rest, numbers, 0);
}

const messageOf = (frame: Uint8Array): Message => decodeMessage(frame.subarray(2));

/** The item of an inbox frame, or that a receive frame brings on. */
function itemOf(frame: Uint8Array): InboxItem | null {
  if (frame[0] === FrameKind.inbox) return decodeInboxItem(frame.subarray(1));
  const message = frame[0] === FrameKind.receive ? messageOf(frame) : null;
  return message?.kind === 'item' ? decodeInboxItem(message.rest) : null;
}

/** What an act asks for; null where its bytes are no interaction. */
function actOf({ interaction }: Extract<InboxItem, { kind: 'act' }>): Interaction | null {
  try {
    return decodeInteraction(interaction);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

/** Escrows of a shard that a frame may end for being late. */
function* expiring(frame: Uint8Array): Generator<number> {
  if (frame[0] === FrameKind.advance) yield new Reader(frame.subarray(1)).uint(7);
  if (frame[0] === FrameKind.receive) {
    const asked = interactionOf(messageOf(frame));
    if (asked?.op === 'expire') yield asked.escrow;
  }
  const item = itemOf(frame);
  const act = item?.kind === 'act' ? actOf(item) : null;
  if (act?.op === 'expire') yield act.escrow;
  if (frame[0] !== FrameKind.bundle) return;
  for (const interaction of decodeBundle(frame).interactions) if (interaction.op === 'expire') yield interaction.escrow;
}

/** Notes what each payer got of a penalty: a number that no cell keeps. One frame expires at most one escrow of an agent with a stake. */
export class Penalties {
  /** By escrow: to its payer. */
  readonly toPayer = new Map<number, number>();
  /** By agent: taken from its stake. */
  readonly taken = new Map<number, number>();

  readonly watch: OnFrame = ({ machine }, frame) => {
    for (const escrow of expiring(frame)) {
      if (!machine.isLocal(escrow) || !machine.escrowExists(escrow)) continue;
      const payee = get(machine.readEscrow(escrow), Escrow.payee);
      if (payee === 0 || !machine.isLocal(payee)) continue;
      const stake = get(machine.readAgent(payee), AgentCell.stake);
      if (stake === 0) continue;
      return () => {
        const penalty = stake - get(machine.readAgent(payee), AgentCell.stake);
        if (penalty === 0) return;
        this.toPayer.set(escrow, Math.floor(penalty / 2));
        this.taken.set(payee, (this.taken.get(payee) ?? 0) + penalty);
      };
    }
  };
}

/** Books all that happened. */
export function book(trace: TraceReplay, penalties: Penalties, of: Of): Happened & { readonly placed: Placed } {
  const refunds = new Set<number>();
  for (const { engine, executed } of trace.shards)
    for (const { frame, outcomes } of executed) bookFrame(engine.shard, frame, outcomes, of, refunds);
  for (const [agent, penalty] of penalties.taken) {
    of(agent).staked -= penalty;
    of(agent).spent += penalty;
  }
  const engines = trace.shards.map(({ engine }) => engine);
  const escrows = bookEscrows(engines, penalties, of);
  const sessions = bookSessions(engines, of);
  const travelling = bookTravelling(engines, of);
  const sum = (read: (engine: Engine) => number): number => engines.reduce((total, engine) => total + read(engine), 0);
  const agents = (field: (typeof AgentCell)['balance']) => (engine: Engine) => {
    let total = 0;
    for (let serial = 1; serial <= get(engine.machine.head(), Head.agents); serial++)
      total += get(engine.trie.read(Region.agent, serial), field);
    return total;
  };
  const decided = (status: number): number => sum((engine) => workflowsOf(engine).filter((s) => s === status).length);
  return {
    coreCalls: escrows.fulfilled,
    sessionCalls: sessions.calls,
    sessions: sessions.closed,
    committed: decided(WorkflowStatus.committed),
    aborted: decided(WorkflowStatus.aborted),
    messages: sum((engine) => engines.reduce((n, other) => n + get(peer(engine, other.shard), Peer.received), 0)),
    frames: sum(({ seq }) => seq),
    refunds,
    placed: {
      balances: sum(agents(AgentCell.balance)),
      stakes: sum(agents(AgentCell.stake)),
      escrows: escrows.open,
      sessions: sessions.open,
      travelling,
      burned: sum((engine) => get(engine.machine.head(), Head.burned)),
    },
  };
}

const peer = ({ trie }: Engine, shard: number): Uint8Array => trie.read(Region.meta, META_PEERS + shard);

function workflowsOf({ machine, trie }: Engine): number[] {
  return Array.from({ length: get(machine.head(), Head.workflows) }, (_, i) =>
    get(trie.read(Region.workflow, slotOf(Region.workflow, i + 1)), Workflow.status),
  );
}

/** Deposits, sponsoring, transfers and stakes. */
function bookFrame(
  shard: number,
  frame: Uint8Array,
  outcomes: readonly { status: number; value: number }[],
  of: Of,
  refunds: Set<number>,
): void {
  const [{ status, value }] = outcomes;
  const item = itemOf(frame);
  if (item) {
    if (item.kind === 'act' && status === 0 && shardOf(item.agent) === shard) {
      const act = actOf(item);
      if (act?.op !== 'transfer') return;
      of(item.agent).given -= act.amount;
      if (shardOf(act.to) === shard) of(act.to).given += act.amount;
    }
    if (item.kind !== 'register' && item.kind !== 'deposit') return;
    // Sent on to the shard it is for: there it is somebody's.
    if (status === 0 && shardOf(item.kind === 'register' ? item.shard : item.agent) !== shard) return;
    if (status === 0) of(item.kind === 'register' ? value : item.agent).deposited += item.amount;
    else if (value !== 0) refunds.add(value);
  } else if (frame[0] === FrameKind.receive) {
    const message = messageOf(frame);
    const asked = interactionOf(message);
    if (message.kind !== 'call' || asked?.op !== 'transfer') return;
    // Refused, it comes back to who gave it.
    of(status === 0 ? asked.to : message.actor).given += asked.amount;
  } else if (frame[0] === FrameKind.bundle && status === 0) {
    const { actor, interactions } = decodeBundle(frame);
    for (const [i, interaction] of interactions.entries()) {
      const outcome = outcomes[i + 1];
      if (outcome.status !== 0) continue;
      if (interaction.op === 'register' || interaction.op === 'transfer') {
        of(actor).given -= interaction.amount;
        if (interaction.op === 'register') of(outcome.value).given += interaction.amount;
        else if (shardOf(interaction.to) === shard) of(interaction.to).given += interaction.amount;
      } else if (interaction.op === 'stake') of(actor).staked += interaction.amount;
    }
  }
}

const UNDER_WAY: ReadonlySet<number> = new Set([
  EscrowStatus.open,
  EscrowStatus.held,
  EscrowStatus.contested,
  EscrowStatus.waiting,
  EscrowStatus.sent,
]);

/** The payer's side is on the record of its own shard, the payee's on the escrow itself: for calls inside a shard the same one. */
function bookEscrows(engines: readonly Engine[], penalties: Penalties, of: Of): { open: number; fulfilled: number } {
  let [open, fulfilled] = [0, 0];
  for (const { machine, shard } of engines) {
    for (let serial = 1; serial <= get(machine.head(), Head.escrows); serial++) {
      const id = makeId(shard, serial);
      if (!machine.escrowExists(id)) continue;
      const cell = machine.readEscrow(id);
      const [status, amount, paid] = [get(cell, Escrow.status), get(cell, Escrow.amount), get(cell, Escrow.paid)];
      const [payer, isHere] = [get(cell, Escrow.payer), machine.isLocal(get(cell, Escrow.service))];
      if (UNDER_WAY.has(status) && (isHere || status === EscrowStatus.waiting)) open += amount;
      if (isHere && status === EscrowStatus.fulfilled) of(get(cell, Escrow.payee)).earned += paid;
      if (!machine.isLocal(payer)) continue;
      if (UNDER_WAY.has(status)) of(payer).locked += amount;
      if (status === EscrowStatus.fulfilled) {
        fulfilled += 1;
        of(payer).spent += paid;
      }
      if (status === EscrowStatus.expired)
        of(payer).earned += penalties.toPayer.get(isHere ? id : get(cell, Escrow.link)) ?? 0;
    }
  }
  return { open, fulfilled };
}

function bookSessions(engines: readonly Engine[], of: Of): { open: number; closed: number; calls: number } {
  let [open, closed, calls] = [0, 0, 0];
  for (const { machine, shard } of engines) {
    for (let serial = 1; serial <= get(machine.head(), Head.sessions); serial++) {
      const id = makeId(shard, serial);
      if (!machine.sessionExists(id)) continue;
      const cell = machine.readSession(id);
      const [a, b] = [of(get(cell, Session.a)), of(get(cell, Session.b))];
      const [depositA, depositB] = [get(cell, Session.depositA), get(cell, Session.depositB)];
      calls += get(cell, Session.callsAB) + get(cell, Session.callsBA);
      if (get(cell, Session.status) !== SessionStatus.closed) {
        open += depositA + depositB;
        a.locked += depositA;
        b.locked += depositB;
        continue;
      }
      closed += 1;
      const { outA, outB } = payOut(depositA, depositB, get(cell, Session.paidAB), get(cell, Session.paidBA));
      for (const [books, gain] of [
        [a, outA - depositA],
        [b, outB - depositB],
      ] as const) {
        if (gain > 0) books.earned += gain;
        else books.spent -= gain;
      }
    }
  }
  return { open, closed, calls };
}

/** Kinds whose money is locked for whom the message names, and stands nowhere else: invokes and reports have their order, items their deposit. */
const LOCKED_ON_THE_WAY: ReadonlySet<string> = new Set(['call', 'credit']);

function bookTravelling(engines: readonly Engine[], of: Of): number {
  let travelling = 0;
  for (const from of engines) {
    for (const to of engines) {
      const sent = get(peer(from, to.shard), Peer.sent);
      for (let number = get(peer(to, from.shard), Peer.received) + 1; number <= sent; number++) {
        const cell = from.trie.read(Region.message, messageSlot(to.shard, number));
        const [agent, amount] = [get(cell, MessageCell.agent), get(cell, MessageCell.amount)];
        travelling += amount;
        if (!LOCKED_ON_THE_WAY.has(MESSAGE_KINDS[get(cell, MessageCell.kind)])) continue;
        of(agent).locked += amount;
        // A transfer on its way is its receiver's already; anything else comes from who sent it.
        if (shardOf(agent) === to.shard && MESSAGE_KINDS[get(cell, MessageCell.kind)] === 'call')
          of(agent).given += amount;
      }
    }
  }
  return travelling;
}

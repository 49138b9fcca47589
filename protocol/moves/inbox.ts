/** Items of the L1 inbox, on the shard they are for (docs/protocol.md §6). */
import { Agent } from '../cells.ts';
import { Reader, equal } from '../bytes.ts';
import { codeOf } from '../errors.ts';
import { shardOf } from '../ids.ts';
import { type InboxItem, decodeInboxItem } from '../inbox.ts';
import type { Machine } from '../machine.ts';
import { NONE } from '../memory.ts';
import { MAX_NUMBERS, type OpName, decodeOp, opOf, runOp } from '../ops/index.ts';
import { Status } from '../status.ts';

/** What an act may be: what gets money out, or ends something. */
const ACTS: ReadonlySet<OpName> = new Set([
  'transfer',
  'respond',
  'expire',
  'contest',
  'revoke',
  'settle',
  'exit',
  'finalize',
  'close',
  'abort',
  'unstake',
  'tell',
]);

/** Does what an item of the inbox says, or sends it to the shard it is for. Returns the status. */
export function takeItem(machine: Machine, bytes: Uint8Array): number {
  const item = decoded(bytes);
  if (item === null) return Status.malformed;
  const shard = item.kind === 'register' ? item.shard : shardOf(item.agent);
  if (shard === machine.shard) return apply(machine, item);
  if (shard >= machine.shards) return refuse(machine, item, Status.wrong_shard);
  if (!machine.reaches(shard)) return refuse(machine, item, Status.congested);
  const agent = item.kind === 'register' ? 0 : item.agent;
  return machine.ok(machine.send(shard, agent, brought(item), { kind: 'item', rest: bytes }));
}

/** Does what an item says that shard 0 has sent on. Returns the status. */
export function applyItem(machine: Machine, bytes: Uint8Array): number {
  const item = decoded(bytes);
  return item === null ? Status.malformed : apply(machine, item);
}

function decoded(bytes: Uint8Array): InboxItem | null {
  try {
    return decodeInboxItem(bytes);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

function apply(machine: Machine, item: InboxItem): number {
  switch (item.kind) {
    case 'register':
      if (!machine.hasAgentRoom()) return refuse(machine, item, Status.region_full);
      return machine.ok(machine.createAgent(item.owner, item.key, item.amount));
    case 'deposit':
      if (machine.agent(item.agent) === NONE) return refuse(machine, item, Status.unknown_agent);
      machine.credit(item.agent, item.amount);
      return Status.ok;
    case 'withdraw':
      return whyNot(machine, item.agent, item.owner) || machine.withdraw(item.agent, item.amount);
    case 'rotate': {
      const refused = whyNot(machine, item.agent, item.owner);
      if (refused !== Status.ok) return refused;
      if (machine.epochExhausted(item.agent)) return Status.epoch_exhausted;
      return machine.ok(machine.rotateKey(item.agent, item.key));
    }
    case 'act':
      return whyNot(machine, item.agent, item.owner) || act(machine, item.agent, item.interaction.length);
  }
}

const numbers = new Float64Array(MAX_NUMBERS);

/** Runs an interaction as if its agent had signed it: the last bytes of the frame, whichever frame the item came in. */
function act(machine: Machine, agent: number, length: number): number {
  const { frame } = machine;
  const start = frame.length - length;
  const reader = new Reader(frame, start);
  let code: number;
  try {
    code = decodeOp(reader, numbers, 0);
    reader.end();
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return Status.malformed;
  }
  if (!ACTS.has(opOf(code)!.op.name)) return Status.unsupported;
  return runOp(machine, agent, code, numbers, 0, start, frame.length);
}

/** Why `owner` may not force an operation of `agent`. */
function whyNot(machine: Machine, agent: number, owner: Uint8Array): number {
  const cell = machine.agent(agent);
  if (cell === NONE) return Status.unknown_agent;
  return equal(Agent.owner.get(machine.cells, cell), owner) ? Status.ok : Status.not_owner;
}

/** Base units that come with an item. */
const brought = (item: InboxItem): number => (item.kind === 'register' || item.kind === 'deposit' ? item.amount : 0);

/** Money that finds no agent goes back to L1. */
function refuse(machine: Machine, item: InboxItem, why: number): number {
  if (item.kind === 'register' || item.kind === 'deposit') {
    const [agent, to] = item.kind === 'register' ? [0, item.owner] : [item.agent, item.from];
    if (machine.hasOutboxRoom()) machine.value = machine.sendWithdrawal(agent, to, item.amount);
  }
  return why;
}

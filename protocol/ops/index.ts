/** Every operation, by code and by name. */
import { Reader, type Writer, concat } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { type OpField, type Slot, decodeSlots, numbersOf, readFields } from '../wire.ts';
import type { Machine } from '../machine.ts';
import { MAX_NUMBERS } from '../limits.ts';
import type { InteractionOf, Op } from '../op.ts';
import { shardOf } from '../ids.ts';
import { Status } from '../status.ts';
import { abort } from './abort.ts';
import { attest } from './attest.ts';
import { close } from './close.ts';
import { contest } from './contest.ts';
import { exit } from './exit.ts';
import { expire } from './expire.ts';
import { finalize } from './finalize.ts';
import { fund } from './fund.ts';
import { grant } from './grant.ts';
import { invoke } from './invoke.ts';
import { open } from './open.ts';
import { plan } from './plan.ts';
import { publish } from './publish.ts';
import { register } from './register.ts';
import { respond } from './respond.ts';
import { revoke } from './revoke.ts';
import { rotate } from './rotate.ts';
import { rule } from './rule.ts';
import { settle } from './settle.ts';
import { slash } from './slash.ts';
import { stake } from './stake.ts';
import { tell } from './tell.ts';
import { transfer } from './transfer.ts';
import { unstake } from './unstake.ts';
import { withdraw } from './withdraw.ts';

const ALL = [
  register,
  rotate,
  transfer,
  withdraw,
  publish,
  invoke,
  respond,
  expire,
  contest,
  rule,
  grant,
  revoke,
  open,
  fund,
  settle,
  exit,
  finalize,
  close,
  plan,
  abort,
  attest,
  slash,
  stake,
  unstake,
  tell,
] as const;

type AnyOp = (typeof ALL)[number];
export type Interaction = { [O in AnyOp as O['name']]: InteractionOf<O> }[AnyOp['name']];
export type OpName = AnyOp['name'];

export { MAX_NUMBERS };

/** A part of an operation with its numbers, of whatever operation: a code is always paired with its own numbers. */
type Part = (machine: Machine, actor: number, ...args: number[]) => number;

type Erased = Op<OpName, readonly OpField[], number[]>;

/** An operation as the tables have it, its parts taken out: all of one kind, so that whoever runs any of them sees no difference. */
interface Entry {
  readonly op: Erased;
  readonly code: number;
  readonly slots: readonly Slot[];
  readonly numbers: number;
  readonly where: Part | null;
  readonly home: Part | null;
  readonly value: Part | null;
  readonly run: Part;
}
const entryOf = (given: AnyOp): Entry => {
  const op = given as unknown as Erased;
  const { name, code, where = null, home = null, value = null, run } = op;
  const slots = op.fields.flatMap((field) => field.slots);
  const numbers = numbersOf(slots);
  if (numbers > MAX_NUMBERS) throw new RangeError(`${name} has ${numbers} numbers, more than ${MAX_NUMBERS}`);
  return { op, code, slots, numbers, where, home, value, run };
};
const byName = new Map<OpName, Entry>(ALL.map((op) => [op.name, entryOf(op)]));
const byCode: (Entry | undefined)[] = Array.from({ length: 256 }, () => undefined);
for (const entry of byName.values()) byCode[entry.code] = entry;

export const OP_NAMES: readonly OpName[] = ALL.map((op) => op.name);

/** An operation and its slots, by code; undefined for none. */
export const opOf = (code: number): { readonly op: Erased; readonly slots: readonly Slot[] } | undefined =>
  byCode[code];

export function encodeInteraction(writer: Writer, interaction: Interaction): void {
  const entry = byName.get(interaction.op);
  if (!entry) throw malformed(`no operation ${String(interaction.op)}`);
  writer.u8(entry.code);
  for (const field of entry.op.fields) field.write(writer, interaction);
}

/** Decodes an interaction's fields into numbers, from `at` on. Returns its code. Throws `malformed`. */
export function decodeOp(reader: Reader, numbers: Float64Array, at: number): number {
  const code = reader.u8();
  const entry = byCode[code];
  if (!entry) throw malformed(`no operation 0x${code.toString(16)}`);
  decodeSlots(reader, entry.slots, numbers, at);
  return code;
}

/** The object form of a decoded interaction. */
export function interactionAt(code: number, frame: Uint8Array, numbers: Float64Array, at: number): Interaction {
  const { name, fields } = byCode[code]!.op;
  return { op: name, ...readFields(fields, frame, numbers, at) } as Interaction;
}

/** Inverse of {@link encodeInteraction}: the bytes are exactly one interaction. Throws `malformed`. */
export function decodeInteraction(bytes: Uint8Array): Interaction {
  const reader = new Reader(bytes);
  const decoded = new Float64Array(MAX_NUMBERS);
  const code = decodeOp(reader, decoded, 0);
  reader.end();
  return interactionAt(code, bytes, decoded, 0);
}

/** Calls one part of an operation with its decoded numbers. */
function call(part: Part, machine: Machine, actor: number, count: number, n: Float64Array, at: number): number {
  // Written out, because a spread makes an array.
  switch (count) {
    case 0:
      return part(machine, actor);
    case 1:
      return part(machine, actor, n[at]);
    case 2:
      return part(machine, actor, n[at], n[at + 1]);
    case 3:
      return part(machine, actor, n[at], n[at + 1], n[at + 2]);
    case 4:
      return part(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3]);
    case 7:
      return part(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3], n[at + 4], n[at + 5], n[at + 6]);
    case 8:
      return part(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3], n[at + 4], n[at + 5], n[at + 6], n[at + 7]);
    default:
      return part(machine, actor, ...n.subarray(at, at + count));
  }
}

/**
 * Runs a decoded interaction of an agent of this shard, the frame's bytes `start … end − 1`; if its record is elsewhere,
 * sends it there. Returns the status, and leaves the value in `machine.value`.
 */
export function runOp(
  machine: Machine,
  actor: number,
  code: number,
  n: Float64Array,
  at: number,
  start: number,
  end: number,
): number {
  const entry = byCode[code]!;
  const { numbers, where, home, value } = entry;
  if (where === null) return run(entry, machine, actor, n, at);
  const record = call(where, machine, actor, numbers, n, at);
  const shard = shardOf(record);
  if (shard >= machine.shards) return Status.wrong_shard;
  if (home !== null) {
    const status = call(home, machine, actor, numbers, n, at);
    if (status !== Status.ok) return status;
  }
  if (shard === machine.shard) return run(entry, machine, actor, n, at);
  if (!machine.reaches(shard)) return Status.congested;
  const amount = value === null ? 0 : call(value, machine, actor, numbers, n, at);
  machine.debit(actor, amount);
  const interaction = machine.frame.subarray(start, end);
  const rest = code === open.code ? concat(interaction, machine.keyOf(actor)) : interaction;
  const owner = code === transfer.code ? record : actor;
  return machine.ok(machine.send(shard, owner, amount, { kind: 'call', actor, value: amount, rest }));
}

/** The two that make up nearly all traffic are called by name: so the compiler knows what it calls. */
function run({ code, numbers, run }: Entry, machine: Machine, actor: number, n: Float64Array, at: number): number {
  if (code === invoke.code)
    return invoke.run(
      machine,
      actor,
      n[at],
      n[at + 1],
      n[at + 2],
      n[at + 3],
      n[at + 4],
      n[at + 5],
      n[at + 6],
      n[at + 7],
    );
  if (code === respond.code) return respond.run(machine, actor, n[at], n[at + 1], n[at + 2]);
  return call(run, machine, actor, numbers, n, at);
}

/** Runs the part of a decoded interaction that another shard sent here; `malformed` when it has none. Otherwise as {@link runOp}. */
export function runSentOp(machine: Machine, actor: number, code: number, n: Float64Array): number {
  const entry = byCode[code]!;
  return entry.where === null ? Status.malformed : run(entry, machine, actor, n, 0);
}

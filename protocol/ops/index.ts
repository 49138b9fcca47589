/** Every operation, by code and by name. */
import type { Reader, Writer } from '../bytes.ts';
import { malformed } from '../errors.ts';
import { type OpField, type Slot, decodeSlots, numbersOf, readFields } from '../wire.ts';
import type { Machine } from '../machine.ts';
import type { InteractionOf, Op } from '../op.ts';
import { close } from './close.ts';
import { exit } from './exit.ts';
import { expire } from './expire.ts';
import { finalize } from './finalize.ts';
import { fund } from './fund.ts';
import { invoke } from './invoke.ts';
import { open } from './open.ts';
import { publish } from './publish.ts';
import { register } from './register.ts';
import { respond } from './respond.ts';
import { rotate } from './rotate.ts';
import { settle } from './settle.ts';
import { transfer } from './transfer.ts';
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
  open,
  fund,
  settle,
  exit,
  finalize,
  close,
] as const;

type AnyOp = (typeof ALL)[number];
export type Interaction = { [O in AnyOp as O['name']]: InteractionOf<O> }[AnyOp['name']];
export type OpName = AnyOp['name'];

/** Most numbers the fields of one interaction decode to. */
export const MAX_NUMBERS = 12;

/** The rooms differ in their fields only, and a code is always paired with its own numbers, so one erased type serves the tables. */
type Erased = Op<OpName, readonly OpField[], number[]>;
interface Entry {
  readonly op: Erased;
  readonly slots: readonly Slot[];
  readonly numbers: number;
}
const entryOf = (op: AnyOp): Entry => {
  const slots = op.fields.flatMap((field) => field.slots);
  const numbers = numbersOf(slots);
  if (numbers > MAX_NUMBERS) throw new RangeError(`${op.name} has ${numbers} numbers, more than ${MAX_NUMBERS}`);
  return { op: op as unknown as Erased, slots, numbers };
};
const byName = new Map<OpName, Entry>(ALL.map((op) => [op.name, entryOf(op)]));
const byCode: (Entry | undefined)[] = Array.from({ length: 256 }, () => undefined);
for (const entry of byName.values()) byCode[entry.op.code] = entry;

export const OP_NAMES: readonly OpName[] = ALL.map((op) => op.name);

export function encodeInteraction(writer: Writer, interaction: Interaction): void {
  const entry = byName.get(interaction.op);
  if (!entry) throw malformed(`no operation ${String(interaction.op)}`);
  writer.u8(entry.op.code);
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
  const { op } = byCode[code]!;
  return { op: op.name, ...readFields(op.fields, frame, numbers, at) } as Interaction;
}

/** Runs a decoded interaction; returns its status, and leaves its value in `machine.value`. */
export function runOp(machine: Machine, actor: number, code: number, n: Float64Array, at: number): number {
  const { op, numbers } = byCode[code]!;
  // Written out, because a spread makes an array.
  switch (numbers) {
    case 1:
      return op.run(machine, actor, n[at]);
    case 2:
      return op.run(machine, actor, n[at], n[at + 1]);
    case 3:
      return op.run(machine, actor, n[at], n[at + 1], n[at + 2]);
    case 4:
      return op.run(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3]);
    case 5:
      return op.run(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3], n[at + 4]);
    case 6:
      return op.run(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3], n[at + 4], n[at + 5]);
    case 7:
      return op.run(machine, actor, n[at], n[at + 1], n[at + 2], n[at + 3], n[at + 4], n[at + 5], n[at + 6]);
    default:
      return op.run(machine, actor, ...n.subarray(at, at + numbers));
  }
}

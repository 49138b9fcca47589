/** Every operation, by code and by name. */
import type { Reader, Writer } from '../bytes.ts';
import { malformed } from '../errors.ts';
import type { Machine } from '../machine.ts';
import type { Op } from '../op.ts';
import type { Outcome } from '../status.ts';
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
type FieldsOf<O> = O extends Op<string, infer F> ? F : never;
/** One operation with its fields: `{op: 'transfer', to, amount}`. */
export type Interaction = { [O in AnyOp as O['name']]: { readonly op: O['name'] } & FieldsOf<O> }[AnyOp['name']];
export type OpName = AnyOp['name'];

/** The rooms differ in their fields only, and a name is always paired with its own fields, so one erased type serves the tables. */
type Erased = Op<OpName, object>;
const byCode: (Erased | undefined)[] = Array.from({ length: 256 }, () => undefined);
for (const op of ALL) byCode[op.code] = op as unknown as Erased;
const byName = new Map<OpName, Erased>(ALL.map((op) => [op.name, op as unknown as Erased]));

export const OP_NAMES: readonly OpName[] = ALL.map((op) => op.name);

export function encodeInteraction(writer: Writer, interaction: Interaction): void {
  const op = byName.get(interaction.op);
  if (!op) throw malformed(`no operation ${String(interaction.op)}`);
  writer.u8(op.code);
  op.encode(writer, interaction);
}

/** Throws `malformed`. */
export function decodeInteraction(reader: Reader): Interaction {
  const code = reader.u8();
  const op = byCode[code];
  if (!op) throw malformed(`no operation 0x${code.toString(16)}`);
  return op.decode(reader) as Interaction;
}

export const runInteraction = (machine: Machine, actor: number, interaction: Interaction): Outcome =>
  byName.get(interaction.op)!.run(machine, actor, interaction);

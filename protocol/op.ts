/** What an operation is: a room of its own, twin of `contracts/src/ops/<Op>.sol`, same order of checks, same statuses. */
import type { Reader, Writer } from './bytes.ts';
import type { Machine } from './machine.ts';
import type { Outcome } from './status.ts';

export interface Op<Name extends string = string, Fields extends object = object> {
  readonly code: number;
  readonly name: Name;
  /** Writes the fields after the op byte. */
  encode(writer: Writer, fields: Fields): void;
  /** Reads them back, with the operation's name; throws `malformed`. */
  decode(reader: Reader): { readonly op: Name } & Fields;
  /** Runs on a shard for the bundle's actor (an existing agent of that shard). Total. */
  run(machine: Machine, actor: number, fields: Fields): Outcome;
}

/** Ties name and fields together without repeating either. */
export const defineOp = <Name extends string, Fields extends object>(op: Op<Name, Fields>): Op<Name, Fields> => op;

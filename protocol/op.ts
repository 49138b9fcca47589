/**
 * What an operation is: a room of its own, twin of `contracts/src/ops/<Op>.sol`, same order of checks, same statuses.
 *
 *     /** Adds to what an agent has at stake. Value: the stake it has now. *\/
 *     export const stake = defineOp({
 *       code: 0x17,
 *       name: 'stake',
 *       fields: [amount('amount')],
 *       run(machine, actor, amount) {
 *         const { cells } = machine;
 *         if (amount === 0) return Status.zero_amount;
 *         if (machine.balance(actor) < amount) return Status.insufficient_balance;
 *         const agent = machine.edit(machine.agent(actor));
 *         Agent.balance.set(cells, agent, Agent.balance.get(cells, agent) - amount);
 *         Agent.stake.set(cells, agent, Agent.stake.get(cells, agent) + amount);
 *         return machine.ok(Agent.stake.get(cells, agent));
 *       },
 *     });
 *
 * The fields (`wire.ts`) are declared once, in the order of the wire. From them come encoding, decoding and the object
 * form (`{op: 'stake', amount}`) of tools, and what `run` takes after the actor: a number for each, of a bytes field the
 * place in `machine.frame` where it starts. `run` checks first, in the order of docs/protocol.md §4, and writes after the
 * last check; it makes no object. A new operation goes into the list of `ops/index.ts`.
 */
import type { ArgsOf, OpField, RecordOf } from './wire.ts';
import type { Machine } from './machine.ts';

export interface Op<
  Name extends string = string,
  Fields extends readonly OpField[] = readonly OpField[],
  Args extends readonly number[] = ArgsOf<Fields>,
> {
  readonly code: number;
  readonly name: Name;
  readonly fields: Fields;
  // Of its access list (access.ts), what its fields don't say.
  /** The ring whose next serial it takes, by position. */
  readonly takes?: 'escrow' | 'workflow';
  /** Makes a record under a serial that is given on success, by the head's counter. */
  readonly makes?: boolean;
  /** Moves what else the head counts: the outbox, what is burned. */
  readonly movesHead?: boolean;
  /** What it reaches is not to be told before it runs. */
  readonly isBarrier?: boolean;
  /** Id of the record on whose shard it runs, where that need not be the actor's shard: "⇒" in docs/protocol.md §4. */
  where?(machine: Machine, actor: number, ...args: Args): number;
  /** What the actor's shard checks before; the status. */
  home?(machine: Machine, actor: number, ...args: Args): number;
  /** What the actor pays for it in another shard's hands: `home` has checked that it can. */
  value?(machine: Machine, actor: number, ...args: Args): number;
  /**
   * Runs on its shard, after `home` if that was here. The actor is an existing agent, of another shard where `where` is
   * defined. Total. Returns the status; a value by {@link Machine.ok}.
   */
  run(machine: Machine, actor: number, ...args: Args): number;
}

/** One operation in the form of tools: `{op: 'transfer', to, amount}`. */
export type InteractionOf<O> =
  O extends Op<infer Name, infer Fields, infer _> ? { readonly op: Name } & RecordOf<Fields> : never;

/** Ties name, fields and what `run` takes together without repeating any. */
export const defineOp = <const Name extends string, const Fields extends readonly OpField[]>(
  op: Op<Name, Fields>,
): Op<Name, Fields> => op;

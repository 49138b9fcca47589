/**
 * The module's function that runs interactions: those of a bundle that was accepted, from one on, as long as they are
 * *plain*, which is to say that they succeed in the form nearly all have (docs/decisions/0013). It leaves the rest of the
 * bundle at the first that is not, with nothing of it done, to the operation itself.
 */
import { type Code, block, branch, branchIf, code, cycle, f64, func, i32, local, when } from '../keccak/assembler.ts';
import { invoke as invokeOp } from '../ops/invoke.ts';
import { publish as publishOp } from '../ops/publish.ts';
import { respond as respondOp } from '../ops/respond.ts';
import { transfer as transferOp } from '../ops/transfer.ts';
import { withdraw as withdrawOp } from '../ops/withdraw.ts';
import { type Num, Plain } from './code.ts';
import { invoke } from './invoke.ts';
import { EDITS, EDIT_COUNT, NUMBERS_STRIDE, STARTS, VALUES } from './layout.ts';
import { publish } from './publish.ts';
import { respond } from './respond.ts';
import { transfer } from './transfer.ts';
import { withdraw } from './withdraw.ts';

/**
 * Writes an operation's plain form: first what leaves it to TypeScript, then what it changes. Gives its value, null for
 * none.
 */
export type PlainOp = (plain: Plain) => Num | null;

const PLAIN_OPS: readonly (readonly [op: number, form: PlainOp])[] = [
  [invokeOp.code, invoke],
  [respondOp.code, respond],
  [transferOp.code, transfer],
  [withdrawOp.code, withdraw],
  [publishOp.code, publish],
];

/** (actor's cell, head, actor, first, count): runs interactions `first` to `count − 1`. Gives the first that it did not run. */
export function executeFunction(): Code {
  const plain = new Plain();
  const { get, set } = local;
  const { at, count, op, numbersAt, log } = plain.names;
  const forms = PLAIN_OPS.map(([own, form]) => {
    const body = plain.write(() => {
      const value = form(plain);
      plain.emit(get(at), i32.const(3), i32.shl, value ? code(value, f64.convert) : f64.zero, f64.store(VALUES));
      plain.emit(get(at), i32.const(1), i32.add, set(at), branch(1));
    });
    return code(get(op), i32.const(own), i32.eq, when(body));
  });
  return func(
    plain.locals,
    code(
      plain.code,
      block(
        cycle(
          code(get(at), get(count), i32.geU, branchIf(1)),
          code(get(at), i32.const(2), i32.shl, i32.load(STARTS), i32.load8(0), set(op)),
          code(get(at), i32.const(NUMBERS_STRIDE), i32.mul, set(numbersAt)),
          ...forms,
        ),
      ),
      code(i32.const(EDIT_COUNT), get(log), i32.const(EDITS), i32.sub, i32.const(2), i32.shrU, i32.store(0)),
      get(at),
    ),
  );
}

/**
 * The module's function that decodes a bundle's interactions, made from the fields that each operation declares
 * (wire.ts): straight code an operation, that goes on over what is malformed and says so at the end.
 */
import {
  type Code,
  I32,
  I64,
  block,
  branch,
  branchIf,
  branchTable,
  code,
  cycle,
  either,
  func,
  i32,
  i64,
  local,
} from '../keccak/assembler.ts';
import { opOf } from '../ops/index.ts';
import { type Slot, Wire, numbersOf } from '../wire.ts';
import { FRAME, NUMBERS, NUMBERS_STRIDE, STARTS } from './layout.ts';

/** Parameters: where in the memory the interactions start, where they must end, how many there are. */
export const DECODE_PARAMETERS: Code = [I32, I32, I32];
const [AT, END_AT, COUNT] = [0, 1, 2];
/** How many are done, where the numbers of this one go, items left of a list, whether anything was wrong. */
const [DONE, NUMBERS_AT, LEFT, BAD] = [3, 4, 5, 6];
/** What was read; eight bytes of the frame; the first bit in them that ends a number. */
const [VALUE, BYTES, LAST] = [7, 8, 9];
const LOCALS: Code = [I32, I32, I32, I32, I64, I64, I64];

const { get, set, tee } = local;
const word = (value: number | bigint): Code => i64.const(BigInt(value));
const advance = (name: number, by: Code): Code => code(get(name), by, i32.add, set(name));
const wrongIf = (truth: Code): Code => code(get(BAD), truth, i32.or, set(BAD));

/** In every byte of a varint, the bit that says whether more follows. */
const MORE = 0x8080808080808080n;

/** VALUE = a varint, of whatever length: all its groups of 7 bits are moved together at once. */
function varint(): Code {
  const together = (groups: bigint, by: bigint): Code => {
    const upper = code(get(VALUE), word(groups << (8n * by)), i64.and, word(by), i64.shrU);
    return code(upper, get(VALUE), word(groups), i64.and, i64.or, set(VALUE));
  };
  const lastByte = code(get(BYTES), get(LAST), word(7), i64.sub, i64.shrU, word(255), i64.and);
  return code(
    code(get(AT), i64.load(0), tee(BYTES), word(-1), i64.xor, word(MORE), i64.and, set(LAST)),
    // Eight bytes, and no end.
    wrongIf(code(get(LAST), i64.eqz)),
    // Up to the bit that ends it, without what says whether more follows.
    code(get(LAST), word(1), i64.sub, get(LAST), i64.xor, get(BYTES), i64.and, word(~MORE), i64.and, set(VALUE)),
    together(0x007f007f007f007fn, 1n),
    together(0x00003fff00003fffn, 2n),
    together(0x000000000fffffffn, 4n),
    // Overlong, if the last of more bytes than one is 0.
    code(get(LAST), i64.ctz, set(LAST)),
    wrongIf(code(lastByte, i64.eqz, get(LAST), word(7), i64.ne, i32.and)),
    advance(AT, code(get(LAST), word(3), i64.shrU, i32.wrap, i32.const(1), i32.add)),
  );
}
const byte = (): Code => code(get(AT), i64.load8(0), set(VALUE), advance(AT, i32.const(1)));
/** Number `i` of the interaction. */
const store = (i: number, value: Code): Code => code(get(NUMBERS_AT), value, i64.store(NUMBERS + 8 * i));
const place: Code = code(get(AT), i32.const(FRAME), i32.sub, i64.extendU);

/** Decodes slots to numbers from `first` on. */
function decode(slots: readonly Slot[], first: number): Code {
  let next = first;
  const parts = slots.map((slot) => {
    const at = next;
    next += slot.numbers;
    if (slot.wire === Wire.bytes) return code(store(at, place), advance(AT, i32.const(slot.size)));
    if (slot.wire === Wire.options) return options(slot, at);
    if (slot.wire === Wire.list) return list(slot, at);
    return code(
      slot.wire === Wire.varint ? varint() : byte(),
      wrongIf(code(get(VALUE), word(slot.least), i64.sub, word(slot.size - slot.least), i64.geU)),
      store(at, get(VALUE)),
    );
  });
  return code(...parts);
}

function options(slot: Slot, at: number): Code {
  const none = (first: number, count: number): Code =>
    code(...Array.from({ length: count }, (_, i) => store(first + i, word(0))));
  const exclusive = code(get(VALUE), word(slot.exclusive), i64.and);
  let next = at + 1;
  const parts = slot.parts.map((part, i) => {
    const [first, count] = [next, numbersOf(part)];
    next += count;
    const isThere = code(get(NUMBERS_AT), i64.load(NUMBERS + 8 * at), i32.wrap, i32.const(1 << i), i32.and);
    return code(isThere, either(decode(part, first), none(first, count)));
  });
  return code(
    byte(),
    store(at, get(VALUE)),
    wrongIf(code(get(VALUE), word(slot.size), i64.geU)),
    // More than one of which only one may be there.
    wrongIf(code(exclusive, exclusive, word(1), i64.sub, i64.and, word(0), i64.ne)),
    code(get(VALUE), i64.eqz),
    either(none(at + 1, slot.numbers - 1), code(...parts)),
  );
}

/** What its items decode to goes where the next numbers will. */
function list(slot: Slot, at: number): Code {
  return code(
    byte(),
    wrongIf(code(get(VALUE), word(1), i64.sub, word(slot.size), i64.geU)),
    store(at, get(VALUE)),
    store(at + 1, place),
    code(get(VALUE), i32.wrap, set(LEFT)),
    block(
      cycle(
        code(get(LEFT), i32.eqz, branchIf(1)),
        advance(LEFT, i32.const(-1)),
        decode(slot.parts[0], at + 2),
        branch(0),
      ),
    ),
  );
}

/** Decodes so many interactions to {@link NUMBERS}, and says in {@link STARTS} where they are. Gives 0 if all is canonical and ends where it must. */
export function decodeFunction(): Code {
  const known = Array.from({ length: 256 }, (_, i) => i).filter((i) => opOf(i));
  // A block for each operation, the first innermost: out of it leads the branch to that operation's code.
  const depths = Array.from({ length: 257 }, (_, i) => (opOf(i) ? known.indexOf(i) : known.length));
  let choice = code(get(AT), i32.load8(0), advance(AT, i32.const(1)), branchTable(depths));
  for (const [i, op] of known.entries())
    choice = code(block(choice), decode(opOf(op)!.slots, 0), branch(known.length - i));
  const note = code(get(DONE), i32.const(2), i32.shl, get(AT), i32.store(STARTS));
  return func(
    LOCALS,
    code(
      block(
        cycle(
          code(get(DONE), get(COUNT), i32.geU, branchIf(1)),
          code(get(DONE), i32.const(NUMBERS_STRIDE), i32.mul, set(NUMBERS_AT)),
          note,
          block(block(choice), wrongIf(i32.const(1))),
          advance(DONE, i32.const(1)),
          branch(0),
        ),
      ),
      note,
      code(get(BAD), get(AT), get(END_AT), i32.ne, i32.or),
    ),
  );
}

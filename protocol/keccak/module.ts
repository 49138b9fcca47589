/**
 * Keccak256 as a WebAssembly module, assembled here: keccak-f[1600] with its 25 lanes in locals (FIPS 202 §3, with the padding of the EVM's keccak).
 * `hash` absorbs any number of bytes; `each64` and `each128` hash blocks of that size wherever a list says, two at a time in the halves of SIMD registers, and `padded` messages of one length that are padded already; `sha` is SHA-256 (sha.ts). All in the memory it is given, where `decode` and `execute` run what is plain of bundles (plain/).
 * @see https://nvlpubs.nist.gov/nistpubs/FIPS/NIST.FIPS.202.pdf
 * @see https://webassembly.github.io/spec/core/binary
 */
import { EXECUTE_PARAMETERS } from '../plain/code.ts';
import { DECODE_PARAMETERS, decodeFunction } from '../plain/decode.ts';
import { executeFunction } from '../plain/index.ts';
import {
  type Code,
  END,
  I32,
  I64,
  MAGIC_AND_VERSION,
  V128,
  code,
  i32,
  i64,
  local,
  loop,
  memoryFill,
  section,
  text,
  unsigned,
  v128,
  vector,
  when,
} from './assembler.ts';
import { KECCAK_CONSTANTS, MAX_MEMORY_PAGES } from './layout.ts';
import { shaFunction } from './sha.ts';

/** Bytes absorbed between two permutations. */
const RATE = 136;
const LANES = 25;
const ROUNDS = 24;

// --- what a lane is: an i64, or two of them side by side ---

interface Lane {
  readonly type: number;
  readonly xor: Code;
  /** ¬b ∧ c. */
  readonly notAnd: (b: Code, c: Code) => Code;
  /** `value` rotated left; `spare` is a local to use. */
  readonly rotate: (value: Code, bits: number, spare: number) => Code;
  /** The constant at an address of the data segment, in every half. */
  readonly constant: (pointer: number, at: number) => Code;
  readonly literal: (value: bigint) => Code;
}

const SCALAR: Lane = {
  type: I64,
  xor: [0x85],
  // (b ∨ c) ⊕ b, one instruction less than with a negation by −1.
  notAnd: (b, c) => [...b, ...c, 0x84, ...b, 0x85],
  rotate: (value, bits) => (bits === 0 ? value : [...value, ...i64.const(BigInt(bits)), 0x89]),
  constant: (pointer, at) => [...local.get(pointer), ...i64.load(at)],
  literal: (value) => i64.const(value),
};

const bytesOf = (value: bigint): Code => Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));

const PAIR: Lane = {
  type: V128,
  xor: v128.xor,
  notAnd: (b, c) => [...c, ...b, ...v128.andNot],
  rotate: (value, bits, spare) => {
    if (bits === 0) return value;
    // Whole bytes move by one shuffle; the rest takes two shifts.
    if (bits % 8 === 0) {
      const bytes = Array.from({ length: 16 }, (_, i) => (i & 8) | ((i - bits / 8) & 7));
      return [...value, ...local.tee(spare), ...local.get(spare), ...v128.shuffle(bytes)];
    }
    const left = [...value, ...local.tee(spare), ...i32.const(bits), ...v128.shiftLeft64];
    const right = [...local.get(spare), ...i32.const(64 - bits), ...v128.shiftRight64];
    return [...left, ...right, ...v128.or];
  },
  constant: (pointer, at) => [...local.get(pointer), ...v128.load64Splat(at)],
  literal: (value) => v128.const([...bytesOf(value), ...bytesOf(value)]),
};

// --- the permutation ---

/** Rotation of each lane, x + 5y (FIPS 202 §3.2.2). */
const ROTATIONS: readonly number[] = (() => {
  const out = Array.from({ length: LANES }, () => 0);
  let [x, y] = [1, 0];
  for (let t = 0; t < ROUNDS; t++) {
    out[x + 5 * y] = (((t + 1) * (t + 2)) / 2) % 64;
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return out;
})();

/** Round constants, from the LFSR of FIPS 202 §3.2.5. */
const ROUND_CONSTANTS: readonly bigint[] = (() => {
  let state = 1;
  return Array.from({ length: ROUNDS }, () => {
    let constant = 0n;
    for (let j = 0; j < 7; j++) {
      if (state & 1) constant |= 1n << ((1n << BigInt(j)) - 1n);
      state = state & 0x80 ? ((state << 1) ^ 0x171) & 0xff : state << 1;
    }
    return constant;
  });
})();

/** Locals of a function: `numbers`, its parameters first and an address of the round constants last, then lanes. */
interface Locals {
  readonly numbers: number;
  readonly round: number;
  /** Two states of 25 lanes: a round reads one and writes the other. */
  readonly from: number;
  readonly to: number;
  /** Five lanes each: θ's column parities, what it adds to each column, and a row before χ. */
  readonly parity: number;
  readonly effect: number;
  readonly row: number;
  readonly spare: number;
}
const LANE_LOCALS = 2 * LANES + 3 * 5 + 1;

function locals(numbers: number): Locals {
  const from = numbers;
  return {
    numbers,
    round: numbers - 1,
    from,
    to: from + LANES,
    parity: from + 2 * LANES,
    effect: from + 2 * LANES + 5,
    row: from + 2 * LANES + 10,
    spare: from + LANE_LOCALS - 1,
  };
}

/** One round from the lanes at `from` to those at `to`, with the constant `at` bytes past the round's address. */
function round(lane: Lane, names: Locals, from: number, to: number, at: number): Code {
  const { parity, effect, row, spare } = names;
  const code: number[] = [];
  const xor = (a: Code, b: Code): Code => [...a, ...b, ...lane.xor];
  const five = [0, 1, 2, 3, 4];
  for (const x of five) {
    const column = five.map((y) => local.get(from + x + 5 * y));
    code.push(...column.reduce((a, b) => xor(a, b)), ...local.set(parity + x));
  }
  for (const x of five) {
    const right = lane.rotate(local.get(parity + ((x + 1) % 5)), 1, spare);
    code.push(...xor(local.get(parity + ((x + 4) % 5)), right), ...local.set(effect + x));
  }
  for (const y of five) {
    // ρ and π: lane (x, y) of the new state comes from (x + 3y, x) of the old (FIPS 202 §3.2.3).
    for (const x of five) {
      const column = (x + 3 * y) % 5;
      const source = column + 5 * x;
      const mixed = xor(local.get(from + source), local.get(effect + column));
      code.push(...lane.rotate(mixed, ROTATIONS[source], spare), ...local.set(row + x));
    }
    for (const x of five) {
      const [b, c] = [local.get(row + ((x + 1) % 5)), local.get(row + ((x + 2) % 5))];
      const chi = xor(local.get(row + x), lane.notAnd(b, c));
      const iota = x + y === 0 ? xor(chi, lane.constant(names.round, at)) : chi;
      code.push(...iota, ...local.set(to + x + 5 * y));
    }
  }
  return code;
}

/** All rounds on the lanes at `from`, two in each turn of a loop. */
const permute = (lane: Lane, names: Locals): Code => [
  ...i32.const(0),
  ...local.set(names.round),
  ...loop(
    round(lane, names, names.from, names.to, KECCAK_CONSTANTS),
    round(lane, names, names.to, names.from, KECCAK_CONSTANTS + 8),
    local.get(names.round),
    i32.const(16),
    i32.add,
    local.tee(names.round),
    i32.const(8 * ROUNDS),
    i32.ltU,
  ),
];

// --- the functions ---

const body = (lane: Lane, parameters: number, { numbers }: Locals, code: Code): Code => {
  const bytes = [2, ...unsigned(numbers - parameters), I32, ...unsigned(LANE_LOCALS), lane.type, ...code, END];
  return [...unsigned(bytes.length), ...bytes];
};

const advance = (name: number, by: number): Code => [
  ...local.get(name),
  ...i32.const(by),
  ...i32.add,
  ...local.set(name),
];

/** (pointer, length, output). Pads in place: RATE bytes past the message must be free. */
function hash(): Code {
  const [POINTER, COUNT, OUTPUT] = [0, 1, 2];
  const names = locals(4);
  const end = names.round;
  const code: number[] = [];
  // end = pointer + length; the padding's zeros, its first bit and its last.
  code.push(...local.get(POINTER), ...local.get(COUNT), ...i32.add, ...local.tee(end));
  code.push(...i32.const(0), ...i32.const(RATE), ...memoryFill);
  code.push(...local.get(end), ...i32.const(1), ...i32.store8(0));
  // count = length − length mod RATE: where the last block starts.
  code.push(...local.get(COUNT), ...local.get(COUNT), ...i32.const(RATE), ...i32.remU, ...i32.sub, ...local.tee(COUNT));
  code.push(...local.get(POINTER), ...i32.add, ...local.tee(end));
  code.push(...local.get(end), ...i32.load8(RATE - 1), ...i32.const(0x80), ...i32.or, ...i32.store8(RATE - 1));
  code.push(
    ...loop(
      ...Array.from({ length: RATE / 8 }, (_, i) => [
        ...local.get(names.from + i),
        ...local.get(POINTER),
        ...i64.load(8 * i),
        ...SCALAR.xor,
        ...local.set(names.from + i),
      ]),
      permute(SCALAR, names),
      advance(POINTER, RATE),
      local.get(COUNT),
      i32.const(RATE),
      i32.sub,
      local.tee(COUNT),
      i32.const(-1),
      i32.gtS,
    ),
  );
  for (let i = 0; i < 4; i++) code.push(...local.get(OUTPUT), ...local.get(names.from + i), ...i64.store(8 * i));
  return body(SCALAR, 3, names, code);
}

/**
 * (list, count). Blocks of less than RATE bytes, in pairs. An entry of the list is where a block is and where its hash
 * goes; of an odd number the last stands there twice, as nothing else may be written.
 */
function each(width: number): Code {
  const [LIST, COUNT] = [0, 1];
  const [FIRST, SECOND] = [2, 3];
  const names = locals(5);
  const words = width / 8;
  const code: number[] = [];
  const places = (at: number): Code => [
    ...local.get(LIST),
    ...i32.load(at),
    ...local.set(FIRST),
    ...local.get(LIST),
    ...i32.load(8 + at),
    ...local.set(SECOND),
  ];
  code.push(...places(0));
  for (let i = 0; i < LANES; i++) {
    const at = names.from + i;
    if (i < words) {
      const first = [...local.get(FIRST), ...v128.load64Zero(8 * i)];
      code.push(...local.get(SECOND), ...first, ...v128.load64Lane(8 * i, 1), ...local.set(at));
    } else {
      const padding = (i === words ? 1n : 0n) | (i === RATE / 8 - 1 ? 1n << 63n : 0n);
      code.push(...PAIR.literal(padding), ...local.set(at));
    }
  }
  code.push(...permute(PAIR, names), ...places(4));
  for (const [half, target] of [FIRST, SECOND].entries()) {
    for (let i = 0; i < 4; i++) {
      const value = [...local.get(target), ...local.get(names.from + i)];
      code.push(...value, ...v128.store64Lane(8 * i, half));
    }
  }
  code.push(...advance(LIST, 16));
  code.push(...local.get(COUNT), ...i32.const(2), ...i32.sub, ...local.tee(COUNT), ...i32.const(0), ...i32.gtS);
  return body(PAIR, 2, names, [...local.get(COUNT), ...when(loop(code))]);
}

/** (list, count, blocks). As `each`, of messages of so many times RATE bytes, their padding included. */
function padded(): Code {
  const [LIST, COUNT, BLOCKS] = [0, 1, 2];
  const [FIRST, SECOND, LEFT] = [3, 4, 5];
  const names = locals(7);
  const lanes = Array.from({ length: LANES }, (_, i) => names.from + i);
  const code: number[] = [];
  code.push(...local.get(LIST), ...i32.load(0), ...local.set(FIRST));
  code.push(...local.get(LIST), ...i32.load(8), ...local.set(SECOND));
  code.push(...local.get(BLOCKS), ...local.set(LEFT));
  for (const lane of lanes) code.push(...PAIR.literal(0n), ...local.set(lane));
  code.push(
    ...loop(
      ...lanes.slice(0, RATE / 8).map((lane, i) => {
        const first = [...local.get(FIRST), ...v128.load64Zero(8 * i)];
        const both = [...local.get(SECOND), ...first, ...v128.load64Lane(8 * i, 1)];
        return [...both, ...local.get(lane), ...PAIR.xor, ...local.set(lane)];
      }),
      permute(PAIR, names),
      advance(FIRST, RATE),
      advance(SECOND, RATE),
      [...local.get(LEFT), ...i32.const(1), ...i32.sub, ...local.tee(LEFT)],
    ),
  );
  for (const half of [0, 1]) {
    code.push(...local.get(LIST), ...i32.load(4 + 8 * half), ...local.set(FIRST));
    for (let i = 0; i < 4; i++)
      code.push(...local.get(FIRST), ...local.get(names.from + i), ...v128.store64Lane(8 * i, half));
  }
  code.push(...advance(LIST, 16));
  code.push(...local.get(COUNT), ...i32.const(2), ...i32.sub, ...local.tee(COUNT), ...i32.const(0), ...i32.gtS);
  return body(PAIR, 3, names, [...local.get(COUNT), ...when(loop(code))]);
}

// --- the module ---

/** Of a function with so many i32 in and out. */
const type = (parameters: number, results: number): Code => {
  const numbers = (count: number): Code => vector(...Array.from({ length: count }, () => [I32]));
  return code([0x60], numbers(parameters), numbers(results));
};

/**
 * The module's bytes, for a memory that is `shared` between threads or not: `keccak.wasm` holds the latter, for where a
 * module must not be made from bytes.
 */
export function keccakModule(shared = false): Uint8Array<ArrayBuffer> {
  const functions = {
    hash: hash(),
    each64: each(64),
    each128: each(128),
    decode: decodeFunction(),
    execute: executeFunction(),
    padded: padded(),
    sha: shaFunction(),
  };
  const names = Object.keys(functions);
  // A shared memory has to say how large it may become.
  const limits = shared ? [0x03, 1, ...unsigned(MAX_MEMORY_PAGES)] : [0x00, 1];
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(
      1,
      vector(type(3, 0), type(2, 0), type(DECODE_PARAMETERS.length, 1), type(EXECUTE_PARAMETERS.length, 1)),
    ),
    ...section(2, vector([...text('keccak'), ...text('memory'), 2, ...limits])),
    ...section(3, vector([0], [1], [1], [2], [3], [0], [0])),
    ...section(7, vector(...names.map((name, i): Code => [...text(name), 0, ...unsigned(i)]))),
    ...section(10, vector(...Object.values(functions))),
    ...section(
      11,
      vector([0, ...i32.const(KECCAK_CONSTANTS), END, ...vector(...ROUND_CONSTANTS.flatMap(bytesOf).map((b) => [b]))]),
    ),
  ]);
}

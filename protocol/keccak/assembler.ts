/**
 * WebAssembly's instructions and sections as bytes: those that are used.
 * @see https://webassembly.github.io/spec/core/binary
 */

export type Code = readonly number[];
/** One after the other. */
export const code = (...parts: readonly Code[]): Code => parts.flat();

export const unsigned = (value: number): Code =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
/** Signed LEB128 of an i32 or i64. */
function signed(value: bigint): Code {
  const low = Number(value & 127n);
  const rest = value >> 7n;
  return (rest === 0n && low < 64) || (rest === -1n && low >= 64) ? [low] : [low | 128, ...signed(rest)];
}
export const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];

export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;
export const END = 0x0b;
export const local = {
  get: (i: number): Code => [0x20, ...unsigned(i)],
  set: (i: number): Code => [0x21, ...unsigned(i)],
  tee: (i: number): Code => [0x22, ...unsigned(i)],
};
export const i32 = {
  const: (value: number): Code => [0x41, ...signed(BigInt(value))],
  load: (at: number): Code => [0x28, 0, ...unsigned(at)],
  load8: (at: number): Code => [0x2d, 0, ...unsigned(at)],
  store: (at: number): Code => [0x36, 0, ...unsigned(at)],
  store8: (at: number): Code => [0x3a, 0, ...unsigned(at)],
  eqz: [0x45],
  eq: [0x46],
  ltS: [0x48],
  ne: [0x47],
  ltU: [0x49],
  gtU: [0x4b],
  gtS: [0x4a],
  leS: [0x4c],
  geU: [0x4f],
  add: [0x6a],
  sub: [0x6b],
  mul: [0x6c],
  remU: [0x70],
  and: [0x71],
  or: [0x72],
  shl: [0x74],
  shrU: [0x76],
  wrap: [0xa7],
} as const;
export const i64 = {
  const: (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))],
  load: (at: number): Code => [0x29, 0, ...unsigned(at)],
  load8: (at: number): Code => [0x31, 0, ...unsigned(at)],
  store: (at: number): Code => [0x37, 0, ...unsigned(at)],
  store8: (at: number): Code => [0x3c, 0, ...unsigned(at)],
  eqz: [0x50],
  eq: [0x51],
  ne: [0x52],
  ctz: [0x7a],
  xor: [0x85],
  ltU: [0x54],
  gtU: [0x56],
  geU: [0x5a],
  add: [0x7c],
  sub: [0x7d],
  and: [0x83],
  or: [0x84],
  shl: [0x86],
  shrU: [0x88],
  extendU: [0xad],
  truncate: [0xfc, 0x06],
} as const;
export const f64 = {
  load: (at: number): Code => [0x2b, 0, ...unsigned(at)],
  store: (at: number): Code => [0x39, 0, ...unsigned(at)],
  zero: [0x44, 0, 0, 0, 0, 0, 0, 0, 0],
  convert: [0xb9],
} as const;
export const v128 = {
  load: (at: number): Code => [...simd(0x00), 0, ...unsigned(at)],
  store: (at: number): Code => [...simd(0x0b), 0, ...unsigned(at)],
  load32Zero: (at: number): Code => [...simd(0x5c), 0, ...unsigned(at)],
  store32Lane: (at: number, lane: number): Code => [...simd(0x5a), 0, ...unsigned(at), lane],
  splat64: simd(0x12),
  extract64: (lane: number): Code => [...simd(0x1d), lane],
  swizzle: simd(0x0e),
  load64Splat: (at: number): Code => [...simd(0x0a), 0, ...unsigned(at)],
  load64Zero: (at: number): Code => [...simd(0x5d), 0, ...unsigned(at)],
  load64Lane: (at: number, lane: number): Code => [...simd(0x57), 0, ...unsigned(at), lane],
  store64Lane: (at: number, lane: number): Code => [...simd(0x5b), 0, ...unsigned(at), lane],
  const: (bytes: Code): Code => [...simd(0x0c), ...bytes],
  shuffle: (bytes: Code): Code => [...simd(0x0d), ...bytes],
  andNot: simd(0x4f),
  or: simd(0x50),
  xor: simd(0x51),
  shiftLeft64: simd(0xcb),
  shiftRight64: simd(0xcd),
} as const;
export const memoryFill: Code = [0xfc, 0x0b, 0];
export const select: Code = [0x1b];
/** By the number on the stack, so many blocks out; where that is more than there are, out of all of them. */
export const branchTable = (depths: Code): Code => [0x0e, ...unsigned(depths.length - 1), ...depths.flatMap(unsigned)];
/** To the end of the `depth`th block around it, or the start of that loop. */
export const branch = (depth: number): Code => [0x0c, ...unsigned(depth)];
export const branchIf = (depth: number): Code => [0x0d, ...unsigned(depth)];
export const block = (...body: Code[]): Code => [0x02, 0x40, ...body.flat(), END];
/** Runs `body` once, and again for every branch to its start. */
export const cycle = (...body: Code[]): Code => [0x03, 0x40, ...body.flat(), END];
/** Runs `body` again for as long as it leaves something other than 0. */
export const loop = (...body: Code[]): Code => [0x03, 0x40, ...body.flat(), 0x0d, 0, END];
export const either = (then: Code, otherwise: Code): Code => [0x04, 0x40, ...then, 0x05, ...otherwise, END];
export const when = (...body: Code[]): Code => [0x04, 0x40, ...body.flat(), END];

// --- modules ---

/** A function's code, with locals after its parameters. */
export const func = (locals: Code, code: Code): Code => {
  const bytes = [...vector(...locals.map((type): Code => [1, type])), ...code, END];
  return [...unsigned(bytes.length), ...bytes];
};

export const section = (id: number, ...content: Code[]): Code => {
  const bytes = content.flat();
  return [id, ...unsigned(bytes.length), ...bytes];
};
export const vector = (...items: Code[]): Code => [...unsigned(items.length), ...items.flat()];
export const text = (value: string): Code => vector(...[...value].map((c) => [c.charCodeAt(0)]));

export const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

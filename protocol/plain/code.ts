/**
 * The words that operations are written with in their plain form: numbers, cells and fields as in `machine.ts`, but what
 * comes out is WebAssembly. A number is an i64, a cell its handle, an i32; what is to be known twice is put in a local by
 * {@link Plain.keep}.
 */
import type { BytesField, UintField } from '../field.ts';
import { type Code, I32, I64, branchIf, i32, i64, local, select, v128 } from '../keccak/assembler.ts';
import { EDITS, FRAME, NUMBERS, PAGES, PAGE_CELLS, TABLE } from './layout.ts';

declare const stack: unique symbol;
/** Code that leaves a number. */
export type Num = Code & { readonly [stack]: 'number' };
/** Code that leaves the handle of a cell; or of one that may be written. */
export type Cell = Code & { readonly [stack]: 'cell' | 'edit' };
export type Edit = Code & { readonly [stack]: 'edit' };
/** Code that leaves 0 or not. */
export type Truth = Code & { readonly [stack]: 'truth' };

const join = <T extends Code>(...parts: Code[]): T => parts.flat() as Code as T;

export const num = (value: number): Num => join(i64.const(BigInt(value)));
const binary =
  <T extends Code>(instruction: Code) =>
  (a: Num, b: Num | number): T =>
    join(a, typeof b === 'number' ? num(b) : b, instruction);
export const add: (a: Num, b: Num | number) => Num = binary(i64.add);
export const sub: (a: Num, b: Num | number) => Num = binary(i64.sub);
export const and: (a: Num, b: Num | number) => Num = binary(i64.and);
export const shl: (a: Num, b: Num | number) => Num = binary(i64.shl);
export const shr: (a: Num, b: Num | number) => Num = binary(i64.shrU);
export const is: (a: Num, b: Num | number) => Truth = binary(i64.eq);
export const isNot: (a: Num, b: Num | number) => Truth = binary(i64.ne);
export const below: (a: Num, b: Num | number) => Truth = binary(i64.ltU);
export const above: (a: Num, b: Num | number) => Truth = binary(i64.gtU);
export const atLeast: (a: Num, b: Num | number) => Truth = binary(i64.geU);
export const both = (a: Truth, b: Truth): Truth => join(a, b, i32.and);
export const not = (a: Truth): Truth => join(a, i32.eqz);

export const shardOf = (id: Num): Num => and(id, 255);
export const serialOf = (id: Num): Num => shr(id, 8);

// --- fields: big-endian, so their bytes are reversed, by one instruction ---

/** For a swizzle: byte i of the result is byte `from + count − 1 − i`, and what is above is zero. */
const reversed = (from: number, count: number): Code =>
  v128.const(Array.from({ length: 16 }, (_, i) => (i < count ? from + count - 1 - i : 255)));

/** Where the eight bytes start by which a field of 6 or 7 is read and written: always the same, so that what was just written is read without waiting. */
const windowOf = ({ at, width }: UintField): { start: number; from: number } => {
  const start = Math.min(at, 64 - 8);
  if (at + width > start + 8) throw new RangeError(`a field of ${width} bytes at ${at}`);
  return { start, from: at - start };
};

export function get(field: UintField, cell: Cell): Num {
  const { at, width } = field;
  if (width === 1) return join(cell, i64.load8(at));
  if (width === 4) return join(cell, v128.load32Zero(at), reversed(0, 4), v128.swizzle, v128.extract64(0));
  const { start, from } = windowOf(field);
  return join(cell, v128.load64Zero(start), reversed(from, width), v128.swizzle, v128.extract64(0));
}

function set(field: UintField, cell: Edit, value: Num): Code {
  const { at, width } = field;
  if (width === 1) return join(cell, value, i64.store8(at));
  if (width === 4) return join(cell, value, v128.splat64, reversed(0, 4), v128.swizzle, v128.store32Lane(at, 0));
  const { start, from } = windowOf(field);
  // A number of bytes less than eight, so its own upper ones are zeros: they are where its neighbours' are to be.
  const shifted = shl(join(value, v128.splat64, reversed(0, width), v128.swizzle, v128.extract64(0)), 8 * from);
  const own = ((1n << BigInt(8 * width)) - 1n) << BigInt(8 * from);
  const others = join<Num>(cell, i64.load(start), i64.const(~own), i64.and);
  return join(cell, others, shifted, i64.or, i64.store(start));
}

/** Parameters of the function: the actor's cell, the head, the actor; which interaction it is at, how many there are. */
export const EXECUTE_PARAMETERS: Code = [I32, I32, I32, I32, I32];
const [AGENT, HEAD, ACTOR, AT, COUNT] = [0, 1, 2, 3, 4];

/** The function that runs plain interactions, while it is being written. */
export class Plain {
  /** What is written. */
  code: Code = [];
  /** Types of the locals after the parameters. */
  readonly locals: number[] = [];
  /** The actor's cell, its id, the shard and its head. */
  readonly agent: Edit = join(local.get(AGENT));
  readonly head: Edit = join(local.get(HEAD));
  readonly actor: Num;
  readonly shard: Num;
  /** Locals: besides two parameters the interaction's operation, where its numbers are, where the next changed cell is noted. */
  readonly names: {
    readonly at: number;
    readonly count: number;
    readonly op: number;
    readonly numbersAt: number;
    readonly log: number;
  };

  constructor() {
    const [op, numbersAt, log] = [this.#local(I32), this.#local(I32), this.#local(I32)];
    this.names = { at: AT, count: COUNT, op, numbersAt, log };
    this.emit(i32.const(EDITS), local.set(log));
    this.actor = this.keep(join(local.get(ACTOR), i64.extendU));
    this.shard = this.keep(shardOf(this.actor));
  }

  #local(type: number): number {
    return EXECUTE_PARAMETERS.length + this.locals.push(type) - 1;
  }
  emit(...parts: Code[]): void {
    this.code = join(this.code, ...parts);
  }
  /** Code by itself. */
  write(body: () => void): Code {
    const before = this.code;
    this.code = [];
    body();
    const written = this.code;
    this.code = before;
    return written;
  }

  /** Computes it here, once. */
  keep(value: Num): Num {
    const name = this.#local(I64);
    this.emit(value, local.set(name));
    return join(local.get(name));
  }
  /** Number `i` of the interaction. */
  number(i: number): Num {
    return this.keep(join(local.get(this.names.numbersAt), i64.load(NUMBERS + 8 * i)));
  }

  /** Leaves the interaction, and what comes after it, to TypeScript. Nothing must have been written yet. */
  leaveIf(truth: Truth): void {
    // Out of what is for one operation, out of the loop, to the end.
    this.emit(truth, branchIf(2));
  }

  /** A cell in a page that is there. */
  cell(region: number, slot: Num): Cell {
    const [cell, place] = this.#find(region, slot);
    this.leaveIf(join(place, i32.const(0), i32.leS));
    return this.#at(cell, place, slot);
  }
  /** A cell for reading: all zeros where nothing was written near it. */
  peek(region: number, slot: Num): Cell {
    const [cell, place] = this.#find(region, slot);
    this.leaveIf(join(place, i32.const(0), i32.ltS));
    this.#at(cell, place, slot);
    this.emit(local.get(cell), i32.const(0), place, select, local.set(cell));
    return join(local.get(cell));
  }
  #find(region: number, slot: Num): [cell: number, place: Code] {
    const [cell, place] = [this.#local(I32), this.#local(I32)];
    this.emit(shr(slot, Math.log2(PAGE_CELLS)), i32.wrap, i32.const(2), i32.shl);
    this.emit(i32.load(TABLE + 4 * PAGES * region), local.set(place));
    return [cell, local.get(place)];
  }
  #at(cell: number, place: Code, slot: Num): Cell {
    this.emit(place, i32.const(16), i32.shl);
    this.emit(and(slot, PAGE_CELLS - 1), i32.wrap, i32.const(6), i32.shl, i32.add, local.set(cell));
    return join(local.get(cell));
  }

  /** The cell for writing: it counts as changed. */
  edit(cell: Cell): Edit {
    this.emit(local.get(this.names.log), cell, i32.store(0));
    this.emit(local.get(this.names.log), i32.const(4), i32.add, local.set(this.names.log));
    return cell as Code as Edit;
  }
  set(field: UintField, cell: Edit, value: Num | number): void {
    this.emit(set(field, cell, typeof value === 'number' ? num(value) : value));
  }
  /** Adds to a field. */
  raise(field: UintField, cell: Edit, by: Num | number): void {
    this.set(field, cell, add(get(field, cell), by));
  }
  lower(field: UintField, cell: Edit, by: Num): void {
    this.set(field, cell, sub(get(field, cell), by));
  }
  /** Fills a field of bytes with those that stand `from` bytes behind `source`. */
  copy({ at, width }: BytesField, cell: Edit, source: Cell, from = 0): void {
    let done = 0;
    for (; width - done >= 16; done += 16) this.emit(cell, source, v128.load(from + done), v128.store(at + done));
    for (; width - done >= 4; done += 4)
      this.emit(cell, source, v128.load32Zero(from + done), v128.store32Lane(at + done, 0));
    if (done < width) throw new RangeError(`a field of ${width} bytes`);
  }
  /** What stands at a place of the frame, to be copied. */
  inFrame(place: Num): Cell {
    return join(place, i32.wrap, i32.const(FRAME), i32.add);
  }
  /** Fills a whole cell with zeros. */
  clear(cell: Edit): void {
    const zeros = v128.const(Array.from({ length: 16 }, () => 0));
    for (let at = 0; at < 64; at += 16) this.emit(cell, zeros, v128.store(at));
  }
}

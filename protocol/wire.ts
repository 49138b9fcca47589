/**
 * Fields of operations (docs/protocol.md §4). A field is one or more *slots*: items of the wire, each of which decodes to a
 * number. The same field writes and reads the object form.
 */
import { type Reader, type Writer } from './bytes.ts';
import { malformed } from './errors.ts';

/** How a slot stands on the wire. */
export const Wire = { varint: 0, byte: 1, bytes: 2, options: 3 } as const;

export interface Slot {
  readonly name: string;
  readonly wire: (typeof Wire)[keyof typeof Wire];
  /** First number too large; of `bytes` their length; of `options` how many there may be. */
  readonly size: number;
  /** Numbers it decodes to. */
  readonly numbers: number;
}

/**
 * `Part` is what the field is in the object form, `Args` the numbers it is for `run`: of bytes, the place in the frame
 * where they start; of an option left out, 0.
 */
export interface OpField<Part extends object = object, Args extends readonly number[] = readonly number[]> {
  readonly slots: readonly Slot[];
  /** Writes the field of an object; throws `malformed`. */
  write(writer: Writer, record: Part): void;
  /** The field as an object has it, from the numbers it decoded to, which start at `at`. */
  read(frame: Uint8Array, numbers: Float64Array, at: number): Part;
  /** Never there: it carries the type. */
  readonly args?: Args;
}

type Simple<T> = { [K in keyof T]: T[K] };
type Parts<Fields extends readonly OpField[]> = Fields extends readonly [
  OpField<infer Part, infer _>,
  ...infer Rest extends readonly OpField[],
]
  ? Part & Parts<Rest>
  : object;
export type RecordOf<Fields extends readonly OpField[]> = Simple<Parts<Fields>>;
export type ArgsOf<Fields extends readonly OpField[]> = Fields extends readonly [
  { readonly args?: infer Args extends readonly number[] | undefined },
  ...infer Rest extends readonly OpField[],
]
  ? [...NonNullable<Args>, ...ArgsOf<Rest>]
  : [];

type Named<Name extends string, Value> = { readonly [K in Name]: Value };
type One<Name extends string, Value> = OpField<Named<Name, Value>, [number]>;

const named = <Name extends string, Value>(name: Name, value: Value): Named<Name, Value> =>
  ({ [name]: value }) as Named<Name, Value>;

/** A number as a varint, below `limit`. */
export const varint = <const Name extends string>(name: Name, limit = 2 ** 53): One<Name, number> => ({
  slots: [{ name, wire: Wire.varint, size: limit, numbers: 1 }],
  write: (writer, record) => writer.varint(record[name]),
  read: (_frame, numbers, at) => named(name, numbers[at]),
});

/** Base units. */
export const amount = <const Name extends string>(name: Name): One<Name, number> => varint(name);
/** Seconds; the operation says how many are too many. */
export const duration = <const Name extends string>(name: Name): One<Name, number> => varint(name);
/** Calls of one direction of a session. */
export const calls = <const Name extends string>(name: Name): One<Name, number> => varint(name, 2 ** 48);
/** An id, of any kind and shard; the operation says whether there is such a record. */
export const id = <const Name extends string>(name: Name): One<Name, number> => varint(name);
/** An agent's id that is only kept, or 0: it need not exist, but fits its cell. */
export const agentId = <const Name extends string>(name: Name): One<Name, number> => varint(name, 2 ** 28);

/** `length` bytes. */
export const bytes = <const Name extends string>(name: Name, length: number): One<Name, Uint8Array> => ({
  slots: [{ name, wire: Wire.bytes, size: length, numbers: 1 }],
  write: (writer, record) => {
    if (record[name].length !== length) throw malformed(`${name} is ${length} bytes`);
    writer.bytes(record[name]);
  },
  read: (frame, numbers, at) => named(name, frame.slice(numbers[at], numbers[at] + length)),
});

/** A byte that says which of `values`: the number is its place among them. */
export const choice = <const Name extends string, const Value extends string | number | boolean>(
  name: Name,
  ...values: readonly Value[]
): One<Name, Value> => ({
  slots: [{ name, wire: Wire.byte, size: values.length, numbers: 1 }],
  write: (writer, record) => {
    const place = values.indexOf(record[name]);
    if (place === -1) throw malformed(`${name} is one of ${values.join(', ')}`);
    writer.u8(place);
  },
  read: (_frame, numbers, at) => named(name, values[numbers[at]]),
});

/** A byte with a bit for each name that is there, then a varint for each of those. `run` takes the byte and all of them. */
export const options = <const Names extends readonly string[]>(
  ...names: Names
): OpField<{ readonly [K in Names[number]]?: number }, [number, ...{ [I in keyof Names]: number }]> => ({
  slots: [{ name: 'options', wire: Wire.options, size: names.length, numbers: 1 + names.length }],
  write: (writer, record) => {
    const given = names.map((name) => (record as Readonly<Record<string, number | undefined>>)[name]);
    writer.u8(given.reduce<number>((bits, value, i) => (value === undefined ? bits : bits | (1 << i)), 0));
    for (const value of given) if (value !== undefined) writer.varint(value);
  },
  read: (_frame, numbers, at) => {
    const record: Record<string, number> = {};
    for (const [i, name] of names.entries()) if (numbers[at] & (1 << i)) record[name] = numbers[at + 1 + i];
    return record as { readonly [K in Names[number]]?: number };
  },
});

/** Fields that the object form has together under one name; on the wire and for `run` they stand as if alone. */
export const group = <const Name extends string, const Fields extends readonly OpField[]>(
  name: Name,
  fields: Fields,
): OpField<Named<Name, RecordOf<Fields>>, ArgsOf<Fields>> => ({
  slots: fields.flatMap(({ slots }) => slots),
  write: (writer, record) => writeFields(writer, fields, record[name]),
  read: (frame, numbers, at) => named(name, readFields(fields, frame, numbers, at)),
});

export function writeFields<Fields extends readonly OpField[]>(
  writer: Writer,
  fields: Fields,
  record: RecordOf<Fields>,
): void {
  for (const field of fields) field.write(writer, record);
}

export function readFields<Fields extends readonly OpField[]>(
  fields: Fields,
  frame: Uint8Array,
  numbers: Float64Array,
  from: number,
): RecordOf<Fields> {
  const record = {};
  let at = from;
  for (const field of fields) {
    Object.assign(record, field.read(frame, numbers, at));
    at += numbersOf(field.slots);
  }
  return record as RecordOf<Fields>;
}

export const numbersOf = (slots: readonly Slot[]): number => slots.reduce((sum, slot) => sum + slot.numbers, 0);

/** Decodes slots into numbers, from `from` on. Throws `malformed`. */
export function decodeSlots(reader: Reader, slots: readonly Slot[], numbers: Float64Array, from: number): void {
  let at = from;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i];
    if (slot.wire === Wire.varint) {
      const value = reader.varint();
      if (value >= slot.size) throw malformed(`${slot.name} is too large`);
      numbers[at++] = value;
    } else if (slot.wire === Wire.bytes) numbers[at++] = reader.skip(slot.size);
    else {
      const value = reader.u8();
      if (value >= (slot.wire === Wire.byte ? slot.size : 1 << slot.size)) throw malformed(`no such ${slot.name}`);
      numbers[at++] = value;
      if (slot.wire === Wire.options)
        for (let bit = 0; bit < slot.size; bit++) numbers[at++] = value & (1 << bit) ? reader.varint() : 0;
    }
  }
}

/**
 * Fields of operations (docs/protocol.md §4). A field is one or more *slots*: items of the wire, each of which decodes to a
 * number. The same field writes and reads the object form.
 */
import { Reader, type Writer } from './bytes.ts';
import { malformed } from './errors.ts';

/** How a slot stands on the wire. */
export const Wire = { varint: 0, byte: 1, bytes: 2, options: 3, list: 4 } as const;

/**
 * What a number names of this shard's records, for access lists (access.ts): that record, and what it points to. Of what is
 * only noted down, nothing. `own service`: 0 makes one; `terms`: a service, only read; `advanced`: an escrow, with what it
 * waits for and starts by; `dependency`: an escrow, only read; `back`: that, counted from the one being made; `joined`: a
 * workflow, 0 the newest, noted down for later; `rated`: an escrow or a session.
 */
export type Names =
  | 'agent'
  | 'own service'
  | 'terms'
  | 'capability'
  | 'session'
  | 'escrow'
  | 'advanced'
  | 'dependency'
  | 'back'
  | 'joined'
  | 'rated'
  | 'workflow';

export interface Slot {
  readonly name: string;
  readonly wire: (typeof Wire)[keyof typeof Wire];
  /** First number too large; of `bytes` their length; of `list` the most items it may have. */
  readonly size: number;
  /** Smallest number. */
  readonly least: number;
  /** Numbers it decodes to. */
  readonly numbers: number;
  /** What the number names. */
  readonly names: Names | undefined;
  /** Of `options`, what stands for each bit; of `list`, the one kind of item. */
  readonly parts: readonly (readonly Slot[])[];
  /** Of `options`: bits of which only one may be set. */
  readonly exclusive: number;
}

/** All made here, so that they are objects of one kind to whom decodes by them. */
const slot = (name: string, wire: Slot['wire'], size: number, more: Partial<Slot> = {}): Slot => ({
  name,
  wire,
  size,
  least: more.least ?? 0,
  numbers: more.numbers ?? 1,
  names: more.names,
  parts: more.parts ?? [],
  exclusive: more.exclusive ?? 0,
});

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
export const varint = <const Name extends string>(
  name: Name,
  limit = 2 ** 53,
  least = 0,
  names?: Names,
): One<Name, number> => ({
  slots: [slot(name, Wire.varint, limit, { least, names })],
  write: (writer, record) => {
    if (record[name] >= limit || record[name] < least) throw malformed(`${name} out of range`);
    writer.varint(record[name]);
  },
  read: (_frame, numbers, at) => named(name, numbers[at]),
});

/** Base units. */
export const amount = <const Name extends string>(name: Name): One<Name, number> => varint(name);
/** Seconds; the operation says how many are too many. */
export const duration = <const Name extends string>(name: Name): One<Name, number> => varint(name);
/** Calls of one direction of a session. */
export const calls = <const Name extends string>(name: Name): One<Name, number> => varint(name, 2 ** 48);
/** An id, of any kind and shard; the operation says whether there is such a record. */
export const id = <const Name extends string>(name: Name, names?: Names): One<Name, number> =>
  varint(name, 2 ** 53, 0, names);
/** Id of an agent, a service or a capability: it fits the four bytes that cells keep for it. */
export const shortId = <const Name extends string>(name: Name, names?: Names): One<Name, number> =>
  varint(name, 2 ** 32, 0, names);

/** One byte, below `limit`. */
export const byte = <const Name extends string>(
  name: Name,
  limit = 256,
  least = 0,
  names?: Names,
): One<Name, number> => ({
  slots: [slot(name, Wire.byte, limit, { least, names })],
  write: (writer, record) => {
    const value = record[name];
    if (!Number.isInteger(value) || value < least || value >= limit) throw malformed(`${name} out of range`);
    writer.u8(value);
  },
  read: (_frame, numbers, at) => named(name, numbers[at]),
});

/** `length` bytes. */
export const bytes = <const Name extends string>(name: Name, length: number): One<Name, Uint8Array> => ({
  slots: [slot(name, Wire.bytes, length)],
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
  slots: [slot(name, Wire.byte, values.length)],
  write: (writer, record) => {
    const place = values.indexOf(record[name]);
    if (place === -1) throw malformed(`${name} is one of ${values.join(', ')}`);
    writer.u8(place);
  },
  read: (_frame, numbers, at) => named(name, values[numbers[at]]),
});

type OptionParts<Options extends readonly (readonly OpField[])[]> = Options extends readonly [
  infer First extends readonly OpField[],
  ...infer Rest extends readonly (readonly OpField[])[],
]
  ? Partial<RecordOf<First>> & OptionParts<Rest>
  : object;
type OptionArgs<Options extends readonly (readonly OpField[])[]> = Options extends readonly [
  infer First extends readonly OpField[],
  ...infer Rest extends readonly (readonly OpField[])[],
]
  ? [...ArgsOf<First>, ...OptionArgs<Rest>]
  : [];

/**
 * A byte with a bit for each of `given` that is there, then the fields of those. In the object form an option is there
 * when its first field is. `run` takes the byte, then the numbers of all of them. `exclusive`: bits of which one at most may be set.
 */
export const options = <const Options extends readonly (readonly OpField[])[]>(
  given: Options,
  exclusive = 0,
): OpField<Simple<OptionParts<Options>>, [number, ...OptionArgs<Options>]> => {
  const parts = given.map((fields) => fields.flatMap(({ slots }) => slots));
  return {
    slots: [
      slot('options', Wire.options, 1 << given.length, {
        numbers: parts.reduce((sum, slots) => sum + numbersOf(slots), 1),
        parts,
        exclusive,
      }),
    ],
    write: (writer, record) => {
      const values = record as Readonly<Record<string, unknown>>;
      const isThere = parts.map(([{ name }]) => values[name] !== undefined);
      writer.u8(isThere.reduce((bits, there, i) => (there ? bits | (1 << i) : bits), 0));
      for (const [i, fields] of given.entries()) if (isThere[i]) writeFields(writer, fields, record as never);
    },
    read: (frame, numbers, at) => {
      const record = {};
      let next = at + 1;
      for (const [i, fields] of given.entries()) {
        if (numbers[at] & (1 << i)) Object.assign(record, readFields(fields, frame, numbers, next));
        next += numbersOf(parts[i]);
      }
      return record as Simple<OptionParts<Options>>;
    },
  };
};

/** A byte with how many there are, 1 to `most`, then so many times the fields. `run` takes the number, and where in the frame they start. */
export const list = <const Name extends string, const Fields extends readonly OpField[]>(
  name: Name,
  most: number,
  fields: Fields,
): OpField<Named<Name, readonly RecordOf<Fields>[]>, [number, number]> => {
  const item = fields.flatMap(({ slots }) => slots);
  return {
    slots: [slot(name, Wire.list, most, { numbers: 2, parts: [item] })],
    write: (writer, record) => {
      if (record[name].length < 1 || record[name].length > most) throw malformed(`1 to ${most} ${name}`);
      writer.u8(record[name].length);
      for (const each of record[name]) writeFields(writer, fields, each);
    },
    read: (frame, numbers, at) => {
      const reader = new Reader(frame, numbers[at + 1]);
      const decoded = new Float64Array(numbersOf(item));
      const items = Array.from({ length: numbers[at] }, () => {
        decodeSlots(reader, item, decoded, 0);
        return readFields(fields, frame, decoded, 0);
      });
      return named(name, items);
    },
  };
};

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
    if (slot.wire === Wire.bytes) numbers[at] = reader.skip(slot.size);
    else if (slot.wire === Wire.options) decodeOptions(reader, slot, numbers, at);
    else if (slot.wire === Wire.list) decodeList(reader, slot, numbers, at);
    else {
      const value = slot.wire === Wire.varint ? reader.varint() : reader.u8();
      if (value >= slot.size || value < slot.least) throw malformed(`${slot.name} out of range`);
      numbers[at] = value;
    }
    at += slot.numbers;
  }
}

function decodeOptions(reader: Reader, slot: Slot, numbers: Float64Array, from: number): void {
  const bits = reader.u8();
  const both = bits & slot.exclusive;
  if (bits >= slot.size || (both & (both - 1)) !== 0) throw malformed(`no such ${slot.name}`);
  numbers[from] = bits;
  if (bits === 0) {
    for (let at = from + 1; at < from + slot.numbers; at++) numbers[at] = 0;
    return;
  }
  let at = from + 1;
  for (const [i, part] of slot.parts.entries()) {
    const count = numbersOf(part);
    if (bits & (1 << i)) decodeSlots(reader, part, numbers, at);
    else numbers.fill(0, at, at + count);
    at += count;
  }
}

function decodeList(reader: Reader, slot: Slot, numbers: Float64Array, at: number): void {
  const count = reader.u8();
  if (count < 1 || count > slot.size) throw malformed(`1 to ${slot.size} ${slot.name}`);
  numbers[at] = count;
  numbers[at + 1] = reader.at;
  const [item] = slot.parts;
  const ignored = new Float64Array(numbersOf(item));
  for (let i = 0; i < count; i++) decodeSlots(reader, item, ignored, 0);
}

/**
 * Frames in columns, for where nobody has to prove against the bytes: transport, archives, what a committee's member keeps. Alike is put with alike — an
 * operation's codes, each of its fields, signatures — numbers as what they differ by from the one before, and all of it is deflated. Lossless for any
 * frames; total when read: any bytes are records or `malformed`, in memory bounded by what the reader allows.
 *
 *     archive = version u8 (1) ‖ deflate (RFC 1951) of: size of each column varint ‖ the columns
 */
import { decodeHeader, BUNDLE, MAX_FRAME_BYTES } from '../bundle.ts';
import { Reader, Writer, concat } from '../bytes.ts';
import { codeOf, malformed } from '../errors.ts';
import { SIGNATURE_BYTES } from '../half.ts';
import { MAX_NUMBERS, decodeOp, opOf } from '../ops/index.ts';
import { type ChunkRecord, MAX_RECORD_FRAMES } from '../trace.ts';
import { type Slot, Wire } from '../wire.ts';

const VERSION = 1;

/** Columns that are not of a field. */
const RUNS = 0;
const KINDS = 1;
const RAW = 2;
const ACTORS = 3;
const HEADS = 4;
const ROOTS = 5;
const SIGNATURES = 6;
const CODES = 7;
const FIRST_FIELD = 8;
/** Fields of an operation, those of its options and lists included. */
const FIELDS = 32;
const COLUMNS = FIRST_FIELD + 256 * FIELDS;

/** Frames that are no canonical bundle are kept as they are. */
const IS_RAW = 0;
const IS_BUNDLE = 1;

/** Differences beyond this are not written as one: twice as much must be exact in a double. */
const FAR = 2 ** 51;

/** Numbers of one column, each told by how it differs from the one before; 0 says that the number itself follows. */
class Series {
  #last = 0;

  write(writer: Writer, value: number): void {
    const difference = value - this.#last;
    this.#last = value;
    if (Math.abs(difference) < FAR) writer.varint(1 + (difference < 0 ? -2 * difference - 1 : 2 * difference));
    else writer.varint(0).varint(value);
  }

  read(reader: Reader): number {
    const told = reader.varint();
    if (told === 0) return (this.#last = reader.varint());
    const difference = told % 2 === 1 ? (told - 1) / 2 : -told / 2;
    const value = this.#last + difference;
    if (!Number.isSafeInteger(value) || value < 0) throw malformed('a number out of range');
    return (this.#last = value);
  }
}

/** What both directions keep between frames. */
class Context {
  readonly #series = new Map<number, Series>();
  /** The nonce an agent's next bundle should have. */
  readonly nonces = new Map<number, number>();

  series(column: number): Series {
    let series = this.#series.get(column);
    if (series === undefined) this.#series.set(column, (series = new Series()));
    return series;
  }
}

/** Bits of a bundle's head: it has a payload root; its nonce is told as what it is above the one due. */
const HAS_ROOT = 1;
const NONCE_AHEAD = 2;

const IGNORED = new Float64Array(MAX_NUMBERS);

/** Whether a frame is a bundle that its header and fields say whole. */
function isBundle(frame: Uint8Array): boolean {
  if (frame[0] !== BUNDLE || frame.length <= SIGNATURE_BYTES) return false;
  try {
    const reader = new Reader(frame, 0, frame.length - SIGNATURE_BYTES);
    const { count } = decodeHeader(reader);
    for (let i = 0; i < count; i++) decodeOp(reader, IGNORED, 0);
    return reader.left === 0;
  } catch (error) {
    if (codeOf(error) === 'malformed') return false;
    throw error;
  }
}

class Packer {
  readonly #columns = new Map<number, Writer>();
  readonly #context = new Context();

  #column(index: number): Writer {
    let writer = this.#columns.get(index);
    if (writer === undefined) this.#columns.set(index, (writer = new Writer()));
    return writer;
  }

  record({ shard, firstSeq, frames }: ChunkRecord): void {
    if (frames.length === 0 || frames.length > MAX_RECORD_FRAMES)
      throw malformed('a chunk record has 1 to 65535 frames');
    this.#column(RUNS).varint(shard).varint(firstSeq).varint(frames.length);
    for (const frame of frames) this.#frame(frame);
  }

  #frame(frame: Uint8Array): void {
    if (frame.length === 0 || frame.length > MAX_FRAME_BYTES) throw malformed('a posted frame has 1 to 4096 bytes');
    if (isBundle(frame)) {
      this.#column(KINDS).u8(IS_BUNDLE);
      this.#bundle(frame);
    } else {
      this.#column(KINDS).u8(IS_RAW);
      this.#column(RAW).varint(frame.length).bytes(frame);
    }
  }

  #bundle(frame: Uint8Array): void {
    const context = this.#context;
    const reader = new Reader(frame, 0, frame.length - SIGNATURE_BYTES);
    const { count, actor, nonce, expiry, payloadRoot } = decodeHeader(reader);
    this.#column(CODES).u8(count - 1);
    context.series(ACTORS).write(this.#column(ACTORS), actor);
    const due = context.nonces.get(actor) ?? 0;
    context.nonces.set(actor, nonce + 1);
    const isAhead = nonce >= due;
    const heads = this.#column(HEADS).u8((payloadRoot === 0 ? 0 : HAS_ROOT) | (isAhead ? NONCE_AHEAD : 0));
    heads.varint(isAhead ? nonce - due : nonce);
    context.series(HEADS).write(heads, expiry);
    if (payloadRoot !== 0) this.#column(ROOTS).bytes(frame.subarray(payloadRoot, payloadRoot + 32));
    for (let i = 0; i < count; i++) {
      const code = reader.u8();
      this.#column(CODES).u8(code);
      this.#fields(frame, reader, opOf(code)!.slots, FIRST_FIELD + code * FIELDS);
    }
    this.#column(SIGNATURES).bytes(frame.subarray(frame.length - SIGNATURE_BYTES));
  }

  #fields(frame: Uint8Array, reader: Reader, slots: readonly Slot[], from: number): void {
    let column = from;
    for (const slot of slots) {
      const into = this.#column(column);
      if (slot.wire === Wire.varint) this.#context.series(column).write(into, reader.varint());
      else if (slot.wire === Wire.bytes) {
        const at = reader.skip(slot.size);
        into.bytes(frame.subarray(at, at + slot.size));
      } else {
        const byte = reader.u8();
        into.u8(byte);
        if (slot.wire === Wire.list)
          for (let i = 0; i < byte; i++) this.#fields(frame, reader, slot.parts[0], column + 1);
        if (slot.wire === Wire.options) {
          let at = column + 1;
          for (const [i, part] of slot.parts.entries()) {
            if (byte & (1 << i)) this.#fields(frame, reader, part, at);
            at += columnsOf(part);
          }
        }
      }
      column += columnsOf([slot]);
    }
  }

  finish(): Uint8Array {
    const used = [...this.#columns].toSorted(([a], [b]) => a - b);
    const head = new Writer().varint(used.length);
    for (const [index, writer] of used) head.varint(index).varint(writer.length);
    return concat(head.finish(), ...used.map(([, writer]) => writer.finish()));
  }
}

/** Columns that slots fill, those of their parts included. */
const columnsOf = (slots: readonly Slot[]): number =>
  slots.reduce((sum, { parts }) => sum + 1 + parts.reduce((inner, part) => inner + columnsOf(part), 0), 0);

class Unpacker {
  readonly #columns = new Map<number, Reader>();
  readonly #context = new Context();
  #room: number;

  /** `most` bytes of frames at the most. */
  constructor(packed: Uint8Array, most: number) {
    this.#room = most;
    const head = new Reader(packed);
    const count = head.varint();
    if (count > COLUMNS) throw malformed('more columns than there are');
    const sizes: [number, number][] = [];
    for (let i = 0, last = -1; i < count; i++) {
      const [index, size] = [head.varint(), head.varint()];
      if (index <= last || index >= COLUMNS) throw malformed('columns out of order');
      sizes.push([(last = index), size]);
    }
    for (const [index, size] of sizes) {
      const at = head.skip(size);
      this.#columns.set(index, new Reader(packed, at, at + size));
    }
    head.end();
  }

  #column(index: number): Reader {
    const reader = this.#columns.get(index);
    if (reader === undefined) throw malformed('a column is missing');
    return reader;
  }

  *records(): Generator<ChunkRecord> {
    const runs = this.#columns.get(RUNS);
    while (runs !== undefined && runs.left > 0) {
      const [shard, firstSeq, count] = [runs.varint(), runs.varint(), runs.varint()];
      if (shard > 255 || firstSeq + count > 2 ** 48 || count === 0 || count > MAX_RECORD_FRAMES)
        throw malformed('no such chunk record');
      const frames: Uint8Array[] = [];
      for (let i = 0; i < count; i++) frames.push(this.#frame());
      yield { shard, firstSeq, frames };
    }
    for (const reader of this.#columns.values()) reader.end();
  }

  #frame(): Uint8Array {
    const kind = this.#column(KINDS).u8();
    if (kind > IS_BUNDLE) throw malformed('no such kind of frame');
    const frame = kind === IS_RAW ? this.#raw() : this.#bundle();
    if (frame.length === 0 || frame.length > MAX_FRAME_BYTES) throw malformed('a posted frame has 1 to 4096 bytes');
    this.#room -= frame.length;
    if (this.#room < 0) throw malformed('more frames than there is room for');
    return frame;
  }

  #raw(): Uint8Array {
    const reader = this.#column(RAW);
    return reader.bytes(reader.varint());
  }

  #bundle(): Uint8Array {
    const context = this.#context;
    const codes = this.#column(CODES);
    const heads = this.#column(HEADS);
    const count = codes.u8() + 1;
    const actor = context.series(ACTORS).read(this.#column(ACTORS));
    const bits = heads.u8();
    const told = heads.varint();
    const nonce = bits & NONCE_AHEAD ? (context.nonces.get(actor) ?? 0) + told : told;
    context.nonces.set(actor, nonce + 1);
    const frame = new Writer()
      .u8(BUNDLE)
      .u8(count - 1)
      .u8(bits & HAS_ROOT);
    frame.varint(actor).varint(nonce).varint(context.series(HEADS).read(heads));
    if (bits & HAS_ROOT) frame.bytes(this.#column(ROOTS).bytes(32));
    for (let i = 0; i < count; i++) {
      const code = codes.u8();
      const entry = opOf(code);
      if (entry === undefined) throw malformed(`no operation 0x${code.toString(16)}`);
      this.#fields(frame.u8(code), entry.slots, FIRST_FIELD + code * FIELDS);
    }
    return frame.bytes(this.#column(SIGNATURES).bytes(SIGNATURE_BYTES)).finish();
  }

  #fields(frame: Writer, slots: readonly Slot[], from: number): void {
    let column = from;
    for (const slot of slots) {
      const reader = this.#column(column);
      if (slot.wire === Wire.varint) frame.varint(this.#context.series(column).read(reader));
      else if (slot.wire === Wire.bytes) frame.bytes(reader.bytes(slot.size));
      else {
        const byte = reader.u8();
        frame.u8(byte);
        if (slot.wire === Wire.list) for (let i = 0; i < byte; i++) this.#fields(frame, slot.parts[0], column + 1);
        if (slot.wire === Wire.options) {
          let at = column + 1;
          for (const [i, part] of slot.parts.entries()) {
            if (byte & (1 << i)) this.#fields(frame, part, at);
            at += columnsOf(part);
          }
        }
      }
      column += columnsOf([slot]);
    }
  }
}

/** Bytes through one of the platform's transforms; throws `malformed` past `most`, or where the bytes are not of its form. */
async function through(bytes: Uint8Array, transform: TransformStream, most: number): Promise<Uint8Array> {
  const writer = (transform.writable as WritableStream<Uint8Array>).getWriter();
  // A reader that stops, or bytes that are none of its form, fail both ends; what is read says so.
  const written = writer.write(bytes).then(() => writer.close());
  written.catch(() => {});
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = (transform.readable as ReadableStream<Uint8Array>).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > most) throw malformed(`more than ${most} bytes`);
      parts.push(value);
    }
    await written;
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw codeOf(error) === 'malformed' ? error : malformed('not deflated as it should be');
  }
  return concat(...parts);
}

/** Records as an archive. Throws `malformed` for what could not be posted. */
export async function packArchive(records: Iterable<ChunkRecord>): Promise<Uint8Array> {
  const packer = new Packer();
  for (const record of records) packer.record(record);
  const deflated = await through(packer.finish(), new CompressionStream('deflate-raw'), Infinity);
  return concat(Uint8Array.of(VERSION), deflated);
}

/** The records of an archive, whose frames have at most `most` bytes together. Throws `malformed` for anything else. */
export async function unpackArchive(archive: Uint8Array, most: number): Promise<ChunkRecord[]> {
  if (archive[0] !== VERSION) throw malformed('no archive of a version known here');
  // A frame of one byte may take several in columns.
  const packed = await through(archive.subarray(1), new DecompressionStream('deflate-raw'), 8 * most + 1024);
  return Array.from(new Unpacker(packed, most).records());
}

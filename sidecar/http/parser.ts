/** The incremental reader of one connection's messages: bytes in, heads and pieces of bodies out, as they come. */
import { refusal } from '../errors.ts';
import type { Header } from './headers.ts';
import { readTrailers } from './message.ts';

/** How a message's body is framed: so many bytes, chunks, all that comes until the end; or another head follows (1xx). */
export type Framing = number | 'chunks' | 'close' | 'interim';

/** What is told of messages as they are read. What it throws ends the reading. */
export interface Receiver<H> {
  readHead(text: string): H;
  framing(head: H): Framing;
  onInterim(head: H): void;
  /** `whole` is the whole body, empty for none, when it came along; else it comes in parts. `onEnd` follows either way. */
  onHead(head: H, whole: Buffer | null): void;
  onBody(chunk: Buffer): void;
  onEnd(trailers: readonly Header[]): void;
}

const State = { head: 0, counted: 1, size: 2, chunk: 3, chunkEnd: 4, trailers: 5, close: 6, failed: 7 } as const;
type State = (typeof State)[keyof typeof State];

const BLANK_LINE = Buffer.from('\r\n\r\n');
const NOTHING = Buffer.alloc(0);
const NO_TRAILERS: readonly Header[] = [];
const CR = 0x0d;
const LF = 0x0a;
const MAX_SIZE_LINE = 1024;
/** Bytes of one body's chunk extensions together: nobody reads them, and they must not outweigh what they stand in. */
const MAX_EXTENSIONS = 16 * 1024;
const SIZE_LINE = /^([0-9a-fA-F]{1,12})(;[\t\x20-\x7e\x80-\xff]*)?$/;
// eslint-disable-next-line no-control-regex -- what no part of a head may hold, so that nobody waits for the rest of it.
const NOISE = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?:^|[^\r])\n/;

const bad = (detail: string): Error => refusal('bad_request', detail);

export class Parser<H> {
  readonly #receiver: Receiver<H>;
  readonly #maxHead: number;
  #state: State = State.head;
  /** Of the body or chunk at hand, bytes still to come. */
  #left = 0;
  #extensions = 0;
  /** Read and not yet understood. */
  #rest: Buffer | null = null;
  #isHeld = false;
  #isRunning = false;

  constructor(receiver: Receiver<H>, maxHead: number) {
    this.#receiver = receiver;
    this.#maxHead = maxHead;
  }

  /** Bytes that wait: of a head that is not whole yet, or behind a hold. */
  get waiting(): number {
    return this.#rest?.length ?? 0;
  }

  /** Takes bytes. Throws `bad_request` for what is no message, or what the receiver throws; nothing is read after that. */
  feed(chunk: Buffer): void {
    const { length } = chunk;
    if (this.#rest !== null) {
      chunk = Buffer.concat([this.#rest, chunk]);
      this.#rest = null;
    }
    this.#run(chunk, length);
  }

  /** Reads no further message until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    const rest = this.#rest;
    if (this.#isRunning || rest === null) return;
    this.#rest = null;
    this.#run(rest, rest.length);
  }

  /** What waits behind a hold, for who reads on by other rules. */
  take(): Buffer {
    const rest = this.#rest ?? NOTHING;
    this.#rest = null;
    return rest;
  }

  /** Throws when what waits behind a hold can't be a message. */
  lookAhead(): void {
    const rest = this.#rest!;
    const end = rest.indexOf(BLANK_LINE);
    if (end >= 0) this.#receiver.readHead(rest.toString('latin1', 0, end).replace(/^(?:\r\n)+/, ''));
    else this.#checkPart(rest, 0, rest.length);
  }

  /** No more bytes will come. Throws when a message was broken off. */
  finish(): void {
    if (this.#state === State.close) this.#end(NO_TRAILERS);
    else if (this.#state !== State.head || this.#rest !== null) throw bad('the message broke off');
  }

  #run(chunk: Buffer, fresh: number): void {
    this.#isRunning = true;
    let at = 0;
    try {
      while (at < chunk.length && !(this.#isHeld && this.#state === State.head)) {
        const next = this.#step(chunk, at, fresh);
        if (next < 0) break;
        at = next;
      }
    } catch (error) {
      this.#state = State.failed;
      throw error;
    } finally {
      this.#isRunning = false;
    }
    if (at < chunk.length) this.#rest = at === 0 ? chunk : chunk.subarray(at);
  }

  /** Reads one thing; where the next one begins, or −1 when it is not all here. */
  #step(chunk: Buffer, at: number, fresh: number): number {
    switch (this.#state) {
      case State.head:
        return this.#head(chunk, at, fresh);
      case State.counted: {
        const part = this.#part(chunk, at);
        if (this.#left === 0) this.#end(NO_TRAILERS);
        return part;
      }
      case State.size:
        return this.#size(chunk, at);
      case State.chunk: {
        const part = this.#part(chunk, at);
        if (this.#left === 0) this.#state = State.chunkEnd;
        return part;
      }
      case State.chunkEnd:
        if (chunk[at] !== CR || (at + 1 < chunk.length && chunk[at + 1] !== LF))
          throw bad('a chunk is not as long as it says');
        if (at + 1 === chunk.length) return -1;
        this.#state = State.size;
        return at + 2;
      case State.trailers:
        return this.#trailers(chunk, at, fresh);
      case State.close:
        this.#receiver.onBody(at === 0 ? chunk : chunk.subarray(at));
        return chunk.length;
      case State.failed:
        return chunk.length;
    }
  }

  #head(chunk: Buffer, start: number, fresh: number): number {
    let at = start;
    // An empty line before a message is to be ignored (RFC 9112 §2.2).
    while (chunk[at] === CR && chunk[at + 1] === LF) at += 2;
    if (at > start) return at;
    // What was looked through before need not be again, but for an end that was cut.
    const end = chunk.indexOf(BLANK_LINE, Math.max(at, chunk.length - fresh - 3));
    if ((end < 0 ? chunk.length : end) - at > this.#maxHead) throw bad(`a head has at most ${this.#maxHead} bytes`);
    if (end < 0) {
      this.#checkPart(chunk, at, fresh);
      return -1;
    }
    const head = this.#receiver.readHead(chunk.toString('latin1', at, end));
    return this.#begin(head, chunk, end + 4);
  }

  /** Looks at what is fresh of a part, and at a CR before it. */
  #checkPart(chunk: Buffer, at: number, fresh: number): void {
    const before = chunk.length - fresh - 1;
    const from = Math.max(at, chunk[before] === CR ? before : before + 1);
    if (NOISE.test(chunk.toString('latin1', from))) throw bad('the message is not HTTP/1.1');
  }

  #begin(head: H, chunk: Buffer, at: number): number {
    const framing = this.#receiver.framing(head);
    if (framing === 'interim') {
      this.#receiver.onInterim(head);
      return at;
    }
    if (typeof framing === 'number' && framing <= chunk.length - at) {
      this.#receiver.onHead(head, framing === 0 ? NOTHING : chunk.subarray(at, at + framing));
      this.#end(NO_TRAILERS);
      return at + framing;
    }
    this.#left = typeof framing === 'number' ? framing : 0;
    this.#extensions = 0;
    this.#state = framing === 'close' ? State.close : framing === 'chunks' ? State.size : State.counted;
    this.#receiver.onHead(head, null);
    return at;
  }

  #part(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left);
    this.#left -= end - at;
    this.#receiver.onBody(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    return end;
  }

  #size(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(LF, at);
    if ((end < 0 ? chunk.length : end) - at > MAX_SIZE_LINE) throw bad('the size of a chunk takes too many bytes');
    if (end < 0) return -1;
    const match = chunk[end - 1] === CR ? SIZE_LINE.exec(chunk.toString('latin1', at, end - 1)) : null;
    if (match === null) throw bad('the size of a chunk is not one');
    this.#extensions += match[2]?.length ?? 0;
    if (this.#extensions > MAX_EXTENSIONS) throw bad('the extensions of the chunks are too long');
    this.#left = parseInt(match[1], 16);
    this.#state = this.#left === 0 ? State.trailers : State.chunk;
    return end + 1;
  }

  #trailers(chunk: Buffer, at: number, fresh: number): number {
    if (chunk[at] === CR && chunk[at + 1] === LF) {
      this.#end(NO_TRAILERS);
      return at + 2;
    }
    const end = chunk.indexOf(BLANK_LINE, at);
    if ((end < 0 ? chunk.length : end) - at > this.#maxHead) throw bad(`trailers have at most ${this.#maxHead} bytes`);
    if (end < 0) {
      this.#checkPart(chunk, at, fresh);
      return -1;
    }
    this.#end(readTrailers(chunk.toString('latin1', at, end)));
    return end + 4;
  }

  #end(trailers: readonly Header[]): void {
    this.#state = State.head;
    this.#receiver.onEnd(trailers);
  }
}

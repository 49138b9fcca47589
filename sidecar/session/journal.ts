/**
 * A file of fixed size that takes what must outlive the process before it is anywhere else, for Node: one write an entry, of a microsecond or two, where a
 * transaction of SQLite takes ten times that. It is not synced: what the system has taken survives the process, not a power cut.
 *
 * An entry is `length u32 ‖ crc u32 ‖ generation u64 ‖ body`, the CRC-32 over generation and body. Once all of a generation is in the SQLite, the next begins at
 * the start of the file again, over the one before: entries count from the start for as long as they are whole and of one generation.
 */
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { readUint, writeUint } from '../../protocol/bytes.ts';

const BYTES = 1024 * 1024;
const HEAD_BYTES = 16;
const GENERATION_AT = 8;
/** Written at once, more would be one piece of the page cache, and the system goes through all of a piece for every write into it. */
const PAGE_BYTES = 4096;

export class Journal {
  readonly #fd: number;
  #end = 0;
  /** The entry being written. */
  #entry = new Uint8Array(PAGE_BYTES);

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Makes the file, in place of one that there may be, for its owner alone, and begins `generation`. */
  static create(path: string, generation: number): Journal {
    rmSync(path, { force: true });
    const journal = new Journal(openSync(path, 'wx', 0o600));
    // All of it now: later the disk may be full.
    const page = new Uint8Array(PAGE_BYTES);
    for (let at = 0; at < BYTES; at += PAGE_BYTES) journal.#put(page, PAGE_BYTES, at);
    journal.begin(generation);
    return journal;
  }

  /** Bodies of the entries of `generation` in a file, none where there is none, in their order: up to the first that is not whole, or of another. */
  static read(path: string, generation: number): Uint8Array[] {
    const file = existsSync(path) ? readFileSync(path) : new Uint8Array(0);
    const bodies: Uint8Array[] = [];
    for (let at = 0; at + HEAD_BYTES <= file.length;) {
      const end = at + HEAD_BYTES + readUint(file, at, 4);
      if (end > file.length || readUint(file, at + 4, 4) !== crc32(file.subarray(at + GENERATION_AT, end))) break;
      if (readUint(file, at + GENERATION_AT, 8) !== generation) break;
      bodies.push(Uint8Array.from(file.subarray(at + HEAD_BYTES, end)));
      at = end;
    }
    return bodies;
  }

  /** Begins a generation at the start of the file: all before it is elsewhere. */
  begin(generation: number): void {
    writeUint(this.#entry, GENERATION_AT, 8, generation);
    this.#end = 0;
  }

  /** Writes an entry whose body of `length` bytes `fill` puts at a place it is given. False, and nothing is written, where it does not fit any more. */
  append(length: number, fill: (bytes: Uint8Array, at: number) => void): boolean {
    const total = HEAD_BYTES + length;
    if (this.#end + total > BYTES) return false;
    if (total > this.#entry.length) this.#grow(total);
    const entry = this.#entry;
    writeUint(entry, 0, 4, length);
    fill(entry, HEAD_BYTES);
    writeUint(entry, 4, 4, crc32(entry.subarray(GENERATION_AT, total)));
    this.#put(entry, total, this.#end);
    this.#end += total;
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #grow(total: number): void {
    const grown = new Uint8Array(total);
    grown.set(this.#entry.subarray(0, HEAD_BYTES));
    this.#entry = grown;
  }

  #put(bytes: Uint8Array, length: number, at: number): void {
    for (let from = 0; from < length;) from += writeSync(this.#fd, bytes, from, length - from, at + from);
  }
}

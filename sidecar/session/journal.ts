/**
 * A file of fixed size that takes what must outlive the process before it is anywhere else, for Node: one write an entry, of a microsecond or two, where a
 * transaction of SQLite takes ten times that. It is not synced: what the system has taken survives the process, not a power cut.
 *
 * An entry is `length u32 ‖ crc u32 ‖ generation u64 ‖ body`, the CRC-32 over generation and body. Once all of a generation is in the SQLite, the next begins at
 * the start of the file again, over the one before: entries count from the start for as long as they are whole and of one generation.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { readUint, writeUint } from '../../protocol/bytes.ts';

const BYTES = 1024 * 1024;
const HEAD_BYTES = 16;
const GENERATION_AT = 8;

export class Journal {
  readonly #fd: number;
  #generation = 0;
  #end = 0;
  #entry = new Uint8Array(4096);

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Opens a file, made when missing, for its owner alone. Nothing may be written before {@link begin}. */
  static open(path: string): Journal {
    const fd = openSync(path, 'a+', 0o600);
    closeSync(fd);
    const journal = new Journal(openSync(path, 'r+'));
    // All of it now: later the disk may be full.
    const { size } = fstatSync(journal.#fd);
    if (size < BYTES) journal.#put(new Uint8Array(BYTES - size), size);
    return journal;
  }

  /** Bodies of the entries of `generation`, in their order: up to the first that is not whole, or of another. */
  read(generation: number): Uint8Array[] {
    const file = new Uint8Array(BYTES);
    for (let at = 0, n = -1; n !== 0 && at < BYTES; at += n) n = readSync(this.#fd, file, at, BYTES - at, at);
    const bodies: Uint8Array[] = [];
    for (let at = 0; at + HEAD_BYTES <= BYTES;) {
      const end = at + HEAD_BYTES + readUint(file, at, 4);
      if (end > BYTES || readUint(file, at + 4, 4) !== crc32(file.subarray(at + GENERATION_AT, end))) break;
      if (readUint(file, at + GENERATION_AT, 8) !== generation) break;
      bodies.push(file.slice(at + HEAD_BYTES, end));
      at = end;
    }
    return bodies;
  }

  /** Begins a generation at the start of the file: all before it is elsewhere. */
  begin(generation: number): void {
    this.#generation = generation;
    this.#end = 0;
  }

  /** Writes an entry whose body is `parts`, one behind the other. False, and nothing is written, where it does not fit any more. */
  append(parts: readonly Uint8Array[]): boolean {
    let length = 0;
    for (const part of parts) length += part.length;
    const total = HEAD_BYTES + length;
    if (this.#end + total > BYTES) return false;
    if (total > this.#entry.length) this.#entry = new Uint8Array(total);
    const entry = this.#entry.subarray(0, total);
    writeUint(entry, 0, 4, length);
    writeUint(entry, GENERATION_AT, 8, this.#generation);
    let at = HEAD_BYTES;
    for (const part of parts) {
      entry.set(part, at);
      at += part.length;
    }
    writeUint(entry, 4, 4, crc32(entry.subarray(GENERATION_AT)));
    this.#put(entry, this.#end);
    this.#end += total;
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #put(bytes: Uint8Array, at: number): void {
    for (let from = 0; from < bytes.length;) from += writeSync(this.#fd, bytes, from, bytes.length - from, at + from);
  }
}

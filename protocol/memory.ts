/**
 * The flat memory a shard's state lives in. A cell is named by its *handle*, the number of its first byte here: handles
 * stay valid when the memory grows, views do not, so nobody keeps a view across a write.
 *
 * A small one is a plain buffer, so that thousands can be made in no time. Past {@link WASM_FROM} it becomes a
 * WebAssembly memory, where there is one: that grows in place, and keccak hashes in it without a copy. In Node it is one
 * that threads can share, which is also the one that grows without any cost: growing another makes the engine account for
 * all of it anew, and collect garbage.
 */
import { type HashingMemory, type PlainExports, hashingMemory, keccak } from './hash.ts';
import { KECCAK_END, KECCAK_LIST, KECCAK_LIST_PAIRS } from './keccak/layout.ts';

declare const handle: unique symbol;

/** Handle of a cell's 64 bytes, for reading. */
export type Cell = number & { readonly [handle]: 'read' | 'write' };
/** Handle of a cell that counts as changed, so that it may be written. */
export type Edit = number & { readonly [handle]: 'write' };

/** No cell: reads as zeros, can't be written. */
export const NONE = 0 as Cell;

/** What stands before all else in the memory of trees: {@link NONE}, and what hashing needs. */
export const RESERVED_BYTES: number = KECCAK_END;
/** Word where the list starts that {@link Memory.hashListed} goes by, and how many entries it has room for. */
export const LIST: number = KECCAK_LIST / 4;
export const LIST_ENTRIES: number = KECCAK_LIST_PAIRS;

const WASM_PAGE = 65_536;
/** From this size on it is a WebAssembly memory. */
export const WASM_FROM: number = 2 ** 21;
/** Parts of itself that one grows by at least, where growing has a cost. */
const PLAIN_STEP = 8;
const UNSHARED_STEP = 32;

export class Memory {
  /** All of it, in the three forms in which it is read. */
  view!: DataView;
  bytes!: Uint8Array;
  words!: Int32Array;
  #hashing: HashingMemory | null = null;
  /** Runs plain interactions in it (plain/index.ts), where it is a WebAssembly memory. */
  module: PlainExports | null = null;

  constructor(bytes: number) {
    this.#take(new ArrayBuffer(0));
    this.grow(bytes);
  }

  #take(buffer: ArrayBufferLike): void {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
  }

  /** Adds zeros at the end until it has at least `bytes`; every view made before is void. */
  grow(bytes: number): void {
    const { length } = this.bytes;
    if (bytes <= length) return;
    if (this.#hashing) {
      const { memory, shared } = this.#hashing;
      const room = shared ? bytes : Math.max(bytes, length + length / UNSHARED_STEP);
      memory.grow(Math.ceil((room - length) / WASM_PAGE));
      this.#take(memory.buffer);
    } else if (bytes < WASM_FROM || !this.#move(bytes)) {
      const room = length === 0 ? bytes : Math.max(bytes, length + length / PLAIN_STEP);
      // Copied, not transferred: after the first buffer that went away, compiled code asks of each whether it is there.
      const old = this.bytes;
      this.#take(new ArrayBuffer(4 * Math.ceil(room / 4)));
      this.bytes.set(old);
    }
  }

  /** Goes over to a WebAssembly memory. False where there is none to be had. */
  #move(bytes: number): boolean {
    const hashing = hashingMemory(Math.ceil(bytes / WASM_PAGE));
    if (!hashing) return false;
    const old = this.bytes.subarray(RESERVED_BYTES);
    this.#hashing = hashing;
    this.module = hashing.module;
    this.#take(hashing.memory.buffer);
    this.bytes.set(old, RESERVED_BYTES);
    return true;
  }

  /**
   * Hashes in place: entry i of the list is two words at {@link LIST} + 2 i, where a block of `width` bytes starts and
   * where its hash goes.
   */
  hashListed(width: 64 | 128, count: number): void {
    const { bytes, words } = this;
    if (this.#hashing) {
      // Blocks are hashed in pairs, so an odd one twice.
      if (count % 2 === 1) words.copyWithin(LIST + 2 * count, LIST + 2 * count - 2, LIST + 2 * count);
      this.#hashing.hashListed(width, count);
      return;
    }
    for (let at = LIST; at < LIST + 2 * count; at += 2)
      bytes.set(keccak(bytes.subarray(words[at], words[at] + width)), words[at + 1]);
  }
}

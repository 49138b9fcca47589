/**
 * The two hashes of the protocol. SHA-256 where HTTP and WebCrypto meet it, keccak where the EVM does: in JavaScript, or
 * some thirty times faster in WebAssembly once a Worker's or Node's entry has installed it. Both give the same bytes.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import {
  KECCAK_INPUT,
  KECCAK_INPUT_BYTES,
  KECCAK_LIST,
  KECCAK_MEMORY_PAGES,
  KECCAK_OUTPUT,
  MAX_MEMORY_PAGES,
} from './keccak/layout.ts';

export const HASH_BYTES = 32;

/** What `keccak/module.ts` exports, to hash in the memory it is given. */
interface KeccakExports extends PlainExports {
  hash(pointer: number, length: number, output: number): void;
  each64(list: number, count: number): void;
  each128(list: number, count: number): void;
  padded(list: number, count: number, blocks: number): void;
  sha(pointer: number, length: number, output: number): void;
}

/** What it exports besides, to run interactions (plain/index.ts). */
export interface PlainExports {
  decode(start: number, end: number, count: number): number;
  execute(agent: number, head: number, actor: number, first: number, count: number): number;
}

/** A compiled module, and the memories it hashes in; one message at a time is copied into one of its own. */
class WasmKeccak {
  readonly shared: boolean;
  readonly #module: WebAssembly.Module;
  readonly #bytes: Uint8Array;
  readonly #exports: KeccakExports;

  constructor(module: WebAssembly.Module, shared: boolean) {
    this.shared = shared;
    this.#module = module;
    const { memory, exports } = this.memory(KECCAK_MEMORY_PAGES);
    this.#bytes = new Uint8Array(memory.buffer);
    this.#exports = exports;
  }

  /** A new memory of so many pages, and the functions that hash in it. */
  memory(pages: number): { memory: WebAssembly.Memory; exports: KeccakExports } {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: MAX_MEMORY_PAGES, shared: this.shared });
    const { exports } = new WebAssembly.Instance(this.#module, { keccak: { memory } });
    return { memory, exports: exports as unknown as KeccakExports };
  }

  hash(bytes: Uint8Array): Uint8Array {
    if (bytes.length > KECCAK_INPUT_BYTES) return keccak_256(bytes);
    this.#bytes.set(bytes, KECCAK_INPUT);
    this.#exports.hash(KECCAK_INPUT, bytes.length, KECCAK_OUTPUT);
    return this.#bytes.slice(KECCAK_OUTPUT, KECCAK_OUTPUT + HASH_BYTES);
  }

  sha(bytes: Uint8Array): Uint8Array {
    this.#bytes.set(bytes, KECCAK_INPUT);
    this.#exports.sha(KECCAK_INPUT, bytes.length, KECCAK_OUTPUT);
    return this.#bytes.slice(KECCAK_OUTPUT, KECCAK_OUTPUT + HASH_BYTES);
  }
}

let installed: WasmKeccak | null = null;
let keccaks = 0;

/**
 * Takes `keccak/module.ts` (or `keccak.wasm`, the same bytes), compiled, for every keccak from now on. `shared`: it is the
 * one for memories that threads share.
 */
export function installKeccak(module: WebAssembly.Module, shared = false): void {
  installed = new WasmKeccak(module, shared);
}

export function keccak(bytes: Uint8Array): Uint8Array {
  keccaks += 1;
  return installed ? installed.hash(bytes) : keccak_256(bytes);
}

/** A memory in which keccak hashes in place. */
export interface HashingMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  /**
   * For each of `count` pairs of places (two 32-bit words at {@link KECCAK_LIST} and on), puts keccak of the block of
   * `width` bytes at the first to the second. Of an odd number, the last stands there twice.
   */
  hashListed(width: 64 | 128, count: number): void;
  /** As {@link hashListed}, of messages of `blocks` × 136 bytes, padded already: a byte 1 behind the message, 0x80 in the last. */
  hashPadded(count: number, blocks: number): void;
  readonly module: PlainExports;
}

/** A memory of so many pages of 64 KiB that grows in place; null where there is none to be had. */
export function hashingMemory(pages: number): HashingMemory | null {
  if (!installed) return null;
  try {
    const { memory, exports } = installed.memory(pages);
    return {
      memory,
      shared: installed.shared,
      module: exports,
      hashListed(width, count) {
        keccaks += count;
        if (width === 64) exports.each64(KECCAK_LIST, count);
        else exports.each128(KECCAK_LIST, count);
      },
      hashPadded(count, blocks) {
        keccaks += count;
        exports.padded(KECCAK_LIST, count, blocks);
      },
    };
  } catch (error) {
    // No address space is left for another.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** Hashes computed so far: the unit of cost that benchmarks report. */
export const keccakCount = (): number => keccaks;

/** The platform's SHA-256 in one call, where it lends one (Node: its assembly, where ours is JavaScript). */
const platform = (
  globalThis as {
    process?: {
      getBuiltinModule?: (
        id: string,
      ) => { hash?: (name: string, bytes: Uint8Array, out: 'latin1') => string } | undefined;
    };
  }
).process?.getBuiltinModule?.('node:crypto')?.hash;

/** Bytes asked for as text: a buffer of Node's own costs it more than the hash of a small body. */
function bytesOf(latin1: string): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES);
  for (let i = 0; i < HASH_BYTES; i++) bytes[i] = latin1.charCodeAt(i);
  return bytes;
}

const platformSha: (bytes: Uint8Array) => Uint8Array =
  platform === undefined ? (bytes) => sha256(bytes) : (bytes) => bytesOf(platform('sha256', bytes, 'latin1'));

/** Messages up to this are hashed in WebAssembly once it is installed: to call out for one takes longer than its blocks do. */
const SHORT = platform === undefined ? KECCAK_INPUT_BYTES : 192;

export function sha(bytes: Uint8Array): Uint8Array {
  return installed !== null && bytes.length <= SHORT ? installed.sha(bytes) : platformSha(bytes);
}

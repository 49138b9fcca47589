/**
 * The two hashes of the protocol. SHA-256 where HTTP and WebCrypto meet it, keccak where the EVM does: in JavaScript, or
 * some thirty times faster in WebAssembly once a Worker's or Node's entry has installed it. Both give the same bytes.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { KECCAK_INPUT, KECCAK_INPUT_BYTES, KECCAK_OUTPUT } from './keccak/layout.ts';

export const HASH_BYTES = 32;

/** Hashes many blocks of one size at once: fill `input`, call one of the two, read `output`. What is in either lasts until the next hash. */
export interface BlockHasher {
  /** At most {@link MAX_BLOCKS} blocks, packed, as 32-bit words in the machine's own order. */
  readonly input: Int32Array;
  /** Their hashes, packed. */
  readonly output: Int32Array;
  each64(blocks: number): void;
  each128(blocks: number): void;
}

export const MAX_BLOCKS = 512;

interface Keccak extends BlockHasher {
  hash(bytes: Uint8Array): Uint8Array;
}

class PureKeccak implements Keccak {
  readonly input = new Int32Array((MAX_BLOCKS * 128) / 4);
  readonly output = new Int32Array((MAX_BLOCKS * HASH_BYTES) / 4);
  readonly #input = new Uint8Array(this.input.buffer);
  readonly #output = new Uint8Array(this.output.buffer);

  hash(bytes: Uint8Array): Uint8Array {
    return keccak_256(bytes);
  }
  each64(blocks: number): void {
    this.#each(64, blocks);
  }
  each128(blocks: number): void {
    this.#each(128, blocks);
  }
  #each(width: number, blocks: number): void {
    for (let i = 0; i < blocks; i++)
      this.#output.set(keccak_256(this.#input.subarray(i * width, (i + 1) * width)), i * HASH_BYTES);
  }
}

/** What `keccak/module.ts` exports. */
interface KeccakExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  hash(pointer: number, length: number, output: number): void;
  each64(pointer: number, count: number, output: number): void;
  each128(pointer: number, count: number, output: number): void;
}

class WasmKeccak implements Keccak {
  readonly input: Int32Array;
  readonly output: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #exports: KeccakExports;

  constructor(exports: KeccakExports) {
    const { buffer } = exports.memory;
    this.#exports = exports;
    this.#bytes = new Uint8Array(buffer);
    this.input = new Int32Array(buffer, KECCAK_INPUT, (MAX_BLOCKS * 128) / 4);
    this.output = new Int32Array(buffer, KECCAK_OUTPUT, (MAX_BLOCKS * HASH_BYTES) / 4);
  }

  hash(bytes: Uint8Array): Uint8Array {
    if (bytes.length > KECCAK_INPUT_BYTES) return keccak_256(bytes);
    this.#bytes.set(bytes, KECCAK_INPUT);
    this.#exports.hash(KECCAK_INPUT, bytes.length, KECCAK_OUTPUT);
    return this.#bytes.slice(KECCAK_OUTPUT, KECCAK_OUTPUT + HASH_BYTES);
  }
  each64(blocks: number): void {
    this.#exports.each64(KECCAK_INPUT, blocks, KECCAK_OUTPUT);
  }
  each128(blocks: number): void {
    this.#exports.each128(KECCAK_INPUT, blocks, KECCAK_OUTPUT);
  }
}

let installed: Keccak = new PureKeccak();
let keccaks = 0;

/** Takes an instance of `keccak/module.ts` (or of `keccak.wasm`, the same bytes) for every keccak from now on. */
export function installKeccak(instance: { readonly exports: object }): void {
  installed = new WasmKeccak(instance.exports as KeccakExports);
}

export function keccak(bytes: Uint8Array): Uint8Array {
  keccaks += 1;
  return installed.hash(bytes);
}

/** The hasher of blocks; `blocks` of them are about to be hashed. */
export function blockHasher(blocks: number): BlockHasher {
  keccaks += blocks;
  return installed;
}

/** Hashes computed so far: the unit of cost that benchmarks report. */
export const keccakCount = (): number => keccaks;

export const sha = (bytes: Uint8Array): Uint8Array => sha256(bytes);

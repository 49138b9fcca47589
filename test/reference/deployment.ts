/** The engine under test, one for each shard, each told by the others' cells what they sent and received. */
import { equal } from '../../protocol/bytes.ts';
import { Engine } from '../../protocol/engine.ts';
import { WASM_FROM } from '../../protocol/memory.ts';
import { MESSAGE, PEER, decode } from './cells.ts';
import type { Entry } from './generate.ts';
import { signing, verify } from './signatures.ts';
import { place } from './world.ts';

const EMPTY = new Uint8Array(64);
const SHARD_CELLS = 2 ** 24;
const REGION_CELLS = 2 ** 20;

export class Deployment {
  readonly engines: readonly Engine[];

  /** `plain`: whether what is plain is run by the memory's module (docs/decisions/0013). */
  constructor(shards: number, plain = true) {
    this.engines = Array.from({ length: shards }, (_, shard) => {
      const foreign = {
        holds: (from: number, number: number, hash: Uint8Array): boolean => {
          const cell = this.read(place.message(from, shard, BigInt(number)));
          return decode(MESSAGE, cell).number === BigInt(number) && equal(cell.subarray(23, 55), hash);
        },
        received: (to: number, number: number): boolean =>
          decode(PEER, this.read(place.peer(to, shard))).received >= BigInt(number),
      };
      const check = (key: Uint8Array, preimage: () => Uint8Array, signature: Uint8Array): boolean =>
        verify(key, preimage(), signature);
      const engine = new Engine(shard, signing, { verify: check, shards, foreign });
      // A small memory has none.
      if (plain) engine.trie.memory.grow(WASM_FROM);
      return engine;
    });
  }

  read(at: number): Uint8Array {
    const within = at % SHARD_CELLS;
    const { trie } = this.engines[Math.floor(at / SHARD_CELLS)];
    return trie.read(Math.floor(within / REGION_CELLS), within % REGION_CELLS);
  }

  write(at: number, cell: Uint8Array): void {
    const within = at % SHARD_CELLS;
    const { trie } = this.engines[Math.floor(at / SHARD_CELLS)];
    trie.edit(Math.floor(within / REGION_CELLS), within % REGION_CELLS).set(cell);
  }

  /** Empties these cells, so that another trace can begin. */
  clear(places: Iterable<number>): void {
    for (const at of places) this.write(at, EMPTY);
  }

  /** Does what the reference did; the outcomes of a frame. */
  follow(entry: Entry): readonly { readonly status: number; readonly value: number }[] {
    if ('frame' in entry) return this.engines[entry.shard].execute(entry.seq, entry.frame);
    this.write(entry.poke, entry.cell);
    return [];
  }
}

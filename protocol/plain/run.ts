/** Has a shard's memory run, by the module that it hashes with, what is plain of a bundle (docs/decisions/0013). */
import { META_HEAD, Region } from '../cells.ts';
import { SIGNATURE_BYTES } from '../half.ts';
import type { Cell } from '../memory.ts';
import type { ShardTrie } from '../trie.ts';
import { EDITS, EDIT_COUNT, FRAME, STARTS, VALUES } from './layout.ts';

export class PlainRun {
  readonly #trie: ShardTrie;
  /** Of the memory as it is now, doubles from its start on. */
  #doubles: Float64Array = new Float64Array(0);
  /** The same as words. */
  #words: Int32Array = new Int32Array(0);

  constructor(trie: ShardTrie) {
    this.#trie = trie;
  }

  /** Takes a bundle whose interactions start at `first`. False where the memory has no module, or they are malformed. */
  load(frame: Uint8Array, first: number, count: number): boolean {
    const { memory } = this.#trie;
    if (!memory.module) return false;
    memory.bytes.set(frame, FRAME);
    const end = FRAME + frame.length - SIGNATURE_BYTES;
    return memory.module.decode(FRAME + first, end, count) === 0;
  }
  /** Where in the frame interaction i starts. */
  startOf(i: number): number {
    return this.#trie.memory.words[STARTS / 4 + i] - FRAME;
  }

  /**
   * Runs interactions from `first` on, as long as they are plain; each is `ok`, and its value goes to `values`, one place
   * further on. The actor's cell and the head count as changed already. Returns the first that was not run.
   */
  run(agent: Cell, actor: number, first: number, count: number, values: Float64Array): number {
    const trie = this.#trie;
    const { memory } = trie;
    const end = memory.module!.execute(agent, trie.cell(Region.meta, META_HEAD), actor, first, count);
    const { words } = memory;
    const edits = words[EDIT_COUNT / 4];
    for (let i = 0; i < edits; i++) trie.mark(words[EDITS / 4 + i] as Cell);
    if (end > first) this.#look();
    for (let i = first; i < end; i++) values[i + 1] = this.#doubles[VALUES / 8 + i];
    return end;
  }

  #look(): void {
    const { words } = this.#trie.memory;
    if (this.#words === words) return;
    this.#words = words;
    this.#doubles = new Float64Array(words.buffer);
  }
}

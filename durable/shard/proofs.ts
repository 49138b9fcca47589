/**
 * Records with their path to a root the sequencer signs (docs/protocol.md §5, `Checkpoint`): roots.ts says when. Asking more often costs a shard
 * nothing but the paths themselves: who shares a root shares its one signature.
 */
import type { Signing } from '../../protocol/eip712.ts';
import type { MachineKey } from '../../protocol/keys.ts';
import { concat, hex } from '../../protocol/bytes.ts';
import { placeOf } from '../../protocol/cells.ts';
import { type RecordKind, levelsOf, recordPlace } from '../../protocol/proof.ts';
import { type Failure, type RecordProof, failure } from './api.ts';
import type { Core } from './core.ts';
import type { CellJson } from './json.ts';
import { recordCells } from './records.ts';
import type { Root, Roots } from './roots.ts';
import { cellJson } from './views.ts';

// As with receipts, an answer leaves only once all that ran before it is durable (the platform's output gate), so a restart can't
// come to another root for a seq that was signed.

const SIBLINGS = 3;
const TOO_MANY = 'too many proofs are waiting: come back in a second';

interface Signed {
  readonly root: Root;
  readonly signature: Promise<Uint8Array>;
}

export class Proofs {
  readonly #core: Core;
  readonly #signing: Signing;
  readonly #roots: Roots;
  #newest: Signed | null = null;

  constructor(core: Core, signing: Signing, roots: Roots) {
    this.#core = core;
    this.#signing = signing;
    this.#roots = roots;
  }

  /** See `ReadRpc.prove`. */
  async prove(key: MachineKey, kind: RecordKind, id: number): Promise<RecordProof | null | Failure> {
    // A question about nothing is answered before it costs anything.
    if (!recordCells(this.#core.engine.machine, kind, id)) return null;
    const answer = await this.#roots.read((root) => ({ proof: this.#answer(key, root, kind, id) }));
    return answer === null ? failure('overloaded', TOO_MANY) : answer.proof;
  }

  /** See `ReadRpc.cell`. */
  async cell(address: number): Promise<CellJson | Failure> {
    const { machine, trie } = this.#core.engine;
    const { region, slot } = placeOf(address);
    const answer = await this.#roots.read(({ shardRoot }) => ({
      ...cellJson(machine, address),
      siblings: trie.proof(region, slot).map(hex),
      shardRoot: hex(shardRoot),
    }));
    return answer ?? failure('overloaded', TOO_MANY);
  }

  /** No await before everything is read: cells, path, root and seq are of one moment. */
  async #answer(key: MachineKey, root: Root, kind: RecordKind, id: number): Promise<RecordProof | null> {
    const { engine } = this.#core;
    const cells = recordCells(engine.machine, kind, id);
    if (!cells) return null;
    const { region, slot } = recordPlace(kind, id);
    const siblings = engine.trie.proof(region, slot).slice(-SIBLINGS * levelsOf(kind));
    const signature = this.#sign(key, root);
    return { cells: concat(...cells), siblings: concat(...siblings), ...root, signature: await signature };
  }

  /** A root is signed once. */
  #sign(key: MachineKey, root: Root): Promise<Uint8Array> {
    if (this.#newest?.root !== root) {
      const checkpoint = { shard: this.#core.engine.shard, ...root };
      this.#newest = { root, signature: key.sign(this.#signing.checkpoint(checkpoint)) };
    }
    return this.#newest.signature;
  }
}

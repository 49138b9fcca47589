/**
 * Records with their path to a root the sequencer signs (docs/protocol.md §5, `Checkpoint`).
 *
 * Execution never hashes state: a root costs hashing every cell changed since the last one, and anybody may ask for a proof. So the
 * first asked for after a quiet second gets one at once, and while frames run, whoever comes later waits for the next second's root
 * and shares it, its hashing and its one signature. Asking more often costs a shard nothing but the paths themselves; what
 * is answered is never older than the question, so a client reads what it has just written. While nothing runs there is nothing to hash
 * and nobody waits.
 *
 * The bound: 60,000 interactions a second over 2^17 agents change some 100,000 cells a second, 160,000 hashes with the nodes above them:
 * 74 ms of each second, measured on one core, and only while somebody asks every second. Part of it is not lost, as the next batch's cut
 * hashes only what changed after it. Twice as often would cost little less than twice as much, as most cells change once.
 */
import type { Signing } from '../../protocol/eip712.ts';
import type { MachineKey } from '../../protocol/keys.ts';
import { concat } from '../../protocol/bytes.ts';
import { type RecordKind, levelsOf, recordPlace } from '../../protocol/proof.ts';
import { type Failure, type RecordProof, failure } from './api.ts';
import type { Core } from './core.ts';
import { recordCells } from './records.ts';

// As with receipts, an answer leaves only once all that ran before it is durable (the platform's output gate), so a restart can't
// come to another root for a seq that was signed.

/** A new root is computed for proofs at most this often while frames run. */
const ROOT_EVERY_MS = 1000;
/** Askers that may wait for it; more are told to come back. Answering one takes some 30 µs. */
const MAX_WAITING = 2048;
const SIBLINGS = 3;

interface SignedRoot {
  readonly seq: number;
  readonly shardRoot: Uint8Array;
  readonly signature: Promise<Uint8Array>;
}

export class Proofs {
  readonly #core: Core;
  readonly #signing: Signing;
  #newest: SignedRoot | null = null;
  /** When it was made, by the platform's clock. */
  #atMs = -Infinity;
  #waiting: (() => void)[] = [];

  constructor(core: Core, signing: Signing) {
    this.#core = core;
    this.#signing = signing;
  }

  /** See `ReadRpc.prove`. */
  async prove(key: MachineKey, kind: RecordKind, id: number): Promise<RecordProof | null | Failure> {
    // A question about nothing is answered before it costs anything.
    if (!recordCells(this.#core.engine.machine, kind, id)) return null;
    const quiet = this.#core.seq === this.#newest?.seq;
    const waitMs = quiet ? 0 : Math.min(this.#atMs + ROOT_EVERY_MS - Date.now(), ROOT_EVERY_MS);
    if (waitMs <= 0) return this.#answer(key, kind, id);
    if (this.#waiting.length >= MAX_WAITING)
      return failure('overloaded', 'too many proofs are waiting: come back in a second');
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setTimeout(() => this.#release(), waitMs);
      this.#waiting.push(() => this.#answer(key, kind, id).then(resolve, reject));
    });
  }

  /** All that wait, in one turn: nothing runs in between, so they share one root. */
  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const answer of waiting) answer();
  }

  /** No await before everything is read: cells, path, root and seq are of one moment. */
  async #answer(key: MachineKey, kind: RecordKind, id: number): Promise<RecordProof | null> {
    const { engine } = this.#core;
    const cells = recordCells(engine.machine, kind, id);
    if (!cells) return null;
    const { seq, shardRoot, signature } = this.#checkpoint(key);
    const { region, slot } = recordPlace(kind, id);
    const siblings = engine.trie.proof(region, slot).slice(-SIBLINGS * levelsOf(kind));
    return { cells: concat(...cells), siblings: concat(...siblings), seq, shardRoot, signature: await signature };
  }

  /** The newest root, signed once. */
  #checkpoint(key: MachineKey): SignedRoot {
    const { seq, engine } = this.#core;
    if (this.#newest?.seq === seq) return this.#newest;
    const checkpoint = { shard: engine.shard, seq, shardRoot: engine.trie.root() };
    this.#newest = { ...checkpoint, signature: key.sign(this.#signing.checkpoint(checkpoint)) };
    this.#atMs = Date.now();
    return this.#newest;
  }
}

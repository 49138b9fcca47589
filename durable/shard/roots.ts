/**
 * When a shard's root is computed for whoever only reads.
 *
 * Execution never hashes state: a root costs hashing every cell changed since the last one, and anybody may ask for what needs one. So whatever
 * such questions cost is followed by a pause {@link PAUSE} times as long, of a second at most: hashing for readers takes a twelfth of a shard's
 * time, however many ask and however often. Who comes in the pause waits for its end and shares the next root with all others who do. While little
 * runs, a root costs microseconds and nobody notices; while nothing runs, nothing. What is answered is never older than the question, so a client
 * reads what it has just written.
 *
 * 60,000 interactions a second over 2^17 agents change some 100,000 cells a second, 160,000 hashes with the nodes above them: 74 ms, measured on
 * one core, then a pause of most of a second. Part of it is not lost, as the next batch's cut hashes only what changed after it.
 */
import { keccakCount } from '../../protocol/hash.ts';
import type { Core } from './core.ts';

/** Milliseconds a hash takes, about: while it works, the platform's clock stands still. */
const HASH_MS = 0.0005;
const PAUSE = 11;
const MAX_PAUSE_MS = 1000;
/** Hashes after which those who wait go on waiting, so that whatever else the object is asked for gets its turn. */
const MAX_HASHES = 2 ** 16;
/** Who may wait at once; more are told to come back. */
const MAX_WAITING = 2048;

export interface Root {
  readonly seq: number;
  readonly shardRoot: Uint8Array;
}

export class Roots {
  readonly #core: Core;
  #newest: Root | null = null;
  /** Until when there is a pause, by the platform's clock. */
  #untilMs = -Infinity;
  #waiting: (() => void)[] = [];
  #timed = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** As of now, at whatever cost: for whom the platform trusts. */
  newest(): Root {
    const { seq, engine } = this.#core;
    if (this.#newest?.seq !== seq) this.#newest = { seq, shardRoot: engine.trie.root() };
    return this.#newest;
  }

  /** What `read` makes of the root at a moment at which one may be computed. null: too many wait. */
  async read<T>(read: (root: Root) => T): Promise<T | null> {
    if (this.#waiting.length === 0 && this.#pauseMs() <= 0) return this.#spend(read);
    if (this.#waiting.length >= MAX_WAITING) return null;
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(this.#spend(read));
        } catch (error) {
          reject(error);
        }
      });
      this.#release();
    });
  }

  /** Says that something took as long as so many hashes. */
  charge(hashes: number): void {
    const pauseMs = Math.max(this.#pauseMs(), 0) + hashes * HASH_MS * PAUSE;
    this.#untilMs = Date.now() + Math.min(pauseMs, MAX_PAUSE_MS);
  }

  #pauseMs(): number {
    return Math.min(this.#untilMs - Date.now(), MAX_PAUSE_MS);
  }

  #spend<T>(read: (root: Root) => T): T {
    const before = keccakCount();
    try {
      return read(this.newest());
    } finally {
      this.charge(keccakCount() - before);
    }
  }

  /** After the pause, as many as there is time for: nothing runs in between, so they share one root. */
  #release(): void {
    if (this.#timed) return;
    this.#timed = true;
    setTimeout(
      () => {
        this.#timed = false;
        const before = keccakCount();
        let done = 0;
        while (done < this.#waiting.length && keccakCount() - before < MAX_HASHES) this.#waiting[done++]();
        this.#waiting.splice(0, done);
        if (this.#waiting.length > 0) this.#release();
      },
      Math.ceil(Math.max(this.#pauseMs(), 0)),
    );
  }
}

/**
 * What a session must not forget: the newest halves with their signatures, and every call record. Synchronous, because
 * both SQLites we run on are, and because "persisted before sent" is then a matter of line order.
 */
import { CALL_RECORD_BYTES } from '../../protocol/call.ts';
import type { Direction, SignedHalf } from '../../protocol/half.ts';

/** One direction as of its newest half. */
export interface DirectionSnapshot {
  /** Newest half with its payer's signature (and the payee's once there). */
  readonly half: SignedHalf | null;
  /** Newest half with both signatures: what proves a call. */
  readonly receipt: SignedHalf | null;
  /** The log's frontier (`Frontier.stack`) over its first `leaves` records, which cost `sum`. */
  readonly stack: readonly Uint8Array[];
  readonly leaves: number;
  readonly sum: number;
  /** Base units of records accepted without having been asked for, or served and never recorded: bounded by credit. */
  readonly allowance: number;
}

export interface SessionStore {
  load(dir: Direction): DirectionSnapshot | null;
  save(dir: Direction, snapshot: DirectionSnapshot): void;
  /** Appends records; `from` is the index of the first and must be `count(dir)`. */
  append(dir: Direction, from: number, records: readonly Uint8Array[]): void;
  /** Records with `from ≤ index < to`. */
  records(dir: Direction, from: number, to: number): Uint8Array[];
  count(dir: Direction): number;
  /** All or nothing, also across a crash. */
  transaction(run: () => void): void;
}

const copySigned = (s: SignedHalf | null): SignedHalf | null => s && { ...s, half: { ...s.half } };

/** Forgets with the process: tests, and endpoints whose peer and relay are memory enough. */
export class MemoryStore implements SessionStore {
  #snapshots: (DirectionSnapshot | null)[] = [null, null];
  #records: Uint8Array[][] = [[], []];

  load(dir: Direction): DirectionSnapshot | null {
    return this.#snapshots[dir];
  }
  save(dir: Direction, snapshot: DirectionSnapshot): void {
    this.#snapshots[dir] = {
      ...snapshot,
      half: copySigned(snapshot.half),
      receipt: copySigned(snapshot.receipt),
      stack: [...snapshot.stack],
    };
  }
  append(dir: Direction, from: number, records: readonly Uint8Array[]): void {
    if (from !== this.#records[dir].length)
      throw new RangeError(`append at ${from}, have ${this.#records[dir].length}`);
    for (const record of records) this.#records[dir].push(record);
  }
  records(dir: Direction, from: number, to: number): Uint8Array[] {
    return this.#records[dir].slice(from, to);
  }
  count(dir: Direction): number {
    return this.#records[dir].length;
  }
  transaction(run: () => void): void {
    run();
  }

  /** Bytes of call records held. */
  get bytes(): number {
    return (this.#records[0].length + this.#records[1].length) * CALL_RECORD_BYTES;
  }
}

export const memoryStore = (): MemoryStore => new MemoryStore();

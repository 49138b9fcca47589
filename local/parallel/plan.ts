/** Before frames run side by side: whether each bundle is accepted, which serials it takes, and what every step waits for. */
import { AccessLists } from '../../protocol/access.ts';
import {
  Agent,
  Head,
  META_HEAD,
  OUTBOX_RESERVE,
  OUTBOX_RETENTION,
  Outbox,
  Region,
  slotOf,
} from '../../protocol/cells.ts';
import { REGION_SLOTS } from '../../protocol/cells.ts';
import { LARGE_SERIALS, shardOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import { invoke } from '../../protocol/ops/invoke.ts';
import { plan } from '../../protocol/ops/plan.ts';
import { withdraw } from '../../protocol/ops/withdraw.ts';
import { NONE } from '../../protocol/memory.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { Status } from '../../protocol/status.ts';
import { Kind, NUMBERS, POSITIONS, REGIONS, type Shared, Word } from './shared.ts';
import { OS_PAGE, type SharedTrie } from './state.ts';

/** No bundle may have it: its agent's next nonce would not fit. */
const LAST_NONCE = 0xffffffff;
/** Places whose positions fill what a process is given at once. */
const PLACES_AT_ONCE = OS_PAGE / 8;
/** Positions counted until all are forgotten. */
const MAX_EPOCH = 2 ** 30;

export class Planner {
  readonly #shared: Shared;
  readonly #machine: Machine;
  readonly #trie: SharedTrie;
  readonly #lists: AccessLists;
  /** By place, in pairs: the positions, counted on through all stretches, after which it was last written and last touched. */
  readonly #last = new Int32Array(new SharedArrayBuffer(8 * REGIONS * REGION_SLOTS));
  /** Position of the first frame, counted so. */
  #epoch = 0;
  /** Serials given by the end of what was planned last. */
  escrows = 0;
  workflows = 0;
  readonly #nonces = new Map<number, number>();

  constructor(shared: Shared, machine: Machine, trie: SharedTrie) {
    this.#shared = shared;
    this.#machine = machine;
    this.#trie = trie;
    this.#lists = new AccessLists(machine);
  }

  /**
   * Plans frames from `from` on, telling how far it is, and ends before the first that has to run alone. Frame f is
   * `all[offset + f]`. Returns where it ended.
   */
  plan(from: number, frames: number, all: readonly Uint8Array[], offset: number): number {
    const { control, kinds } = this.#shared;
    this.#lists.restart();
    this.#nonces.clear();
    if (this.#epoch > MAX_EPOCH) {
      this.#epoch = 0;
      this.#last.fill(0);
    }
    let withdrawals = 0;
    let f = from;
    for (; f < frames && kinds[f] === Kind.parallel; f++) {
      withdrawals = this.#planFrame(f, all[f + offset], withdrawals);
      if (withdrawals < 0) break;
      Atomics.store(control, Word.planned, f + 1);
    }
    this.#epoch += (frames + 1) * POSITIONS;
    // The frame that it ends before may have been counted in part.
    const { escrows, workflows } = this.#shared;
    this.escrows = f < frames ? escrows[f] : this.#lists.escrows;
    this.workflows = f < frames ? workflows[f] : this.#lists.workflows;
    return f;
  }

  /** Returns how many withdrawals there may be up to here; −1 where it has to run alone. */
  #planFrame(f: number, frame: Uint8Array, before: number): number {
    const { stepAt, actors, openings, escrows, workflows, codes, numbersAt, numbers, waits } = this.#shared;
    const lists = this.#lists;
    const [first, end, actor] = [stepAt[f], stepAt[f + 1], actors[f]];
    escrows[f] = lists.escrows;
    workflows[f] = lists.workflows;
    openings[f] = this.#opening(f, frame);
    if (openings[f] !== Status.ok) return before;
    lists.listOpening(actor);
    waits[first] = this.#wait(f, f * POSITIONS + 1, 0);
    const owner = Math.floor(numbersAt[first + 1] / NUMBERS);
    const own = numbers[owner];
    const offset = owner * NUMBERS;
    let withdrawals = before;
    for (let step = first + 1; step < end; step++) {
      const code = codes[step];
      lists.list(code, own, numbersAt[step] - offset);
      if (lists.isBarrier || !lists.isLocal) return -1;
      if (code === invoke.code) this.#prepareEscrow(slotOf(Region.escrow, lists.escrows));
      else if (code === plan.code) this.#trie.prepare(Region.workflow, slotOf(Region.workflow, lists.workflows));
      else if (code === withdraw.code) {
        if (!this.#hasOutboxRoom(++withdrawals)) return -1;
        // It touches its agent, and finds its place when all has run.
        waits[step] = 0;
        continue;
      }
      // The actor is this frame's until it ends.
      waits[step] = this.#wait(f, f * POSITIONS + 1 + step - first, 1);
    }
    lists.listOpening(actor);
    this.#wait(f, f * POSITIONS + end - first, 0);
    return withdrawals;
  }

  #prepareEscrow(slot: number): void {
    this.#trie.prepare(Region.escrow, slot);
    // Written to before it is read: see where pages are made.
    if (slot % PLACES_AT_ONCE === 0) Atomics.add(this.#last, 2 * (Region.escrow * REGION_SLOTS + slot), 0);
  }

  /** As `Engine.admit` would say, after the bundles planned so far. */
  #opening(f: number, frame: Uint8Array): number {
    const { actors, nonces, expiries } = this.#shared;
    const machine = this.#machine;
    const actor = actors[f];
    if (shardOf(actor) !== machine.shard) return Status.wrong_shard;
    const agent = machine.agent(actor);
    if (agent === NONE) return Status.unknown_agent;
    const expected = this.#nonces.get(actor) ?? Agent.nonce.get(machine.cells, agent);
    if (nonces[f] !== expected || expected === LAST_NONCE) return Status.bad_nonce;
    if (expiries[f] < machine.time) return Status.expired;
    const body = frame.subarray(0, frame.length - SIGNATURE_BYTES);
    const signature = frame.subarray(frame.length - SIGNATURE_BYTES);
    if (!machine.verify(machine.keyOf(actor), () => machine.signing.bundle(body), signature, body))
      return Status.bad_signature;
    this.#nonces.set(actor, expected + 1);
    return Status.ok;
  }

  /** Whether so many withdrawals from now on are sure to find room. */
  #hasOutboxRoom(withdrawals: number): boolean {
    const { cells } = this.#machine;
    const serial = Head.outbox.get(cells, this.#trie.cell(Region.meta, META_HEAD)) + withdrawals + OUTBOX_RESERVE;
    if (serial >= LARGE_SERIALS) return false;
    const old = this.#trie.cell(Region.outbox, slotOf(Region.outbox, serial));
    return Outbox.kind.get(cells, old) === 0 || Outbox.time.get(cells, old) + OUTBOX_RETENTION < this.#machine.time;
  }

  /** The position that what was just listed, at `position`, has to wait for; 0 for none. Its entries before `from` are known not to matter. */
  #wait(f: number, position: number, from: number): number {
    const { entries, count } = this.#lists;
    const last = this.#last;
    const epoch = this.#epoch;
    const start = epoch + f * POSITIONS;
    let latest = epoch;
    for (let i = from; i < count; i++) {
      const entry = entries[i];
      // Two words a place.
      const at = entry & ~1;
      const written = last[at];
      if ((entry & 1) === 0) {
        if (written <= start && written > latest) latest = written;
      } else {
        const touched = last[at + 1];
        // What this frame has only read so far, any before it may have read.
        if (touched > start && touched !== written) latest = start;
        else if (touched <= start && touched > latest) latest = touched;
        last[at] = epoch + position;
      }
      last[at + 1] = epoch + position;
    }
    return latest - epoch;
  }
}

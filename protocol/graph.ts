/** The dependency graph inside a shard (docs/protocol.md §4b): what of a run of frames had to wait for what. */
import { AccessLists } from './access.ts';
import { BUNDLE, Bundle, decodeBundle } from './bundle.ts';
import { addressOf } from './cells.ts';
import { codeOf } from './errors.ts';
import { serialOf } from './ids.ts';
import type { Machine } from './machine.ts';
import { CALL_REST, MESSAGE_KINDS, SystemFrame } from './messages.ts';
import { MAX_NUMBERS, opOf } from './ops/index.ts';
import { invoke } from './ops/invoke.ts';
import { type Outcome, Status } from './status.ts';

/** One step of the frames, in their order. */
export interface GraphStep {
  /** Index of its frame, and its own in it: 0 is a bundle's opening, or all of a system frame. */
  readonly frame: number;
  readonly index: number;
  /** The operation's name; `opening`; or the system frame's name. */
  readonly op: string;
  /** 1 and up: steps of one level touch nothing in common that any of them writes. */
  readonly level: number;
  /** Addresses of the cells it touches, each once, ascending; one cell stands for all of a record (`standIn` in access.ts). */
  readonly cells: readonly number[];
}

/** JSON as it is. */
export interface Graph {
  readonly levels: number;
  readonly steps: readonly GraphStep[];
}

const SYSTEM_NAMES = new Map<number, string>(Object.entries(SystemFrame).map(([name, code]) => [code, name]));

/** Levels in which each cell was last written, and last touched. */
export class Levels {
  readonly #written = new Map<number, number>();
  readonly #touched = new Map<number, number>();
  /** Level of the last barrier. */
  #floor = 0;
  highest = 0;

  /** Level of what comes next: {@link AccessLists} has what it touches. */
  next({ entries, count, isBarrier }: Pick<AccessLists, 'entries' | 'count' | 'isBarrier'>): number {
    if (isBarrier) return this.barrier();
    let level = this.#floor;
    for (let i = 0; i < count; i++) {
      const before = (entries[i] & 1) === 1 ? this.#touched : this.#written;
      level = Math.max(level, before.get(entries[i] >> 1) ?? 0);
    }
    level += 1;
    for (let i = 0; i < count; i++) {
      const place = entries[i] >> 1;
      if ((entries[i] & 1) === 1) this.#written.set(place, Math.max(level, this.#written.get(place) ?? 0));
      this.#touched.set(place, Math.max(level, this.#touched.get(place) ?? 0));
    }
    this.highest = Math.max(this.highest, level);
    return level;
  }

  /** Level of what comes after all before it, and before all after it. */
  barrier(): number {
    this.highest += 1;
    this.#floor = this.highest;
    return this.highest;
  }
}

/**
 * The graph of a run of one shard's frames, of which `outcomes` has every step's. The machine's state is that before the
 * first of them, or any later: what a record pointed to that was overwritten since is then missing from lists.
 */
export function graphOf(
  machine: Machine,
  frames: readonly Uint8Array[],
  outcomes: readonly (readonly Outcome[])[],
): Graph {
  const lists = new AccessLists(machine);
  const levels = new Levels();
  const steps: GraphStep[] = [];
  const bundles = frames.map(bundleOf);
  startFrom(lists, machine, bundles, frames, outcomes);

  const add = (frame: number, index: number, op: string): void => {
    const level = levels.next(lists);
    const places = new Set(lists.entries.subarray(0, lists.count).map((entry) => entry >> 1));
    const cells = Array.from(places, (place) => addressOf(machine.shard, 0, place));
    steps.push({ frame, index, op, level, cells: cells.toSorted((a, b) => a - b) });
  };
  for (const [f, frame] of frames.entries()) {
    const bundle = bundles[f];
    if (bundle === null) {
      steps.push({ frame: f, index: 0, op: nameOf(frame), level: levels.barrier(), cells: [] });
      passFrame(lists, frame, outcomes[f][0]);
      continue;
    }
    const { actor, codes, numbers, count } = bundle;
    const isAccepted = outcomes[f][0].status === Status.ok;
    lists.listOpening(actor);
    add(f, 0, 'opening');
    for (let i = 0; i < count; i++) {
      if (isAccepted) lists.list(codes[i], numbers, i * MAX_NUMBERS);
      else lists.listOpening(actor);
      add(f, 1 + i, opOf(codes[i])!.op.name);
    }
  }
  return { levels: levels.highest, steps };
}

/** null for what is no whole bundle. */
function bundleOf(frame: Uint8Array): Bundle | null {
  if (frame[0] !== BUNDLE) return null;
  try {
    return decodeBundle(frame);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

const nameOf = (frame: Uint8Array): string => SYSTEM_NAMES.get(frame[0]) ?? 'malformed';

/** A message that makes an escrow takes a serial, whatever comes of it. */
function passFrame(lists: AccessLists, frame: Uint8Array, outcome: Outcome): void {
  lists.passUnknown();
  if (frame[0] !== SystemFrame.receive) return;
  const kind = MESSAGE_KINDS[frame[2]];
  const isTaken = kind === 'invoke' || (kind === 'call' && frame[2 + CALL_REST] === invoke.code);
  const stays = outcome.status === Status.no_message || outcome.status === Status.congested;
  if (isTaken && !stays) lists.takeUnknown();
}

/** Finds which serials were given before the frames, from the first that these gave: each counts by its position. */
function startFrom(
  lists: AccessLists,
  machine: Machine,
  bundles: readonly (Bundle | null)[],
  frames: readonly Uint8Array[],
  outcomes: readonly (readonly Outcome[])[],
): void {
  const counter = new AccessLists(machine);
  counter.startAt(0, 0);
  let { escrows, workflows } = lists;
  let [isSure, isSureToo] = [false, false];
  const look = ({ status, value }: Outcome, before: { escrows: number; workflows: number }): void => {
    if (status !== Status.ok) return;
    if (!isSure && counter.escrows > before.escrows) [escrows, isSure] = [serialOf(value) - counter.escrows, true];
    if (!isSureToo && counter.workflows > before.workflows)
      [workflows, isSureToo] = [serialOf(value) - counter.workflows, true];
  };
  for (const [f, bundle] of bundles.entries()) {
    const [first, ...rest] = outcomes[f];
    if (bundle === null) {
      const before = { escrows: counter.escrows, workflows: counter.workflows };
      passFrame(counter, frames[f], first);
      look(first, before);
    } else if (first.status === Status.ok) {
      counter.listOpening(bundle.actor);
      for (const [i, outcome] of rest.entries()) {
        const before = { escrows: counter.escrows, workflows: counter.workflows };
        counter.list(bundle.codes[i], bundle.numbers, i * MAX_NUMBERS);
        look(outcome, before);
      }
    }
  }
  lists.startAt(escrows, workflows);
}

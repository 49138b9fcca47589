/** The dependency graph (docs/protocol.md §4b) on random traces: its lists say all that is touched, its levels all that matters. */
import { expect, it } from 'vitest';
import '../../protocol/keccak/install.ts';
import { AccessLists, HEAD, standIn } from '../../protocol/access.ts';
import { CELL_BYTES, Head, META_HEAD, REGION_SLOTS, Region } from '../../protocol/cells.ts';
import { graphOf } from '../../protocol/graph.ts';
import { MAX_NUMBERS, OP_NAMES, opOf } from '../../protocol/ops/index.ts';
import type { Cell, Edit } from '../../protocol/memory.ts';
import type { Outcome } from '../../protocol/status.ts';
import { ShardTrie } from '../../protocol/trie.ts';
import { Random } from '../reference/random.ts';
import { type Recording, Stepper, engineAt, record } from '../support/recording.ts';

const SEEDS = 200;
const recordings = Array.from({ length: SEEDS }, (_, seed) => record(seed, 1 + (seed % 2), 40 + (seed % 41)));

/** Writes down which cells are looked at and written. */
class SpyTrie extends ShardTrie {
  readonly looked = new Set<number>();
  readonly written = new Set<number>();
  readonly #places = new Map<number, number>();

  #note(region: number, slot: number, at: number): void {
    this.#places.set(at, region * REGION_SLOTS + slot);
  }
  override cell(region: number, slot: number): Cell {
    const at = super.cell(region, slot);
    this.looked.add(region * REGION_SLOTS + slot);
    this.#note(region, slot, at);
    return at;
  }
  override make(region: number, slot: number): Edit {
    const at = super.make(region, slot);
    this.#note(region, slot, at);
    this.written.add(region * REGION_SLOTS + slot);
    return at;
  }
  override mark(cell: Cell): Edit {
    const place = this.#places.get(cell - (cell % CELL_BYTES));
    if (place !== undefined) this.written.add(place);
    return super.mark(cell);
  }
  forget(): void {
    this.looked.clear();
    this.written.clear();
  }
}

const counted = ['agents', 'services', 'capabilities', 'sessions', 'outbox', 'burned', 'time'] as const;
const MADE: readonly number[] = [Region.agent, Region.key, Region.service, Region.capability, Region.session];

const touchedOutside = (
  spy: SpyTrie,
  listed: ReadonlyMap<number, boolean>,
  headMoved: boolean,
): readonly (readonly [what: string, place: number])[] => {
  const movesHead = listed.get(HEAD) === true;
  const outside: [string, number][] = [];
  for (const place of spy.written) {
    if (place === HEAD || listed.get(standIn(place)) === true) continue;
    // A record under a new serial is the counter's matter.
    if (!(movesHead && MADE.includes(Math.floor(place / REGION_SLOTS)))) outside.push(['writes', place]);
  }
  for (const place of spy.looked) {
    // A serial of 0 names nothing, whatever is there.
    const isNone = place >= REGION_SLOTS && place % REGION_SLOTS === 0;
    if (isNone || place === HEAD || listed.has(standIn(place)) || spy.written.has(place)) continue;
    if (!(movesHead && MADE.includes(Math.floor(place / REGION_SLOTS)))) outside.push(['reads', place]);
  }
  if (headMoved && !movesHead) outside.push(['moves', HEAD]);
  return outside;
};

/** Lists whole stretches of bundles before they run, then runs them. */
function checkLists(recording: Recording, seen: Set<string>): void {
  const serial = new Stepper(engineAt(recording), recording.frames);
  const accepted = recording.frames.map((_, frame) => {
    for (const step of serial.steps) if (step.frame === frame) serial.run(step);
    return serial.isAccepted(frame);
  });
  const spy = new SpyTrie();
  const stepper = new Stepper(engineAt(recording, spy), recording.frames);
  const { machine } = stepper.engine;
  const head = () => counted.map((name) => Head[name].get(machine.cells, spy.cell(Region.meta, META_HEAD)));
  let lists: Map<number, boolean>[] = [];
  let isBarrier: boolean[] = [];
  const listFrom = (first: number): void => {
    const access = new AccessLists(machine);
    const keep = (): void => {
      const map = new Map<number, boolean>();
      for (const entry of access.entries.subarray(0, access.count))
        map.set(entry >> 1, map.get(entry >> 1) === true || (entry & 1) === 1);
      lists.push(map);
      isBarrier.push(access.isBarrier);
    };
    for (let f = first; stepper.bundles[f]; f++) {
      const { actor, codes, numbers, count } = stepper.bundles[f]!;
      access.listOpening(actor);
      keep();
      for (let i = 0; i < count; i++) {
        if (accepted[f]) access.list(codes[i], numbers, i * MAX_NUMBERS);
        else access.listOpening(actor);
        keep();
      }
    }
  };
  let listed = false;
  let at = 0;
  for (const step of stepper.steps) {
    const bundle = stepper.bundles[step.frame];
    if (bundle === null) {
      stepper.run(step);
      [lists, isBarrier, at, listed] = [[], [], 0, false];
      continue;
    }
    if (!listed) listFrom(step.frame);
    listed = true;
    const before = head();
    spy.forget();
    const [{ status }] = stepper.run(step);
    const outside = touchedOutside(spy, lists[at], String(head()) !== String(before));
    const op = step.index === 0 ? 'opening' : opOf(bundle.codes[step.index - 1])!.op.name;
    if (!isBarrier[at]) expect(outside, `${op} (status ${status}), frame ${step.frame} step ${step.index}`).toEqual([]);
    if (status === 0) seen.add(op);
    at += 1;
  }
}

it('lists every cell that an interaction touches', () => {
  const seen = new Set<string>();
  for (const recording of recordings) checkLists(recording, seen);
  // Each operation did what it is for, somewhere.
  expect([...seen].toSorted()).toEqual(['opening', ...OP_NAMES].toSorted());
});

it('comes to the same in any order that respects the levels', () => {
  let moved = 0;
  for (const [seed, recording] of recordings.entries()) {
    const serial = new Stepper(engineAt(recording), recording.frames);
    const before: { escrows: number; workflows: number }[] = [];
    const outcomes: Outcome[][] = recording.frames.map(() => []);
    for (const step of serial.steps) {
      before.push(serial.counters);
      outcomes[step.frame].push(...serial.run(step));
    }
    const fresh = engineAt(recording);
    const graph = graphOf(fresh.machine, recording.frames, outcomes);
    const random = new Random(seed);
    const order = graph.steps
      .map((step, i) => ({ step, i, by: random.below(1000) }))
      .toSorted((a, b) => a.step.level - b.step.level || a.by - b.by);
    const other = new Stepper(fresh, recording.frames);
    for (const [place, { step, i }] of order.entries()) {
      if (place !== i) moved += 1;
      other.counters = before[i];
      const { frame, index } = step;
      const expected = other.bundles[frame] === null ? outcomes[frame] : [outcomes[frame][index]];
      expect(other.run(step), `${step.op} of frame ${frame}, seed ${seed}`).toEqual(expected);
    }
    other.counters = serial.counters;
    other.engine.machine.seq = recording.frames.length;
    expect(other.engine.trie.root(), `seed ${seed}`).toEqual(serial.engine.trie.root());
  }
  expect(moved).toBeGreaterThan(SEEDS);
});

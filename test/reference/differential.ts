/** Runs random traces on the reference and on the engine, and says where they first part. */
import { equal, hex } from '../../protocol/bytes.ts';
import { decode, layoutAt } from './cells.ts';
import { Deployment } from './deployment.ts';
import { type Entry, Trace, type TraceOptions } from './generate.ts';
import { Reference, type ReferenceOutcome } from './reference.ts';
import { checks } from './signatures.ts';
import { STATUS_NAMES } from './statuses.ts';

type Outcome = { readonly status: number; readonly value: number | bigint };

const say = (outcomes: readonly Outcome[]): string =>
  outcomes.map(({ status, value }) => `${STATUS_NAMES[status]}${value ? ` ${value}` : ''}`).join(', ');

const agree = (one: readonly Outcome[], two: readonly Outcome[]): boolean =>
  one.length === two.length &&
  one.every(({ status, value }, i) => status === two[i].status && BigInt(value) === BigInt(two[i].value));

/** What a cell says in both, field by field, where they differ. */
function fieldsApart(at: number, expected: Uint8Array, actual: Uint8Array): string {
  const layout = layoutAt(at % 2 ** 24);
  const [want, have] = [decode(layout, expected), decode(layout, actual)];
  const apart = Object.keys(layout).filter((name) => want[name] !== have[name]);
  return `cell ${hex(Uint8Array.of(at >>> 24, at >>> 16, at >>> 8, at))}: ${apart
    .map((name) => `${name} is ${have[name]}, should be ${want[name]}`)
    .join('; ')}`;
}

/** The first cell that the engine has otherwise. */
export function stateDifference(
  reference: Reference,
  deployment: { read(at: number): Uint8Array },
): string | undefined {
  for (const at of reference.world.places()) {
    const [expected, actual] = [reference.world.cell(at), deployment.read(at)];
    if (!equal(expected, actual)) return fieldsApart(at, expected, actual);
  }
  return undefined;
}

/** Whether all cells agree, those the reference knows nothing of too. */
export function rootDifference(reference: Reference, { engines }: Deployment): string | undefined {
  const apart = engines.find((engine, shard) => !equal(engine.trie.root(), reference.root(shard)));
  return apart && `root of shard ${apart.shard}`;
}

interface Found {
  readonly what: string;
  readonly entries: readonly Entry[];
}

/** Runs these entries anew, each at its shard's turn if it was so, until the two part. */
function replay(shards: number, entries: readonly Entry[], plain: boolean): Found | undefined {
  const reference = new Reference({ shards, ...checks });
  const deployment = new Deployment(shards, plain);
  const turns = Array.from({ length: shards }, () => 0);
  const given = Array.from({ length: shards }, () => 0);
  for (const [i, entry] of entries.entries()) {
    let now = entry;
    let outcomes: readonly ReferenceOutcome[] = [];
    if ('frame' in entry) {
      const { shard, frame } = entry;
      now = { shard, frame, seq: entry.seq - given[shard] + turns[shard] };
      outcomes = reference.execute(shard, now.seq, frame);
      turns[shard] += 1;
      given[shard] = entry.seq + 1;
    } else reference.world.poke(entry.poke, entry.cell);
    const actual = deployment.follow(now);
    const done = entries.slice(0, i + 1);
    if (!agree(outcomes, actual)) return { what: `came to ${say(actual)}, should to ${say(outcomes)}`, entries: done };
    const what = stateDifference(reference, deployment);
    if (what) return { what, entries: done };
  }
  return undefined;
}

/** Leaves out the frames that the difference does not need. Cells stay: without one, a state may be none that can come to be. */
function shrink(shards: number, found: Found, plain: boolean): Found {
  let best = found;
  for (let i = found.entries.length - 2; i >= 0; i--) {
    if ('poke' in best.entries[i]) continue;
    const shorter = replay(shards, best.entries.toSpliced(i, 1), plain);
    if (shorter?.what === best.what) best = shorter;
  }
  return best;
}

function report(seed: number, shards: number, found: Found): string {
  const lines = found.entries.map((entry) =>
    'frame' in entry
      ? `  shard ${entry.shard} #${entry.seq}: ${hex(entry.frame)}`
      : `  cell ${entry.poke.toString(16).padStart(8, '0')} = ${hex(entry.cell)}`,
  );
  return `seed ${seed}, ${shards} shards: ${found.what}\n${lines.join('\n')}`;
}

/** How often each `what status` occurred, and the most cells a step of it looked at. */
export type Seen = Map<string, { readonly count: number; readonly cells: number }>;

export const addSeen = (to: Seen, from: Seen): void => {
  for (const [step, { count, cells }] of from) {
    const before = to.get(step) ?? { count: 0, cells: 0 };
    to.set(step, { count: before.count + count, cells: Math.max(before.cells, cells) });
  }
};

export class Differential {
  /** Deployments to use again: making one takes longer than a trace. */
  readonly #idle = new Map<string, Deployment>();
  readonly seen: Seen = new Map();

  /** Throws with the shortest trace found if the engine comes to anything else than the reference. `roots` also compares roots. */
  run(options: TraceOptions, drive: (trace: Trace) => void, roots = false): Trace {
    const entries: Entry[] = [];
    const waiting: (() => void)[] = [];
    let deployment: Deployment | undefined;
    let parted: string | undefined;
    const follow = (entry: Entry, outcomes: readonly ReferenceOutcome[]): void => {
      entries.push(entry);
      const actual = deployment!.follow(entry);
      if (!agree(outcomes, actual)) parted ??= `came to ${say(actual)}, should to ${say(outcomes)}`;
      const { reference, brought } = trace;
      if (reference.money() !== brought) parted ??= `there is ${reference.money()} of ${brought} that came`;
    };
    const trace: Trace = new Trace({
      ...options,
      watch: (entry, outcomes) => {
        if (deployment) follow(entry, outcomes);
        else waiting.push(() => follow(entry, outcomes));
      },
    });
    const { shards, reference } = trace;
    const plain = options.seed % 2 === 0;
    const which = `${shards} ${plain}`;
    deployment = this.#idle.get(which) ?? new Deployment(shards, plain);
    this.#idle.delete(which);
    for (const act of waiting) act();
    drive(trace);
    parted ??= stateDifference(reference, deployment) ?? (roots ? rootDifference(reference, deployment) : undefined);
    if (parted) {
      const found = replay(shards, entries, plain) ?? { what: parted, entries };
      throw new Error(report(options.seed, shards, shrink(shards, found, plain)));
    }
    deployment.clear(reference.world.places());
    this.#idle.set(which, deployment);
    addSeen(this.seen, reference.seen);
    return trace;
  }
}

/** Steps one by one, and their witnesses, against whole frames: on the random traces of test/reference, which have everything in them. */
import { expect, it } from 'vitest';
import '../../protocol/keccak/install.ts';
import { equal, hex } from '../../protocol/bytes.ts';
import { type Engine, commitment } from '../../protocol/engine.ts';
import { Status } from '../../protocol/status.ts';
import { runStep } from '../../protocol/step.ts';
import { openWitness } from '../../protocol/witness.ts';
import { type FuzzStep, Stepper, boundsBroken } from '../fuzz/stepper.ts';
import { Deployment } from '../reference/deployment.ts';
import { type Entry, Trace } from '../reference/generate.ts';

const TRACES = Number(process.env.TRACES ?? 50);

/** Runs random traces; `watch` is told of every frame with its steps, and of the end. */
function traces(
  count: number,
  watch: (entry: Extract<Entry, { frame: Uint8Array }>, steps: FuzzStep[], run: Deployment, by: Stepper) => void,
  end: (run: Deployment, by: Stepper) => void = () => undefined,
): void {
  for (let seed = 0; seed < count; seed++) {
    const entries: Entry[] = [];
    const made = new Trace({ seed, watch: (entry) => entries.push(entry) });
    made.run(10 + (seed % 31));
    const run = new Deployment(made.shards);
    const stepper = new Stepper(made.shards);
    for (const entry of entries)
      if ('poke' in entry) {
        run.follow(entry);
        stepper.write(entry.poke, entry.cell);
      } else watch(entry, stepper.frame(entry.shard, entry.seq, entry.frame), run, stepper);
    end(run, stepper);
  }
}

it('a frame comes to the same step by step, and a witness holds all that a step changes', () => {
  const roots = (engines: Iterable<Engine>) => Array.from(engines, ({ trie }) => hex(trie.root()));
  traces(
    TRACES,
    (entry, steps, run, stepper) => {
      expect(steps.map(({ status, value }) => ({ status, value }))).toEqual(run.follow(entry));
      for (const [i, step] of steps.entries()) {
        if (boundsBroken(step)) throw new Error(boundsBroken(step));
        const witness = openWitness(step.witness);
        if (!equal(commitment(witness.stateRoot, witness.context), step.pre))
          throw new Error('opens another commitment');
        if (i > 0 && !equal(step.pre, steps[i - 1].post)) throw new Error('begins where the last did not end');
      }
      const last = steps.at(-1)!;
      const now = openWitness(last.witness).rootWith(last.cells.map(({ address }) => stepper.read(address)));
      expect(hex(commitment(now, 0))).toBe(hex(last.post));
    },
    (run, stepper) => expect(roots(stepper.shards.engines)).toEqual(roots(run.engines)),
  );
}, 120_000);

it('proves the same where most pages rest in a store', () => {
  for (let seed = 0; seed < 6; seed++) {
    const entries: Entry[] = [];
    const made = new Trace({ seed, watch: (entry) => entries.push(entry) });
    made.run(20);
    const stored = Array.from({ length: 256 }, () => new Map<string, Uint8Array>());
    const load = (shard: number) => (region: number, page: number) => stored[shard].get(`${region} ${page}`)!;
    const paged = new Stepper(made.shards, true, (shard) => ({ store: { load: load(shard) }, resident: 2 }));
    const whole = new Stepper(made.shards, true);
    let rested = 0;
    const rest = (): void => {
      for (const { trie, shard } of paged.shards.engines) {
        const before = trie.resident;
        for (const { region, page, cells } of trie.takeChanged()) stored[shard].set(`${region} ${page}`, cells.slice());
        trie.evict();
        rested += before - trie.resident;
      }
    };
    for (const entry of entries) {
      for (const stepper of [whole, paged]) if ('poke' in entry) stepper.write(entry.poke, entry.cell);
      rest();
      if ('poke' in entry) continue;
      const { shard, seq, frame } = entry;
      const told = (steps: readonly FuzzStep[]) => steps.map(({ witness, post }) => [hex(witness), hex(post)]);
      expect(told(paged.frame(shard, seq, frame)), `seed ${seed}`).toEqual(told(whole.frame(shard, seq, frame)));
    }
    expect(rested).toBeGreaterThan(entries.length);
  }
}, 120_000);

it('refuses a witness that is not as the page has it', () => {
  traces(1, (_entry, [{ witness }]) => {
    for (const at of [0, 31, 33, 34, 38, 102, witness.length - 1]) {
      const other = witness.slice();
      other[at] ^= 1;
      expect(() => openWitness(other), `byte ${at}`).toThrow();
    }
    expect(() => openWitness(witness.subarray(1))).toThrow();
    expect(() => openWitness(Uint8Array.of(...witness, 0))).toThrow();
  });
});

it('has no step that the frame does not have, and refuses interactions where no bundle was accepted', () => {
  const stepper = new Stepper(1);
  const engine = stepper.shards.engine(0);
  for (const frame of [new Uint8Array(), Uint8Array.of(0x10), Uint8Array.of(1, 0, 0, 0, 9)])
    expect(() => runStep(engine, 0, frame, 1, 0)).toThrow(RangeError);
  const bundle = Uint8Array.of(0x10, 1, ...new Uint8Array(80));
  expect(() => runStep(engine, 0, bundle, 3, 1)).toThrow(RangeError);
  for (const context of [0, 1, 2] as const) {
    expect(runStep(engine, 0, bundle, 1, context)).toEqual({ status: Status.bundle_refused, value: 0, context: 2 });
    expect(runStep(engine, 0, bundle, 2, context)).toEqual({ status: Status.bundle_refused, value: 0, context: 0 });
  }
  expect(engine.seq).toBe(0);
});

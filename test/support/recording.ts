/** What one shard of a random trace was given, to be run again: in one go, step by step, or in another order. */
import { BUNDLE, type Bundle, decodeBundle } from '../../protocol/bundle.ts';
import { hex } from '../../protocol/bytes.ts';
import { Agent, Head, META_HEAD, Region, placeOf } from '../../protocol/cells.ts';
import { Engine } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { BUNDLE_SLOTS, type Foreign } from '../../protocol/messages.ts';
import { MAX_NUMBERS, runOp } from '../../protocol/ops/index.ts';
import type { Outcome } from '../../protocol/status.ts';
import type { ShardTrie } from '../../protocol/trie.ts';
import { Trace } from '../reference/generate.ts';
import { signing, verify } from '../reference/signatures.ts';

export interface Recording {
  readonly shards: number;
  /** Cells of shard 0 before its first frame. */
  readonly start: readonly { readonly at: number; readonly cell: Uint8Array }[];
  readonly frames: readonly Uint8Array[];
  readonly foreign: Foreign;
  /** Every cell it has touched. */
  readonly places: readonly number[];
}

/** Shard 0 of a trace of so many steps. */
export function record(seed: number, shards: number, steps: number): Recording {
  const start: { at: number; cell: Uint8Array }[] = [];
  const frames: Uint8Array[] = [];
  const trace = new Trace({
    seed,
    shards,
    orderly: true,
    watch: (entry) => {
      if ('frame' in entry) {
        if (entry.shard === 0) frames.push(entry.frame);
      } else if (placeOf(entry.poke).shard === 0) start.push({ at: entry.poke, cell: entry.cell });
    },
  });
  trace.run(steps);
  const { world } = trace.reference;
  const sent = new Set(
    world.mail
      .filter(({ to }) => to === 0)
      .map(({ from, number, payload }) => `${from} ${number} ${hex(keccak(payload))}`),
  );
  const foreign: Foreign = {
    holds: (from, number, hash) => sent.has(`${from} ${number} ${hex(hash)}`),
    received: () => true,
  };
  return { shards: trace.shards, start, frames, foreign, places: [...world.places()].filter((at) => at < 2 ** 24) };
}

export const options = ({ shards, foreign }: Recording) => ({
  shards,
  foreign,
  verify: (key: Uint8Array, preimage: () => Uint8Array, signature: Uint8Array): boolean =>
    verify(key, preimage(), signature),
});

export function write(trie: ShardTrie, at: number, cell: Uint8Array): void {
  const { region, slot } = placeOf(at);
  trie.edit(region, slot).set(cell);
}

/** An engine where the recording starts. */
export function engineAt(recording: Recording, trie?: ShardTrie): Engine {
  const engine = new Engine(0, signing, { ...options(recording), trie });
  for (const { at, cell } of recording.start) write(engine.trie, at, cell);
  return engine;
}

/** One step of a run: of a bundle, its opening (0) or an interaction; else a whole frame. */
export interface Step {
  readonly frame: number;
  readonly index: number;
}

/** Counters that go by position. */
interface Counters {
  readonly escrows: number;
  readonly workflows: number;
}

/** Runs single steps of frames, in any order. */
export class Stepper {
  readonly engine: Engine;
  readonly frames: readonly Uint8Array[];
  readonly bundles: readonly (Bundle | null)[];
  readonly steps: readonly Step[];
  readonly #accepted = new Map<number, boolean>();

  constructor(engine: Engine, frames: readonly Uint8Array[]) {
    this.engine = engine;
    this.frames = frames;
    this.bundles = frames.map(bundleOf);
    this.steps = this.bundles.flatMap((bundle, frame) =>
      Array.from({ length: bundle === null ? 1 : 1 + bundle.count }, (_, index) => ({ frame, index })),
    );
  }

  isAccepted(frame: number): boolean {
    return this.#accepted.get(frame) === true;
  }

  get counters(): Counters {
    const { machine, trie } = this.engine;
    return {
      escrows: machine.escrows,
      workflows: Head.workflows.get(machine.cells, trie.cell(Region.meta, META_HEAD)),
    };
  }
  set counters({ escrows, workflows }: Counters) {
    const { machine, trie } = this.engine;
    machine.escrows = escrows;
    Head.workflows.set(machine.cells, trie.make(Region.meta, META_HEAD), workflows);
  }

  run({ frame, index }: Step): readonly Outcome[] {
    const { engine } = this;
    const { machine } = engine;
    const bundle = this.bundles[frame];
    if (bundle === null) {
      machine.seq = frame;
      return engine.execute(frame, this.frames[frame]);
    }
    machine.frame = this.frames[frame];
    machine.slots = BUNDLE_SLOTS;
    machine.seq = frame + 1;
    machine.value = 0;
    const one = (status: number): Outcome[] => [{ status, value: machine.value }];
    if (index === 0) {
      const refused = engine.admit(bundle);
      this.#accepted.set(frame, refused === null);
      if (refused !== null) return engine.execute(frame, this.frames[frame]).slice(0, 1);
      const agent = machine.edit(machine.agent(bundle.actor));
      Agent.nonce.set(machine.cells, agent, Agent.nonce.get(machine.cells, agent) + 1);
      return one(0);
    }
    if (!this.isAccepted(frame)) return one(BUNDLE_REFUSED);
    const { actor, codes, numbers, starts } = bundle;
    const at = (index - 1) * MAX_NUMBERS;
    return one(runOp(machine, actor, codes[index - 1], numbers, at, starts[index - 1], starts[index]));
  }
}

const BUNDLE_REFUSED = 9;

function bundleOf(frame: Uint8Array): Bundle | null {
  try {
    return frame[0] === BUNDLE ? decodeBundle(frame) : null;
  } catch {
    return null;
  }
}

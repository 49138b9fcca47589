/**
 * The state transition alone, from wire bytes to root: 40 % invoke, 40 % respond, 10 % transfer, 10 % others, over 2^17
 * agents (uniform and Zipf 1.1), a root every 65,536 interactions. Signatures are excluded, and so is the hashing of what
 * they sign: a shard has each bundle's verdict before it executes. Rates are medians of five runs on one growing state.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import '../../protocol/keccak/install.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import type { Engine } from '../../protocol/engine.ts';
import { keccak, keccakCount } from '../../protocol/hash.ts';
import { LIST, LIST_ENTRIES, Memory } from '../../protocol/memory.ts';
import { Head, get } from '../../protocol/cells.ts';
import { type Findings, type Suite, isShort, median } from './suite.ts';
import { BUNDLE, SIGNATURE, workload, world } from './workload.ts';
import { anvilTransfersPerSecond } from './anvil-transfers.ts';
import { parallelSpeedup } from './parallel.ts';

const ROOT_EVERY = 65_536;
const PER_RUN = 2 * ROOT_EVERY;
const AGENTS = 2 ** 17;
const RUNS = isShort ? 2 : 5;
/** Laps of two threads against one, each of stretches of so many interactions as there are to a root. */
const LAPS = 7;
const LAP_STRETCHES = 4;

/** Seconds for all frames with their roots. */
function timed(engine: Engine, frames: readonly Uint8Array[]): number {
  const start = performance.now();
  let since = 0;
  for (const frame of frames) {
    const steps = engine.run(engine.seq, frame);
    for (let i = 0; i < steps; i++)
      if (engine.statuses[i] !== 0) throw new Error('the workload must run without a refusal');
    since += BUNDLE;
    if (since >= ROOT_EVERY) {
      engine.trie.root();
      since = 0;
    }
  }
  engine.trie.root();
  return (performance.now() - start) / 1000;
}

/** Median of five rates, after a first that warms up. */
const medianOf = (rate: () => number): number => {
  rate();
  return median(Array.from({ length: RUNS }, rate));
};

/** Hashes of 128-byte nodes a second: in batches, as the tree takes them, or one by one. */
function keccakPerSecond(batched: boolean): number {
  const block = new Uint8Array(128).fill(7);
  const calls = batched ? 100 : 100_000;
  const memory = new Memory(2 ** 22);
  for (let i = 0; i < LIST_ENTRIES; i++) {
    memory.words[LIST + 2 * i] = 2 ** 20 + 128 * i;
    memory.words[LIST + 2 * i + 1] = 2 ** 21 + 32 * i;
  }
  return medianOf(() => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) {
      if (batched) memory.hashListed(128, LIST_ENTRIES);
      else keccak(block);
    }
    return ((batched ? LIST_ENTRIES : 1) * calls) / ((performance.now() - start) / 1000);
  });
}

/** Bytes of everything alive. */
async function aliveBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  // Buffers found dead by one are gone after the next, and some only once everybody had a turn.
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // Buffers and the memories of WebAssembly are `external`.
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes a live cell takes, with its share of the tree: of 2^17 agents with keys and services. */
async function bytesPerCell(): Promise<number> {
  // So that what the compiler makes of the code counts for no cell.
  world(2 ** 12);
  const before = await aliveBytes();
  const engine = world(AGENTS);
  const { buffer } = engine.trie.memory.bytes;
  // The engine counts a memory that threads may share for none of them.
  const shared = buffer instanceof SharedArrayBuffer ? buffer.byteLength : 0;
  const bytes = (await aliveBytes()) - before + shared;
  // Read after measuring, so that it is still alive then.
  return bytes / (3 * get(engine.machine.head(), Head.agents));
}

/** Transfers a second, to compare with the same on a general-purpose chain. */
function transfersPerSecond(): number {
  const engine = world(2 ** 12);
  let nonce = 0;
  return medianOf(() => {
    const frames = Array.from({ length: 256 }, (_, f) =>
      concat(
        encodeBundleBody(
          { actor: 256 * (f + 1), nonce, expiry: 2_000_000_000 },
          Array.from({ length: BUNDLE }, (_x, i) => ({ op: 'transfer' as const, to: 256 * (1000 + i), amount: 1 })),
        ),
        SIGNATURE,
      ),
    );
    nonce += 1;
    return (frames.length * BUNDLE) / timed(engine, frames);
  });
}

export const suite: Suite = {
  name: 'core',
  async run(progress): Promise<Findings> {
    const measure = (agents: number, zipf: number | null): { rate: number; hashes: number } => {
      const engine = world(agents);
      const frames = workload((RUNS + 1) * PER_RUN, agents, zipf, 17);
      let hashes = 0;
      let run = 0;
      const rate = medianOf(() => {
        const before = keccakCount();
        const some = frames.slice((run * PER_RUN) / BUNDLE, ((run + 1) * PER_RUN) / BUNDLE);
        const perSecond = PER_RUN / timed(engine, some);
        hashes = (keccakCount() - before) / PER_RUN;
        const what = `${agents} agents, ${zipf ? `Zipf ${zipf}` : 'uniform'}, ${run === 0 ? 'warm-up' : `run ${run}`}`;
        progress(`${what}: ${Math.round(perSecond)} interactions/s`);
        run += 1;
        return perSecond;
      });
      return { rate, hashes };
    };
    if (isShort) {
      const { rate, hashes } = measure(AGENTS, null);
      return { metrics: { interactionsPerSecond: rate, hashesPerInteraction: hashes } };
    }
    const bytes = await bytesPerCell();
    const uniform = measure(AGENTS, null);
    const perSecond = keccakPerSecond(true);
    const oneByOne = keccakPerSecond(false);
    const zipf = measure(AGENTS, 1.1);
    // An agent is three cells (agent, key, service): 2^12 agents fill about 2^14 cells with their escrows, 2^17 about 2^19.
    const small = measure(2 ** 12, null);
    const speedup = (zipf: number | null): ReturnType<typeof parallelSpeedup> => {
      const frames = workload(LAPS * LAP_STRETCHES * ROOT_EVERY, AGENTS, zipf, 17);
      const each = ROOT_EVERY / BUNDLE;
      const stretch = (i: number): Uint8Array[] => frames.slice(i * each, (i + 1) * each);
      const laps = Array.from({ length: LAPS }, (_l, lap) =>
        Array.from({ length: LAP_STRETCHES }, (_s, i) => stretch(lap * LAP_STRETCHES + i)),
      );
      progress(`two threads against one, ${zipf ? `Zipf ${zipf}` : 'uniform'}`);
      return parallelSpeedup(world(AGENTS).trie.takeChanged(), laps, progress);
    };
    const [parallelUniform, parallelZipf] = [await speedup(null), await speedup(1.1)];
    progress('the same transfers as ERC-20 calls on anvil');
    const anvil = await anvilTransfersPerSecond();
    return {
      metrics: {
        interactionsPerSecond: uniform.rate,
        interactionsPerSecondZipf: zipf.rate,
        hashesPerInteraction: uniform.hashes,
        keccakPerSecond: perSecond,
        keccakPerSecondOneByOne: oneByOne,
        efficiency: uniform.rate / (perSecond / uniform.hashes),
        bytesPerCell: bytes,
        scaling: uniform.rate / small.rate,
        vsAnvil: anvil === null ? null : transfersPerSecond() / anvil,
        parallelSpeedup: parallelUniform.speedup,
        parallelSpeedupByCpu: parallelUniform.byCpu,
        parallelSpeedupZipf: parallelZipf.speedup,
      },
      notes: {
        keccakPerSecond: 'in batches, as the tree hashes; efficiency is against this rate',
        parallelSpeedup: `two threads against the serial engine, from wire bytes to roots, in turns of ${LAP_STRETCHES} roots`,
        parallelSpeedupByCpu: 'the same by the time computed: what two free cores would give',
        ...(anvil === null ? { vsAnvil: 'anvil could not be started' } : {}),
      },
    };
  },
};

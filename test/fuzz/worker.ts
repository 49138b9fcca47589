/**
 * A thread's share of the fuzz, on an EVM of its own: every so manieth of the seeds and situations it is given, then every so manieth
 * seed until it is told that this is enough.
 */
import { parentPort, workerData } from 'node:worker_threads';
import '../../protocol/keccak/install.ts';
import type { Seen } from '../reference/differential.ts';
import { useMachineKeys } from '../reference/signatures.ts';
import { type Bytecodes, Evm, type Hardfork } from './evm.ts';
import { SITUATIONS } from './extremes.ts';
import { Fuzz, type Mismatch } from './fuzz.ts';
import { realKeys } from './keys.ts';
import { STRANGE } from './strangers.ts';

export interface Share {
  /** null: no EVM, nothing is compared; traces show what is in them. */
  readonly bytecodes: Bytecodes | null;
  readonly hardfork: Hardfork;
  readonly thread: number;
  readonly threads: number;
  /** Seeds to begin with, then all from `firstSeed` on. */
  readonly seeds: readonly number[];
  readonly firstSeed: number;
  /** Whether the situations made by hand are run. */
  readonly situations: boolean;
}

export interface Progress {
  readonly isDone: boolean;
  readonly steps: number;
  readonly refused: number;
  readonly longest: number;
  /** What has come since the last word. */
  readonly mismatches: readonly Mismatch[];
  /** With the last word. */
  readonly seen?: Seen;
  /** Seeds that have shown what none before had, with all they have shown. */
  readonly telling?: readonly (readonly [seed: number, shown: readonly string[]])[];
}

/** Enough steps are done, once what was given is; or too much is wrong to go on. */
export type Order = 'enough' | 'stop';

const SAY_EVERY_MS = 1000;

const { bytecodes, hardfork, thread, threads, seeds, firstSeed, situations }: Share = workerData;
useMachineKeys(realKeys);
let order: Order | null = null;
parentPort!.on('message', (word: Order) => (order = word));

const evm = bytecodes && (await Evm.start(bytecodes, hardfork));
const fuzz = new Fuzz(evm);
const telling: [number, string[]][] = [];
let told = 0;
let saidAt = performance.now();

async function say(isDone = false): Promise<void> {
  saidAt = performance.now();
  const { steps, refused, longest, mismatches, seen } = fuzz;
  const word: Progress = { isDone, steps, refused, longest, mismatches: mismatches.slice(told) };
  told = mismatches.length;
  parentPort!.postMessage(isDone ? ({ ...word, seen, telling } satisfies Progress) : word);
  // Lets a message come in.
  await new Promise(setImmediate);
}

/** Works off what of a list is this thread's. */
async function share<T>(all: Iterable<T>, work: (item: T) => Promise<void>, isEndless = false): Promise<void> {
  let i = 0;
  for (const item of all) {
    if (order === 'stop' || (order === 'enough' && isEndless)) return;
    if (i++ % threads !== thread) continue;
    await work(item);
    if (performance.now() - saidAt > SAY_EVERY_MS) await say();
  }
}

function* from(first: number): Generator<number> {
  for (let seed = first; ; seed++) yield seed;
}

const repeated = <T extends { readonly times: number }>(list: readonly T[]): [T, number][] =>
  list.flatMap((each) => Array.from({ length: each.times }, (_, i): [T, number] => [each, firstSeed + i]));

async function trace(seed: number): Promise<void> {
  const before = fuzz.seen.size;
  const shown = await fuzz.trace(seed);
  if (fuzz.seen.size > before) telling.push([seed, [...shown.keys()]]);
}

await share(seeds, trace);
if (situations) {
  await share(repeated(STRANGE), ([strange, seed]) => fuzz.strange(strange, seed));
  await share(repeated(SITUATIONS), async ([situation, seed]) => void (await fuzz.situation(situation, seed)));
}
await share(from(firstSeed), trace, true);
await fuzz.finish();
await say(true);
await evm?.stop();
process.exit(0);
